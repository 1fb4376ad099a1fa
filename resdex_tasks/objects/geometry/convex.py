"""Convex hulls of points, and the centre of mass of several."""

from typing import Sequence

import numpy as np
import trimesh
from scipy.spatial import ConvexHull

from resdex_tasks.objects.object_set import ConvexPiece

FLATNESS = 1e-6
"""Points whose thickness is below this fraction of their size span no volume."""


def spans_volume(points: np.ndarray) -> bool:
    """Whether the convex hull of finite `points` (N, 3), N >= 1, is a body, however thin."""
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return len(points) >= 4 and bool(spread[2] > FLATNESS * spread[0])


def convex_piece(points: np.ndarray) -> ConvexPiece:
    """The convex hull of `points` (N, 3), metres; points inside it are dropped.

    Raises:
        ValueError: the points span no volume.
    """
    points = np.asarray(points, dtype=np.float64)
    if not spans_volume(points):
        raise ValueError("its points span no volume")  # trimesh would return a hull of volume zero
    hull = trimesh.convex.convex_hull(points)
    return ConvexPiece(np.array(hull.vertices, dtype=np.float64), np.array(hull.faces, dtype=np.int64))


def quick_convex_piece(points: np.ndarray) -> ConvexPiece:
    """`convex_piece` in a tenth of its time, for `points` (N, 3) that are known to span a well-shaped volume."""
    hull = ConvexHull(points)
    corners = np.sort(hull.vertices)
    vertices, faces = hull.points[corners], np.searchsorted(corners, hull.simplices)
    triangles = hull.points[hull.simplices]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    inwards = (
        np.sum(normals * hull.equations[:, :3], axis=1) < 0
    )  # qhull's corners run either way, its normals outwards
    faces[inwards] = faces[inwards, ::-1]
    return ConvexPiece(vertices, faces.astype(np.int64))


def few_vertices(points: np.ndarray, most: int) -> np.ndarray:
    """At most `most` corners of the hull of `points` (N, 3), each the farthest outside the hull of those before."""
    corners = points[ConvexHull(points).vertices]
    if len(corners) <= most:
        return corners
    axes = np.concatenate([np.eye(3), [[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]]])
    heights = corners @ axes.T
    chosen = list(dict.fromkeys([*heights.argmax(axis=0), *heights.argmin(axis=0)]))
    while not spans_volume(corners[chosen]):  # all of them in one flat face
        middle = corners[chosen].mean(axis=0)
        normal = np.linalg.svd(corners[chosen] - middle)[2][2]
        chosen.append(int(np.abs((corners - middle) @ normal).argmax()))
    while len(chosen) < most:
        equations = ConvexHull(corners[chosen]).equations
        outside = (corners @ equations[:, :3].T + equations[:, 3]).max(axis=1)
        outside[chosen] = -np.inf
        chosen.append(int(outside.argmax()))
    return corners[sorted(chosen)]


def mass_centre(pieces: Sequence[ConvexPiece]) -> np.ndarray:
    """(3,) centre of mass of pieces of one density, metres; where pieces overlap, the overlap counts twice."""
    meshes = [trimesh.Trimesh(p.vertices, p.faces, process=False) for p in pieces]
    volumes = np.array([m.volume for m in meshes])
    return volumes @ np.array([m.center_mass for m in meshes]) / volumes.sum()
