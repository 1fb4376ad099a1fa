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
from resdex_tasks.sims import mujoco_model as scene
from resdex_tasks.sims import raycast
from resdex_tasks.sims.base import CONTROL_HZ, GraspSim, SimState, WristLaw

XYZW_TO_WXYZ = [3, 0, 1, 2]
POSITION_AND_VELOCITY = mujoco.mjtStage.mjSTAGE_VEL.value
BROKEN = [
    mujoco.mjtWarning.mjWARN_BADQPOS.value,
    mujoco.mjtWarning.mjWARN_BADQVEL.value,
    mujoco.mjtWarning.mjWARN_BADQACC.value,
]
"""Warnings after which MuJoCo has put the simulation back to its default state."""

VIEW = raycast.Camera(position=(0.46, -0.30, 0.98), target=(0.0, 0.02, 0.70), fov=34.0)
VISIBLE_GROUPS = [1, 1, 1, 0, 0, 0]
"""Geom groups in pictures: the object and the table (0) and the hand's visual meshes (1)."""


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
        config: scene.MujocoSimConfig,
        wrist_law: WristLaw,
        num_threads: int = 0,
    ) -> None:
        self.device = torch.device("cpu")
        self.num_envs = len(object_index)
        self.wrist_law = wrist_law
        self.object_index = torch.as_tensor(object_index, dtype=torch.int64)
        self.diverged = torch.zeros(self.num_envs, dtype=torch.bool)
        self._objects, self._config = objects, config
        self._models = scene.build_models(objects, config, wrist_law, 1 / (CONTROL_HZ * config.substeps))
        self._visual_models: dict = {}
        model = self._models[0]
        self.joint_limits = scene.joint_limits(model)

        # persistent: the positions and velocities computed for the observation also start the next step, for free
        self._batch = Batch(model, self.num_envs, num_threads, persistent=True)
        self._batch.set_models([self._models[i] for i in self.object_index])
        self._qpos, self._qvel = self._batch.bind("qpos"), self._batch.bind("qvel")
        self._ctrl = self._batch.bind("ctrl")
        self._sensordata = self._batch.bind("sensordata")
        self._wrist_wrench = self._batch.bind("xfrc_applied")[:, model.body(scene.ROOT_BODY).id]
        self._warnings = np.zeros(self.num_envs, np.int64)

        self._joint_qpos, self._joint_qvel = scene.joint_qpos_columns(model), scene.joint_qvel_columns(model)
        self._actuated = [JOINTS.index(name) for name in ACTUATED]
        self._root_qpos = int(model.joint("root").qposadr[0])
        self._object_qpos = int(model.joint(scene.OBJECT_BODY).qposadr[0])
        self._columns = scene.SensorLayout().columns.numpy()
        self._state: Optional[SimState] = None
        self._batch.forward(stage=POSITION_AND_VELOCITY)

    def step(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        self._ctrl[:] = joint_targets.numpy()
        self._wrist_wrench[:, :3] = wrist_force.numpy()
        self._wrist_wrench[:, 3:] = wrist_torque.numpy()
        self._batch.step(nstep=self._config.substeps, stage=POSITION_AND_VELOCITY)
        warnings = self._batch.warning[:, BROKEN, 1].sum(axis=1)
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
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        joints = joint_pos.numpy()
        self._qpos[np.ix_(ids, self._joint_qpos)] = joints
        self._ctrl[ids] = joints[:, self._actuated]
        for start, pose in ((self._root_qpos, root_pose), (self._object_qpos, object_pose)):
            self._qpos[ids, start : start + 3] = pose[:, :3].numpy()
            self._qpos[ids, start + 3 : start + 7] = pose[:, 3:].numpy()[:, XYZW_TO_WXYZ]
        self._batch.forward(ids, stage=POSITION_AND_VELOCITY)
        self._warnings = self._batch.warning[:, BROKEN, 1].sum(axis=1)
        self._state = None

    def get_state(self) -> dict:
        return {"integration": torch.from_numpy(self._batch.state.copy())}

    def set_state(self, state: dict) -> None:
        self._batch.state[:] = state["integration"].numpy()
        self._batch.forward(stage=POSITION_AND_VELOCITY)
        self._state = None

    def render(self, env_id: int, width: int, height: int) -> np.ndarray:
        index = int(self.object_index[env_id])
        if index not in self._visual_models:
            self._visual_models[index] = scene.build_models(
                self._objects[index : index + 1],
                self._config,
                self.wrist_law,
                self._models[0].opt.timestep,
                visual=True,
            )[0]
        model = self._visual_models[index]
        data = mujoco.MjData(model)
        data.qpos[:] = self._qpos[env_id]
        mujoco.mj_kinematics(model, data)
        return raycast.render(model, data, VIEW, width, height, VISIBLE_GROUPS, supersample=2)
