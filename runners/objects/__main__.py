"""One tool for objects: `python -m runners.objects COMMAND objects=zoo objects.count=60 ...` (or `resdex-objects`).

The objects are chosen as for train.py, by the group `objects` of the configuration.
"""

import argparse
import hashlib
import logging
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import numpy as np
import torch
from tqdm import tqdm

from resdex_tasks.factory import make_objects
from resdex_tasks.objects import loading as gathering
from resdex_tasks.objects.geometry.surface import shape_hash
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.proposals.trials import place_grasps
from resdex_tasks.rendering import images as video
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import check_can_write
from runners.config import load_config, plain
from runners.evaluation.splits import evenly
from runners.objects import propose
from runners.objects import shapes as shape_commands

TILE = 200
"""Pixels of one picture on a contact sheet."""
LISTED = 40
"""Objects that `list` shows one by one."""


def objects_config(overrides: Sequence[str]) -> Dict[str, Any]:
    """The configuration's group `objects` after `key=value` overrides, which may set nothing else."""
    for override in overrides:
        if not override.startswith(("objects=", "objects.")):
            raise UserError(f"'{override}' does not choose objects; objects=NAME and objects.KEY=VALUE do")
    return plain(load_config(["sim=mujoco", "scale=cpu", *overrides])[0])["objects"]


def whole_config(overrides: Sequence[str]) -> Dict[str, Any]:
    """All of the configuration, for what needs a simulator too."""
    return plain(load_config(overrides)[0])


def list_objects(args: argparse.Namespace) -> None:
    """Print the set: its objects where they are few, and how many there are of each category and split."""
    objects = make_objects(args.config)
    shown = objects if args.all else list(objects)[:LISTED]
    rows = [("object", "category", "split", "cm", "pieces", "proposals", "code")]
    rows += [_row(obj) for obj in shown]
    print(_aligned(rows))
    if len(shown) < len(objects):
        print(f"... and {len(objects) - len(shown)} more (--all lists them)")
    categories = Counter(obj.category for obj in objects)
    print(f"\n{len(objects)} objects: {_counts(objects)}")
    print(f"{len(categories)} categories: {', '.join(f'{c} {n}' for c, n in sorted(categories.items()))}")


def _row(obj: GraspObject) -> Sequence[str]:
    vertices = np.concatenate([piece.vertices for piece in obj.pieces])
    size = " x ".join(f"{100 * e:.1f}" for e in np.ptp(vertices, axis=0))
    code = "yes" if obj.code is not None else "no"
    return obj.name, obj.category, obj.split, size, str(len(obj.pieces)), str(len(obj.proposals)), code


def _aligned(rows: List[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def show_objects(args: argparse.Namespace) -> None:
    """Write a contact sheet: every object of the set at rest on the table, if wanted with the hand, and its name."""
    objects = make_objects(args.config)
    chosen = evenly(objects, args.limit)
    sheet = grasp_sheet(chosen, args.columns) if args.grasps else contact_sheet(chosen, args.columns)
    video.write_strip(args.out, [sheet], 1)
    left = f" ({len(objects) - len(chosen)} more are in the set: --limit)" if len(chosen) < len(objects) else ""
    print(f"written to {args.out}: {len(chosen)} objects{left}")


def contact_sheet(objects: Sequence[GraspObject], columns: int) -> np.ndarray:
    """(H, W, 3) uint8."""
    from resdex_tasks.sims.object_picture import portrait  # MuJoCo: Python 3.10 or newer

    return _sheet(objects, columns, lambda i: portrait(objects[i], TILE, TILE))


def grasp_sheet(objects: Sequence[GraspObject], columns: int) -> np.ndarray:
    """(H, W, 3) uint8: the hand in the first proposal of every object."""
    sim = propose.simulator(whole_config(["sim=mujoco"]))(ObjectSet(objects), len(objects))
    placed = [place_grasps(obj, obj.proposals.take(np.arange(1))) for obj in objects]
    object_pose, root_pose, joint_pos = (torch.cat(poses).float() for poses in zip(*placed))
    sim.reset(torch.arange(len(objects)), root_pose, joint_pos, object_pose)
    return _sheet(objects, columns, lambda i: sim.render(i, TILE, TILE, closeup=True))


def _sheet(objects: Sequence[GraspObject], columns: int, picture: Callable[[int], np.ndarray]) -> np.ndarray:
    """The pictures of all objects, by their number, with their names."""
    shown = tqdm(objects, unit="object", disable=not sys.stderr.isatty())
    images = [video.add_label(picture(i), obj.name) for i, obj in enumerate(shown)]
    return video.tile(images, min(columns, len(images)))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def build_objects(args: argparse.Namespace) -> None:
    """Make or read every object of the set, fill the caches on the way, and say what there is."""
    start = time.perf_counter()
    with _said_aloud(gathering.LOG):
        objects = make_objects(args.config)
    print(f"{len(objects)} objects in {time.perf_counter() - start:.1f} s; {_counts(objects)}")
    pieces = [len(obj.pieces) for obj in objects]
    print(f"{sum(pieces)} convex pieces, {max(pieces)} at most in one object")
    shapes = hashlib.sha256("".join(f"{obj.name} {shape_hash(obj)}\n" for obj in objects).encode()).hexdigest()[:16]
    print(f"shapes {shapes}, the same wherever the same set is built")


@contextmanager
def _said_aloud(log: logging.Logger) -> Iterator[None]:
    """Print what is logged."""
    handler, level = logging.StreamHandler(sys.stdout), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def list_splits(args: argparse.Namespace) -> None:
    """Write which object of the zoo is in which split."""
    from resdex_tasks.objects.zoo.splits import write_splits

    check_can_write(args.out)
    if args.config["source"] != "zoo":
        raise UserError("only the zoo has splits of its own: objects=zoo")
    make_objects({**args.config, "count": 1, "names": None, "codes": None, "proposals": None})  # checks the seed
    write_splits(args.out, args.config["seed"])
    print(f"written to {args.out}")


def _counts(objects: ObjectSet) -> str:
    splits = Counter(obj.split for obj in objects)
    return ", ".join(f"{count} {split}" for split, count in splits.items())


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="python -m runners.objects", description=__doc__)
    commands = out.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Any, help: str, read: Any = objects_config) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.add_argument("overrides", nargs="*", default=[], help="as for train.py: objects=zoo objects.split=all")
        command.set_defaults(run=run, read=read)
        return command

    add("build", build_objects, "make or import a whole set: its caches are filled, what cannot be used is named")
    listing = add("list", list_objects, "print the objects of a set")
    listing.add_argument("--all", action="store_true", help=f"also beyond the first {LISTED}")
    showing = add("show", show_objects, "draw a contact sheet of a set, as PNG")
    showing.add_argument("--out", type=Path, default=Path("objects.png"))
    showing.add_argument("--limit", type=_positive, default=60, help="objects on the sheet, evenly over the set")
    showing.add_argument("--columns", type=_positive, default=10)
    showing.add_argument("--grasps", action="store_true", help="with the hand in the first grasp proposal of each")
    splitting = add("splits", list_splits, "list which object of the zoo is in which split: objects=zoo objects.seed=1")
    splitting.add_argument("--out", type=Path, required=True, help=".yaml")
    shape_commands.add_commands(add)
    proposing = add("propose", propose.command, "find grasp proposals in a simulator, for any set", whole_config)
    propose.add_arguments(proposing)
    return out


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, 2 after bad input, 130 after Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # argparse takes the key=value arguments of a subcommand only in one piece: the others are left over
    args, more = parser().parse_known_args(argv)
    unknown = [argument for argument in more if argument.startswith("-")]
    if unknown:
        parser().error(f"unrecognized arguments: {' '.join(unknown)}")
    args.overrides += more
    args.command_line = " ".join(["python -m runners.objects", *argv])
    try:
        args.config = args.read(args.overrides)
        args.run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
