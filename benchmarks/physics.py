"""Time of the physics under several settings, on the same states.

A policy plays; after a while the states of its environments in which the hand touches the object are kept. Then a batch
of every variant of the settings takes one control step (two physics steps) from each of these states, again and again
and in turns, one thread each. The first variant is the baseline; the ratio to it is of medians.

    python benchmarks/physics.py --checkpoint hyper_stage2 task=ResDexHyper objects.count=264
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.factory import make_sim
from resdex_tasks.sims.mujoco_sim import MujocoSim
from runners.config import load_config
from runners.policies.policy import Policy

VARIANTS: Dict[str, Dict[str, Any]] = {
    "before: gain 3, joint friction, dense": {"finger_gain": 3.0, "joint_frictionloss": 0.001, "jacobian": "dense"},
    "sparse": {"finger_gain": 3.0, "joint_frictionloss": 0.001},
    "sparse, no joint friction": {"finger_gain": 3.0},
    "the default (gain 1)": {},
    "the default, pyramidal cones": {"cone": "pyramidal"},
    "the default, one physics step of 1/60 s": {"substeps": 1},
    "the default, 6 solver iterations": {"iterations": 6},
}
"""Name -> what it changes of the default physics."""


def main(argv: Optional[Sequence[str]] = None) -> Dict[str, float]:
    """Print the table; returns variant -> seconds of a control step of one environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="hyper_stage2")
    parser.add_argument("--num-envs", type=int, default=264)
    parser.add_argument(
        "--steps", type=int, default=60, help="control steps that are played before the states are kept"
    )
    parser.add_argument("--rounds", type=int, default=5, help="in which every variant has its turn")
    parser.add_argument("--repeats", type=int, default=10, help="of a turn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    args = parser.parse_args(argv)
    said = machine()
    fixed = ["task.env.objectSampling=fixed", "task.env.staggerEpisodes=false", "sim=mujoco", "sim.numThreads=1"]
    config = load_config([*args.overrides, *fixed, f"seed={args.seed}"])
    policy = Policy.load(args.checkpoint)
    task = config.make_task(num_envs=args.num_envs, groups=policy.groups)
    obs = task.reset()
    for _ in range(args.steps):
        obs = task.step(policy(obs).action)[0]
    touching = (task.sim.state().fingertip_wrenches[..., :3].norm(dim=-1) > 0.05).any(dim=1)
    kept = touching.nonzero()[:, 0]
    state = task.sim.get_state()["integration"][kept].numpy()
    index = task.sim.object_index[kept]

    batches = {}
    for name, changes in VARIANTS.items():
        physics = replace(config.sim.physics, **changes)
        sim = make_sim("mujoco", replace(config.sim, physics=physics), task.objects, len(kept), config.task.env.wrist)
        sim.put_objects(torch.arange(len(kept)), index)
        batches[name] = sim
    times: Dict[str, List[float]] = {name: [] for name in VARIANTS}
    for _ in range(args.rounds):
        for name, sim in batches.items():
            times[name].append(_turn(sim, state, args.repeats))
    print(f"{said}\n{len(kept)} states with the hand on one of {len(index.unique())} objects, one thread\n")
    rows = [("physics", "us a control step", "control steps/s", "against the first")]
    seconds = {name: median(values) / len(kept) for name, values in times.items()}
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        rows.append((name, f"{1e6 * value:.0f}", f"{1 / value:,.0f}", f"{first / value:.2f}"))
    print(table(rows))
    return seconds


def _turn(sim: MujocoSim, state: np.ndarray, repeats: int) -> float:
    """Median seconds of one control step of all simulations, each time from the same state."""
    out = []
    for _ in range(repeats):
        sim.batch.state[:] = state
        start = time.perf_counter()
        sim.batch.step(nstep=sim.physics.substeps)
        out.append(time.perf_counter() - start)
    return median(out)


if __name__ == "__main__":
    run(main)
