"""Convex hulls as `ConvexPiece`s."""

from typing import Sequence

import numpy as np
import trimesh

from resdex_tasks.objects.object_set import ConvexPiece

FLATNESS = 1e-6
"""Points whose thickness is below this part of their size span no volume."""


def convex_piece(points: np.ndarray) -> ConvexPiece:
    """The convex hull of `points` (N, 3), metres; points inside it are dropped.

    ValueError where the points span no volume.
    """
    points = np.asarray(points, dtype=np.float64)
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if len(points) < 4 or spread[2] <= FLATNESS * spread[0]:
        raise ValueError("its points span no volume")  # trimesh would return a hull of volume zero
    hull = trimesh.convex.convex_hull(points)
    return ConvexPiece(np.array(hull.vertices, dtype=np.float64), np.array(hull.faces, dtype=np.int64))


def mass_centre(pieces: Sequence[ConvexPiece]) -> np.ndarray:
    """(3,) centre of mass of pieces of one density, metres; where pieces overlap, the overlap counts twice."""
    meshes = [trimesh.Trimesh(p.vertices, p.faces, process=False) for p in pieces]
    volumes = np.array([m.volume for m in meshes])
    return volumes @ np.array([m.center_mass for m in meshes]) / volumes.sum()
