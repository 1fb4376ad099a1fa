"""Puts a task together from its configuration: objects, simulator, task."""

import importlib.util
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping

import torch

from resdex_tasks.config import read_config
from resdex_tasks.errors import UserError
from resdex_tasks.grasp_task import GraspTask, TaskConfig
from resdex_tasks.objects import make_objects
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.sims.base import GraspSim, WristLaw


@dataclass(frozen=True)
class SimRequest:
    """What a simulator is built from."""

    objects: ObjectSet
    object_index: torch.Tensor
    settings: Mapping[str, Any]
    wrist_law: WristLaw
    device: str


def _mujoco(request: SimRequest) -> GraspSim:
    if importlib.util.find_spec("mujoco") is None:
        raise UserError("sim=mujoco needs the package mujoco (Python 3.10 or newer): pip install mujoco==3.17.0")
    try:
        from resdex_tasks.sims.mujoco import MujocoSim
        from resdex_tasks.sims.mujoco_model import MujocoSimConfig
    except ImportError as error:
        raise UserError(f"sim=mujoco needs mujoco 3.17 (pip install mujoco==3.17.0): {error}") from error

    if request.device != "cpu":
        raise UserError(f"sim=mujoco runs on the CPU; sim_device={request.device} needs a GPU simulator")
    settings = dict(request.settings)
    threads = settings.pop("numThreads")
    if type(threads) is not int or threads < 0:
        raise UserError(f"sim.numThreads is {threads}; it must be a whole number, 0 for every core")
    physics = read_config(MujocoSimConfig, settings.pop("physics"), "sim.physics")
    if settings:
        raise UserError(f"unknown key sim.{next(iter(settings))}; the keys are name, numThreads, physics")
    return MujocoSim(request.objects, request.object_index, physics, request.wrist_law, threads)


SIMS: Dict[str, Callable[[SimRequest], GraspSim]] = {"mujoco": _mujoco}
"""Name in cfg/sim -> how it is built. Engine packages are imported only when their simulator is asked for."""


def make_task(cfg: Mapping[str, Any], num_envs: int, seed: int) -> GraspTask:
    """The configured task.

    Args:
        cfg: the whole configuration as plain containers (`task`, `sim`, `objects`, `sim_device`).
        num_envs: environments; object i stands in environments i, i + len(objects), ...
        seed: of everything random in the task.
    """
    if num_envs < 1:
        raise UserError(f"num_envs is {num_envs}; it must be at least 1")
    env = dict(cfg["task"]["env"])
    env.pop("numEnvs", None)
    wrist_law = read_config(WristLaw, env.pop("wrist", None), "task.env.wrist")
    config = read_config(TaskConfig, env, "task.env")
    objects = make_objects(cfg["objects"])
    settings = dict(cfg["sim"])
    name = settings.pop("name")
    if name not in SIMS:
        raise UserError(f"no simulator '{name}'; there are {', '.join(SIMS)}")
    index = torch.arange(num_envs) % len(objects)
    sim = SIMS[name](SimRequest(objects, index, settings, wrist_law, cfg["sim_device"]))
    return GraspTask(sim, objects, config, seed)
