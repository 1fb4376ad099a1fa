"""The environment's step against bare MuJoCo stepping of the same simulations, as a ratio.

What is measured: environment steps per second of `GraspTask.step` (action -> simulator -> observation, reward, reset)
over steps per second of a bare `mujoco.batch.Batch` that only steps physics: 1 would mean that everything around the
physics is free.

Why it is fair: the episode is recorded once (actions; the controls and wrist wrenches that they became; the states
after resets), then both sides replay it, block by block, in turns and in alternating order, from the same states, on
the same models with the same number of threads and substeps. Physics is deterministic, so both pass through the same
trajectory, which is checked bit by bit after every block. The bare side's clock runs in `Batch.step` only: writing its
controls and putting its ended episodes back costs it nothing, while the environment pays for its resets. A bare batch
can keep one MjData a thread or one a simulation (`persistent`, as the environment does, which then reads current
sensors without computing them again); both are timed and the faster one is the baseline.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.exclusive_timer import ExclusiveTimer
from benchmarks.report import machine, run, table
from benchmarks.scripted_grasp import scripted_action
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.sims import mujoco_scene as scene
from resdex_tasks.sims.mujoco_sim import put_objects
from runners.config import load_config
from runners.policies.policy import Policy

Clock = Callable[[], float]
"""Seconds: time.perf_counter, or time.process_time."""
STATE = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass
class Step:
    """One control step as both sides replay it."""

    action: Tensor
    """(N, 24)"""
    ctrl: np.ndarray
    """(N, 18) joint targets that the action became."""
    wrench: np.ndarray
    """(N, 6) on the hand's root."""
    reset_ids: np.ndarray
    """(n,) environments whose episode ended after this step."""
    reset_states: np.ndarray
    """(n, nstate) of these, as their next episode starts."""


@dataclass
class Block:
    """A few consecutive control steps of the recording."""

    start: dict
    """The task's whole state before them."""
    steps: List[Step] = field(default_factory=list)
    end: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(N, nstate) simulator states after them."""
    contact_share: float = 0.0
    """Share of environments in which the hand touches the object, after them."""
    contacts: float = 0.0
    """Mean number of active contacts of an environment, after them."""


class Physics:
    """The simulations of a task, stepped by a bare Batch."""

    def __init__(self, task: GraspTask, persistent: bool) -> None:
        sim = task.sim
        self.model, self.substeps = sim.scene.model, sim.physics.substeps
        self.batch = Batch(self.model, task.num_envs, sim.batch.nthread, persistent=persistent)
        put_objects(self.batch, sim.scene, np.arange(task.num_envs), sim.object_index.numpy())
        self.ctrl = self.batch.bind("ctrl")
        self.wrench = self.batch.bind("xfrc_applied")[:, self.model.body(scene.ROOT_BODY).id]

    def contacts(self) -> Tuple[float, float]:
        """Share of simulations in which the hand touches the object, and mean number of active contacts."""
        obj = self.model.body(scene.OBJECT_BODY).id
        touching, total = 0, 0
        data = mujoco.MjData(self.model)
        for i in range(self.batch.nsim):
            model = self.batch.get_model(i)
            mujoco.mj_setState(model, data, self.batch.state[i], STATE)
            mujoco.mj_forward(model, data)
            active = data.contact.efc_address >= 0
            bodies = model.geom_bodyid[data.contact.geom[active]]
            total += int(active.sum())
            # the world is body 0; every body but the object is the hand's
            touching += bool(((bodies == obj).any(axis=1) & (bodies > 0).all(axis=1)).any())
        return touching / self.batch.nsim, total / self.batch.nsim


def record(
    task: GraspTask, policy: Callable[[], Tensor], num_steps: int, block_size: int, bare: Physics
) -> List[Block]:
    """Run one episode's length to spread the episodes over their phases, then record `num_steps`."""
    task.reset()
    for _ in range(task.config.episode_length):
        task.step(policy())
    layout = bare.batch
    blocks: List[Block] = []
    for i in range(num_steps):
        if i % block_size == 0:
            blocks.append(Block(start=task.get_state()))
        action = policy()
        task.pre_physics_step(action)
        layout.state[:] = task.sim.get_state()["integration"].numpy()
        ctrl, wrench = bare.ctrl.copy(), bare.wrench.copy()
        _, _, done, _ = task.post_physics_step()
        ids = done.nonzero(as_tuple=True)[0].numpy()
        after = task.sim.get_state()["integration"].numpy()
        blocks[-1].steps.append(Step(action, ctrl, wrench, ids, after[ids]))
        blocks[-1].end = after
    for block in blocks:
        layout.state[:] = block.end
        block.contact_share, block.contacts = bare.contacts()
    return blocks


def time_env(task: GraspTask, block: Block, clock: Clock) -> float:
    """Seconds in `GraspTask.step` over a block."""
    task.set_state(block.start)
    seconds = 0.0
    for step in block.steps:
        start = clock()
        task.step(step.action)
        seconds += clock() - start
    if not np.array_equal(task.sim.get_state()["integration"].numpy(), block.end):
        raise AssertionError("the environment left the recorded trajectory: its step is not deterministic")
    return seconds


def time_bare(physics: Physics, block: Block, clock: Clock) -> float:
    """Seconds in `Batch.step` over a block."""
    batch = physics.batch
    batch.state[:] = block.start["sim"]["integration"].numpy()
    seconds = 0.0
    for step in block.steps:
        physics.ctrl[:], physics.wrench[:] = step.ctrl, step.wrench
        start = clock()
        batch.step(nstep=physics.substeps)
        seconds += clock() - start
        batch.state[step.reset_ids] = step.reset_states
    if not np.array_equal(batch.state, block.end):
        raise AssertionError("the bare replay left the recorded trajectory: the comparison would not be fair")
    return seconds


def compare(
    task: GraspTask, bare: Dict[str, Physics], blocks: List[Block], repeats: int, clock: Clock
) -> Dict[str, List[float]]:
    """Seconds of each side for each repeat of all blocks; within a block the sides take turns, the first one changing.

    The sides are "env" and the names in `bare`.
    """
    sides: Dict[str, Callable[[Block], float]] = {"env": lambda block: time_env(task, block, clock)}
    for name, physics in bare.items():
        sides[name] = lambda block, physics=physics: time_bare(physics, block, clock)
    names = list(sides)
    for name in names:
        sides[name](blocks[0])  # warm up
    results: Dict[str, List[float]] = {name: [0.0] * repeats for name in names}
    for repeat in range(repeats):
        for i, block in enumerate(blocks):
            first = (repeat + i) % len(names)
            order = names[first:] + names[:first]
            for name in order if (repeat + i) // len(names) % 2 else reversed(order):
                results[name][repeat] += sides[name](block)
    return results


def breakdown(task: GraspTask, blocks: List[Block], repeats: int, clock: Clock) -> Dict[str, float]:
    """Seconds of each part of `GraspTask.step` over all blocks (median of the repeats), in runs of its own."""
    timer = ExclusiveTimer(clock)
    timer.wrap(task.sim.batch, "step", "physics")
    timer.wrap(task.sim, "step", "controls in, warnings out")
    timer.wrap(task.sim, "state", "reading the state")
    timer.wrap(task.sim, "reset", "reset: simulator")
    timer.wrap(task, "reset_idx", "reset: task")
    timer.wrap(task, "compute_reward", "reward")
    timer.wrap(task, "observe", "observation")
    timer.wrap(task, "pre_physics_step", "action")
    timer.wrap(task, "post_physics_step", "bookkeeping")
    totals: Dict[str, List[float]] = {}
    for _ in range(repeats):
        repeat: Dict[str, float] = {}
        for block in blocks:
            task.set_state(block.start)
            timer.reset()
            for step in block.steps:
                task.step(step.action)
            for name, seconds in timer.stop().items():
                repeat[name] = repeat.get(name, 0.0) + seconds
        for name, seconds in repeat.items():
            totals.setdefault(name, []).append(seconds)
    return {name: median(seconds) for name, seconds in totals.items()}


def make_task_and_policy(args: argparse.Namespace) -> Tuple[GraspTask, Callable[[], Tensor]]:
    """The task, and what acts in it: the scripted grasp, or a checkpoint's deterministic policy."""
    overrides = [*args.overrides, "sim=mujoco", f"sim.numThreads={args.threads}", "task.env.staggerEpisodes=true"]
    config = load_config([*overrides, f"num_envs={args.num_envs}", f"seed={args.seed}"])
    if not args.checkpoint:
        task = config.make_task(num_envs=args.num_envs)
        return task, lambda: scripted_action(task)
    policy = Policy.load(args.checkpoint, config.command.rl_device)
    task = config.make_task(num_envs=args.num_envs, groups=policy.groups)
    return task, lambda: policy(task.obs).action


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200, help="control steps of the recording")
    parser.add_argument("--block", type=int, default=20, help="control steps before the other side's turn")
    parser.add_argument("--repeats", type=int, default=7, help="how often the recording is replayed")
    parser.add_argument("--threads", type=int, default=0, help="of both sides; 0: every core")
    parser.add_argument("--torch-threads", type=int, default=1, help="of torch; a rollout has 1")
    parser.add_argument(
        "--cpu-time", action="store_true", help="all threads' processor time instead of wall time: for busy cores"
    )
    parser.add_argument("--checkpoint", default="", help="policy that acts; default: a scripted grasp")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("overrides", nargs="*", help="key=value as for train.py, such as objects.names=null")
    args = parser.parse_args(argv)
    for name in ("num_envs", "steps", "block", "repeats"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be at least 1")
    return args


def main(argv: Optional[Sequence[str]] = None) -> float:
    """Print the comparison; returns the median ratio."""
    args = parse(argv)
    clock = time.process_time if args.cpu_time else time.perf_counter
    said = machine()
    task, policy = make_task_and_policy(args)
    bare = {f"bare, one MjData a {kind}": Physics(task, kind == "simulation") for kind in ("thread", "simulation")}
    torch.set_num_threads(args.torch_threads)
    blocks = record(task, policy, args.steps, args.block, next(iter(bare.values())))
    results = compare(task, bare, blocks, args.repeats, clock)
    baseline = min(bare, key=lambda name: median(results[name]))
    ratios = {name: [b / e for e, b in zip(results["env"], results[name])] for name in results}

    print(said)
    print(
        f"{args.num_envs} environments, {len(task.objects)} object(s), {task.sim.batch.nthread} simulator and "
        f"{torch.get_num_threads()} torch threads, {args.steps} steps x {args.repeats} repeats in blocks of "
        f"{args.block}, {'processor' if args.cpu_time else 'wall'} time"
    )
    print(
        f"states of {'a checkpoint' if args.checkpoint else 'the scripted grasp'}: the hand touches the object in "
        f"{100 * np.mean([b.contact_share for b in blocks]):.0f} % of environments, "
        f"{np.mean([b.contacts for b in blocks]):.1f} contacts each\n"
    )
    per_step, total = 1000 / args.steps, args.num_envs * args.steps

    def ratio(name: str) -> str:
        return f"{median(ratios[name]):.3f} ({min(ratios[name]):.3f} .. {max(ratios[name]):.3f})"

    rows = [("", "ms per step", "env steps/s", "ratio of the environment to it")]
    for name, seconds in results.items():
        speed = f"{median(seconds) * per_step:.2f}", f"{total / median(seconds):,.0f}"
        rows.append(("GraspTask.step", *speed, "") if name == "env" else (name, *speed, ratio(name)))
    print(table(rows))
    print(f"\nratio {ratio(baseline)}: median (min .. max) of {args.repeats}, to '{baseline}'\n")
    parts = breakdown(task, blocks, args.repeats, clock)
    whole = sum(parts.values())
    rows = [("part of GraspTask.step", "ms per step", "%")]
    for name, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        rows.append((name, f"{seconds * per_step:.3f}", f"{100 * seconds / whole:.1f}"))
    print(table(rows))
    return median(ratios[baseline])


if __name__ == "__main__":
    run(main)
