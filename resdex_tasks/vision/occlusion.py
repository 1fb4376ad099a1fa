"""What hides a point on the object from a camera, fast: the object itself by a table, the hand as boxes and spheres."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from resdex_tasks.hand.geometry import FingerSpheres, palm_boxes
from resdex_tasks.objects.geometry.surface import face_planes
from resdex_tasks.objects.object_set import GraspObject
from resdex_tasks.sims.base import SimState
from resdex_tasks.utils.rotations import quat_conjugate, quat_rotate

NUM_DIRECTIONS = 96
"""Directions of the table: about 10 degrees to the nearest of them, on average."""
CLEARANCE = 1e-3
"""m: what covers a point this closely is the surface that it lies on."""
SWELL = 1.1
"""The fingers' spheres are larger by this factor: what their gaps let through, and what they hide too much, are alike
then (docs/vision.md)."""
CHUNK = 2**19
"""Pairs of a ray and a sphere that are worked on at once: what the cores' caches hold."""


def _fibonacci_sphere(count: int) -> np.ndarray:
    """(count, 3) unit vectors, evenly spread."""
    i = np.arange(count) + 0.5
    z, angle = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


DIRECTIONS = _fibonacci_sphere(NUM_DIRECTIONS)
"""(NUM_DIRECTIONS, 3) unit vectors, in an object's frame."""


class SelfOcclusion(NamedTuple):
    """How an object hides points on its own surface."""

    hidden: np.ndarray
    """(NUM_DIRECTIONS, P) bool: another piece than its own lies between a point and a far camera in a direction."""
    normals: np.ndarray
    """(P, 3) float32, outwards: a point is hidden by its own piece from all that is behind its face."""


def self_occlusion(obj: GraspObject, points: np.ndarray) -> SelfOcclusion:
    """Cast rays from points (P, 3) on the surface of an object, in its frame, along `DIRECTIONS`."""
    normals, offsets, first = face_planes(obj)
    heights = points @ normals.T - offsets  # (P, F), m above each plane
    depth = np.maximum.reduceat(heights, first, axis=1)  # (P, pieces), about 0 for the piece that a point lies on
    owner = np.abs(depth).argmin(axis=1)
    ends = np.append(first[1:], len(offsets))
    hidden = np.zeros((NUM_DIRECTIONS, len(points)), bool)
    face = np.empty(len(points), int)
    towards = normals @ DIRECTIONS.T  # (F, D), how fast a ray climbs above each plane
    with np.errstate(divide="ignore", invalid="ignore"):
        for piece, (start, end) in enumerate(zip(first, ends)):
            mine = owner == piece
            face[mine] = start + heights[mine, start:end].argmax(axis=1)
            if mine.all():
                continue
            above, climb = heights[~mine, start:end, None], towards[None, start:end]
            time = -above / climb  # m along the ray, until it crosses a plane
            enter = np.where(climb < 0, time, -np.inf).max(axis=1)
            leave = np.where(climb > 0, time, np.inf).min(axis=1)
            outside = ((climb == 0) & (above > 0)).any(axis=1)
            crossed = (leave > np.maximum(enter, CLEARANCE) + CLEARANCE) & ~outside
            hidden[:, ~mine] |= crossed.T
    return SelfOcclusion(hidden, normals[face].astype(np.float32))


class HandOcclusion:
    """Which points the hand hides: its palm's boxes, and its fingers, taken for the spheres that fill them."""

    def __init__(self, device: torch.device) -> None:
        self._fingers = FingerSpheres(device)
        self._radii = SWELL * self._fingers.radii
        self._boxes = torch.tensor(palm_boxes(), dtype=torch.float32, device=device)

    def hides(self, state: SimState, eyes: Tensor, points: Tensor) -> Tensor:
        """(N, C, K) bool: a part of the hand lies between camera and point.

        Args:
            eyes: (C, 3) of the cameras, points: (N, K, 3), both in the world frame, m.
        """
        back, root = quat_conjugate(state.root_pose[:, 3:])[:, None], state.root_pose[:, None, :3]
        eyes = quat_rotate(back, eyes - root)  # (N, C, 3), in the frame of the hand's root
        rays = quat_rotate(back, points - root)[:, None] - eyes[:, :, None]  # (N, C, K, 3)
        return self._palm_hides(eyes, rays) | self._fingers_hide(state.joint_pos, eyes, rays)

    def _palm_hides(self, eyes: Tensor, rays: Tensor) -> Tensor:
        hidden = torch.zeros(rays.shape[:-1], dtype=torch.bool, device=rays.device)
        inverse = 1 / rays
        for corners in self._boxes:
            # where a ray is between two opposite sides, as a fraction of it, and where between all
            first, second = ((corner - eyes)[:, :, None] * inverse for corner in corners)
            enters = torch.minimum(first, second).amax(dim=-1)
            leaves = torch.maximum(first, second).amin(dim=-1)
            hidden |= (enters < leaves) & (leaves > 0) & (enters < 1)
        return hidden

    def _fingers_hide(self, joint_pos: Tensor, eyes: Tensor, rays: Tensor) -> Tensor:
        length = rays.norm(dim=-1, keepdim=True)
        centres = self._fingers(joint_pos)[:, None] - eyes[:, :, None]  # (N, C, S, 3)
        # a ray passes through a sphere where the nearest point of its line is within the radius of the centre
        least = (centres.square().sum(dim=-1) - self._radii.square())[:, :, None]
        n, cameras, count, _ = rays.shape
        hidden = torch.empty(n, cameras, count, dtype=torch.bool, device=rays.device)
        rows = max(1, CHUNK // (cameras * count * least.shape[-1]))
        for part in torch.arange(n, device=rays.device).split(rows):
            along = torch.matmul(rays[part] / length[part], centres[part].transpose(-1, -2))  # (n, C, K, S), m
            meets = (along.square() > least[part]) & (along > 0) & (along < length[part])
            hidden[part] = meets.any(dim=-1)
        return hidden
