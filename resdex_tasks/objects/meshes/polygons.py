"""Triangles of a file's polygons."""

from typing import Dict, List, Sequence

import numpy as np

from resdex_tasks.objects.meshes.extra import manifold3d


def triangles_of(vertices: np.ndarray, polygons: Sequence[Sequence[int]]) -> np.ndarray:
    """(F, 3) int64 triangles that cover polygons over `vertices` (V, 3), in the polygons' order.

    Convex polygons become fans, others are cut by their ears: a fan would cover what a hollow leaves free. Polygons of
    fewer than three corners give none.
    """
    by_corners: Dict[int, List[int]] = {}
    for i, polygon in enumerate(polygons):
        by_corners.setdefault(len(polygon), []).append(i)
    owners, parts = [np.zeros(0, np.int64)], [np.zeros((0, 3), np.int64)]
    for corners, rows in by_corners.items():
        if corners < 3:
            continue
        group = np.array([polygons[i] for i in rows], np.int64)
        fans = np.stack([group[:, [0, k, k + 1]] for k in range(1, corners - 1)], axis=1)
        for row in np.flatnonzero(~_convex(vertices[group])) if corners > 3 else ():
            fans[row] = _ears(vertices[group[row]], group[row])
        parts.append(fans.reshape(-1, 3))
        owners.append(np.repeat(rows, corners - 2))
    owner = np.concatenate(owners)
    return np.concatenate(parts)[np.argsort(owner, kind="stable")]


def _normals(corners: np.ndarray) -> np.ndarray:
    """(N, 3) normals of polygons (N, K, 3), twice their area long (Newell)."""
    about = corners - corners[:, :1]
    return np.cross(about, np.roll(about, -1, axis=1)).sum(axis=1)


def _convex(corners: np.ndarray) -> np.ndarray:
    """(N,) bool: polygons (N, K, 3) whose every corner turns the same way; also those with a corner that is no number,
    which have no shape."""
    with np.errstate(invalid="ignore", over="ignore"):
        edges = np.roll(corners, -1, axis=1) - corners
        turns = np.cross(edges, np.roll(edges, -1, axis=1))
        normal = _normals(corners)
        along = np.sum(turns * normal[:, None], axis=2)
        return ~(along < -1e-9 * np.sum(normal**2, axis=1)[:, None]).any(axis=1)


def _ears(corners: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(K - 2, 3) triangles of one polygon with corners (K, 3)."""
    normal = _normals(corners[None])[0]
    normal = normal / np.linalg.norm(normal)
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    first /= np.linalg.norm(first)
    plane = (corners - corners[0]) @ np.stack([first, np.cross(normal, first)], axis=1)
    plane /= np.abs(plane).max()
    return polygon[np.asarray(manifold3d().triangulate([plane]), np.int64).reshape(-1, 3)]
