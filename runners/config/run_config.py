"""One run's configuration: the command line over Hydra's groups in cfg/, composed once, checked, typed."""

import copy
import difflib
import functools
import importlib.util
import os
import random
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from resdex_tasks import factory
from resdex_tasks.grasp_task import GraspTask, TaskConfig
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.sources import ObjectsConfig, read_objects_config
from resdex_tasks.observations import CLOUD, VIEWS, layout
from resdex_tasks.sims.base import GraspSim
from resdex_tasks.sims.registry import read_sim_config, simulator_entry
from resdex_tasks.utils.config_reader import bounds, read_config
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_text
from resdex_tasks.utils.overrides import Overrides, assignment, read_overrides, works_instead
from resdex_tasks.utils.paths import CFG_DIR, SHIPPED
from resdex_tasks.utils.resolvers import register_resolvers
from runners.config.machine import AUTO, automatic_choices, device_of
from runners.config.rl_games_params import check_params
from runners.policies.checkpoint import Checkpoint, CheckpointReader, PolicySpec
from runners.policies.experts import shipped_experts
from runners.policies.pretrained import PRETRAINED, pretrained

GROUPS = ("task", "train", "preset", "sim", "objects", "scale")
NEWEST = "newest"
"""Value of `stage1`: the last first stage in runs_dir."""


@dataclass(frozen=True)
class TaskSettings:
    """The configuration's group `task`."""

    name: str
    stage: Optional[int] = field(metadata=bounds(at_least=1, at_most=2))
    """Reward stage of the hyper-policy (Sec. 4.4)."""
    next: Optional[str]
    """The task that follows by itself (`follow_up`)."""
    num_envs: int = field(metadata=bounds(at_least=1))
    max_iterations: int = field(metadata=bounds(at_least=1))
    codes: Optional[str]
    env: TaskConfig


@dataclass(frozen=True)
class CommandSettings:
    """The keys at the top of cfg/config.yaml, which explains them."""

    task_name: str
    runs_dir: str
    experiment: str
    num_envs: int = field(metadata=bounds(at_least=1))
    seed: int = field(metadata=bounds(at_least=-1, at_most=2**32 - 1))
    torch_deterministic: bool
    max_iterations: Optional[int] = field(metadata=bounds(at_least=1))
    experts: Union[str, List[str]]
    stage1: str
    weights: str
    teacher: Union[str, List[str]]
    follow_up: bool
    sim_device: str
    rl_device: str
    multi_gpu: bool
    headless: bool
    test: bool
    checkpoint: str
    episodes_per_object: int = field(metadata=bounds(at_least=1))
    num_episodes: Optional[int] = field(metadata=bounds(at_least=1))
    capture_video: bool
    wandb_activate: bool
    wandb_project: str
    wandb_entity: Optional[str]
    wandb_group: Optional[str]


@dataclass(frozen=True)
class RunConfig:
    """Everything that a training or an evaluation is told."""

    command: CommandSettings
    task: TaskSettings
    sim: Any
    """Settings class of the simulator that `sim_name` names (`sims/registry.py`)."""
    sim_name: str
    objects: ObjectsConfig
    params: Mapping[str, Any]
    """rl_games' own `train.params`. Whoever hands it on copies it: `rl_games_params`."""
    plain: Mapping[str, Any]
    """All of it as plain values, as config.yaml holds it."""
    overrides: Overrides
    """The command line."""
    notice: str
    """One line on what was chosen for this machine; '' when there was nothing to choose."""
    checkpoint: Optional[Checkpoint]
    """What `checkpoint=` names."""
    read: CheckpointReader
    """Reads checkpoints; this run, and those that follow it, read each file once."""

    @property
    def policy_spec(self) -> PolicySpec:
        """The policy that is trained, without the experts that warm_start finds for it."""
        group, config = self.task.env.observation, self.params["config"]
        return PolicySpec(
            group,
            layout(group, self.task.env.vision.num_points),
            copy.deepcopy(dict(self.params["network"])),
            bool(config["normalize_input"]),
            bool(config["normalize_value"]),
        )

    @property
    def one_scene(self) -> bool:
        """Whether a process can make its simulator only once, see `registry.SimulatorEntry`."""
        return simulator_entry(self.sim_name).one_scene

    @property
    def expert_names(self) -> List[str]:
        """Base checkpoints of a hyper-policy.

        Raises:
            UserError: `experts` names no bundle.
        """
        named = self.command.experts
        return shipped_experts(named) if isinstance(named, str) else named

    @property
    def mixes(self) -> bool:
        """Whether it trains a hyper-policy."""
        return "mixture" in self.params["network"]

    @property
    def imitates(self) -> bool:
        """Whether it trains a student of a teacher's."""
        return "teacher_share" in self.params["config"]

    def rl_games_params(self, **config: Any) -> Dict[str, Any]:
        """A copy of `params` for rl_games to write in, with these values in its `config`."""
        params = copy.deepcopy(dict(self.params))
        params["config"].update(config)
        return params

    def make_sim(self, objects: ObjectSet, num_envs: int) -> GraspSim:
        """The configured simulator, see `factory.make_sim`."""
        wrist, device = self.task.env.wrist, self.command.sim_device
        return factory.make_sim(self.sim_name, self.sim, objects, num_envs, wrist, device)

    def make_task(
        self,
        objects: Optional[ObjectSet] = None,
        num_envs: Optional[int] = None,
        seed: Optional[int] = None,
        groups: Optional[Sequence[str]] = None,
        env: Optional[TaskConfig] = None,
        object_index: Optional[Tensor] = None,
    ) -> GraspTask:
        """The configured task, see `factory.make_task`. What is not given is as configured."""
        return factory.make_task(
            self.task.env if env is None else env,
            self.sim_name,
            self.sim,
            factory.make_objects(self.objects) if objects is None else objects,
            self.command.num_envs if num_envs is None else num_envs,
            self.command.seed if seed is None else seed,
            self.command.sim_device,
            groups,
            object_index,
        )

    def changed(self, values: Mapping[str, Any], without: Sequence[str] = ()) -> "RunConfig":
        """The configuration of another run: this command line with other values, and some keys not given."""
        return load_config(self.overrides.without(*without).having(values), self.read)

    def save(self, path: Path) -> None:
        """Write it as yaml."""
        write_text(path, OmegaConf.to_yaml(OmegaConf.create(dict(self.plain))))


def load_config(arguments: Sequence[str], read: Optional[CheckpointReader] = None) -> RunConfig:
    """Compose cfg/config.yaml with a command line.

    Args:
        read: reads the checkpoint, where the command line names one; what it read before, it remembers.

    Raises:
        UserError: an unknown task, preset, group or key, or a value or a checkpoint that does not fit.
    """
    given, read = _with_names(read_overrides(arguments)), read or CheckpointReader()
    if given.value("checkpoint") == PRETRAINED:
        return _with_pretrained(given, read)
    for argument in given:
        if argument.startswith(("~", "+")) and not argument.startswith("+train.params."):
            raise UserError(f"'{argument}' would add or remove a key, and nothing reads others than those in cfg/")
    _check_groups(given)
    name = given.value("checkpoint")
    checkpoint = read(name) if name and isinstance(name, str) else None
    overrides = _with_task_of(checkpoint, given)
    chosen, notice = automatic_choices(overrides)
    plain = _composed(overrides.having(chosen))
    if plain["max_iterations"] == "":  # IsaacGymEnvs' spelling of a default
        plain["max_iterations"] = None
    config = _typed(plain, given, notice, checkpoint, read)
    _check(config)
    return config


def choices(group: str) -> List[str]:
    """Names of the files of a group in cfg/."""
    return sorted(p.stem for p in (CFG_DIR / group).glob("*.yaml"))


def _with_names(overrides: Overrides) -> Overrides:
    """`experiment=4711` is a name, as every other key that takes a text takes it for one."""
    texts = {f.name for f in fields(CommandSettings) if f.type in ("str", str)}
    for key in texts.intersection(overrides.keys):
        if isinstance(overrides.value(key), (list, dict)):
            raise UserError(f"{key} takes one text; {works_instead(key, overrides.get(key))}")
    numbers = {
        key: overrides.get(key)
        for key in overrides.keys
        if key in texts and isinstance(overrides.value(key), (int, float)) and overrides.get(key)
    }
    return overrides.having(numbers) if numbers else overrides


def _check_groups(overrides: Overrides) -> None:
    for group in GROUPS:
        value, known = overrides.value(group), choices(group)
        if value and value not in known:
            close = difflib.get_close_matches(str(value), known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UserError(f"no {group} '{value}': cfg/{group} has {', '.join(known)}{hint}")


def _with_pretrained(overrides: Overrides, read: CheckpointReader) -> RunConfig:
    """The configuration with the shipped policy that fits the rest of it."""
    rest = load_config(overrides.without("checkpoint"), read).plain
    name = pretrained(rest["task"], rest["objects"], read)
    config = load_config(overrides.having({"checkpoint": name}), read)
    return replace(config, notice=f"{config.notice}\ncheckpoint={PRETRAINED} is {name}".lstrip())


def _with_task_of(checkpoint: Optional[Checkpoint], overrides: Overrides) -> Overrides:
    """A checkpoint goes on with, or is tested on, its own task unless another is named."""
    if checkpoint is None or overrides.get("task") or checkpoint.task.get("name") not in choices("task"):
        return overrides
    return Overrides([assignment("task", checkpoint.task["name"]), *overrides])


def _composed(overrides: Overrides) -> Dict[str, Any]:
    """The whole configuration as plain values."""
    return copy.deepcopy(_composed_once(tuple(overrides)))


@functools.lru_cache(maxsize=256)  # a pipeline asks for the same few a hundred times, and Hydra takes 0.1 s for one
def _composed_once(overrides: Tuple[str, ...]) -> Dict[str, Any]:
    register_resolvers()
    try:
        with initialize_config_dir(str(CFG_DIR), version_base="1.2"):
            plain: Any = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
            return plain  # of a mapping: a dict
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_sentence(error)) from error


def _one_sentence(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, UserError):
        cause = cause.__cause__
    if isinstance(cause, UserError):
        return str(cause)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    if lines and "raised while resolving interpolation: " in lines[0]:
        return lines[0].split("raised while resolving interpolation: ", 1)[1]
    detail = next((line for line in lines if line.startswith("full_key")), "")
    return " ".join([lines[0] if lines else type(cause).__name__, f"({detail})" if detail else ""]).strip()


def _typed(
    plain: Dict[str, Any], given: Overrides, notice: str, checkpoint: Optional[Checkpoint], read: CheckpointReader
) -> RunConfig:
    """Every value in its type, the devices and a random seed chosen; `plain` is made to say the same."""
    keys = {f.name for f in fields(CommandSettings)}
    command = read_config(CommandSettings, {k: v for k, v in plain.items() if k in keys}, "", spelling=str)
    task = read_config(TaskSettings, plain["task"], "task")
    sim_name, sim = plain["sim"]["name"], read_sim_config(plain["sim"])
    seed = command.seed
    if seed in (-1, 0):  # rl_games takes 0 for "no seed"
        seed = random.SystemRandom().randrange(1, 2**31) if seed == -1 else 2**31 - 1
    devices = {
        "sim_device": device_of("sim_device", command.sim_device, simulator_entry(sim_name).on_gpu),
        "rl_device": device_of("rl_device", command.rl_device, True),
    }
    plain.update(seed=seed, **devices)
    params = plain["train"]["params"]
    check_params(params)
    params["seed"] = seed
    params["config"].update(device=devices["rl_device"], device_name=devices["rl_device"])
    objects = read_objects_config(plain["objects"])
    runs_dir = os.path.expanduser(command.runs_dir)
    command = CommandSettings(**{**vars(command), "seed": seed, "runs_dir": runs_dir, **devices})
    return RunConfig(command, task, sim, sim_name, objects, params, plain, given, notice, checkpoint, read)


def _check(config: RunConfig) -> None:
    """What no single value's type and bounds say."""
    command = config.command
    for key in ("experiment", "task_name"):
        name = getattr(command, key)
        if (
            len(name) > 100
            or len(name.encode("utf-8", "replace")) > 240
            or "/" in name
            or "\\" in name
            or name.startswith(".")
        ):
            raise UserError(f"{key} is '{name}'; it names a folder: 1 to 100 characters, no slash, no leading dot")
    for key in ("experiment", "task_name", "runs_dir"):
        name = getattr(command, key)
        if not name.isprintable():
            raise UserError(f"{key} is {name!a}; a folder's name is of printable characters")
    if command.experts != SHIPPED:
        if not config.mixes:
            raise UserError(f"experts={config.overrides.get('experts')} are for a hyper-policy: task=ResDexHyper")
        _ = config.expert_names
    view = config.task.env.observation
    if "cloud" in config.params["network"] and CLOUD not in VIEWS[view]:
        raise UserError(f"task.env.observation is {view}, which has no cloud: train.params.network.cloud needs vision")
    actors = config.params["config"]["num_actors"]
    for key, count in (("task.env.numEnvs", config.task.env.num_envs), ("train.params.config.num_actors", actors)):
        if count != command.num_envs:
            raise UserError(f"{key} is {count}; num_envs={command.num_envs} says how many environments there are")
    if command.multi_gpu:
        if not command.experiment:
            raise UserError("multi_gpu=True needs experiment=NAME, which all its processes share")
        if "LOCAL_RANK" not in os.environ or not torch.cuda.is_available():
            raise UserError("multi_gpu=True needs CUDA devices and torchrun: torchrun --nproc_per_node=N train.py ...")
        for key in ("sim_device", "rl_device"):
            value = config.overrides.value(key, AUTO)
            if value not in (AUTO, "cpu"):
                raise UserError(f"multi_gpu=True gives every process a GPU of its own; leave out {key}={value}")
    if command.wandb_activate and importlib.util.find_spec("wandb") is None:
        raise UserError("wandb_activate=True needs the package wandb: pip install wandb")
    if command.capture_video and config.one_scene:
        raise UserError(f"sim={config.sim_name} makes no pictures: capture_video=True needs sim=mujoco")
    if not command.headless:
        raise UserError("headless=False: there is no window; capture_video=True films an episode")
