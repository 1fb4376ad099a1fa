"""Do the objects of a source come to rest as their proposals say, when they are dropped as the task drops them? And do
they fit the hand?

Every object falls in each of its rest poses (or in the first alone), at a random yaw, its frame from the task's drop
height, while the hand is out of the way. After a second it should lie still where it fell, as it was meant to. Many
proposals of an object with one rest pose are one drop.
"""

import argparse
import math
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.factory import make_objects
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS
from resdex_tasks.objects.geometry.placements import grasp_width
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.sims import registry
from resdex_tasks.sims.base import CONTROL_HZ, TABLE_HEIGHT
from resdex_tasks.utils.rotations import quat_conjugate, quat_mul, quat_rotate, yaw_quat
from runners.config import RunConfig, load_config

PARKED = (1.5, 0.0, TABLE_HEIGHT + 1.5)
"""m, where the hand waits."""
SPEED, SPIN = 0.005, 0.1
"""m/s and rad/s beyond which an object still moves."""
DRIFT = 0.02
"""m beyond which it has wandered off."""
TILT = 15.0
"""Degrees beyond which it lies otherwise than meant."""
DEPTH = 0.002
"""m beyond which it has sunk into the table."""
WIDTH = 0.09
"""m, the narrowest extent of the object as it rests, seen from above, beyond which the hand does not go around it."""
UP = torch.tensor([0.0, 0.0, 1.0])


@dataclass
class Drops:
    """How M drops ended."""

    name: List[str]
    category: List[str]
    speed: Tensor
    """(M,) m/s"""
    spin: Tensor
    """(M,) rad/s"""
    drift: Tensor
    """(M,) m, horizontally."""
    tilt: Tensor
    """(M,) degrees away from the rest pose, whatever the yaw."""
    depth: Tensor
    """(M,) m of the lowest vertex below the table."""
    width: Tensor
    """(M,) m, see `WIDTH`."""

    def faults(self) -> List[Tuple[str, Tensor]]:
        """(M,) bool each: what went wrong."""
        return [
            (f"still moves (> {1000 * SPEED:g} mm/s or {SPIN:g} rad/s)", (self.speed > SPEED) | (self.spin > SPIN)),
            (f"wandered (> {100 * DRIFT:g} cm)", self.drift > DRIFT),
            (f"fell over (> {TILT:g} degrees)", self.tilt > TILT),
            (f"sank in (> {1000 * DEPTH:g} mm)", self.depth > DEPTH),
            (f"does not fit the hand (> {100 * WIDTH:g} cm)", self.width > WIDTH),
        ]


def rest_rotations(obj: GraspObject, first_only: bool) -> Tensor:
    """(P, 4) the different rest poses of an object."""
    rotations = torch.tensor(obj.proposals.rest_rotation, dtype=torch.float32)
    return rotations[:1] if first_only else torch.unique(rotations, dim=0)


def drop(objects: ObjectSet, config: RunConfig, first_only: bool, seconds: float, seed: int) -> Drops:
    """Drop every object once in every pose, all at once."""
    poses = [rest_rotations(obj, first_only) for obj in objects]
    index = torch.repeat_interleave(torch.tensor([len(p) for p in poses]))
    env = config.task.env
    sim = registry.make_sim(config.sim_name, config.sim, objects, index, env.wrist, config.command.sim_device)
    count, device = len(index), sim.device

    rest = torch.cat(poses)
    yaw = (2 * torch.rand(count, generator=torch.Generator().manual_seed(seed)) - 1) * math.pi
    start = quat_mul(yaw_quat(yaw), rest)
    height = TABLE_HEIGHT + env.object_drop_height
    object_pose = torch.cat((torch.tensor([0.0, 0.0, height]).expand(count, 3), start), dim=1)
    root_pose = torch.tensor([*PARKED, 0.0, 0.0, 0.0, 1.0]).expand(count, 7)
    joints = torch.zeros(count, len(JOINTS), device=device)
    sim.reset(torch.arange(count, device=device), root_pose.to(device), joints, object_pose.to(device))
    targets, still = torch.zeros(count, len(ACTUATED), device=device), torch.zeros(count, 3, device=device)
    for _ in range(round(seconds * CONTROL_HZ)):
        sim.step(targets, still, still)

    position, quat, velocity, spin = sim.state().object.cpu().split((3, 4, 3, 3), dim=1)
    was_up = quat_rotate(quat_conjugate(rest), UP.expand(count, 3))
    cosine = quat_rotate(quat, was_up)[:, 2].clamp(-1.0, 1.0)
    lowest, width = torch.empty(count), torch.empty(count)
    for i, obj in enumerate(objects[k] for k in index.tolist()):
        vertices = torch.as_tensor(obj.vertices, dtype=torch.float32)
        lowest[i] = quat_rotate(quat[i], vertices)[:, 2].min() + position[i, 2]
        width[i] = grasp_width(quat_rotate(rest[i], vertices).numpy())
    return Drops(
        name=[objects[i].name for i in index.tolist()],
        category=[objects[i].category for i in index.tolist()],
        speed=velocity.norm(dim=1),
        spin=spin.norm(dim=1),
        drift=position[:, :2].norm(dim=1),
        tilt=torch.rad2deg(cosine.acos()),
        depth=TABLE_HEIGHT - lowest,
        width=width,
    )


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", choices=("first", "all"), default="all", help="of each object")
    parser.add_argument("--seconds", type=float, default=1.0, help="of settling")
    parser.add_argument("--batch", type=int, default=200, help="objects in one scene: compiling grows with them")
    parser.add_argument("--worst", type=int, default=15, help="how many of the drops that went wrong to name")
    parser.add_argument("--seed", type=int, default=1, help="of the yaws")
    parser.add_argument("overrides", nargs="*", help="key=value as for train.py, such as objects=zoo objects.split=all")
    args = parser.parse_args(argv)
    if args.batch < 1 or args.seconds <= 0:
        parser.error("--batch and --seconds must be positive")
    return args


def main(argv: Optional[Sequence[str]] = None) -> float:
    """Print the tables; returns the share of drops that settled as they should."""
    args = parse(argv)
    hardware = machine()
    config = load_config(args.overrides)
    objects = make_objects(replace(config.objects, proposals=None))  # the poses that the source gave them
    batches = [objects[i : i + args.batch] for i in range(0, len(objects), args.batch)]
    ended = [drop(b, config, args.poses == "first", args.seconds, args.seed + i) for i, b in enumerate(batches)]
    measures = ("speed", "spin", "drift", "tilt", "depth", "width")
    drops = Drops(
        name=[name for d in ended for name in d.name],
        category=[category for d in ended for category in d.category],
        **{field: torch.cat([getattr(d, field) for d in ended]) for field in measures},
    )
    count, faults = len(drops.name), drops.faults()
    wrong = torch.stack([fault for _, fault in faults]).any(dim=0)

    def share(which: Tensor) -> str:
        return f"{100 * float(which.float().mean()):.2f}"

    print(hardware)
    print(f"{len(objects)} objects, {count} drops ({args.poses} poses), {args.seconds:g} s, seed {args.seed}\n")
    rows = [("drops", "number", "%")]
    rows += [(what, str(int(fault.sum())), share(fault)) for what, fault in faults]
    print(table([*rows, ("settled as meant", str(int((~wrong).sum())), share(~wrong))]))
    print(f"\nnarrowest width, seen from above, at most {100 * float(drops.width.max()):.2f} cm")
    print(f"lowest vertex at most {1000 * float(drops.depth.max()):.2f} mm below the table")
    if wrong.any():
        _print_worst(drops, wrong, args.worst)
    return float((~wrong).float().mean())


def _print_worst(drops: Drops, wrong: Tensor, count: int) -> None:
    bad = Counter(drops.category[i] for i in wrong.nonzero().flatten().tolist())
    tried = Counter(drops.category)
    rows = [("category", "drops", "wrong", "%")]
    rows += [(c, str(tried[c]), str(n), f"{100 * n / tried[c]:.1f}") for c, n in bad.most_common()]
    print(f"\n{table(rows)}\n")
    limits = {"speed": SPEED, "spin": SPIN, "drift": DRIFT, "tilt": TILT, "depth": DEPTH, "width": WIDTH}
    excess = torch.stack([getattr(drops, field) / limit for field, limit in limits.items()]).amax(dim=0)
    if count < 1:
        return
    rows = [("worst", "mm/s", "rad/s", "drift, mm", "tilt, degrees", "depth, mm", "width, mm")]
    for i in (excess * wrong).argsort(descending=True)[: min(count, int(wrong.sum()))].tolist():
        speed, spin, drift, tilt, depth, width = (float(getattr(drops, field)[i]) for field in limits)
        cells = (1000 * speed, spin, 1000 * drift, tilt, 1000 * depth, 1000 * width)
        rows.append((drops.name[i], *(f"{cell:.2f}" for cell in cells)))
    print(table(rows))


if __name__ == "__main__":
    run(main)
