"""What seeing costs: the encoder by the number of points, the clouds, and what the fast occlusion gets wrong.

Three tables, in one run:
 - the encoder of cfg/train/ResDexVisionDAgger.yaml, forward and forward + backward, by points;
 - an environment's cloud at one step: the batched transform of points that were chosen once, against farthest-point
   sampling at every step (512 of 4,096, as the method's code does), and the cameras, fast and by exact rays;
 - the cameras' fast occlusion against exact rays, in states that a policy visits: which share of the points that it
   calls visible is hidden, and which share of the visible ones it hides, all over an episode.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.networks.point_cloud import PointCloudConfig, PointCloudEncoder
from resdex_tasks.observations import VIEWS
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.vision.cameras import CameraClouds
from resdex_tasks.vision.clouds import farthest_points
from runners.config import load_config
from runners.policies.policy import Policy

BATCH = 256
FPS_POINTS, FPS_SAMPLES = 512, 4096


def microseconds(work: Callable[[], object], count: int, repeats: int) -> float:
    """Per item of `count`, the fastest of `repeats` runs."""
    work()
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return 1e6 * best / count


def encoder_rows(config: PointCloudConfig, repeats: int) -> List[Tuple[str, ...]]:
    """Time of a cloud by its points."""
    rows: List[Tuple[str, ...]] = [("points", "forward, us", "forward + backward, us")]
    encoder = PointCloudEncoder(config)
    for count in (64, 128, 256, 512):
        points = torch.randn(BATCH, count, 3)

        def forward(points: torch.Tensor = points) -> None:
            with torch.no_grad():
                encoder(points)

        def both(points: torch.Tensor = points) -> None:
            encoder.zero_grad()
            encoder(points)[0].sum().backward()

        shown = [f"{microseconds(work, BATCH, repeats):.0f}" for work in (forward, both)]
        rows.append((str(count), *shown))
    return rows


def cloud_rows(task: GraspTask, clouds: CameraClouds, repeats: int) -> List[Tuple[str, ...]]:
    """Time of an environment's cloud at one step."""
    few = 8
    samples = torch.rand(few, FPS_SAMPLES, 3).numpy()
    works = (
        ("transform of points chosen at load", lambda: clouds.world_points(task.sim), task.num_envs),
        ("the same, and what cameras see of them (fast)", lambda: clouds.observe(task.sim, task.yaw), task.num_envs),
        (
            "what cameras see by exact rays",
            lambda: task.sim.sees(clouds.eyes, clouds.world_points(task.sim)),
            task.num_envs,
        ),
        (
            f"farthest-point sampling of {FPS_POINTS} from {FPS_SAMPLES:,} at every step",
            lambda: farthest_points(samples, FPS_POINTS, torch.device("cpu")),
            few,
        ),
    )
    rows: List[Tuple[str, ...]] = [("cloud", "us an environment and step")]
    return rows + [(name, f"{microseconds(work, count, repeats):,.0f}") for name, work, count in works]


def occlusion_rows(task: GraspTask, clouds: CameraClouds, policy: Policy, every: int) -> List[Tuple[str, ...]]:
    """The fast occlusion against exact rays over an episode: by one camera, and by all together."""
    wrong = torch.zeros(2, 4)  # one camera, all; visible by the fast way, of these hidden; visible, of these missed
    obs = task.reset()
    for step in range(task.config.episode_length - 1):
        obs, *_ = task.step(policy(obs).action)
        if step % every == every - 1:
            points = clouds.world_points(task.sim)
            fast = clouds.visible(task.sim, points)
            exact = task.sim.sees(clouds.eyes, points)
            for row, (said, true) in enumerate(((fast, exact), (fast.any(dim=1), exact.any(dim=1)))):
                counts = (said.sum(), (said & ~true).sum(), true.sum(), (true & ~said).sum())
                wrong[row] += torch.stack(counts).float()
    rows: List[Tuple[str, ...]] = [("seen by", "wrongly visible, %", "wrongly hidden, %")]
    for name, (said, hidden, true, missed) in zip(("one camera", "any camera"), wrong.tolist()):
        rows.append((name, f"{100 * hidden / said:.1f}", f"{100 * missed / true:.1f}"))
    return rows


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--every", type=int, default=20, help="steps between two comparisons with exact rays")
    parser.add_argument("overrides", nargs="*", help="key=value as for train.py, such as objects.count=264")
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> List[Tuple[str, ...]]:
    """Print the tables; returns the rows of the last one."""
    args = parse(argv)
    said = machine()
    config = load_config(["task=ResDexVision", "task.env.vision.source=camera", *args.overrides])
    policy = Policy.load(config.read(config.command.teacher))
    task = config.make_task(groups=[*VIEWS["vision"], *policy.groups])
    clouds = task.clouds
    assert isinstance(clouds, CameraClouds)
    vision = config.task.env.vision
    encoder = read_config(PointCloudConfig, config.params["network"]["cloud"], "train.params.network.cloud")
    occlusion = occlusion_rows(task, clouds, policy, args.every)
    print(f"{said}\n{torch.get_num_threads()} torch threads\n")
    print(f"The encoder {encoder.point_units} -> {encoder.code_units}, {BATCH} clouds at once:\n")
    print(table(encoder_rows(encoder, args.repeats)))
    print(f"\nClouds of {vision.num_points} points, {task.num_envs} environments, {len(vision.camera.eyes)} cameras:\n")
    print(table(cloud_rows(task, clouds, args.repeats)))
    print(f"\nFast occlusion against exact rays, every {args.every} steps of {task.num_envs} episodes:\n")
    print(table(occlusion))
    return occlusion


if __name__ == "__main__":
    run(main)
