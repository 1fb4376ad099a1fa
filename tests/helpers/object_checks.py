"""Checks of objects for the tests of several object sources."""

import xml.etree.ElementTree as ET

import numpy as np
import trimesh

from resdex_tasks.hand.shadow_hand import JOINTS, asset_root
from resdex_tasks.objects.object_set import ConvexPiece


def assert_closed_convex_outward(piece: ConvexPiece) -> None:
    mesh = trimesh.Trimesh(piece.vertices, piece.faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume > 0.0
    corners = piece.vertices[piece.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    heights = np.einsum("fi,fvi->fv", normals, piece.vertices[None] - corners[:, :1])
    assert heights.max() < 1e-6 * np.ptp(piece.vertices)


def beyond_joint_limits(joint_pos: np.ndarray) -> np.ndarray:
    """(P, 22) how far each joint position is outside the range in the hand's own model, rad; 0 inside."""
    ranges = {j.get("name"): j.get("range") for j in ET.parse(str(asset_root() / "hand" / "robot.xml")).iter("joint")}
    low, high = np.array([ranges[f"robot0:{joint}"].split() for joint in JOINTS], dtype=float).T
    return np.maximum(0.0, np.maximum(low - joint_pos, joint_pos - high))
