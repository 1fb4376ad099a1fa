"""Points on the surface of an object, from which its shape code is made, and distances to it."""

import hashlib
from typing import List, Sequence, Tuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.geometry.convex import mass_centre
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject

OUTWARDS = 1e-3
"""How far, as a fraction of the object's size, a point is moved along its normal to check whether another piece covers
it. So the faces with which two pieces touch are inside, even where a decomposition left a hair's breadth between
them."""
FLUSH = 1e-6
"""Faces of two pieces this near to each other, as a fraction of the object's size, and facing the same way are one."""
MAX_ROUNDS = 50
HASH_UNIT = 1e-7
"""m: vertices that differ by less are the same to `shape_hash`."""


def surface_points(obj: GraspObject, n: int, seed: int = 0) -> np.ndarray:
    """(n, 3) float32 random points on the surface of the union of an object's pieces, metres, in the object's frame.

    They are evenly spread by area; what one piece hides of another is no surface. The same shape and seed give the
    same points, whatever the object's name.

    Raises:
        ValueError: n is not positive, or the pieces hide nearly all of one another.
    """
    if n < 1:
        raise ValueError(f"n is {n}; at least one point is needed")
    triangles, normals, areas, first, offsets = _faces(obj.pieces)
    vertices = obj.vertices
    size = float(np.ptp(vertices, axis=0).max())
    owner = np.repeat(np.arange(len(first)), np.diff([*first, len(areas)]))
    cumulative = np.cumsum(areas)
    rng = np.random.default_rng(seed)
    found: List[np.ndarray] = []
    missing, visible = n, 1.0
    for _ in range(MAX_ROUNDS):
        draws = int(1.1 * missing / visible) + 16
        face = np.searchsorted(cumulative, rng.random(draws) * cumulative[-1], side="right")
        face = np.minimum(face, len(areas) - 1)  # rounding could pass the last one
        a, b, c = np.moveaxis(triangles[face], 1, 0)
        u, v = np.sqrt(rng.random((draws, 1))), rng.random((draws, 1))
        points = (1 - u) * a + u * (1 - v) * b + u * v * c
        if len(first) > 1:
            points = points[~_hidden(points, face, normals, offsets, owner, first, size)]
        found.append(points[:missing])
        missing -= len(found[-1])
        if missing == 0:
            return np.concatenate(found).astype(np.float32)
        visible = max(len(points) / draws, 0.05)
    raise ValueError(f"object '{obj.name}' has hardly any surface: its pieces hide one another")


def depth_inside(obj: GraspObject, points: np.ndarray) -> np.ndarray:
    """(...) m that points (..., 3), in the object's frame, are inside the piece that they are deepest in.

    Negative outside, where it is minus a lower bound of the distance: that from a piece's farthest plane.
    """
    _, normals, _, first, offsets = _faces(obj.pieces)
    return -np.maximum.reduceat(points @ normals.T - offsets, first, axis=-1).min(axis=-1)


def face_planes(obj: GraspObject) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The planes of an object's triangles, piece after piece: outward unit normals (F, 3) and offsets (F,), m, with
    normal . x = offset; and the first triangle of each piece."""
    _, normals, _, first, offsets = _faces(obj.pieces)
    return normals, offsets, first


class TurnedSurface:
    """Measures how unlike itself an object becomes when it is turned about its centre of mass: a ball does not."""

    def __init__(self, obj: GraspObject) -> None:
        points = surface_points(obj, 2048) - mass_centre(obj.pieces)
        self._tree, self._probes = cKDTree(points), points[::8]
        self._radius = np.linalg.norm(points, axis=1).mean()

    def unlike(self, turns: Rotation) -> np.ndarray:
        """(K,) mean distance of the turned surface from the original one, as a fraction of the mean radius."""
        turned = self._probes @ turns.as_matrix().transpose(0, 2, 1)
        return self._tree.query(turned)[0].mean(axis=1) / self._radius


def shape_hash(obj: GraspObject) -> str:
    """32 hexadecimal digits that change with the pieces' vertices only."""
    digest = hashlib.sha256()
    for piece in obj.pieces:
        digest.update(str(piece.vertices.shape).encode())
        digest.update(np.round(piece.vertices / HASH_UNIT).astype("<i8").tobytes())
    return digest.hexdigest()[:32]


def _faces(pieces: Sequence[ConvexPiece]) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All F triangles: corners (F, 3, 3), outward unit normals (F, 3), areas (F,); the pieces' first triangles; the
    offsets (F,) of the triangles' planes, normal . x = offset."""
    corners = [piece.vertices[piece.faces] for piece in pieces]
    crosses = [np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in corners]
    lengths = [np.linalg.norm(cross, axis=1) for cross in crosses]
    # a triangle without area has no plane, and no point lies on it
    kept = [length > 1e-12 * length.max() for length in lengths]
    triangles = np.concatenate([c[k] for c, k in zip(corners, kept)])
    length = np.concatenate([le[k] for le, k in zip(lengths, kept)])
    normals = np.concatenate([cross[k] for cross, k in zip(crosses, kept)]) / length[:, None]
    first = np.cumsum([0, *(int(k.sum()) for k in kept[:-1])])
    return triangles, normals, length / 2, first, np.sum(normals * triangles[:, 0], axis=1)


def _hidden(
    points: np.ndarray,
    face: np.ndarray,
    normals: np.ndarray,
    offsets: np.ndarray,
    owner: np.ndarray,
    first: np.ndarray,
    size: float,
) -> np.ndarray:
    """(P,) bool: points (P, 3) of the triangles `face` that another piece than their own covers."""
    heights = points @ normals.T - offsets  # (P, F) above each plane
    depth = np.maximum.reduceat(heights, first, axis=1)  # (P, pieces): negative inside
    heights += (OUTWARDS * size) * (normals @ normals.T)[face]
    depth_outwards = np.maximum.reduceat(heights, first, axis=1)
    mine, pieces = owner[face][:, None], np.arange(len(first))
    # of two flush faces, that of the earlier piece is kept
    flush = np.where(pieces < mine, FLUSH, -FLUSH) * size
    covered = (depth_outwards <= 0) | (depth <= flush)
    return (covered & (pieces != mine)).any(axis=1)
