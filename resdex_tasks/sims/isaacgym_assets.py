"""The hand and the objects as files that Isaac Gym's importer reads, written once into the user's cache.

Everything is explicit, without classes or includes: the importer knows a part of MJCF and drops what it does not know.
"""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Dict, NamedTuple

from resdex_tasks.hand.description import COLLISION_CLASS, child, describe_hand
from resdex_tasks.objects.geometry.convex import few_vertices, quick_convex_piece
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject
from resdex_tasks.sims.isaacgym_config import IsaacGymPhysicsConfig
from resdex_tasks.utils.disk_cache import cache_folder, cache_key
from resdex_tasks.utils.files import write_text

VERSION = "assets 1"
JOINT_MARGIN = "0.01"
"""rad, the hand file's: how near to its limit a joint feels it."""


class HandAsset(NamedTuple):
    """A written hand, and what its file says that the adapter sets again by hand."""

    path: Path
    efforts: Dict[str, float]
    """Nm, of the drive of each actuated joint."""
    num_shapes: int


def hand_mass() -> float:
    """kg, of the palm and the fingers as the model's file has them."""
    bodies = describe_hand(1.0).palm.iter("body")
    return sum(float(child(body, "inertial").attrib["mass"]) for body in bodies)


def write_hand(physics: IsaacGymPhysicsConfig, palm_mass: float, palm_inertia: float) -> HandAsset:
    """The hand as MJCF.

    Args:
        palm_mass: kg; palm_inertia: kg m^2, about every axis (`isaacgym_wrist`).

    Raises:
        UserError: the cache's folder cannot be written, or the package with the hand's model is missing.
    """
    hand = describe_hand(physics.finger_gain)
    palm, num_shapes = hand.palm, 0
    child(palm, "inertial").attrib.update(mass=str(palm_mass), diaginertia=" ".join([str(palm_inertia)] * 3))
    for body in palm.iter("body"):
        for part in [p for p in body if p.tag == "site" or (p.tag == "geom" and p.get("class") != COLLISION_CLASS)]:
            body.remove(part)
    for joint in palm.iter("joint"):
        joint.attrib.pop("user", None)
        joint.attrib.update(
            limited="true",
            damping=str(physics.joint_damping),
            armature=str(physics.joint_armature),
            margin=JOINT_MARGIN,
        )
    for geom in palm.iter("geom"):
        num_shapes += 1
        for attribute in ("class", "rgba"):
            geom.attrib.pop(attribute, None)
        # the hand touches others; its own geoms touch each other only in the pairs below
        geom.attrib.update(contype="1", conaffinity="0")
    efforts = {}
    for actuator in hand.actuators:
        efforts[actuator.attrib["joint"]] = float(actuator.attrib["forcerange"].split()[1])
        for attribute in ("class", "user"):
            actuator.attrib.pop(attribute, None)
        actuator.attrib.update(ctrllimited="true", forcelimited="true")
    root = ET.Element("mujoco", model="shadow_hand")
    ET.SubElement(root, "compiler", angle="radian", coordinate="local")
    ET.SubElement(root, "worldbody").append(palm)
    root.append(hand.contact)
    ET.SubElement(root, "tendon").extend(hand.tendons)
    ET.SubElement(root, "actuator").extend(hand.actuators)
    text = ET.tostring(root, encoding="unicode")
    return HandAsset(_written("hand", text, {}), efforts, num_shapes)


def write_object(obj: GraspObject, max_vertices: int) -> Path:
    """The object as URDF with one convex mesh for every piece; without a mass, which follows from the density.

    Args:
        max_vertices: of a piece; a rounder one is cut to so many corners.

    Raises:
        UserError: the cache's folder cannot be written.
    """
    root = ET.Element("robot", name="object")
    link = ET.SubElement(root, "link", name="object")
    meshes = {}
    for index, piece in enumerate(obj.pieces):
        meshes[f"piece{index}.obj"] = _wavefront(piece, max_vertices)
        geometry = ET.SubElement(ET.SubElement(link, "collision"), "geometry")
        ET.SubElement(geometry, "mesh", filename=f"piece{index}.obj", scale="1 1 1")
    return _written("object", ET.tostring(root, encoding="unicode"), meshes)


def _wavefront(piece: ConvexPiece, max_vertices: int) -> str:
    if len(piece.vertices) > max_vertices:
        piece = quick_convex_piece(few_vertices(piece.vertices, max_vertices))
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in piece.vertices.tolist()]
    return "\n".join([*lines, *(f"f {a + 1} {b + 1} {c + 1}" for a, b, c in piece.faces.tolist()), ""])


def _written(kind: str, text: str, meshes: Dict[str, str]) -> Path:
    """The file of this content; it appears last, so that what it names is there."""
    folder = cache_folder() / "isaacgym" / cache_key([VERSION, kind, text, *meshes.items()])
    path = folder / f"{kind}.{'xml' if kind == 'hand' else 'urdf'}"
    if not path.exists():
        for name, mesh in meshes.items():
            write_text(folder / name, mesh)
        write_text(path, text)
    return path
