"""Where the hand's parts are for given joint positions: its collision shapes as spheres, without a simulator."""

import xml.etree.ElementTree as ET
from functools import lru_cache
from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.errors import UserError
from resdex_tasks.shadow_hand import FINGERS, JOINTS, asset_root

COLLISION_CLASS = "robot0:DC_Hand"
SPACING = 0.012
"""m between the spheres that fill a box."""


class _Body(NamedTuple):
    parent: int
    """Index of the body it hangs on; -1: none, it is the palm."""
    position: np.ndarray
    rotation: Rotation
    """Of its frame in the parent's, all joints at 0."""
    joint: Optional[int]
    """Index in `JOINTS`."""
    axis: np.ndarray
    centres: np.ndarray
    """(S, 3) of its spheres, in its frame."""
    radii: np.ndarray
    finger: int
    """Which of `FINGERS` it belongs to; -1: the palm."""
    range: np.ndarray
    """(2,) limits of its joint, rad."""


class Spheres(NamedTuple):
    """Spheres that fill the hand's collision shapes."""

    centres: np.ndarray
    """(K, S, 3) m, in the frame of the hand's root."""
    radii: np.ndarray
    """(S,) m"""
    finger: np.ndarray
    """(S,) int: which of `FINGERS` a sphere belongs to; -1: the palm."""


def hand_spheres(joint_pos: np.ndarray) -> Spheres:
    """The hand's spheres in K postures.

    Args:
        joint_pos: (K, 22) rad.
    """
    bodies = _bodies()
    rotations: List[Rotation] = []
    positions: List[np.ndarray] = []
    centres = []
    for body in bodies:
        if body.parent < 0:
            rotation = Rotation.from_quat(np.tile([0.0, 0.0, 0.0, 1.0], (len(joint_pos), 1)))
            position = np.zeros((len(joint_pos), 3))
        else:
            above = rotations[body.parent]
            position = positions[body.parent] + above.apply(body.position)
            rotation = above * body.rotation
        if body.joint is not None:
            rotation = rotation * Rotation.from_rotvec(joint_pos[:, body.joint, None] * body.axis)
        rotations.append(rotation)
        positions.append(position)
        matrix = rotation.as_matrix()
        centres.append(np.einsum("kij,sj->ksi", matrix, body.centres) + position[:, None])
    return Spheres(
        np.concatenate(centres, axis=1),
        np.concatenate([body.radii for body in bodies]),
        np.concatenate([np.full(len(body.radii), body.finger) for body in bodies]),
    )


def joint_ranges() -> np.ndarray:
    """(22, 2) lower and upper limit of every joint, rad."""
    found = {body.joint: body.range for body in _bodies() if body.joint is not None}
    return np.array([found[i] for i in range(len(JOINTS))])


@lru_cache(maxsize=1)
def _bodies() -> Tuple[_Body, ...]:
    path = asset_root() / "hand" / "robot.xml"
    palm = next((b for b in ET.parse(path).iter("body") if b.get("name") == "robot0:palm"), None)
    if palm is None:
        raise UserError(f"{path} has no body 'robot0:palm'")
    found: List[_Body] = []

    def visit(element: ET.Element, parent: int) -> None:
        joint = element.find("joint")
        name = None if joint is None else joint.get("name").split(":")[1]
        shapes = [_spheres(g) for g in element.findall("geom") if g.get("class") == COLLISION_CLASS]
        found.append(
            _Body(
                parent,
                _numbers(element.get("pos", "0 0 0")),
                _rotation(element),
                JOINTS.index(name) if name in JOINTS else None,
                np.zeros(3) if joint is None else _unit(_numbers(joint.get("axis"))),
                np.concatenate([np.zeros((0, 3)), *(c for c, _ in shapes)]),
                np.concatenate([np.zeros(0), *(r for _, r in shapes)]),
                next((i for i, f in enumerate(FINGERS) if element.get("name").startswith(f"robot0:{f.lower()}")), -1),
                np.zeros(2) if joint is None else _numbers(joint.get("range")),
            )
        )
        index = len(found) - 1
        for child in element.findall("body"):
            visit(child, index)

    visit(palm, -1)
    return tuple(found)


def _spheres(geom: ET.Element) -> Tuple[np.ndarray, np.ndarray]:
    """Centres (S, 3) and radii (S,) of a geom's spheres."""
    centre, size = _numbers(geom.get("pos", "0 0 0")), _numbers(geom.get("size"))
    if geom.get("type") == "capsule":
        radius, half = size
        offsets = np.zeros((3, 3))
        offsets[:, 2] = (-half, 0.0, half)
        return centre + offsets, np.full(3, radius)
    # a flat box: spheres as thick as it is, side by side
    radius = size.min()
    ticks = [np.linspace(-1, 1, max(1, round(2 * s / SPACING))) * (s - radius) for s in size]
    grid = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = np.unique(grid, axis=0)
    return centre + grid, np.full(len(grid), radius)


def _rotation(element: ET.Element) -> Rotation:
    if "axisangle" in element.attrib:
        *axis, angle = _numbers(element.get("axisangle"))
        return Rotation.from_rotvec(angle * _unit(np.array(axis)))
    return Rotation.identity()


def _numbers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.float64)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
