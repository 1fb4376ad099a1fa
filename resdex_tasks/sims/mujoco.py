"""The embedded default simulator: MuJoCo's C++ thread pool on any CPU, every environment with its own object."""

from typing import Optional, Sequence

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.rotations import quat_conjugate, quat_rotate
from resdex_tasks.shadow_hand import ACTUATED, JOINTS
from resdex_tasks.sims import raycast
from resdex_tasks.sims.base import CONTROL_HZ, GraspSim, SimState, WristLaw
from resdex_tasks.sims.mujoco_model import (
    OBJECT_BODY,
    ROOT_BODY,
    MujocoSimConfig,
    Scene,
    SensorLayout,
    build_scene,
    joint_limits,
    joint_qpos_columns,
    joint_qvel_columns,
)

XYZW_TO_WXYZ = [3, 0, 1, 2]
POSITION_AND_VELOCITY = mujoco.mjtStage.mjSTAGE_VEL.value
BROKEN = [
    mujoco.mjtWarning.mjWARN_BADQPOS.value,
    mujoco.mjtWarning.mjWARN_BADQVEL.value,
    mujoco.mjtWarning.mjWARN_BADQACC.value,
]
"""Warnings after which MuJoCo has put the simulation back to its default state."""

VIEW = raycast.Camera(position=(0.62, -0.42, 0.98), target=(0.0, 0.02, 0.74), fov=32.0)
VISIBLE_GROUPS = [1, 1, 1, 0, 0, 0]
"""Geom groups in pictures: the object and the table (0) and the hand's visual meshes (1)."""


def put_objects(batch: Batch, scene: Scene, object_index: np.ndarray) -> None:
    """Give each simulation of a batch of `scene.model` its object, (N,) indices into the object set."""
    for field, table in scene.tables.items():
        batch.expand(field)[:, scene.rows[field]] = table[object_index]
    for field in ("geom_contype", "geom_conaffinity"):
        batch.expand(field)[:, scene.rows["geom_dataid"]] = scene.used[object_index]


class MujocoSim(GraspSim):
    """`mujoco.batch.Batch` behind the simulator interface.

    Args:
        objects: the object set.
        object_index: (N,) which object each environment holds.
        config: physics settings.
        wrist_law: the palm's response to the wrist wrench.
        num_threads: 0 takes every core.
    """

    def __init__(
        self,
        objects: ObjectSet,
        object_index: Sequence[int],
        config: MujocoSimConfig,
        wrist_law: WristLaw,
        num_threads: int = 0,
    ) -> None:
        self.device = torch.device("cpu")
        self.num_envs = len(object_index)
        self.wrist_law = wrist_law
        self.object_index = torch.as_tensor(object_index, dtype=torch.int64)
        self.diverged = torch.zeros(self.num_envs, dtype=torch.bool)
        self._objects, self.config = objects, config
        self.scene = build_scene(objects, config, wrist_law, 1 / (CONTROL_HZ * config.substeps))
        self._visual_scene: Optional[Scene] = None
        model = self.scene.model
        self.joint_limits = joint_limits(model)

        # persistent: the positions and velocities computed for the observation also start the next step, for free
        self.batch = Batch(model, self.num_envs, num_threads, persistent=True)
        put_objects(self.batch, self.scene, self.object_index.numpy())
        self._qpos, self._qvel = self.batch.bind("qpos"), self.batch.bind("qvel")
        self._ctrl = self.batch.bind("ctrl")
        self._sensordata = self.batch.bind("sensordata")
        self._wrist_wrench = self.batch.bind("xfrc_applied")[:, model.body(ROOT_BODY).id]
        self._warnings = np.zeros(self.num_envs, np.int64)

        self._joint_qpos, self._joint_qvel = joint_qpos_columns(model), joint_qvel_columns(model)
        self._actuated = [JOINTS.index(name) for name in ACTUATED]
        self._root_qpos = int(model.joint("root").qposadr[0])
        self._object_qpos = int(model.joint(OBJECT_BODY).qposadr[0])
        self._columns = SensorLayout().columns.numpy()
        self._state: Optional[SimState] = None
        self.batch.forward(stage=POSITION_AND_VELOCITY)

    def step(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        self._ctrl[:] = joint_targets.numpy()
        self._wrist_wrench[:, :3] = wrist_force.numpy()
        self._wrist_wrench[:, 3:] = wrist_torque.numpy()
        self.batch.step(nstep=self.config.substeps, stage=POSITION_AND_VELOCITY)
        warnings = self.batch.warning[:, BROKEN, 1].sum(axis=1)
        self.diverged = torch.from_numpy(warnings > self._warnings)
        self._warnings = warnings
        self._state = None

    def state(self) -> SimState:
        if self._state is None:
            self._state = self._read_state()
        return self._state

    def _read_state(self) -> SimState:
        n = self.num_envs
        sensed = torch.from_numpy(self._sensordata[:, self._columns].astype(np.float32))
        fingertips, obj, root, contact = sensed.split((65, 13, 7, 45), dim=1)
        fingertips, contact = fingertips.reshape(n, 5, 13), contact.reshape(n, 5, 9)
        # MuJoCo reports what the fingertip does to the world; the wrench on the fingertip is the opposite
        force, torque, point = -contact[..., :3], -contact[..., 3:6], contact[..., 6:]
        torque = torque + torch.cross(point - fingertips[..., :3], force, dim=-1)
        to_body = quat_conjugate(fingertips[..., 3:7])
        return SimState(
            joint_pos=torch.from_numpy(self._qpos[:, self._joint_qpos].astype(np.float32)),
            joint_vel=torch.from_numpy(self._qvel[:, self._joint_qvel].astype(np.float32)),
            palm_pose=root,
            root_pose=root,
            fingertips=fingertips,
            fingertip_wrenches=torch.cat((quat_rotate(to_body, force), quat_rotate(to_body, torque)), dim=-1),
            object=obj,
        )

    def reset(self, env_ids: Tensor, root_pose: Tensor, joint_pos: Tensor, object_pose: Tensor) -> None:
        if len(env_ids) == 0:
            return
        ids = env_ids.numpy().astype(np.int32)
        # back to the engine's defaults first: it clears velocities, warm starts and whatever a divergence left
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        joints = joint_pos.numpy()
        self._qpos[np.ix_(ids, self._joint_qpos)] = joints
        self._ctrl[ids] = joints[:, self._actuated]
        for start, pose in ((self._root_qpos, root_pose), (self._object_qpos, object_pose)):
            self._qpos[ids, start : start + 3] = pose[:, :3].numpy()
            self._qpos[ids, start + 3 : start + 7] = pose[:, 3:].numpy()[:, XYZW_TO_WXYZ]
        self.batch.forward(ids, stage=POSITION_AND_VELOCITY)
        self._warnings = self.batch.warning[:, BROKEN, 1].sum(axis=1)
        self._state = None

    def get_state(self) -> dict:
        # with what was sensed: contact forces belong to the last step and cannot be computed from positions
        sensed = {name: value.clone() for name, value in vars(self.state()).items()}
        return {"integration": torch.from_numpy(self.batch.state.copy()), "sensed": sensed}

    def set_state(self, state: dict) -> None:
        self.batch.state[:] = state["integration"].numpy()
        self.batch.forward(stage=POSITION_AND_VELOCITY)
        self._state = SimState(**{name: value.clone() for name, value in state["sensed"].items()})

    def render(self, env_id: int, width: int, height: int) -> np.ndarray:
        if self._visual_scene is None:
            self._visual_scene = build_scene(self._objects, self.config, self.wrist_law, 1 / CONTROL_HZ, visual=True)
        model = self._visual_scene.show(int(self.object_index[env_id]))
        data = mujoco.MjData(model)
        data.qpos[:] = self._qpos[env_id]
        mujoco.mj_kinematics(model, data)
        return raycast.render(model, data, VIEW, width, height, VISIBLE_GROUPS, supersample=2)
