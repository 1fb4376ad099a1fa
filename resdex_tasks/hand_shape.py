"""Where the ShadowHand's surface is for given joint positions, from its model's file and without any simulator."""

import itertools
import xml.etree.ElementTree as ET
from functools import lru_cache
from typing import List, NamedTuple, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.shadow_hand import JOINTS, asset_root


class _Body(NamedTuple):
    parent: int
    """Index of the body it hangs on; -1: it is the palm."""
    position: np.ndarray
    rotation: Rotation
    joint: int
    """Index in `JOINTS`; -1: the palm, which has none here."""
    axis: np.ndarray
    centres: np.ndarray
    """(S, 3) of spheres whose hulls are the body's collision shapes: the ends of capsules, the corners of boxes."""
    radii: np.ndarray


def hand_spheres(rotation: np.ndarray, translation: np.ndarray, joint_pos: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Spheres whose hull, body by body, is the hand's collision shape.

    Args:
        rotation: (P, 4) quaternions xyzw of the palm.
        translation: (P, 3) position of the palm, m.
        joint_pos: (P, 22) in the order of `JOINTS`, rad.

    Returns:
        centres (P, S, 3) and radii (S,), m.
    """
    poses: List[Tuple[Rotation, np.ndarray]] = []
    centres = []
    for body in _bodies():
        if body.parent < 0:
            turn, place = Rotation.from_quat(rotation), np.asarray(translation)
        else:
            parent_turn, parent_place = poses[body.parent]
            bend = Rotation.from_rotvec(joint_pos[:, body.joint, None] * body.axis)
            turn, place = parent_turn * body.rotation * bend, parent_place + parent_turn.apply(body.position)
        poses.append((turn, place))
        centres += [place + turn.apply(centre) for centre in body.centres]
    return np.stack(centres, axis=1), np.concatenate([body.radii for body in _bodies()])


@lru_cache(maxsize=None)
def _bodies() -> Tuple[_Body, ...]:
    """Palm and fingers, every body after the one that it hangs on."""
    text = (asset_root() / "hand" / "robot.xml").read_text(encoding="utf-8").replace("robot0:", "")
    palm = next(body for body in ET.fromstring(text).iter("body") if body.get("name") == "palm")
    bodies: List[_Body] = []

    def add(element: ET.Element, parent: int) -> None:
        joint = element.find("joint") if parent >= 0 else None
        turn = _numbers(element, "axisangle", "0 0 1 0")
        shapes = [_spheres(geom) for geom in element.findall("geom") if geom.get("class") == "DC_Hand"]
        bodies.append(
            _Body(
                parent,
                _numbers(element, "pos", "0 0 0"),
                Rotation.from_rotvec(turn[3] * turn[:3]),
                -1 if joint is None else JOINTS.index(joint.get("name")),
                np.zeros(3) if joint is None else _unit(_numbers(joint, "axis", "0 0 1")),
                np.concatenate([np.zeros((0, 3)), *(centres for centres, _ in shapes)]),
                np.concatenate([np.zeros(0), *(radii for _, radii in shapes)]),
            )
        )
        index = len(bodies) - 1
        for child in element.findall("body"):
            add(child, index)

    add(palm, -1)
    return tuple(bodies)


def _spheres(geom: ET.Element) -> Tuple[np.ndarray, np.ndarray]:
    """Centres and radii of a box's corners or a capsule's ends; the model turns neither against its body."""
    centre, size = _numbers(geom, "pos", "0 0 0"), _numbers(geom, "size", "")
    if geom.get("type") == "box":
        corners = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
        return centre + corners * size, np.zeros(len(corners))
    radius, half_length = size
    return centre + np.array([[0.0, 0.0, -half_length], [0.0, 0.0, half_length]]), np.array([radius, radius])


def _numbers(element: ET.Element, attribute: str, default: str) -> np.ndarray:
    return np.array(element.get(attribute, default).split(), dtype=np.float64)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
