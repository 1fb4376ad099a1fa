"""The embedded default simulator: MuJoCo's C++ thread pool on any CPU, every environment with its own object."""

from typing import Tuple

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.sims.base import SURFACE_TOLERANCE, SimState, WristLaw
from resdex_tasks.sims.mujoco_common import MujocoGraspSim
from resdex_tasks.sims.mujoco_config import MujocoSimConfig
from resdex_tasks.sims.mujoco_scene import Scene

POSITION_AND_VELOCITY = mujoco.mjtStage.mjSTAGE_VEL.value
BROKEN = [
    mujoco.mjtWarning.mjWARN_BADQPOS.value,
    mujoco.mjtWarning.mjWARN_BADQVEL.value,
    mujoco.mjtWarning.mjWARN_BADQACC.value,
]
"""Warnings after which MuJoCo has put the simulation back to its default state."""

UNUSED_GROUP = 5
"""Geom group of the slots that an object has no piece for: rays pass through them."""
SOLID_GROUPS = [1, 1, 1, 1, 1, 0]
"""Geom groups that stop rays."""


def put_objects(batch: Batch, scene: Scene, sim_ids: np.ndarray, object_index: np.ndarray) -> None:
    """Give simulations `sim_ids` (n,) of a batch of `scene.model` the objects `object_index` (n,) of the set."""
    for field, table in scene.tables.items():
        batch.expand(field)[sim_ids, scene.rows[field]] = table[object_index]
    for field in ("geom_contype", "geom_conaffinity"):
        batch.expand(field)[sim_ids, scene.rows["geom_dataid"]] = scene.used[object_index]
    batch.expand("geom_group")[sim_ids, scene.rows["geom_dataid"]] = np.where(scene.used[object_index], 0, UNUSED_GROUP)


class MujocoSim(MujocoGraspSim):
    """`mujoco.batch.Batch` behind the simulator interface. `device` must be the CPU."""

    def __init__(
        self,
        objects: ObjectSet,
        object_index: Tensor,
        config: MujocoSimConfig,
        wrist_law: WristLaw,
        device: str = "cpu",
    ) -> None:
        super().__init__(objects, object_index, config.physics, wrist_law, device)
        # persistent: the positions and velocities computed for the observation also start the next step, for free
        self.batch = Batch(self.scene.model, self.num_envs, config.num_threads, persistent=True)
        put_objects(self.batch, self.scene, np.arange(self.num_envs), self.object_index.numpy())
        self._qpos, self._qvel = self._live("qpos"), self._live("qvel")
        self._ctrl, self._sensordata = self._live("ctrl"), self.batch.bind("sensordata")
        self._wrist_wrench = self._live("xfrc_applied")[:, self._root_body]
        self._warnings = np.zeros(self.num_envs, np.int64)
        self.batch.forward(stage=POSITION_AND_VELOCITY)

    def _live(self, field: str) -> Tensor:
        """The batch's own array (N, ...), float64."""
        return torch.from_numpy(self.batch.bind(field))

    def step(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        self._ctrl[:] = joint_targets
        self._wrist_wrench[:, :3] = wrist_force
        self._wrist_wrench[:, 3:] = wrist_torque
        self.batch.step(nstep=self.physics.substeps, stage=POSITION_AND_VELOCITY)
        warnings = self.batch.warning[:, BROKEN, 1].sum(axis=1)
        self.diverged = torch.from_numpy(warnings > self._warnings)
        self._warnings = warnings
        self._state = None

    def _raw_state(self) -> Tuple[Tensor, Tensor, Tensor]:
        return self._qpos, self._qvel, torch.from_numpy(self._sensordata.astype(np.float32))

    def reset(self, env_ids: Tensor, root_pose: Tensor, joint_pos: Tensor, object_pose: Tensor) -> None:
        if len(env_ids) == 0:
            return
        ids = env_ids.numpy().astype(np.int32)
        # back to the engine's defaults first: it clears velocities, warm starts and whatever a divergence left
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self._qpos[env_ids] = self._qpos_of(root_pose, joint_pos, object_pose).double()
        self._ctrl[env_ids] = joint_pos[:, self._actuated].double()
        self.batch.forward(ids, stage=POSITION_AND_VELOCITY)
        self._warnings = self.batch.warning[:, BROKEN, 1].sum(axis=1)
        self._state = None

    def sees(self, eyes: Tensor, points: Tensor) -> Tensor:
        rays = points[:, None] - eyes[:, None]  # (N, C, K, 3)
        n, cameras, count, _ = rays.shape
        origins = eyes[:, None].expand(n, cameras, count, 3)
        flat = [part.reshape(n, -1, 3).double().numpy() for part in (origins, rays)]
        reached = torch.from_numpy(self.batch.ray(*flat, geomgroup=SOLID_GROUPS)[0]).reshape(
            n, cameras, count
        )  # as fractions of the rays
        return reached >= 1 - SURFACE_TOLERANCE / rays.norm(dim=-1)

    def put_objects(self, env_ids: Tensor, object_index: Tensor) -> None:
        put_objects(self.batch, self.scene, env_ids.numpy(), object_index.numpy())
        self.object_index[env_ids] = object_index

    def get_state(self) -> dict:
        # with what was sensed: contact forces belong to the last step and cannot be computed from positions
        sensed = {name: value.clone() for name, value in vars(self.state()).items()}
        integration = torch.from_numpy(self.batch.state.copy())
        return {"integration": integration, "sensed": sensed, "object_index": self.object_index.clone()}

    def set_state(self, state: dict) -> None:
        if not torch.equal(self.object_index, state["object_index"]):
            self.put_objects(torch.arange(self.num_envs), state["object_index"])
        self.batch.state[:] = state["integration"].numpy()
        self.batch.forward(stage=POSITION_AND_VELOCITY)
        self._state = SimState(**{name: value.clone() for name, value in state["sensed"].items()})
