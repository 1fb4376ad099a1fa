"""What the importer makes of a file: bodies, joints and shapes, and what it drops or refuses."""

import copy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np

from . import settings
from .structs import (
    DOF_PROPERTIES,
    AssetOptions,
    DofDriveMode,
    ForceSensorProperties,
    Misuse,
    RigidShapeProperties,
    TendonProperties,
    Transform,
)

ACTUATORS = {"motor", "position", "velocity"}
UNLIMITED = 3.4e38
Piece = Tuple[np.ndarray, np.ndarray]


class Asset:
    """An imported file, or a box."""

    def __init__(self, options: Optional[AssetOptions]) -> None:
        self.options = copy.deepcopy(options) if options is not None else AssetOptions()
        self.bodies: List[str] = []
        self.dofs: List[str] = []
        self.dof_props = np.zeros(0, DOF_PROPERTIES)
        self.actuated: List[str] = []
        self.tendons: List[str] = []
        self.tendon_props: List[TendonProperties] = []
        self.shapes: List[RigidShapeProperties] = []
        self.sensors: List[Tuple[int, Transform, ForceSensorProperties]] = []
        self.mjcf: Optional[ET.Element] = None
        self.pieces: List[Piece] = []
        self.box: Tuple[float, float, float] = (0.0, 0.0, 0.0)
        self.used = False
        """An actor was made of it: it is fixed from then on."""

    def check_open(self) -> None:
        if self.used:
            raise Misuse("an asset cannot change once an actor was made of it")


def load_mjcf(path: Path, options: Optional[AssetOptions]) -> Asset:
    asset, root = Asset(options), ET.parse(str(path)).getroot()
    world = root.find("worldbody")
    roots = [] if world is None else world.findall("body")
    if len(roots) != 1:
        raise Misuse(f"{path.name} has {len(roots)} root bodies; the importer takes one")
    unknown = sorted({a.tag for part in root.findall("actuator") for a in part} - ACTUATORS)
    if unknown:
        raise Misuse(f"{path.name} has <{unknown[0]}> among its actuators; the importer takes {', '.join(ACTUATORS)}")
    asset.bodies = [body.attrib["name"] for body in roots[0].iter("body")]
    # in the order of the bodies, parents first
    joints = [joint for body in roots[0].iter("body") for joint in body.findall("joint")]
    asset.dofs = [joint.attrib["name"] for joint in joints]
    if settings.permute:
        asset.bodies = [asset.bodies[0], *asset.bodies[:0:-1]]
        joints.reverse()
        asset.dofs.reverse()
    actuators = {a.attrib["joint"]: a for part in root.findall("actuator") for a in part}
    asset.actuated = list(actuators)
    asset.dof_props = np.zeros(len(joints), DOF_PROPERTIES)
    # dropped on import: ranges, limits of force, friction, armature
    asset.dof_props["effort"], asset.dof_props["velocity"] = UNLIMITED, UNLIMITED
    for row, joint in zip(asset.dof_props, joints):
        row["damping"] = float(joint.get("damping", 0))
        actuator = actuators.get(joint.attrib["name"])
        if actuator is not None and actuator.tag == "position":
            row["driveMode"], row["stiffness"] = int(DofDriveMode.DOF_MODE_POS), float(actuator.get("kp", 1))
    for part in root.findall("actuator"):
        root.remove(part)
    for joint in joints:
        for dropped in ("frictionloss", "armature", "damping"):
            joint.attrib.pop(dropped, None)
    asset.tendons = [t.attrib["name"] for part in root.findall("tendon") for t in part]
    asset.tendon_props = [TendonProperties() for _ in asset.tendons]
    asset.shapes = [RigidShapeProperties() for _ in roots[0].iter("geom")]
    asset.mjcf = root
    return asset


def load_urdf(path: Path, options: Optional[AssetOptions], on_gpu: bool) -> Asset:
    asset, root = Asset(options), ET.parse(str(path)).getroot()
    links = root.findall("link")
    if len(links) != 1:
        raise Misuse(f"{path.name} has {len(links)} links; the double takes one")
    asset.bodies = [links[0].attrib["name"]]
    most = 64 if on_gpu else 255
    for mesh in links[0].findall("collision/geometry/mesh"):
        vertices, faces = _read_obj(path.parent / mesh.attrib["filename"])
        if len(vertices) > most:
            raise Misuse(f"{mesh.attrib['filename']} has {len(vertices)} corners; a hull has at most {most}")
        asset.pieces.append((vertices * [float(s) for s in mesh.get("scale", "1 1 1").split()], faces))
    asset.shapes = [RigidShapeProperties() for _ in asset.pieces]
    return asset


def _read_obj(path: Path) -> Piece:
    lines = [line.split() for line in path.read_text().splitlines()]
    vertices = [[float(x) for x in words[1:4]] for words in lines if words and words[0] == "v"]
    faces = [[int(x.split("/")[0]) - 1 for x in words[1:4]] for words in lines if words and words[0] == "f"]
    return np.array(vertices), np.array(faces)


def make_box(size: Tuple[float, float, float], options: Optional[AssetOptions]) -> Asset:
    asset = Asset(options)
    asset.bodies, asset.box, asset.shapes = ["box"], size, [RigidShapeProperties()]
    return asset
