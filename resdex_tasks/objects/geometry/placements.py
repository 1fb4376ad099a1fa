"""Placements: the poses in which a body lies on the table, with the measures that a hand from above meets."""

from typing import List, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.geometry.stable_poses import rest_poses, rotation_to_up

MAX_REST_HEIGHT = 0.09
"""m, greatest height of the frame at rest: the task lets the frame fall from 0.1 m."""
MAX_ABOVE_FRAME = 0.06
"""m, greatest height of an object's top above its frame: the task's hand waits 0.2 m above the table, and the frame
falls from 0.1 m."""
NATURAL_TILT = 25.0
"""degrees by which a natural pose may be tilted: a hammer lies on its head and the end of its handle."""
ALIKE = 0.003
"""Poses whose heights and margins differ by less than this fraction of the length are one: the sides of a cylinder."""

HEADINGS = np.radians(np.arange(0, 180, 5))
"""(36,) rad: the horizontal directions in which widths are measured; the other half circle has the same widths."""
_DIRECTIONS = np.stack([np.cos(HEADINGS), np.sin(HEADINGS)])


class LyingPose(NamedTuple):
    """A pose at rest; lengths are fractions of the object's length."""

    rotation: np.ndarray
    """(4,) xyzw from the object's frame to the table's, the narrowest side along y."""
    height: float
    """Of the centre of mass above the table."""
    top: float
    """Of the object, above the table."""
    margin: float
    """See `RestPoses`."""
    width: float
    """Narrowest extent seen from above."""
    natural: bool
    """Whether the frame's z points up, give or take `NATURAL_TILT`."""


def lying_poses(vertices: np.ndarray, min_tip_degrees: float) -> List[LyingPose]:
    """The distinct poses of a body of length 1, from its vertices (V, 3) about its centre of mass, the likeliest first.

    Poses from which a tilt of less than `min_tip_degrees` makes it fall over are left out; there may be none.
    """
    found = rest_poses(vertices, min_tip_degrees=min_tip_degrees)
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
        extents = widths(upright.apply(vertices))
        narrowest = int(np.argmin(extents))
        yaw = Rotation.from_euler("z", np.pi / 2 - HEADINGS[narrowest])
        poses.append(
            LyingPose(
                (yaw * upright).as_quat(),
                float(found.height[i]),
                float(tops[i]),
                float(found.margin[i]),
                float(extents[narrowest]),
                bool(natural[i]),
            )
        )
    return poses


def grasp_width(rested: np.ndarray) -> float:
    """The narrowest extent of an object, seen from above, among directions 5 degrees apart.

    The object fits between two parallel upright plates this far apart, so a hand that opens wider can take it from
    above.

    Args:
        rested: (V, 3) its vertices as it rests on the table, m.
    """
    return float(widths(rested).min())


def widths(rested: np.ndarray) -> np.ndarray:
    """(36,) m, how wide an object with vertices `rested` (V, 3) is along each of `HEADINGS`."""
    return np.ptp(rested[:, :2] @ _DIRECTIONS, axis=0)
