"""The cloud: points on the object's surface that move with it, in the frame of the proprioception (A.2).

The points of every object are chosen once, when the set is loaded: farthest-point sampled from many on its surface. A
step is then one batched transform; nothing is sampled and nothing is looped over.
"""

from typing import Dict, List, NamedTuple

import numpy as np
import torch
import trimesh
from torch import Tensor

from resdex_tasks.objects.geometry.surface import shape_hash, surface_points
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.sims.base import GraspSim
from resdex_tasks.utils.disk_cache import ArrayCache, cache_key
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.rotations import quat_rotate, rotate_yaw
from resdex_tasks.vision.config import VisionConfig
from resdex_tasks.vision.occlusion import self_occlusion

SAMPLES_PER_POINT = 4
"""Points on the surface for every one that farthest-point sampling keeps."""
CACHE_VERSION = "clouds 2"


class Pools(NamedTuple):
    """Points of every object of a set, in its frame."""

    points: Tensor
    """(objects, pool_points, 3) m"""
    hidden: Tensor
    """(objects, directions, pool_points) bool: whether the object itself hides a point from far away in one of
    `occlusion.DIRECTIONS`; no directions where this is not asked for."""
    normals: Tensor
    """(objects, pool_points, 3), outwards; no points where this is not asked for."""


class ObjectClouds:
    """The clouds of N environments, from all over their objects.

    Memory: 12 bytes for each of `pool_points` points of each object (3,200 objects of 1,024 points: 39 MB), and 8 for
    each of `num_points` points of each environment.

    Args:
        objects: the set that the simulator's `object_index` points into.
        num_envs: N.
        seed: of which points an episode sees, and of all that is random in how. These random numbers are the clouds'
            own: how an episode starts does not depend on who looks.
        seen_points: points of an object that an episode knows of; default: `num_points`.

    Raises:
        UserError: an object has no surface.
    """

    def __init__(
        self,
        objects: ObjectSet,
        config: VisionConfig,
        num_envs: int,
        device: torch.device,
        seed: int,
        seen_points: int = 0,
    ) -> None:
        self.config = config
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.pools = cached_pools(objects, config, device)
        self._drawn = torch.arange(seen_points or config.num_points, device=device).repeat(num_envs, 1)

    def draw(self, env_ids: Tensor) -> None:
        """Choose for environments (n,), whose episodes begin, which points of their objects they may see."""
        config, device = self.config, self._drawn.device
        if self._drawn.shape[1] < config.pool_points:
            chances = torch.rand(len(env_ids), config.pool_points, generator=self.generator, device=device)
            self._drawn[env_ids] = chances.argsort(dim=1)[:, : self._drawn.shape[1]]

    def observe(self, sim: GraspSim, yaw: Tensor) -> Tensor:
        """The clouds (N, P, 3), m; yaw: (N,) of the yaw-aligned frame, rad."""
        return self._in_frame(self.world_points(sim), yaw)

    def world_points(self, sim: GraspSim) -> Tensor:
        """(N, K, 3) m, of the objects as they are now, in the world frame: all points that an episode knows of."""
        pose = sim.state().object[:, None]
        return quat_rotate(pose[..., 3:7], self.pools.points[sim.object_index[:, None], self._drawn]) + pose[..., :3]

    def _in_frame(self, points: Tensor, yaw: Tensor) -> Tensor:
        if self.config.frame == "world":
            return points
        return rotate_yaw(points, yaw.cos()[:, None], -yaw.sin()[:, None])

    def in_world(self, points: Tensor, yaw: Tensor) -> Tensor:
        """Observed points (..., P, 3), m, in the world frame; yaw: (...) of the yaw-aligned frame, rad."""
        if self.config.frame == "world":
            return points
        return rotate_yaw(points, yaw.cos()[..., None], yaw.sin()[..., None])

    def get_state(self) -> Dict[str, Tensor]:
        """For checkpoints."""
        return {"drawn": self._drawn.clone(), "generator": self.generator.get_state()}

    def set_state(self, state: Dict[str, Tensor]) -> None:
        """Inverse of `get_state`."""
        self._drawn = state["drawn"].clone()
        self.generator.set_state(state["generator"])


def cached_pools(objects: ObjectSet, config: VisionConfig, device: torch.device) -> Pools:
    """The points of every object: from the cache what was computed before.

    Raises:
        UserError: an object has no surface.
    """
    cache = ArrayCache(None, "clouds")
    hashes = [shape_hash(obj) for obj in objects]
    with_views = config.source == "camera"
    key = cache_key([CACHE_VERSION, config.pool_points, config.surface, with_views, *hashes])
    stored = cache.load(key)
    if stored is None:
        by_shape = dict(zip(hashes, objects))
        row = {shape: i for i, shape in enumerate(by_shape)}
        samples = np.stack([_samples(obj, config) for obj in by_shape.values()])
        points = farthest_points(samples, config.pool_points, device)
        count = len(points)
        hidden, normals = np.zeros((count, 0, config.pool_points), bool), np.zeros((count, 0, 3), np.float32)
        if with_views:
            views = [self_occlusion(obj, own) for obj, own in zip(by_shape.values(), points)]
            hidden, normals = np.stack([v.hidden for v in views]), np.stack([v.normals for v in views])
        every = [row[shape] for shape in hashes]
        stored = {
            "points": points[every],
            "hidden": np.packbits(hidden[every], axis=-1),
            "normals": normals[every],
        }
        cache.store(key, stored)
    hidden = np.unpackbits(stored["hidden"], axis=-1, count=config.pool_points).astype(bool)
    return Pools(*(torch.from_numpy(part).to(device) for part in (stored["points"], hidden, stored["normals"])))


def _samples(obj: GraspObject, config: VisionConfig) -> np.ndarray:
    """(SAMPLES_PER_POINT * pool_points, 3) float32 points on an object's surface, evenly by area."""
    count = SAMPLES_PER_POINT * config.pool_points
    if config.surface == "outer":
        try:
            return surface_points(obj, count)
        except ValueError as error:
            raise UserError(f"{error}; task.env.vision needs points on it") from error
    meshes: List[trimesh.Trimesh] = [trimesh.Trimesh(p.vertices, p.faces, process=False) for p in obj.pieces]
    points, _ = trimesh.sample.sample_surface(trimesh.util.concatenate(meshes), count, seed=0)
    return np.asarray(points, dtype=np.float32)


def farthest_points(samples: np.ndarray, count: int, device: torch.device) -> np.ndarray:
    """(B, count, 3): of each of B sets of samples (B, S, 3), points each as far as possible from those before it.

    The first is the one farthest from the set's mean, so that the same samples give the same points. Any beginning of
    the result is itself a farthest-point sample.
    """
    chosen = np.empty((len(samples), count, 3), np.float32)
    for rows in np.array_split(np.arange(len(samples)), max(1, len(samples) // 64)):  # what the cores' caches hold
        points = torch.from_numpy(samples[rows]).to(device)
        every = torch.arange(len(points), device=device)
        distance = (points - points.mean(dim=1, keepdim=True)).square().sum(dim=-1)
        nearest = torch.full_like(distance, float("inf"))
        for i in range(count):
            index = (distance if i == 0 else nearest).argmax(dim=1)
            picked = points[every, index]
            chosen[rows, i] = picked.cpu().numpy()
            nearest = torch.minimum(nearest, (points - picked[:, None]).square().sum(dim=-1))
    return chosen
