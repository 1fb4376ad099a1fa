"""Commands of the objects tool that look at a set: list, show, build, splits."""

import argparse
import hashlib
import logging
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import Callable, Iterator, List, Sequence

import numpy as np
import torch
from tqdm import tqdm

from resdex_tasks.factory import make_objects
from resdex_tasks.objects import loading
from resdex_tasks.objects.geometry.surface import shape_hash
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.objects.sources import ZooConfig
from resdex_tasks.objects.zoo.splits import write_splits
from resdex_tasks.proposals.trials import place_grasps
from resdex_tasks.rendering import images
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import check_can_write
from resdex_tasks.utils.sequences import evenly
from resdex_tasks.utils.tables import aligned
from runners.config import load_config

TILE = 200
"""Pixels of one picture on a contact sheet."""
LISTED = 40
"""Objects that `list` shows one by one."""


def list_objects(args: argparse.Namespace) -> None:
    """Print the set: its objects where they are few, and how many there are of each category and split."""
    objects = make_objects(args.config)
    shown = objects if args.all else list(objects)[:LISTED]
    rows: List[Sequence[str]] = [("object", "category", "split", "cm", "pieces", "proposals", "code")]
    rows += [_row(obj) for obj in shown]
    print(aligned(rows))
    if len(shown) < len(objects):
        print(f"... and {len(objects) - len(shown)} more (--all lists them)")
    categories = Counter(obj.category for obj in objects)
    print(f"\n{len(objects)} objects: {_counts(objects)}")
    print(f"{len(categories)} categories: {', '.join(f'{c} {n}' for c, n in sorted(categories.items()))}")


def _row(obj: GraspObject) -> Sequence[str]:
    size = " x ".join(f"{100 * e:.1f}" for e in np.ptp(obj.vertices, axis=0))
    code = "yes" if obj.code is not None else "no"
    return obj.name, obj.category, obj.split, size, str(len(obj.pieces)), str(len(obj.proposals)), code


def show_objects(args: argparse.Namespace) -> None:
    """Write a contact sheet: every object of the set at rest on the table, if wanted with the hand, and its name."""
    objects = make_objects(args.config)
    chosen = evenly(objects, args.limit)
    sheet = grasp_sheet(chosen, args.columns) if args.grasps else contact_sheet(chosen, args.columns)
    images.write_strip(args.out, [sheet], 1)
    left = f" ({len(objects) - len(chosen)} more are in the set: --limit)" if len(chosen) < len(objects) else ""
    print(f"written to {args.out}: {len(chosen)} objects{left}")


def contact_sheet(objects: Sequence[GraspObject], columns: int) -> np.ndarray:
    """(H, W, 3) uint8."""
    from resdex_tasks.sims.object_picture import portrait  # MuJoCo: Python 3.10 or newer

    return _sheet(objects, columns, lambda i: portrait(objects[i], TILE, TILE))


def grasp_sheet(objects: Sequence[GraspObject], columns: int) -> np.ndarray:
    """(H, W, 3) uint8: the hand in the first proposal of every object."""
    pictures = grasp_pictures(objects)
    return _sheet(objects, columns, lambda i: pictures[i])


def grasp_pictures(objects: Sequence[GraspObject]) -> List[np.ndarray]:
    """(H, W, 3) uint8 for each object: the hand in its first proposal."""
    sim = load_config(["sim=mujoco"]).make_sim(ObjectSet(objects), len(objects))
    placed = [place_grasps(obj, obj.proposals.take(np.arange(1))) for obj in objects]
    object_pose, root_pose, joint_pos = (torch.cat(poses).float() for poses in zip(*placed))
    sim.reset(torch.arange(len(objects)), root_pose, joint_pos, object_pose)
    return [sim.render(i, TILE, TILE, closeup=True) for i in range(len(objects))]


def _sheet(objects: Sequence[GraspObject], columns: int, picture: Callable[[int], np.ndarray]) -> np.ndarray:
    """The pictures of all objects, by their number, with their names."""
    shown = tqdm(objects, unit="object", disable=not sys.stderr.isatty())
    pictures = [images.add_label(picture(i), obj.name) for i, obj in enumerate(shown)]
    return images.tile(pictures, min(columns, len(pictures)))


def build_objects(args: argparse.Namespace) -> None:
    """Make or read every object of the set, fill the caches on the way, and say what there is."""
    start = time.perf_counter()
    with _printed(loading.LOG):
        objects = make_objects(args.config)
    print(f"{len(objects)} objects in {time.perf_counter() - start:.1f} s; {_counts(objects)}")
    pieces = [len(obj.pieces) for obj in objects]
    print(f"{sum(pieces)} convex pieces, {max(pieces)} at most in one object")
    shapes = hashlib.sha256("".join(f"{obj.name} {shape_hash(obj)}\n" for obj in objects).encode()).hexdigest()[:16]
    print(f"shapes {shapes}, the same wherever the same set is built")


@contextmanager
def _printed(log: logging.Logger) -> Iterator[None]:
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
    check_can_write(args.out)
    if not isinstance(args.config, ZooConfig):
        raise UserError("only the zoo has splits of its own: objects=zoo")
    write_splits(args.out, args.config.seed)
    print(f"written to {args.out}")


def _counts(objects: ObjectSet) -> str:
    splits = Counter(obj.split for obj in objects)
    return ", ".join(f"{count} {split}" for split, count in splits.items())
