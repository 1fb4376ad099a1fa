"""Clouds as depth cameras have them: only what they see past object and hand, with noise, gaps and losses."""

from typing import Dict, Union

import torch
from torch import Tensor

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.sims.base import TABLE_HEIGHT, GraspSim
from resdex_tasks.utils.rotations import quat_conjugate, quat_rotate
from resdex_tasks.vision.clouds import ObjectClouds
from resdex_tasks.vision.config import VisionConfig
from resdex_tasks.vision.occlusion import DIRECTIONS, HandOcclusion

CANDIDATES = 2
"""Points of the object that an episode's cameras look for, as a multiple of the cloud's."""


def make_clouds(
    objects: ObjectSet, config: VisionConfig, num_envs: int, device: torch.device, seed: int
) -> Union[ObjectClouds, "CameraClouds"]:
    """The clouds that the settings describe.

    Raises:
        UserError: the settings do not go together, or an object has no surface.
    """
    config.check()
    return (CameraClouds if config.source == "camera" else ObjectClouds)(objects, config, num_envs, device, seed)


class CameraClouds(ObjectClouds):
    """The part of the objects that cameras see. Which points are the object's is known: it is segmented.

    Where fewer of an episode's candidates are seen than the cloud has points, points are in it more than once.
    """

    def __init__(
        self, objects: ObjectSet, config: VisionConfig, num_envs: int, device: torch.device, seed: int
    ) -> None:
        candidates = min(CANDIDATES * config.num_points, config.pool_points)
        super().__init__(objects, config, num_envs, device, seed, candidates)
        self._directions = torch.tensor(DIRECTIONS, dtype=torch.float32, device=device)
        self._centre = torch.tensor([0.0, 0.0, TABLE_HEIGHT], device=device)
        self.eyes = torch.tensor(config.camera.eyes, device=device) + self._centre
        """(C, 3) m, of the cameras, world frame."""
        self._hand = HandOcclusion(device)
        self._last = self._centre.repeat(num_envs, config.num_points, 1)

    def draw(self, env_ids: Tensor) -> None:
        """See `ObjectClouds.draw`; what was seen before is forgotten."""
        super().draw(env_ids)
        self._last[env_ids] = self._centre

    def observe(self, sim: GraspSim, yaw: Tensor) -> Tensor:
        """See `ObjectClouds.observe`."""
        camera, points = self.config.camera, self.world_points(sim)
        seen = self.visible(sim, points).any(dim=1)
        if camera.dropout > 0:
            seen &= torch.rand(seen.shape, generator=self.generator, device=seen.device) >= camera.dropout
        count = seen.sum(dim=1, keepdim=True)
        # the visible ones first, then these again
        order = (~seen).to(torch.uint8).argsort(dim=1, stable=True)
        turns = torch.arange(self.config.num_points, device=seen.device) % count.clamp(min=1)
        cloud = points.gather(1, order.gather(1, turns)[..., None].expand(-1, -1, 3))
        if camera.noise > 0:
            cloud = cloud + camera.noise * torch.randn(cloud.shape, generator=self.generator, device=cloud.device)
        cloud = torch.where(count[..., None] > 0, cloud, self._last if camera.lost == "hold" else self._centre)
        self._last = cloud
        return self._in_frame(cloud, yaw)

    def visible(self, sim: GraspSim, points: Tensor) -> Tensor:
        """(N, C, K) bool: whether a camera sees a point (N, K, 3) of the object, the world frame."""
        if self.config.camera.occlusion == "rays":
            return sim.sees(self.eyes, points)
        return ~self._hidden_by_object(sim) & ~self._hand.hides(sim.state(), self.eyes, points)

    def _hidden_by_object(self, sim: GraspSim) -> Tensor:
        """(N, C, K) bool"""
        pose, index = sim.state().object[:, None], sim.object_index[:, None]
        eyes = quat_rotate(quat_conjugate(pose[..., 3:7]), self.eyes - pose[..., :3])  # (N, C, 3), object's frame
        points, normals = (table[index, self._drawn] for table in (self.pools.points, self.pools.normals))
        behind = eyes @ normals.transpose(1, 2) <= (points * normals).sum(dim=-1)[:, None]
        nearest = (eyes @ self._directions.T).argmax(dim=-1)  # (N, C)
        return behind | self.pools.hidden[index[..., None], nearest[..., None], self._drawn[:, None]]

    def get_state(self) -> Dict[str, Tensor]:
        """For checkpoints."""
        return {**super().get_state(), "last": self._last.clone()}

    def set_state(self, state: Dict[str, Tensor]) -> None:
        """Inverse of `get_state`."""
        super().set_state(state)
        self._last = state["last"].clone()
