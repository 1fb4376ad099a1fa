"""What tests of several object sources ask of an object."""

import numpy as np
import trimesh

from resdex_tasks.objects.object_set import ConvexPiece, GraspObject


def vertices_of(thing: GraspObject) -> np.ndarray:
    return np.concatenate([piece.vertices for piece in thing.pieces])


def assert_closed_convex_outward(piece: ConvexPiece) -> None:
    mesh = trimesh.Trimesh(piece.vertices, piece.faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume > 0.0
    corners = piece.vertices[piece.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    heights = np.einsum("fi,fvi->fv", normals, piece.vertices[None] - corners[:, :1])
    assert heights.max() < 1e-6 * np.ptp(piece.vertices)
