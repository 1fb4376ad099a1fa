"""Episodes of a deterministic policy: as many as asked for, of any objects, a batch of environments at a time."""

from dataclasses import dataclass, replace
from typing import Callable, List, Optional

import torch
from torch import Tensor

from resdex_tasks import rewards
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.hand.opposition import opposed
from resdex_tasks.utils.threads import simulator_first
from runners.policies.policy import Policy

LOST = 1.0
"""m: D_t counts no more in the quality D. Now and then an object is squeezed out of the hand and flies off at tens of
m/s; that single episode would decide the mean of hundreds."""
SUCCESS, DROPPED, MISSED, DIVERGED = OUTCOMES = ("success", "dropped", "missed", "diverged")
"""At the goal at the end; at the goal once, and not at the end; never there; the physics broke down."""


@dataclass
class Episodes:
    """E complete episodes, on the CPU."""

    success_once: Tensor
    """(E,) bool: within 5 cm of the goal at some step, the official protocol."""
    success_at_end: Tensor
    """(E,) bool: within 5 cm of the goal at the last step."""
    opposed: Tensor
    """(E,) bool: held between thumb and finger one step before the end (`hand.opposition`)."""
    diverged: Tensor
    """(E,) bool: the physics broke down. Such an episode is no success, and `quality` and `weights` mean nothing."""
    quality: Tensor
    """(E,) D = -sum_t r_proposal (Table 5), its D_t no more than `LOST`."""
    weights: Optional[Tensor]
    """(E, k) the mixture weights' mean over the episode's steps, or None: the policy mixes nothing."""

    def __len__(self) -> int:
        return len(self.success_once)

    def outcome(self, episode: int) -> str:
        """One of `OUTCOMES`."""
        if self.diverged[episode]:
            return DIVERGED
        if self.success_at_end[episode]:
            return SUCCESS
        return DROPPED if self.success_once[episode] else MISSED

    @staticmethod
    def joined(parts: List["Episodes"]) -> "Episodes":
        """All episodes of `parts`, in order."""
        weights = [part.weights for part in parts if part.weights is not None]
        names = ("success_once", "success_at_end", "opposed", "diverged", "quality")
        columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        return Episodes(**columns, weights=torch.cat(weights) if weights else None)


def run_episodes(
    task: GraspTask,
    policy: Policy,
    count: Optional[int] = None,
    on_step: Callable[[], None] = lambda: None,
    object_index: Optional[Tensor] = None,
    seed: Optional[int] = None,
) -> Episodes:
    """One complete episode in each of the first `count` environments (default: in all); the others are idle.

    Args:
        on_step: called after every step but the last, whose state is the next episode's.
        object_index: see `GraspTask.reset`.
        seed: see `GraspTask.reset`.

    Returns:
        `count` episodes.
    """
    n, device = task.num_envs, task.device
    count = n if count is None else count
    flags = ("success_once", "success_at_end", "diverged")
    out = {name: torch.zeros(n, dtype=torch.bool, device=device) for name in flags}
    grip = torch.zeros(n, dtype=torch.bool, device=device)
    quality, steps = torch.zeros(n, device=device), torch.zeros(n, device=device)
    weights: Optional[Tensor] = None
    running = torch.arange(n, device=device) < count
    obs = task.reset(object_index, seed)
    played = 0
    while running.any():
        action, mixed = policy(obs)
        if mixed is not None:
            # an ended environment goes on with another episode, which is nobody's
            mixed = torch.where(running[:, None], mixed.to(device), torch.zeros((), device=device))
            weights = mixed if weights is None else weights + mixed
        obs, _, done, extras = task.step(action)
        played += 1
        distances = extras["distances"]
        distances = replace(distances, position=distances.position.clamp(max=LOST))
        quality = torch.where(running, quality - rewards.proposal_reward(distances, task.config.reward), quality)
        steps += running
        ended = done & running
        for name, values in out.items():
            values[ended] = extras[name][ended]
        running = running & ~done
        if played == task.config.episode_length - 1:
            state = task.sim.state()  # the last step's is the next episode's
            grip = torch.where(running, opposed(state.fingertips, state.fingertip_wrenches), grip)
        if running.any():
            on_step()
    for name in ("success_once", "success_at_end"):
        out[name] &= ~out["diverged"]
    columns = {name: values[:count].cpu() for name, values in {**out, "opposed": grip & ~out["diverged"]}.items()}
    mean_weights = None if weights is None else (weights / steps[:, None])[:count].cpu()
    return Episodes(**columns, quality=quality[:count].cpu(), weights=mean_weights)


def play(
    task: GraspTask,
    policy: Policy,
    object_index: Tensor,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
    on_batch: Callable[[Episodes], None] = lambda episodes: None,
) -> Episodes:
    """One episode for each entry of `object_index`, in batches of the task's environments.

    The starts depend on the seed, the objects and the number of environments alone, so that two policies meet the same.

    Args:
        object_index: (E,) int64, which object of the set each episode is about.
        on_step: called after every step but a batch's last.
        on_batch: called with every batch of episodes when it has ended.

    Raises:
        ValueError: the task cuts episodes or draws objects of its own.
    """
    if task.config.stagger_episodes:
        raise ValueError("complete episodes are needed: stagger_episodes must be off")
    seeds = torch.Generator().manual_seed(seed)
    parts = []
    with simulator_first():
        for batch in object_index.split(task.num_envs):
            idle = batch[-1:].expand(task.num_envs - len(batch))
            start = int(torch.randint(2**62, (), generator=seeds))
            parts.append(run_episodes(task, policy, len(batch), on_step, torch.cat((batch, idle)), start))
            on_batch(parts[-1])
    return Episodes.joined(parts)
