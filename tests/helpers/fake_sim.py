"""A simulator without physics."""

import copy
from typing import Callable, Dict, List, Optional

import numpy as np
import torch
from torch import Tensor

from helpers.configs import task_config, wrist_law
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.hand.shadow_hand import NUM_JOINTS
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.sims.base import GraspSim, SimState


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

    def render(self, env_id, width, height, closeup=False, points=None) -> np.ndarray:
        return np.zeros((height, width, 3), np.uint8)


def fake_task(
    num_envs: int, on_step=None, preset: str = "paper", seed: int = 0, objects=("box",), **changes
) -> GraspTask:
    """A task on a `FakeSim`; `changes` are camelCase keys of `task.env`."""
    chosen: ObjectSet = starter_objects().select(objects)
    return GraspTask(FakeSim(num_envs, len(chosen), on_step), chosen, task_config(preset, **changes), seed)
