"""Tasks whose episodes have a known course, and policies that do nothing."""

from typing import Dict

import torch
from torch import Tensor

from helpers.fake_sim import fake_task
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from runners.policies.policy import PolicyOutput

LENGTH = 4
"""Steps of an episode."""
GOAL = torch.tensor([0.0, 0.0, 0.8])
NAMES = ("box", "cube", "can", "mug")
SUCCEEDS, DROPS, MISSES, DIVERGES = range(4)
"""Objects by what becomes of their episodes."""


def script(sim) -> None:
    """Object 0 is at the goal from step 2 on, 1 at step 3 alone, 2 never; 3 breaks down at the goal in step 2."""
    step = sim.clock
    for env, obj in enumerate(sim.object_index.tolist()):
        at_goal = {SUCCEEDS: step[env] >= 2, DROPS: step[env] == 3, MISSES: False, DIVERGES: step[env] <= 2}[obj]
        sim.now.object[env, :3] = GOAL if at_goal else torch.tensor([0.0, 0.0, 0.6])
        sim.diverged[env] = obj == DIVERGES and step[env] == 2


def scripted_task(num_envs: int, objects=NAMES, on_step=script, **changes) -> GraspTask:
    """A task whose simulator has `clock` (num_envs,): the step of the episode in each environment, from 1."""
    task = fake_task(num_envs, objects=objects, episodeLength=LENGTH, **changes)
    sim, reset = task.sim, task.sim.reset
    sim.clock = [0] * num_envs

    def counted_step(sim) -> None:
        sim.clock = [c + 1 for c in sim.clock]
        on_step(sim)

    def counted_reset(env_ids, *args, **kwargs) -> None:
        for env in env_ids.tolist():
            sim.clock[env] = 0
        reset(env_ids, *args, **kwargs)

    sim.on_step, sim.reset = counted_step, counted_reset
    return task


class Still:
    """A policy that does nothing and mixes nothing."""

    observation, groups = "base", ("base",)

    def __call__(self, obs: Dict[str, Tensor]) -> PolicyOutput:
        return PolicyOutput(torch.zeros(len(obs[self.groups[0]]), NUM_ACTIONS), None)


class Mixing:
    """A policy that does nothing, with weights (step so far, object, 1)."""

    observation, groups = "base", ("base",)

    def __init__(self, task: GraspTask) -> None:
        self.task = task

    def __call__(self, obs: Dict[str, Tensor]) -> PolicyOutput:
        progress, index = self.task.progress.float(), self.task.sim.object_index.float()
        weights = torch.stack((progress, index, torch.ones_like(progress)), dim=1)
        return PolicyOutput(torch.zeros(self.task.num_envs, NUM_ACTIONS), weights)
