"""Stable poses of a rigid body on a table: the faces of its convex hull above which its centre of mass is safe."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

COPLANAR = 1e-4
"""Vertices this near to a face's plane, as a fraction of the body's size, belong to the face."""


@dataclass(frozen=True)
class RestPoses:
    """The P faces on which a body can rest, the likeliest first."""

    up: np.ndarray
    """(P, 3) the body's direction that points up when it rests there: minus the face's outward normal."""
    height: np.ndarray
    """(P,) height of the origin, which is the centre of mass, above the table, in the unit of the vertices."""
    margin: np.ndarray
    """(P,) distance from the point below the centre of mass to the nearest edge of the face, same unit."""
    probability: np.ndarray
    """(P,) solid angle of the face seen from the centre of mass, as a fraction of that of all P faces: how likely the
    body comes to rest there when it is dropped in a random orientation."""

    def __len__(self) -> int:
        return len(self.height)


def rest_poses(vertices: np.ndarray, min_margin: float = 0.0, min_tip_degrees: float = 0.0) -> RestPoses:
    """The stable poses of a body, from its vertices (V, 3) about its centre of mass.

    A body is stable on a face when the point below its centre of mass lies at least `min_margin` inside the face, and
    when it must be tilted by at least `min_tip_degrees` to fall over an edge. There may be no such face: P = 0.
    """
    hull = ConvexHull(vertices)
    normals, offsets = hull.equations[:, :3], hull.equations[:, 3]
    tolerance = COPLANAR * np.ptp(hull.points, axis=0).max()
    gaps = np.abs(hull.points[hull.vertices] @ normals.T + offsets).T  # (triangles, hull vertices)
    touching = gaps < tolerance
    # triangles of one flat face touch the same vertices
    _, first, face = np.unique(np.packbits(touching, axis=1), axis=0, return_index=True, return_inverse=True)
    face = face.reshape(-1)

    below = -offsets[first, None] * normals[first]  # the centre of mass, projected onto each face's plane
    margin = _margins(hull, face, below)
    height = -offsets[first]
    solid_angle = np.bincount(face, weights=_solid_angles(hull.points[hull.simplices]))
    safe = (margin >= max(min_margin, 1e-12)) & (np.degrees(np.arctan2(margin, height)) >= min_tip_degrees)
    kept = np.flatnonzero(safe)
    kept = kept[np.argsort(-solid_angle[kept], kind="stable")]
    probability = solid_angle[kept] / solid_angle[kept].sum()
    return RestPoses(-normals[first][kept], height[kept], margin[kept], probability)


def rotation_to_up(normal: np.ndarray) -> np.ndarray:
    """(4,) xyzw quaternion of the smallest rotation that takes the unit vector `normal` (3,) to +z."""
    x, y, z = normal
    quat = np.array([y, -x, 0.0, 1.0 + z])  # (normal cross +z, 1 + cosine): twice the half angle's
    length = np.linalg.norm(quat)
    if length < 1e-8:  # straight down, but for rounding: any horizontal axis serves
        return np.array([1.0, 0.0, 0.0, 0.0])
    return quat / length


def rest_heights(vertices: np.ndarray, rest_rotations: np.ndarray) -> np.ndarray:
    """(P,) height of an object's frame above the table for each rotation (P, 4) that lays its vertices (V, 3) on it."""
    x, y, z, w = np.asarray(rest_rotations).T
    down = np.stack((2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)), axis=1)  # R's third row
    return -(vertices @ down.T).min(axis=0)


def _margins(hull: ConvexHull, face: np.ndarray, below: np.ndarray) -> np.ndarray:
    """(faces,) distance from `below` (faces, 3) to the nearest edge of its face, negative outside the face."""
    margin = np.full(len(below), np.inf)
    for opposite in range(3):
        rim = face != face[hull.neighbors[:, opposite]]  # else the edge runs across a flat face
        triangles, faces = hull.points[hull.simplices[rim]], face[rim]
        start = triangles[:, (opposite + 1) % 3]
        along = triangles[:, (opposite + 2) % 3] - start
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        inward = triangles[:, opposite] - start
        inward -= np.sum(inward * along, axis=1, keepdims=True) * along
        inward /= np.linalg.norm(inward, axis=1, keepdims=True)
        np.minimum.at(margin, faces, np.sum((below[faces] - start) * inward, axis=1))
    return margin


def _solid_angles(triangles: np.ndarray) -> np.ndarray:
    """(N,) solid angle of each triangle (N, 3, 3) seen from the origin, sr (Van Oosterom and Strackee, 1983)."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    la, lb, lc = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
    volume = np.abs(np.sum(a * np.cross(b, c), axis=1))
    cosines = la * lb * lc + np.sum(a * b, axis=1) * lc + np.sum(a * c, axis=1) * lb + np.sum(b * c, axis=1) * la
    return 2 * np.arctan2(volume, cosines)
