"""The real simulators, small, and what every test of the contract runs on."""

import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

import pytest
import torch
import yaml
from torch import Tensor

from helpers.configs import physics, task_config, wrist_law
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.sims.base import GraspSim, SimState
from resdex_tasks.sims.isaacgym_config import IsaacGymSimConfig
from resdex_tasks.sims.mujoco_config import MujocoSimConfig, MujocoWarpSimConfig
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.utils.paths import CFG_DIR


def _index(names: Sequence[str], object_index: Optional[Sequence[int]]) -> Tensor:
    return torch.as_tensor(list(range(len(names)) if object_index is None else object_index))


def mujoco_sim(names: Sequence[str], object_index: Optional[Sequence[int]] = None, num_threads: int = 1, **changes):
    """A `MujocoSim`; `changes` are fields of `PhysicsConfig`."""
    config = MujocoSimConfig(num_threads, physics(**changes))
    from resdex_tasks.sims.mujoco_sim import MujocoSim

    objects = starter_objects().select(names)
    return MujocoSim(objects, _index(names, object_index), config, wrist_law())


def warp_sim(
    names: Sequence[str],
    object_index: Optional[Sequence[int]] = None,
    max_contacts: Optional[int] = None,
    max_constraints: Optional[int] = None,
    device: str = "cpu",
    **changes,
):
    """A `MujocoWarpSim`; `changes` are fields of `PhysicsConfig`. Skips the test where MuJoCo Warp is missing."""
    pytest.importorskip("mujoco_warp")
    config = MujocoWarpSimConfig(max_contacts, max_constraints, physics(**changes))
    from resdex_tasks.sims.mujoco_warp_sim import MujocoWarpSim

    objects = starter_objects().select(names)
    index = _index(names, object_index)
    return MujocoWarpSim(objects, index, config, wrist_law(), device)


def isaacgym_double() -> None:
    """From here on, `import isaacgym` finds the double; skips the test where its physics is missing."""
    pytest.importorskip("mujoco", minversion="3.17")
    os.environ["ISAACGYM_DOUBLE_ANY_ORDER"] = "1"
    folder = str(Path(__file__).parent / "isaacgym_double")
    if folder not in sys.path:
        sys.path.insert(0, folder)


def isaacgym_sim(
    names: Sequence[str],
    object_index: Optional[Sequence[int]] = None,
    fingertip_wrenches: str = "contact",
    **changes,
):
    """An `IsaacGymSim` on the double; `changes` are fields of `IsaacGymPhysicsConfig`.

    It takes the place of the one before, which must not be used any more: a process has one.
    """
    isaacgym_double()
    settings = yaml.safe_load((CFG_DIR / "sim" / "isaacgym.yaml").read_text())
    settings = {key: value for key, value in settings.items() if key not in ("defaults", "name")}
    settings["physics"] = yaml.safe_load((CFG_DIR / "physics" / "isaacgym.yaml").read_text())
    config = read_config(IsaacGymSimConfig, {**settings, "fingertipWrenches": fingertip_wrenches}, "sim")
    config = replace(config, physics=replace(config.physics, **changes))
    from isaacgym import engine

    from resdex_tasks.sims.isaacgym_sim import IsaacGymSim

    engine.existing.clear()
    IsaacGymSim.made.clear()
    return IsaacGymSim(starter_objects().select(names), _index(names, object_index), config, wrist_law())


def break_physics(sim, env: int) -> None:
    """Put a velocity that is no number into one environment of the engine."""
    if "isaacgym" not in type(sim).__module__:
        sim._raw_state()[1][env, 3] = math.nan
        return
    sim.sim.worlds[env].data.qvel[3] = math.nan


class OnHost:
    """A simulator on a GPU as tests see it: what they give goes there, what they get comes back to the CPU."""

    def __init__(self, sim: GraspSim) -> None:
        self._sim = sim

    def __getattr__(self, name: str):
        value = getattr(self._sim, name)
        return value.cpu() if isinstance(value, Tensor) else value

    def state(self) -> SimState:
        return SimState(**{name: value.cpu() for name, value in vars(self._sim.state()).items()})

    def _call(self, method: str, *tensors: Tensor) -> None:
        getattr(self._sim, method)(*(t.to(self._sim.device) for t in tensors))

    def step(self, *commands: Tensor) -> None:
        self._call("step", *commands)

    def reset(self, *poses: Tensor) -> None:
        self._call("reset", *poses)

    def put_objects(self, *indices: Tensor) -> None:
        self._call("put_objects", *indices)


def cuda_sim(*args, **kwargs):
    """`warp_sim` on the first GPU."""
    return OnHost(warp_sim(*args, device="cuda:0", **kwargs))


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU; this machine has none")
SIMULATORS = [
    pytest.param(mujoco_sim, id="mujoco"),
    pytest.param(warp_sim, id="mujoco_warp", marks=pytest.mark.slow),  # its kernels compile for a minute
    pytest.param(cuda_sim, id="mujoco_warp_on_cuda", marks=needs_cuda),
    pytest.param(isaacgym_sim, id="isaacgym_on_its_double"),
]


def mujoco_task(
    num_envs: int, names: Sequence[str] = ("box",), preset: str = "paper", seed: int = 0, **changes
) -> GraspTask:
    """A task on MuJoCo, object i in environments i, i + len(names), ...; `changes` are camelCase keys of `task.env`."""
    sim = mujoco_sim(names, [i % len(names) for i in range(num_envs)])
    return GraspTask(sim, starter_objects().select(names), task_config(preset, **changes), seed)
