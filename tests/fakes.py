"""Stand-ins for tests: a simulator without physics, and the settings of cfg/ as the task reads them."""

import copy
import dataclasses
import functools
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from torch import Tensor

from resdex_tasks.grasp_task import GraspTask, TaskConfig
from resdex_tasks.hand.shadow_hand import NUM_JOINTS
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.sims.base import GraspSim, SimState, WristLaw
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.utils.paths import CFG_DIR
from runners.config import load_config, plain


def env_settings(preset: str = "paper", **changes) -> Dict:
    """`task.env` of cfg/task/ResDexBase.yaml under a preset, as plain containers.

    `changes` are camelCase keys; those of `reward` are changed one by one.
    """
    env = copy.deepcopy(_preset_env(preset))
    env["reward"].update(changes.pop("reward", {}))
    env.pop("numEnvs")
    # tests want episodes that start at step 0, unless they say otherwise
    env.update({"staggerEpisodes": False, **changes})
    return env


def objects_settings(source: str) -> Dict:
    """cfg/objects/<source>.yaml as `make_objects` gets it."""
    return plain(load_config(["sim=mujoco", f"objects={source}"])[0])["objects"]


@functools.lru_cache(maxsize=None)
def _preset_env(preset: str) -> Dict:
    task = OmegaConf.load(CFG_DIR / "task" / "ResDexBase.yaml")
    over = OmegaConf.load(CFG_DIR / "preset" / f"{preset}.yaml")
    # a preset may point at values of the task
    return OmegaConf.to_container(OmegaConf.merge({"num_envs": 1, "task": task}, over), resolve=True)["task"]["env"]


def wrist_law() -> WristLaw:
    return read_config(WristLaw, env_settings()["wrist"], "task.env.wrist")


def task_config(preset: str = "paper", **changes) -> TaskConfig:
    env = env_settings(preset, **changes)
    env.pop("wrist")
    return read_config(TaskConfig, env, "task.env")


class FakeSim(GraspSim):
    """A simulator without physics: everything stays where reset put it, unless `on_step` moves it.

    Args:
        num_envs: environments; object i of the set stands in environments i, i + num_objects, ...
        num_objects: objects in the set.
        on_step: called with this simulator at every step, `steps` being counted already; it may write to `now` and
            `diverged`.
    """

    def __init__(self, num_envs: int, num_objects: int = 1, on_step: Optional[Callable[["FakeSim"], None]] = None):
        self.num_envs, self.device = num_envs, torch.device("cpu")
        self.wrist_law = wrist_law()
        # no two joints alike, no limit symmetric, so that a mix-up shows
        spread = torch.arange(NUM_JOINTS) + 1.0
        self.joint_limits = torch.stack((-0.02 * spread, 0.05 * spread), dim=1)
        self.object_index = torch.arange(num_envs) % num_objects
        self.diverged = torch.zeros(num_envs, dtype=torch.bool)
        self.on_step, self.steps = on_step, 0
        self.resets: List[List[int]] = []
        self.commands: Dict[str, Tensor] = {}
        identity = torch.tensor([0.0, 0.0, 0.0, 1.0])
        tips = torch.zeros(num_envs, 5, 13)
        tips[..., 3:7] = identity
        pose = torch.cat((torch.zeros(num_envs, 3), identity.expand(num_envs, 4)), dim=1)
        self.now = SimState(
            joint_pos=torch.zeros(num_envs, NUM_JOINTS),
            joint_vel=torch.zeros(num_envs, NUM_JOINTS),
            palm_pose=pose.clone(),
            root_pose=pose.clone(),
            fingertips=tips,
            fingertip_wrenches=torch.zeros(num_envs, 5, 6),
            object=torch.cat((pose, torch.zeros(num_envs, 6)), dim=1),
        )

    def step(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        self.commands = {"joints": joint_targets.clone(), "force": wrist_force.clone(), "torque": wrist_torque.clone()}
        self.diverged = torch.zeros(self.num_envs, dtype=torch.bool)
        self.steps += 1
        if self.on_step is not None:
            self.on_step(self)

    def state(self) -> SimState:
        return self.now

    def reset(self, env_ids: Tensor, root_pose: Tensor, joint_pos: Tensor, object_pose: Tensor) -> None:
        self.resets.append(env_ids.tolist())
        now = self.now
        now.joint_pos[env_ids], now.joint_vel[env_ids] = joint_pos, 0.0
        now.palm_pose[env_ids], now.root_pose[env_ids] = root_pose, root_pose
        now.fingertips[env_ids] = 0.0
        now.fingertips[env_ids, :, 6] = 1.0
        now.fingertip_wrenches[env_ids] = 0.0
        now.object[env_ids] = torch.cat((object_pose, torch.zeros(len(env_ids), 6)), dim=1)

    def put_objects(self, env_ids: Tensor, object_index: Tensor) -> None:
        self.object_index[env_ids] = object_index

    def get_state(self) -> dict:
        index = self.object_index.clone()
        return {"now": copy.deepcopy(self.now.__dict__), "steps": self.steps, "object_index": index}

    def set_state(self, state: dict) -> None:
        self.now, self.steps = SimState(**copy.deepcopy(state["now"])), state["steps"]
        self.object_index = state["object_index"].clone()

    def render(self, env_id: int, width: int, height: int, closeup: bool = False) -> np.ndarray:
        return np.zeros((height, width, 3), np.uint8)


def fake_task(
    num_envs: int, on_step=None, preset: str = "paper", seed: int = 0, objects=("box",), **changes
) -> GraspTask:
    """A task on a `FakeSim`; `changes` are camelCase keys of `task.env`."""
    chosen: ObjectSet = starter_objects().select(objects)
    return GraspTask(FakeSim(num_envs, len(chosen), on_step), chosen, task_config(preset, **changes), seed)


def physics(**changes):
    """cfg/physics/mujoco.yaml as a `MujocoSimConfig`; skips the test where the engine is missing (Python 3.8)."""
    pytest.importorskip("mujoco.batch")
    from resdex_tasks.sims.mujoco_scene import MujocoSimConfig

    settings = yaml.safe_load((CFG_DIR / "physics" / "mujoco.yaml").read_text())
    return dataclasses.replace(read_config(MujocoSimConfig, settings, "sim.physics"), **changes)


def _index(names: Sequence[str], object_index: Optional[Sequence[int]]) -> Tensor:
    return torch.as_tensor(list(range(len(names)) if object_index is None else object_index))


def mujoco_sim(names: Sequence[str], object_index: Optional[Sequence[int]] = None, num_threads: int = 1, **changes):
    """A `MujocoSim`; `changes` are fields of `MujocoSimConfig`."""
    config = physics(**changes)
    from resdex_tasks.sims.mujoco_sim import MujocoSim

    objects = starter_objects().select(names)
    return MujocoSim(objects, _index(names, object_index), config, wrist_law(), num_threads)


def warp_sim(
    names: Sequence[str],
    object_index: Optional[Sequence[int]] = None,
    max_contacts: Optional[int] = None,
    max_constraints: Optional[int] = None,
    device: str = "cpu",
    **changes,
):
    """A `MujocoWarpSim`; `changes` are fields of `MujocoSimConfig`. Skips the test where MuJoCo Warp is missing."""
    pytest.importorskip("mujoco_warp")
    config = physics(**changes)
    from resdex_tasks.sims.mujoco_warp_sim import MujocoWarpSim

    objects = starter_objects().select(names)
    index = _index(names, object_index)
    return MujocoWarpSim(objects, index, config, wrist_law(), device, max_contacts, max_constraints)


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
    pytest.param(warp_sim, id="mujoco_warp"),
    pytest.param(cuda_sim, id="mujoco_warp_on_cuda", marks=needs_cuda),
]


def mujoco_task(
    num_envs: int, names: Sequence[str] = ("box",), preset: str = "paper", seed: int = 0, **changes
) -> GraspTask:
    """A task on MuJoCo, object i in environments i, i + len(names), ...; `changes` are camelCase keys of `task.env`."""
    sim = mujoco_sim(names, [i % len(names) for i in range(num_envs)])
    return GraspTask(sim, starter_objects().select(names), task_config(preset, **changes), seed)
