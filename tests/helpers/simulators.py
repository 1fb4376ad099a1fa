"""The real simulators, small, and what every test of the contract runs on."""

from typing import Optional, Sequence

import pytest
import torch
from torch import Tensor

from helpers.configs import physics, task_config, wrist_law
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.sims.base import GraspSim, SimState
from resdex_tasks.sims.mujoco_config import MujocoSimConfig, MujocoWarpSimConfig


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
]


def mujoco_task(
    num_envs: int, names: Sequence[str] = ("box",), preset: str = "paper", seed: int = 0, **changes
) -> GraspTask:
    """A task on MuJoCo, object i in environments i, i + len(names), ...; `changes` are camelCase keys of `task.env`."""
    sim = mujoco_sim(names, [i % len(names) for i in range(num_envs)])
    return GraspTask(sim, starter_objects().select(names), task_config(preset, **changes), seed)
