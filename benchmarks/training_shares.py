"""Shares of a training's time: physics, observation + reward + reset, clouds, inference, teacher, update, the rest.

What is measured: `runners.learning.train.train`, as `python train.py` runs it, over whole iterations (rollout, update,
statistics and what else a loop turn does). The clock is put around the methods from outside: `GraspSim.step` is physics
(with copying its controls in), what else `GraspVecEnv.step` does is observation, reward and reset, `get_action_values`
and `get_values` of the agent are inference, what `train_epoch` does after the rollout is the update; of a student's
training, `observe` of its clouds and the calls of its teacher are shares of their own. What is in none of
them (the experience buffer, statistics, TensorBoard, the progress line, checkpoints) is 'other'; the shares add up to
100 %.

Why it is fair: every moment is counted once, for the innermost of these calls, by one clock; on a GPU the device is
waited for before each reading, so that work is counted where it was asked for (the sum is then an upper bound). The
first iterations are left out: by default more than one episode, so that the episodes are in all phases. An untrained
hand rarely touches the object, which makes physics cheap: give a checkpoint for the shares in contact.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.exclusive_timer import ExclusiveTimer
from benchmarks.report import machine, run, table
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.vision.cameras import CameraClouds
from resdex_tasks.vision.clouds import ObjectClouds
from runners.config import load_config
from runners.learning.agent import ResDexAgent
from runners.learning.dagger import ResDexDagger
from runners.learning.train import train
from runners.learning.vec_env import GraspVecEnv
from runners.policies.checkpoint import Checkpoint
from runners.policies.policy import Policy

PHYSICS, ENVIRONMENT, CLOUDS = "physics", "observation, reward, reset", "clouds"
INFERENCE, TEACHER, UPDATE, OTHER = "inference", "teacher", "update", "other"
SHARES = (PHYSICS, ENVIRONMENT, CLOUDS, INFERENCE, TEACHER, UPDATE, OTHER)


class Measurement:
    """Puts the clock around a training's methods, for the iterations after `warmup`.

    It starts when iteration `warmup` + 1 does and ends when iteration `warmup` + `iterations` + 1 would: whole turns
    of the loop.
    """

    def __init__(self, warmup: int, iterations: int, cuda: bool) -> None:
        self.timer = ExclusiveTimer(synchronize=torch.cuda.synchronize if cuda else lambda: None)
        self.first, self.last = warmup, warmup + iterations
        self.seconds: Dict[str, float] = {}
        self.touching: List[float] = []
        self._started = 0

    def attach(self) -> None:
        """Wrap the methods of the classes that `train` will use."""
        construct = GraspVecEnv.__init__

        def constructed(env: GraspVecEnv, task: GraspTask, *args: Any) -> None:
            construct(env, task, *args)
            self.task = task
            self.timer.wrap(task.sim, "step", PHYSICS)

        GraspVecEnv.__init__ = constructed
        self.timer.wrap(GraspVecEnv, "step", ENVIRONMENT)
        for kind in (ObjectClouds, CameraClouds):
            self.timer.wrap(kind, "observe", CLOUDS)
        self.timer.wrap(Policy, "__call__", TEACHER)  # a training plays no other
        for agent in (ResDexAgent, ResDexDagger):
            self.timer.wrap(agent, "get_action_values", INFERENCE)
        self.timer.wrap(ResDexAgent, "get_values", INFERENCE)
        self.timer.wrap(ResDexAgent, "play_steps", OTHER)
        self.timer.wrap(ResDexDagger, "collect", OTHER)
        self.timer.wrap(ResDexAgent, "train_epoch", UPDATE)
        train_epoch = ResDexAgent.train_epoch

        def counted(agent: ResDexAgent) -> Any:
            if self._started == self.first:
                self.timer.reset()
            elif self._started == self.last:
                self.seconds = self.timer.stop()
            if self.first <= self._started < self.last:
                wrenches = self.task.sim.state().fingertip_wrenches
                self.touching.append(float((wrenches.abs().sum(dim=-1) > 0).any(dim=1).float().mean()))
            self._started += 1
            return train_epoch(agent)

        ResDexAgent.train_epoch = counted


@contextlib.contextmanager
def _working_in(folder: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-envs", type=int, default=0, help="0: as the configuration says")
    parser.add_argument("--iterations", type=int, default=20, help="that are measured")
    parser.add_argument("--warmup", type=int, default=14, help="iterations before; 14 x 16 steps exceed an episode")
    parser.add_argument("--checkpoint", default="", help="policy to start from, such as runs/NAME/nn/best.pth")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("overrides", nargs="*", help="key=value as for train.py, such as task=ResDexBase")
    args = parser.parse_args(argv)
    for name in ("iterations", "warmup"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least 1")
    return args


def main(argv: Optional[Sequence[str]] = None) -> Dict[str, float]:
    """Print the table; returns the shares, in seconds."""
    args = parse(argv)
    said = machine()
    overrides = list(args.overrides)
    if args.num_envs:
        overrides.append(f"num_envs={args.num_envs}")
    # one more than is measured: the last one's start is the measurement's end
    overrides += [f"seed={args.seed}", f"max_iterations={args.warmup + args.iterations + 1}", "experiment=benchmark"]
    checkpoint = Checkpoint.read(args.checkpoint) if args.checkpoint else None
    with tempfile.TemporaryDirectory() as folder, _working_in(folder):  # runs/ is written there
        if checkpoint is not None:
            # without its optimizer, iteration count and environments: the training starts afresh from the weights
            checkpoint.policy_only.write(Path("policy.pth"))
            overrides.append("checkpoint=policy.pth")
        config = load_config(overrides)
        devices = {config.command.rl_device, config.command.sim_device}
        measurement = Measurement(args.warmup, args.iterations, devices != {"cpu"})
        measurement.attach()
        train(config)

    seconds = {name: measurement.seconds.get(name, 0.0) for name in SHARES}
    total = sum(seconds.values())
    num_envs, horizon = config.command.num_envs, config.params["config"]["horizon_length"]
    env_steps = num_envs * horizon * args.iterations
    print(f"\n{said}\n{config.notice}")
    print(
        f"{args.iterations} iterations of {num_envs} environments x {horizon} steps after {args.warmup} of "
        f"warm-up, {torch.get_num_threads()} torch threads; a fingertip touches something in "
        f"{100 * sum(measurement.touching) / len(measurement.touching):.0f} % of environments\n"
    )
    rows = [("share", "%", "ms per iteration")]
    for name in SHARES:
        if seconds[name] == 0 and name in (CLOUDS, TEACHER):
            continue
        rows.append((name, f"{100 * seconds[name] / total:.1f}", f"{1000 * seconds[name] / args.iterations:.1f}"))
    rows.append(("all", "100.0", f"{1000 * total / args.iterations:.1f}"))
    print(table(rows))
    print(f"\n{env_steps / total:,.0f} env steps/s")
    return seconds


if __name__ == "__main__":
    run(main)
