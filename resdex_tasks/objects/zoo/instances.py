"""One object of the zoo: a shape of its category, scaled so that the hand can grasp it where it rests."""

import zlib
from typing import List, Optional, Tuple

import numpy as np
from numpy.random import Generator

from resdex_tasks.objects.dexgraspnet.lists import SCALES
from resdex_tasks.objects.geometry.convex import mass_centre, quick_convex_piece
from resdex_tasks.objects.geometry.placements import MAX_ABOVE_FRAME, MAX_REST_HEIGHT, LyingPose, lying_poses
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject
from resdex_tasks.objects.top_down import top_down_proposals
from resdex_tasks.objects.zoo.categories import CATEGORIES
from resdex_tasks.objects.zoo.solids import Shape, stretched
from resdex_tasks.objects.zoo.splits import instance_name

LENGTH = (min(SCALES), max(SCALES))
"""m, an object's longest extent along an axis of its frame."""
LARGE_LENGTH = (min(SCALES), 0.30)
"""The same of large objects: what stands in a kitchen, as large as DexGraspNet's at its largest scale."""
JITTER = 0.07
"""The length is one of `SCALES`, up to this fraction more or less."""
MAX_WIDTH, MAX_LARGE_WIDTH = 0.085, 0.09
"""m, `grasp_width` at rest: the hand closes around it."""
MIN_TOP = 0.012
"""m, least height of an object at rest: for flatter ones, fingers scratch the table."""
MIN_MARGIN = 0.0025
"""m, least distance of the centre of mass from the edge of the face on which an object rests."""
MIN_TIP_DEGREES = 11.0
"""degrees, least tilt at which an object at rest falls over: the facets of a 16-sided prism just pass."""
NATURAL_FRACTION = 0.8
"""Fraction of the objects that rest as their category naturally does, if they can; chance decides for the others."""
STRETCH = np.array([(0.9, 0.9, 0.85), (1.1, 1.1, 1.15)])
"""Every shape is made longer or shorter along x, y and z within these factors: no two cans are equally round."""
MAX_POSES = 3
MAX_DRAWS = 200


def build_instance(category: str, index: int, seed: int, split: str, large: bool = False) -> GraspObject:
    """Instance `index` of a category. Its shape depends on category, index and seed alone; `split` is only recorded.

    Args:
        large: the same shape, as large as such things are at home: nearer to the limits of the hand and the task.
    """
    rng = np.random.default_rng([seed, zlib.crc32(category.encode()), index])
    name = instance_name(category, index, large)
    for _ in range(MAX_DRAWS):
        drawn = _fitted(stretched(CATEGORIES[category](rng), *rng.uniform(*STRETCH)), rng, large)
        if drawn is not None:
            pieces, rotations = drawn
            vertices = np.concatenate([piece.vertices for piece in pieces])
            proposals = top_down_proposals(vertices, rotations)
            return GraspObject(name, category, split, tuple(pieces), proposals)
    raise RuntimeError(f"no shape of {MAX_DRAWS} for '{name}' fits the hand")


def _fitted(shape: Shape, rng: Generator, large: bool) -> Optional[Tuple[List[ConvexPiece], np.ndarray]]:
    """Pieces in metres and rest rotations (P, 4) of a shape of any size; None where no size makes it graspable."""
    pieces = [quick_convex_piece(points) for points in shape]
    centre = mass_centre(pieces)
    vertices = np.concatenate([piece.vertices for piece in pieces]) - centre
    length = np.ptp(vertices, axis=0).max()
    poses = lying_poses(vertices / length, MIN_TIP_DEGREES)
    if rng.random() < NATURAL_FRACTION:
        poses.sort(key=lambda pose: not pose.natural)  # stable: the likeliest first among equals
    wanted = rng.choice(SCALES) * rng.uniform(1 - JITTER, 1 + JITTER)
    elsewhere = rng.random()
    for pose in poses:
        sizes = _sizes(pose)
        if sizes is not None:
            low, high = sizes
            size = wanted if low <= wanted <= high else low + elsewhere * (high - low)
            limits = _sizes(pose, large) if large else None
            if limits is not None:  # in the upper half of what is left above the size that it has otherwise
                size = limits[1] - rng.random() * (limits[1] - size) / 2
            kept = [pose, *(other for other in poses if other is not pose and _fits(other, size, large))]
            scaled = [ConvexPiece((piece.vertices - centre) * (size / length), piece.faces) for piece in pieces]
            return scaled, np.array([other.rotation for other in kept[:MAX_POSES]])
    return None


def _sizes(pose: LyingPose, large: bool = False) -> Optional[np.ndarray]:
    """(2,) the least and greatest length, m, at which an object is graspable in a pose; None: there is none."""
    shortest, longest = LARGE_LENGTH if large else LENGTH
    low = max(shortest, MIN_TOP / pose.top, MIN_MARGIN / pose.margin)
    above = max(pose.top - pose.height, 1e-9)
    widest = MAX_LARGE_WIDTH if large else MAX_WIDTH
    high = min(longest, widest / pose.width, MAX_REST_HEIGHT / pose.height, MAX_ABOVE_FRAME / above)
    return np.array([low, high]) if low <= high else None


def _fits(pose: LyingPose, size: float, large: bool) -> bool:
    sizes = _sizes(pose, large)
    return sizes is not None and bool(sizes[0] <= size <= sizes[1])
