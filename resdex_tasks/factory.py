"""Puts a task together from its configuration: objects, simulator, task."""

import importlib.util
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import torch

from resdex_tasks.grasp_task import GraspTask, TaskConfig
from resdex_tasks.objects.dexgraspnet.source import read_dexgraspnet
from resdex_tasks.objects.meshes import mesh_objects
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.objects.zoo import zoo_objects
from resdex_tasks.proposals.file import with_proposals
from resdex_tasks.shapes.codes import cached_codes, with_codes
from resdex_tasks.shapes.encoder import read_encoder
from resdex_tasks.sims.base import GraspSim, WristLaw
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.paths import SHIPPED

SOURCES: Dict[str, Tuple[Callable[..., ObjectSet], Dict[str, str]]] = {
    "starter": (starter_objects, {}),
    "dexgraspnet": (
        read_dexgraspnet,
        {
            **{key: key for key in ("root", "scales", "split", "cache", "names")},
            "objects": "object_codes",
            "objectList": "object_list",
            "maxRestHeight": "max_rest_height",
        },
    ),
    "meshes": (
        mesh_objects,
        {**{key: key for key in ("root", "size", "split", "cache", "names")}, "maxPieces": "max_pieces"},
    ),
    "zoo": (zoo_objects, {key: key for key in ("split", "categories", "count", "names", "seed")}),
}
"""Source -> its reader, and the reader's argument for each configuration key."""

LIST_KEYS = ("names", "objects", "categories", "scales")
PATH_KEYS = ("objectList", "cache")
UNSET = (None, "???")
"""What a mandatory key holds until it is given: `???` is Hydra's mark."""


def make_objects(cfg: Mapping[str, Any]) -> ObjectSet:
    """The object set that `cfg` (the configuration's group `objects`) describes.

    `source` is one of `SOURCES`; `names` lists the objects to take, in this order, and null takes all; `codes` is the
    encoder that gives every object its shape code (null, 'shipped' or a file), `proposals` the grasp proposals
    for them (likewise). The other keys are those of the source. UserError names a key or value at fault.
    """
    source = cfg.get("source")
    if source not in SOURCES:
        raise UserError(f"objects.source is '{source}'; the sources are {', '.join(SOURCES)}")
    reader, arguments = SOURCES[source]
    known = ["source", *dict.fromkeys(["names", *arguments, "codes", "proposals"])]
    for key in cfg:
        if key not in known:
            raise UserError(f"there is no objects.{key} for the source '{source}'; its keys are {', '.join(known)}")
    for key in LIST_KEYS:
        if cfg.get(key) is not None and not isinstance(cfg[key], (list, tuple)):
            raise UserError(f"objects.{key} is {cfg[key]!r}; it must be a list or null: objects.{key}=[...]")
        entries = {"scales": ((int, float), "numbers")}.get(key, (str, "text"))
        for entry in cfg.get(key) or ():
            if not isinstance(entry, entries[0]) or isinstance(entry, bool):
                raise UserError(f"objects.{key} has {entry!r}; its entries must be {entries[1]}")
    for key in PATH_KEYS:
        if cfg.get(key) is not None and not isinstance(cfg[key], str):
            raise UserError(f"objects.{key} is {cfg[key]!r}; it must be a path or null")
    if "root" in arguments and cfg.get("root") in UNSET:
        raise UserError(f"objects.root is not set: the folder of the data for the source '{source}'")
    if "root" in arguments and not isinstance(cfg["root"], str):
        raise UserError(f"objects.root is {cfg['root']!r}; it must be a folder")
    objects = reader(**{arguments[key]: value for key, value in cfg.items() if key in arguments})
    names = cfg.get("names")
    if names is not None and "names" not in arguments:  # a source that takes the names builds no other object
        objects = objects.select(names)
    return _with_codes_of(cfg.get("codes"), _with_proposals_of(cfg.get("proposals"), objects))


def _with_proposals_of(file: Any, objects: ObjectSet) -> ObjectSet:
    """The objects with the grasp proposals of the configured file; null leaves them their own."""
    if file is None:
        return objects
    if not isinstance(file, str):
        raise UserError(f"objects.proposals is {file!r}; it must be null, '{SHIPPED}' or a file")
    return with_proposals(objects, file)


def _with_codes_of(encoder: Any, objects: ObjectSet) -> ObjectSet:
    """The objects with the codes that the configured encoder gives them; null leaves them without."""
    if encoder is None:
        return objects
    if not isinstance(encoder, str):
        raise UserError(f"objects.codes is {encoder!r}; it must be null, '{SHIPPED}' or the file of an encoder")
    loaded = read_encoder(encoder)
    return with_codes(objects, cached_codes(objects, loaded))


MAX_BUFFER = 10_000
"""Contacts or constraints of one environment: far above what a scene needs, and still no typing slip."""


@dataclass(frozen=True)
class SimRequest:
    """What a simulator is built from."""

    objects: ObjectSet
    object_index: torch.Tensor
    settings: Mapping[str, Any]
    wrist_law: WristLaw
    device: str

    def only(self, *keys: str) -> Dict[str, Any]:
        """The settings, which must be these and no others."""
        for key in self.settings:
            if key not in keys:
                raise UserError(f"unknown key sim.{key}; the keys are name, {', '.join(keys)}")
        for key in keys:
            if key not in self.settings:
                raise UserError(f"missing key sim.{key}")
        return dict(self.settings)


PACKAGES = {"mujoco": ("mujoco",), "mujoco_warp": ("mujoco", "warp", "mujoco_warp")}
"""Simulator -> the packages it needs."""


def installed(sim: str) -> bool:
    """Whether a simulator's packages are there; none of them is imported."""
    return all(importlib.util.find_spec(package) is not None for package in PACKAGES[sim])


def _mujoco(request: SimRequest) -> GraspSim:
    needs = "sim=mujoco needs mujoco 3.17, on Python 3.10 or newer: pip install mujoco==3.17.0"
    if not installed("mujoco"):
        raise UserError(needs)
    try:
        from resdex_tasks.sims.mujoco_scene import MujocoSimConfig
        from resdex_tasks.sims.mujoco_sim import MujocoSim
    except ImportError as error:
        raise UserError(f"{needs} ({error})") from error

    if request.device != "cpu":
        raise UserError(f"sim=mujoco runs on the CPU; sim_device={request.device} needs sim=mujoco_warp")
    settings = request.only("numThreads", "physics")
    threads = settings["numThreads"]
    if type(threads) is not int or threads < 0:
        raise UserError(f"sim.numThreads is {threads}; it must be a whole number, 0 for every core")
    physics = read_config(MujocoSimConfig, settings["physics"], "sim.physics")
    return MujocoSim(request.objects, request.object_index, physics, request.wrist_law, threads)


def _mujoco_warp(request: SimRequest) -> GraspSim:
    needs = "sim=mujoco_warp needs MuJoCo Warp, on Python 3.10 or newer: pip install 'resdex[warp]'"
    if not installed("mujoco_warp"):
        raise UserError(needs)
    try:
        from resdex_tasks.sims.mujoco_scene import MujocoSimConfig
        from resdex_tasks.sims.mujoco_warp_sim import MujocoWarpSim
    except ImportError as error:
        raise UserError(f"{needs} ({error})") from error

    settings = request.only("contactsPerEnv", "constraintsPerEnv", "physics")
    for key in ("contactsPerEnv", "constraintsPerEnv"):
        size = settings[key]
        if size is not None and (type(size) is not int or not 1 <= size <= MAX_BUFFER):
            raise UserError(f"sim.{key} is {size}; it must be a whole number from 1 to {MAX_BUFFER}, or null")
    return MujocoWarpSim(
        request.objects,
        request.object_index,
        read_config(MujocoSimConfig, settings["physics"], "sim.physics"),
        request.wrist_law,
        request.device,
        settings["contactsPerEnv"],
        settings["constraintsPerEnv"],
    )


SIMS: Dict[str, Callable[[SimRequest], GraspSim]] = {"mujoco": _mujoco, "mujoco_warp": _mujoco_warp}
"""Name in cfg/sim -> how it is built. Engine packages are imported only when their simulator is asked for."""


def make_task(cfg: Mapping[str, Any], num_envs: int, seed: int, objects: Optional[ObjectSet] = None) -> GraspTask:
    """The configured task.

    Args:
        cfg: the whole configuration as plain containers (`task`, `sim`, `objects`, `sim_device`).
        num_envs: environments; object i stands in environments i, i + len(objects), ...
        seed: of everything random in the task.
        objects: the set, where it is made already; else made as `cfg` says.
    """
    if num_envs < 1:
        raise UserError(f"num_envs is {num_envs}; it must be at least 1")
    env = dict(cfg["task"]["env"])
    env.pop("numEnvs", None)
    wrist_law = read_config(WristLaw, env.pop("wrist", None), "task.env.wrist")
    config = read_config(TaskConfig, env, "task.env")
    objects = make_objects(cfg["objects"]) if objects is None else objects
    if config.observation == "full":
        _check_codes(objects)
    settings = dict(cfg["sim"])
    name = settings.pop("name")
    if name not in SIMS:
        raise UserError(f"no simulator '{name}'; there are {', '.join(SIMS)}")
    index = torch.arange(num_envs) % len(objects)
    sim = SIMS[name](SimRequest(objects, index, settings, wrist_law, cfg["sim_device"]))
    return GraspTask(sim, objects, config, seed)


def _check_codes(objects: ObjectSet) -> None:
    without = [obj.name for obj in objects if obj.code is None]
    if without:
        raise UserError(
            f"{len(without)} of {len(objects)} objects have no shape code ('{without[0]}' first), "
            "and this policy sees it: objects.codes=shipped computes codes"
        )
