"""Geometry of the ShadowHand for given joint positions, from its model's file and without any simulator."""

import itertools
import xml.etree.ElementTree as ET
from functools import lru_cache
from typing import List, NamedTuple, Tuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from resdex_tasks.hand.shadow_hand import FINGERS, JOINTS, asset_root
from resdex_tasks.utils.rotations import matrix_quat, quat_mul, quat_rotate

SPACING = 0.012
"""m between the spheres that fill a box."""
PALM = -1
"""In place of a finger's index."""


class _Shape(NamedTuple):
    """Spheres in their body's frame."""

    centres: np.ndarray
    """(S, 3) m"""
    radii: np.ndarray
    """(S,) m"""


class _Body(NamedTuple):
    name: str
    parent: int
    """Index of the parent body; -1: this is the palm."""
    position: np.ndarray
    """(3,) m, of its frame in the parent's."""
    rotation: np.ndarray
    """(3, 3) orientation of its frame in the parent's when its joint is at 0."""
    joint: int
    """Index in `JOINTS`; -1: the palm, which has no joint."""
    cross: np.ndarray
    """(3, 3) matrix of the cross product with its joint's axis."""
    range: np.ndarray
    """(2,) lower and upper limit of its joint, rad."""
    finger: int
    """Index in `FINGERS`, or `PALM`."""
    hull: _Shape
    """Spheres whose hull is the body's collision shape: the ends of capsules, the corners of boxes (radius 0)."""
    filling: _Shape
    """Spheres that lie inside the body's collision shapes and fill them."""


class Spheres(NamedTuple):
    """Spheres that fill the hand's collision shapes."""

    centres: np.ndarray
    """(P, S, 3) m, in the frame of the hand's root."""
    radii: np.ndarray
    """(S,) m"""
    finger: np.ndarray
    """(S,) int: index in `FINGERS` of the finger that a sphere belongs to; `PALM`: the palm."""


def hand_spheres(joint_pos: np.ndarray) -> Spheres:
    """The hand as a body of spheres, for distances.

    Args:
        joint_pos: (P, 22) in the order of `JOINTS`, rad.
    """
    shapes = [body.filling for body in _bodies()]
    fingers = [np.full(len(body.filling.radii), body.finger) for body in _bodies()]
    return Spheres(_placed(shapes, joint_pos), np.concatenate([s.radii for s in shapes]), np.concatenate(fingers))


class FingerSpheres:
    """The spheres of the fingers for many hands at once, in float32 on any device."""

    def __init__(self, device: torch.device) -> None:
        shapes = [_joined([]) if body.finger == PALM else body.filling for body in _bodies()]
        self._chain = Chain(shapes, torch.float32, device)
        self.radii = torch.tensor(np.concatenate([s.radii for s in shapes]), dtype=torch.float32, device=device)
        """(S,) m"""

    def __call__(self, joint_pos: Tensor) -> Tensor:
        """(N, S, 3) m, in the frame of the hand's root, of joint positions (N, 22), rad."""
        return self._chain(joint_pos)


def palm_boxes() -> np.ndarray:
    """(B, 2, 3) lowest and highest corner of the palm's boxes, m, in the frame of the hand's root."""
    corners = _bodies()[0].hull.centres.reshape(-1, 8, 3)
    return np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)


def hand_hull(rotation: np.ndarray, translation: np.ndarray, joint_pos: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Spheres whose hull, body by body, is the hand's collision shape: they give its extent in any direction.

    Args:
        rotation: (P, 4) quaternions xyzw of the palm.
        translation: (P, 3) position of the palm, m.
        joint_pos: (P, 22) in the order of `JOINTS`, rad.

    Returns:
        centres (P, S, 3) and radii (S,), m.
    """
    shapes = [body.hull for body in _bodies()]
    turn = Rotation.from_quat(rotation).as_matrix()
    centres = np.einsum("pij,psj->psi", turn, _placed(shapes, joint_pos)) + np.asarray(translation)[:, None]
    return centres, np.concatenate([shape.radii for shape in shapes])


def lowest_point(rotation: np.ndarray, translation: np.ndarray, joint_pos: np.ndarray) -> np.ndarray:
    """(P,) m, the height of the lowest point of hands; the arguments are those of `hand_hull`."""
    centres, radii = hand_hull(rotation, translation, joint_pos)
    return (centres[..., 2] - radii).min(axis=1)


def joint_ranges() -> np.ndarray:
    """(22, 2) lower and upper limit of every joint, rad."""
    found = {body.joint: body.range for body in _bodies()}
    return np.array([found[i] for i in range(len(JOINTS))])


def _placed(shapes: List[_Shape], joint_pos: np.ndarray) -> np.ndarray:
    """(P, S, 3) centres of the bodies' shapes in the palm's frame."""
    chain = Chain(shapes, torch.float64, torch.device("cpu"))
    return chain(torch.from_numpy(np.asarray(joint_pos, dtype=np.float64))).numpy()


class _Link(NamedTuple):
    """A `_Body` as tensors, with points that are fixed to it."""

    parent: int
    joint: int
    position: Tensor
    rotation: Tensor
    cross: Tensor
    cross_twice: Tensor
    """`cross` @ `cross`"""
    centres: Tensor
    """(S, 3) m"""


class Chain:
    """Forward kinematics of the hand: where points that are fixed to its bodies are.

    Args:
        shapes: for each body, the points in its frame.
    """

    def __init__(self, shapes: List[_Shape], dtype: torch.dtype, device: torch.device) -> None:
        def tensor(values: np.ndarray) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        def link(body: _Body, shape: _Shape) -> _Link:
            position, rotation, cross = map(tensor, (body.position, body.rotation, body.cross))
            return _Link(body.parent, body.joint, position, rotation, cross, cross @ cross, tensor(shape.centres))

        self._links = [link(body, shape) for body, shape in zip(_bodies(), shapes)]

    def __call__(self, joint_pos: Tensor) -> Tensor:
        """(P, S, 3) in the palm's frame, of joint positions (P, 22), rad."""
        turns, places = self.frames(joint_pos)
        parts = zip(self._links, turns, places)
        return torch.cat([link.centres @ turn.transpose(1, 2) + place[:, None] for link, turn, place in parts], dim=1)

    def frames(self, joint_pos: Tensor) -> Tuple[List[Tensor], List[Tensor]]:
        """Orientation (P, 3, 3) and position (P, 3) of every body's frame in the palm's, in the order of `body_names`,
        of joint positions (P, 22), rad."""
        turns: List[Tensor] = []
        places: List[Tensor] = []
        sines, rests = joint_pos.sin()[..., None, None], (1 - joint_pos.cos())[..., None, None]
        one = torch.eye(3, dtype=self._links[0].position.dtype, device=self._links[0].position.device)
        for link in self._links:
            if link.parent < 0:
                turn, place = one.expand(len(joint_pos), 3, 3), link.position.new_zeros(len(joint_pos), 3)
            else:
                above = turns[link.parent]
                place = places[link.parent] + above @ link.position
                # Rodrigues' formula
                own = one + sines[:, link.joint] * link.cross + rests[:, link.joint] * link.cross_twice
                turn = above @ (link.rotation @ own)
            turns.append(turn)
            places.append(place)
        return turns, places


def body_names() -> Tuple[str, ...]:
    """Palm and fingers, every body after its parent: (23,)."""
    return tuple(body.name for body in _bodies())


class BodyPoses:
    """Where the hand's bodies are, for many hands at once, in float32 on any device."""

    def __init__(self, device: torch.device) -> None:
        self._chain = Chain([_joined([]) for _ in _bodies()], torch.float32, device)

    def __call__(self, root_pose: Tensor, joint_pos: Tensor) -> Tensor:
        """Poses (P, 23, 7) in the order of `body_names`, of roots (P, 7) and joint positions (P, 22), rad."""
        turns, places = (torch.stack(parts, dim=1) for parts in self._chain.frames(joint_pos))
        position, quat = root_pose[:, None, :3], root_pose[:, None, 3:]
        return torch.cat((position + quat_rotate(quat, places), quat_mul(quat, matrix_quat(turns))), dim=-1)


@lru_cache(maxsize=None)
def _bodies() -> Tuple[_Body, ...]:
    """Palm and fingers, every body after its parent."""
    text = (asset_root() / "hand" / "robot.xml").read_text(encoding="utf-8").replace("robot0:", "")
    palm = next(body for body in ET.fromstring(text).iter("body") if body.get("name") == "palm")
    bodies: List[_Body] = []

    def add(element: ET.Element, parent: int) -> None:
        joint = element.find("joint") if parent >= 0 else None
        turn = _numbers(element, "axisangle", "0 0 1 0")
        geoms = [geom for geom in element.findall("geom") if geom.get("class") == "DC_Hand"]
        prefix = element.attrib["name"][:2].upper()
        bodies.append(
            _Body(
                element.attrib["name"],
                parent,
                _numbers(element, "pos", "0 0 0"),
                Rotation.from_rotvec(turn[3] * _unit(turn[:3])).as_matrix(),
                -1 if joint is None else JOINTS.index(joint.attrib["name"]),
                np.zeros((3, 3)) if joint is None else np.cross(_unit(_numbers(joint, "axis", "0 0 1")), np.eye(3)).T,
                np.zeros(2) if joint is None else _numbers(joint, "range", ""),
                FINGERS.index(prefix) if parent >= 0 else PALM,
                _joined([_hull(geom) for geom in geoms]),
                _joined([_filling(geom) for geom in geoms]),
            )
        )
        index = len(bodies) - 1
        for child in element.findall("body"):
            add(child, index)

    add(palm, -1)
    return tuple(bodies)


def _joined(shapes: List[_Shape]) -> _Shape:
    centres = np.concatenate([np.zeros((0, 3)), *(shape.centres for shape in shapes)])
    return _Shape(centres, np.concatenate([np.zeros(0), *(shape.radii for shape in shapes)]))


def _hull(geom: ET.Element) -> _Shape:
    """A box's corners or a capsule's ends; in the model, neither is turned relative to its body."""
    centre, size = _numbers(geom, "pos", "0 0 0"), _numbers(geom, "size", "")
    if geom.get("type") == "box":
        corners = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
        return _Shape(centre + corners * size, np.zeros(len(corners)))
    radius, half_length = size
    return _Shape(centre + np.array([[0.0, 0.0, -half_length], [0.0, 0.0, half_length]]), np.array([radius, radius]))


def _filling(geom: ET.Element) -> _Shape:
    """A capsule's ends and middle; for a flat box, spheres as thick as it is, side by side."""
    centre, size = _numbers(geom, "pos", "0 0 0"), _numbers(geom, "size", "")
    if geom.get("type") == "box":
        radius = size.min()
        ticks = [np.linspace(-1, 1, max(1, round(2 * s / SPACING))) * (s - radius) for s in size]
        centres = np.unique(np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, 3), axis=0)
        return _Shape(centre + centres, np.full(len(centres), radius))
    radius, half_length = size
    along = np.outer((-half_length, 0.0, half_length), (0.0, 0.0, 1.0))
    return _Shape(centre + along, np.full(3, radius))


def _numbers(element: ET.Element, attribute: str, default: str) -> np.ndarray:
    return np.array(element.get(attribute, default).split(), dtype=np.float64)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
