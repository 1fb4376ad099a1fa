"""How long an imported object is, and whether the task has room for it: known before anything is cut."""

from pathlib import Path
from typing import Optional, Tuple, Union

import numpy as np
import trimesh
from scipy.spatial import ConvexHull

from resdex_tasks.objects.geometry.placements import MAX_ABOVE_FRAME, MAX_REST_HEIGHT, lying_poses
from resdex_tasks.objects.loading import Unusable
from resdex_tasks.utils.errors import UserError

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254}
"""Name -> metres."""
DEFAULT_SIZE = 0.10
"""m"""
MIN_LENGTH, USUAL_LENGTH = 0.01, 0.40
"""m: what is shorter is refused; a unit is guessed in which the length is between these."""
MIN_TIP_DEGREES = (11.0, 3.0, 0.0)
"""degrees by which an object can be tilted before it falls over: the first of these that some pose reaches counts. A
ball has no pose of more than a few degrees."""
MAX_POSES = 3
SLACK = 1.1
"""What is not cut yet may be larger than the task has room for by this factor: its centre of mass is not known."""


def metres_of(unit: Union[str, float, None], size: Optional[float]) -> Optional[float]:
    """Metres in a file's unit of length; None: every object is brought to `size`.

    Raises:
        UserError: the two exclude each other.
    """
    if unit is None:
        return 1.0 if size is None else None
    if size not in (None, DEFAULT_SIZE):
        raise UserError(f"objects.unit={unit} keeps the files' sizes, and objects.size={size:g} changes them: give one")
    return UNITS[unit] if isinstance(unit, str) else unit


def length_of(vertices: np.ndarray) -> float:
    """The longest side of the smallest box, turned in any way, around vertices (V, 3): along the object's own axes."""
    corners = vertices[ConvexHull(vertices).vertices]
    return float(max(trimesh.bounds.oriented_bounds(corners, ordered=False)[1]))


def check_length(length: float, metres: Optional[float], path: Path) -> None:
    """Check the length of an object, m, whose file is in a unit of `metres` (None: it was brought to a size).

    Raises:
        Unusable: it is too short to be one.
    """
    if length < MIN_LENGTH:
        guess, detail = _unit_guess(length, metres)
        raise Unusable(path, f"is too small to be grasped{guess}", f"{100 * length:.2g} cm long{detail}")


def rests(vertices: np.ndarray, path: Path, metres: Optional[float], slack: float = 1.0) -> np.ndarray:
    """(P, 4) the likeliest poses at rest that the task has room for, P >= 1, of vertices (V, 3) about their centre of
    mass, m.

    Args:
        metres: in a unit of the file; None: it was brought to its size.
        slack: by how much it may be larger.

    Raises:
        Unusable: there is none.
    """
    length = np.ptp(vertices, axis=0).max()
    for tip in MIN_TIP_DEGREES:
        poses = lying_poses(vertices / length, tip)
        fitting = [
            pose.rotation
            for pose in poses
            if length * pose.height <= slack * MAX_REST_HEIGHT
            and length * (pose.top - pose.height) <= slack * MAX_ABOVE_FRAME
        ]
        if fitting:
            return np.array(fitting[:MAX_POSES])
    long = length_of(vertices)
    guess, detail = _unit_guess(long, metres)
    advice = guess or "; objects.size sets another size"
    raise Unusable(
        path, f"is too large for the task in every pose at rest{advice}", f"{100 * long:.3g} cm long{detail}"
    )


def _unit_guess(length: float, metres: Optional[float]) -> Tuple[str, str]:
    """What unit a file may be in whose object is this long, m, when it is read in a unit of `metres`; and how long it
    is then. Empty: none is likely."""
    if metres is None:
        return "", ""
    lengths = {name: length / metres * m for name, m in UNITS.items() if abs(m / metres - 1) > 1e-9}
    fitting = {name: at for name, at in lengths.items() if MIN_LENGTH < at < USUAL_LENGTH}
    if not fitting:
        return "", ""
    # a decimetre is what a hand takes: the unit nearest to it
    name = min(fitting, key=lambda unit: abs(np.log(fitting[unit] / DEFAULT_SIZE)))
    return f"; it may be in {name}: objects.unit={name}", f", and {100 * fitting[name]:.3g} cm if it is in {name}"


def hull_about_centre(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) corners of the convex hull of vertices, about its centre of mass."""
    corners = vertices[ConvexHull(vertices).vertices]
    return corners - trimesh.convex.convex_hull(corners).center_mass
