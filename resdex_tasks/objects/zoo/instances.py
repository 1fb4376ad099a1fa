"""One object of the zoo: a shape of its category, brought to a size at which the hand can grasp it where it rests."""

import zlib
from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.convex import mass_centre, quick_convex_piece
from resdex_tasks.objects.dexgraspnet import SCALES
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject
from resdex_tasks.objects.overhead import overhead_proposals
from resdex_tasks.objects.rest import rest_poses, rotation_to_up
from resdex_tasks.objects.zoo.categories import CATEGORIES
from resdex_tasks.objects.zoo.solids import Shape, stretched
from resdex_tasks.objects.zoo.splits import instance_name

LENGTH = (min(SCALES), max(SCALES))
"""m, an object's longest extent along an axis of its frame."""
JITTER = 0.07
"""The length is one of `SCALES`, but for up to this part more or less."""
MAX_WIDTH = 0.085
"""m, `grasp_width` at rest: the hand closes around it."""
MIN_TOP = 0.012
"""m, how high an object reaches at rest: below that, fingers scratch the table."""
MAX_REST_HEIGHT = 0.09
"""m, of the frame at rest: the task lets the frame fall from 0.1 m."""
MAX_ABOVE_FRAME = 0.06
"""m, of an object's top above its frame: the task's hand waits 0.2 m above the table, a fall from 0.1 m below it."""
MIN_MARGIN = 0.0025
"""m, of the centre of mass inside the face on which an object rests."""
MIN_TIP_DEGREES = 11.0
"""By how much an object at rest may be tilted before it falls over: the facets of a 16-sided prism just pass."""
NATURAL_SHARE = 0.8
"""Part of the objects that rest as their category naturally does, if they can; chance decides for the others."""
NATURAL_TILT = 25.0
"""Degrees that a natural pose may be tilted: a hammer lies on its head and the end of its handle."""
STRETCH = np.array([(0.9, 0.9, 0.85), (1.1, 1.1, 1.15)])
"""Every shape is made longer or shorter along x, y and z within these factors: no two cans are equally round."""
MAX_POSES = 3
ALIKE = 0.003
"""Poses of the same heights and margin, but for this part of the length, are one: the sides of a cylinder, say."""
MAX_DRAWS = 200

_HALF_CIRCLE = np.radians(np.arange(0, 180, 5))
_DIRECTIONS = np.stack([np.cos(_HALF_CIRCLE), np.sin(_HALF_CIRCLE)])


class _Pose(NamedTuple):
    """A pose at rest; lengths are parts of the object's length."""

    rotation: np.ndarray
    """(4,) xyzw from the object's frame to the table's, the narrowest side along y."""
    height: float
    top: float
    margin: float
    width: float
    natural: bool


def build_instance(category: str, index: int, seed: int, split: str) -> GraspObject:
    """Instance `index` of a category; it depends on these and nothing else, but for `split`, which is only noted."""
    rng = np.random.default_rng([seed, zlib.crc32(category.encode()), index])
    for _ in range(MAX_DRAWS):
        drawn = _fitted(stretched(CATEGORIES[category](rng), *rng.uniform(*STRETCH)), rng)
        if drawn is not None:
            pieces, rotations = drawn
            vertices = np.concatenate([piece.vertices for piece in pieces])
            proposals = overhead_proposals(vertices, rotations)
            return GraspObject(instance_name(category, index), category, split, tuple(pieces), proposals)
    raise RuntimeError(f"no shape of {MAX_DRAWS} for '{instance_name(category, index)}' fits the hand")


def grasp_width(rested: np.ndarray) -> float:
    """The narrowest an object is, seen from above, among directions 5 degrees apart.

    `rested` (V, 3): its vertices as it rests on the table. Between two parallel upright plates this far apart the whole
    object fits, so a hand that opens wider can take it from above.
    """
    return float(_widths(rested).min())


def _widths(rested: np.ndarray) -> np.ndarray:
    return np.ptp(rested[:, :2] @ _DIRECTIONS, axis=0)


def _fitted(shape: Shape, rng: Generator) -> Optional[Tuple[List[ConvexPiece], np.ndarray]]:
    """Pieces in metres and rest rotations (P, 4) of a shape of any size; None where no size makes it graspable."""
    pieces = [quick_convex_piece(points) for points in shape]
    centre = mass_centre(pieces)
    vertices = np.concatenate([piece.vertices for piece in pieces]) - centre
    length = np.ptp(vertices, axis=0).max()
    poses = _poses(vertices / length)
    if rng.random() < NATURAL_SHARE:
        poses.sort(key=lambda pose: not pose.natural)  # stable: the likeliest first among equals
    wanted = rng.choice(SCALES) * rng.uniform(1 - JITTER, 1 + JITTER)
    elsewhere = rng.random()
    for pose in poses:
        sizes = _sizes(pose)
        if sizes is not None:
            low, high = sizes
            size = wanted if low <= wanted <= high else low + elsewhere * (high - low)
            kept = [pose, *(other for other in poses if other is not pose and _fits(other, size))]
            scaled = [ConvexPiece((piece.vertices - centre) * (size / length), piece.faces) for piece in pieces]
            return scaled, np.array([other.rotation for other in kept[:MAX_POSES]])
    return None


def _poses(vertices: np.ndarray) -> List[_Pose]:
    """The distinct poses of a body of length 1, the likeliest first."""
    found = rest_poses(vertices, min_tip_degrees=MIN_TIP_DEGREES)
    tops = (vertices @ found.up.T).max(axis=0) + found.height if len(found) else np.zeros(0)
    measures = np.stack([found.height, tops, found.margin], axis=1)
    natural = found.up[:, 2] >= np.cos(np.radians(NATURAL_TILT))
    first: List[int] = []
    chance: List[float] = []
    for i, measure in enumerate(measures):
        alike = [k for k, j in enumerate(first) if np.abs(measures[j] - measure).max() < ALIKE]
        if alike:
            chance[alike[0]] += found.probability[i]
            if natural[i] and not natural[first[alike[0]]]:
                first[alike[0]] = i
        else:
            first.append(i)
            chance.append(found.probability[i])
    poses = []
    for k in np.argsort(-np.array(chance), kind="stable"):
        i = first[k]
        upright = Rotation.from_quat(rotation_to_up(found.up[i]))
        widths = _widths(upright.apply(vertices))
        narrowest = int(np.argmin(widths))
        yaw = Rotation.from_euler("z", np.pi / 2 - _HALF_CIRCLE[narrowest])
        poses.append(
            _Pose(
                (yaw * upright).as_quat(),
                float(found.height[i]),
                float(tops[i]),
                float(found.margin[i]),
                float(widths[narrowest]),
                bool(natural[i]),
            )
        )
    return poses


def _sizes(pose: _Pose) -> Optional[np.ndarray]:
    """(2,) the least and greatest length, m, at which an object is graspable in a pose; None: there is none."""
    low = max(LENGTH[0], MIN_TOP / pose.top, MIN_MARGIN / pose.margin)
    above = max(pose.top - pose.height, 1e-9)
    high = min(LENGTH[1], MAX_WIDTH / pose.width, MAX_REST_HEIGHT / pose.height, MAX_ABOVE_FRAME / above)
    return np.array([low, high]) if low <= high else None


def _fits(pose: _Pose, size: float) -> bool:
    sizes = _sizes(pose)
    return sizes is not None and bool(sizes[0] <= size <= sizes[1])
