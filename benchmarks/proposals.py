"""Do the grasp proposals of a source hold their objects when they are replayed?

The hand is put at (R, t) about the object at rest, closes to q (and beyond), lifts by 20 cm and turns, so that gravity
pulls from six directions: `resdex_tasks/proposals/trials.py`. Every proposal is tried exactly as it is written and once
more at another yaw with the hand displaced; unrolled are those that hold as they are written and in which the object
did not roll while the fingers closed (`resdex_tasks/proposals/search.py`, `strays`).

    python benchmarks/proposals.py objects=zoo objects.count=44 objects.proposals=FILE
    python benchmarks/proposals.py objects=dexgraspnet objects.root=FOLDER objects.scales=[0.08]
"""

import argparse
import sys
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.factory import make_objects
from resdex_tasks.objects.dexgraspnet.files import MAX_DEPTH
from resdex_tasks.objects.geometry.surface import TurnedSurface
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.proposals.candidates import depth_in_table
from resdex_tasks.proposals.reach import reach_into_object
from resdex_tasks.proposals.search import MakeSim, strays
from resdex_tasks.proposals.trials import FULL_MOTION, holds, reach_into_objects, replay_trials, run_trials
from resdex_tasks.utils.rotations import rotation_angle
from runners.config import load_config

ENOUGH = 8
"""Proposals that hold of an object that is well provided for."""
IN_OBJECT = 0.003
"""m that a hand may reach into an object."""


def replay(
    make_sim: MakeSim, objects: ObjectSet, num_envs: int, batch: int, seed: int, millimetres: float, degrees: float
) -> Tuple[List[np.ndarray], np.ndarray, np.ndarray]:
    """Replay every proposal twice.

    Returns:
        (P, 3) bool for each object: whether each proposal holds as it is written, and displaced, and whether it holds
        as it is written and the object did not roll (`strays`); and for all that hold as they are written (M, 2) how
        far the closed hand then is from (R, t): m and rad; and (P in all,) m that the hand begins in the object.
    """
    rows, shifts, begun = [], [], []
    for start in range(0, len(objects), batch):
        part = objects[start : start + batch]
        sim, grasps = make_sim(part, num_envs), [obj.proposals for obj in part]
        trials = replay_trials(sim, part, grasps)
        begun.append(reach_into_objects(trials, part))
        closed = run_trials(sim, trials, FULL_MOTION)
        generators = [np.random.default_rng([seed, start + i]) for i in range(len(part))]
        noise = {"position_noise": millimetres / 1000, "rotation_noise": np.radians(degrees)}
        displaced = holds(sim, part, grasps, generators=generators, **noise)
        held = closed.held.cpu().numpy()
        ends = np.cumsum([len(g) for g in grasps])[:-1]
        turned = np.split(closed.rotation.cpu().numpy(), ends)
        true = [strays(TurnedSurface(obj), g, t)[1] for obj, g, t in zip(part, grasps, turned)]
        exact = np.split(held, ends)
        rows += [np.stack((e, d, e & t), axis=1) for e, d, t in zip(exact, displaced, true)]
        rotation, translation = (
            torch.tensor(np.concatenate([getattr(g, f) for g in grasps])).float() for f in ("rotation", "translation")
        )
        moved = (closed.translation.cpu() - translation).norm(dim=1)
        shifts.append(torch.stack((moved, rotation_angle(closed.rotation.cpu(), rotation)), dim=1).numpy()[held])
        print(f"{len(rows)} of {len(objects)} objects", file=sys.stderr)
    return rows, np.concatenate(shifts), np.concatenate(begun)


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millimetres", type=float, default=2.0, help="of the displaced hand along each axis")
    parser.add_argument("--degrees", type=float, default=1.5, help="of the displaced hand about each axis")
    parser.add_argument("--num_envs", type=int, default=128)
    parser.add_argument("--batch", type=int, default=44, help="objects in one scene")
    parser.add_argument("--seed", type=int, default=1, help="of yaw and displacement")
    parser.add_argument("overrides", nargs="*", help="key=value as for train.py")
    args = parser.parse_intermixed_args(argv)
    if args.batch < 1 or args.num_envs < 1:
        parser.error("--batch and --num_envs must be positive")
    return args


def main(argv: Optional[Sequence[str]] = None) -> float:
    """Print the tables; returns the share of proposals that hold as they are written."""
    args = parse(argv)
    hardware = machine()
    config = load_config(args.overrides)
    objects = make_objects(config.objects)
    torch.set_num_threads(1)  # the simulator has the cores
    held, shifts, begun = replay(
        config.make_sim, objects, args.num_envs, args.batch, args.seed, args.millimetres, args.degrees
    )
    print(hardware)
    print(
        f"{len(objects)} objects, {sum(map(len, held))} proposals, seed {args.seed}, displaced by "
        f"{args.millimetres:g} mm and {args.degrees:g} degrees\n"
    )

    def cells(name: str, rows: Sequence[np.ndarray]) -> Sequence[str]:
        share = 100 * np.concatenate(rows).mean(axis=0)
        enough = 100 * np.mean([r.sum(axis=0) >= ENOUGH for r in rows], axis=0)
        return (name, str(len(rows)), str(sum(map(len, rows))), *(f"{x:.1f}" for x in (*share, *enough)))

    many = f"objects with {ENOUGH} or more"
    how = ("", " displaced", " unrolled")
    header = ("category", "objects", "proposals", *(f"hold{h}, %" for h in how), *(f"{many}{h}, %" for h in how))
    categories = sorted({obj.category for obj in objects})
    lines = [cells(c, [r for r, obj in zip(held, objects) if obj.category == c]) for c in categories]
    print(table([header, *lines, cells("all", held)]))
    depth = np.concatenate([depth_in_table(obj, obj.proposals) for obj in objects])
    print(
        f"\nat (R, t, q) the hand reaches more than {1000 * MAX_DEPTH:g} mm below the table in "
        f"{100 * (depth > MAX_DEPTH).mean():.2f} % of the proposals; at most {1000 * depth.max():.1f} mm"
    )
    touch = 1000 * np.concatenate([reach_into_object(obj, obj.proposals) for obj in objects])
    print(
        f"\nat (R, t, q) the hand reaches {np.median(touch):.1f} mm into the object in the median, "
        f"{np.percentile(touch, 90):.1f} mm in nine of ten"
    )
    print(
        f"\nwhen a trial begins, the hand reaches more than {1000 * IN_OBJECT:g} mm into the object in "
        f"{100 * (begun > IN_OBJECT).mean():.2f} % of the proposals; at most {1000 * begun.max():.1f} mm"
    )
    for number, what in ((50, "half"), (90, "nine of ten")) if len(shifts) else ():
        moved, turned = np.percentile(shifts, number, axis=0)
        print(
            f"\nwhen its fingers have closed, the hand is within {1000 * moved:.1f} mm and {np.degrees(turned):.0f} "
            f"degrees of (R, t) in {what} of those that hold"
        )
    return float(np.concatenate(held)[:, 0].mean())


if __name__ == "__main__":
    run(main)
