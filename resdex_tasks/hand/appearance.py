"""What the ShadowHand looks like: the meshes of its model's file, for whoever draws it without a simulator."""

from pathlib import Path
from typing import Any, Dict, NamedTuple

import numpy as np
import trimesh

from resdex_tasks.hand.description import describe_hand
from resdex_tasks.hand.geometry import body_names
from resdex_tasks.hand.shadow_hand import asset_root


class BodyMesh(NamedTuple):
    """The surface of one body, in its frame."""

    vertices: np.ndarray
    """(V, 3) m"""
    faces: np.ndarray
    """(F, 3) int, over `vertices`."""


def hand_meshes() -> Dict[str, BodyMesh]:
    """The bodies that have a surface, by their names, which are among `geometry.body_names`.

    Raises:
        UserError: the package with the model's file is not installed.
        ValueError: the file is not the model that is expected.
    """
    hand = describe_hand(finger_gain=1.0)
    files = {mesh.attrib["name"]: mesh for mesh in hand.meshes.iter("mesh")}
    folder = asset_root() / "stls" / "hand"
    found: Dict[str, BodyMesh] = {}
    for body in hand.palm.iter("body"):
        for geom in (g for g in body.findall("geom") if g.get("mesh")):
            if geom.get("euler") or geom.get("quat"):
                raise ValueError(f"the ShadowHand's model turns the mesh of {body.get('name')}")
            mesh = files[geom.attrib["mesh"]]
            surface = _read(folder / mesh.attrib["file"], _numbers(mesh.get("scale", "1 1 1")))
            moved = surface.vertices + _numbers(geom.get("pos", "0 0 0"))
            found[body.attrib["name"]] = BodyMesh(moved, surface.faces)
    if not set(found) <= set(body_names()):
        raise ValueError("the ShadowHand's model draws bodies that it does not move")
    return found


def _read(path: Path, scale: np.ndarray) -> BodyMesh:
    mesh: Any = trimesh.load(str(path), force="mesh")
    return BodyMesh(np.asarray(mesh.vertices) * scale, np.asarray(mesh.faces))


def _numbers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.float64)
