"""What the two MuJoCo simulators share beyond the scene: state in, measurements out, pictures."""

from abc import abstractmethod
from typing import Optional, Tuple

import mujoco
import numpy as np
import torch
from torch import Tensor

from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.rendering import raycast
from resdex_tasks.sims.base import CONTROL_HZ, GraspSim, SimState, WristLaw
from resdex_tasks.sims.mujoco_config import PhysicsConfig
from resdex_tasks.sims.mujoco_scene import (
    OBJECT_BODY,
    ROOT_BODY,
    Scene,
    SensorLayout,
    build_scene,
    joint_limits,
    joint_qpos_columns,
    joint_qvel_columns,
)
from resdex_tasks.utils.rotations import quat_conjugate, quat_rotate

XYZW_TO_WXYZ = [3, 0, 1, 2]

VIEW = raycast.Camera(position=(0.62, -0.42, 0.98), target=(0.0, 0.02, 0.74), fov=32.0)
CLOSEUP_MARGIN = 0.07
"""m, around palm, fingers and object."""
WIDEST_CLOSEUP = 50.0
"""degrees: what is further apart, such as an object that rolled away, is cut."""
VISIBLE_GROUPS = [1, 1, 1, 0, 0, 0]
"""Geom groups in pictures: the object and the table (0) and the hand's visual meshes (1)."""


class MujocoGraspSim(GraspSim):
    """A simulator on a `Scene`; how the scene is stepped is the subclass's business.

    Args:
        objects: the object set.
        object_index: (N,) which object each environment holds.
        physics: its settings.
        wrist_law: the palm's response to the wrist wrench.
        device: where the tensors live.
    """

    def __init__(
        self,
        objects: ObjectSet,
        object_index: Tensor,
        physics: PhysicsConfig,
        wrist_law: WristLaw,
        device: str,
    ) -> None:
        self.device = torch.device(device)
        self.num_envs = len(object_index)
        self.wrist_law, self.physics, self._objects = wrist_law, physics, objects
        self.object_index = object_index.to(self.device, torch.int64, copy=True)
        self.diverged = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self.scene = build_scene(objects, physics, wrist_law, 1 / (CONTROL_HZ * physics.substeps))
        self._visual_scene: Optional[Scene] = None
        model = self.scene.model
        self.joint_limits = joint_limits(model).to(self.device)

        def columns(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, device=self.device)

        self._root_body = int(model.body(ROOT_BODY).id)
        self._joint_qpos, self._joint_qvel = columns(joint_qpos_columns(model)), columns(joint_qvel_columns(model))
        self._actuated = columns(np.array([JOINTS.index(name) for name in ACTUATED]))
        self._root_qpos = int(model.joint("root").qposadr[0])
        self._object_qpos = int(model.joint(OBJECT_BODY).qposadr[0])
        self._sensor_columns = SensorLayout().columns.to(self.device)
        self._state: Optional[SimState] = None

    def state(self) -> SimState:
        if self._state is None:
            self._state = self._measure(*self._raw_state())
        return self._state

    @abstractmethod
    def _raw_state(self) -> Tuple[Tensor, Tensor, Tensor]:
        """qpos (N, nq), qvel (N, nv) and sensordata (N, nsensordata), positions and velocities current."""

    def _measure(self, qpos: Tensor, qvel: Tensor, sensordata: Tensor) -> SimState:
        n = self.num_envs
        sensed = sensordata[:, self._sensor_columns].float()
        fingertips, obj, root, contact = sensed.split((65, 13, 7, 45), dim=1)
        fingertips, contact = fingertips.reshape(n, 5, 13), contact.reshape(n, 5, 9)
        # MuJoCo reports what the fingertip does to the world; the wrench on the fingertip is the opposite
        force, torque, point = -contact[..., :3], -contact[..., 3:6], contact[..., 6:]
        torque = torque + torch.cross(point - fingertips[..., :3], force, dim=-1)
        to_body = quat_conjugate(fingertips[..., 3:7])
        return SimState(
            joint_pos=qpos[:, self._joint_qpos].float(),
            joint_vel=qvel[:, self._joint_qvel].float(),
            palm_pose=root,
            root_pose=root,
            fingertips=fingertips,
            fingertip_wrenches=torch.cat((quat_rotate(to_body, force), quat_rotate(to_body, torque)), dim=-1),
            object=obj,
        )

    def _qpos_of(self, root_pose: Tensor, joint_pos: Tensor, object_pose: Tensor) -> Tensor:
        """(n, nq) qpos of the poses that `reset` is given; nothing else is in it."""
        qpos = joint_pos.new_empty(len(joint_pos), self.scene.model.nq)
        qpos[:, self._joint_qpos] = joint_pos
        for start, pose in ((self._root_qpos, root_pose), (self._object_qpos, object_pose)):
            qpos[:, start : start + 3] = pose[:, :3]
            qpos[:, start + 3 : start + 7] = pose[:, 3:][:, XYZW_TO_WXYZ]
        return qpos

    def render(
        self, env_id: int, width: int, height: int, closeup: bool = False, points: Optional[Tensor] = None
    ) -> np.ndarray:
        if self._visual_scene is None:
            self._visual_scene = build_scene(self._objects, self.physics, self.wrist_law, 1 / CONTROL_HZ, visual=True)
        model = self._visual_scene.show(int(self.object_index[env_id]))
        data = mujoco.MjData(model)
        data.qpos[:] = self._raw_state()[0][env_id].cpu().numpy()
        mujoco.mj_kinematics(model, data)
        camera = self._closeup(env_id) if closeup else VIEW
        dots = None if points is None else points.cpu().numpy()
        return raycast.render(model, data, camera, width, height, VISIBLE_GROUPS, supersample=2, points=dots)

    def _closeup(self, env_id: int) -> raycast.Camera:
        """`VIEW` moved, but not turned, to where hand and object are, and opened just so far that both fit."""
        state = self.state()
        tips, obj = state.fingertips[env_id, :, :3].mean(dim=0), state.object[env_id, :3]
        ends = torch.stack((tips, state.palm_pose[env_id, :3], obj)).cpu().numpy().astype(float)
        low, high = ends.min(axis=0), ends.max(axis=0)
        target, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2 + CLOSEUP_MARGIN
        offset = np.subtract(VIEW.position, VIEW.target)
        fov = 2 * np.degrees(np.arctan(radius / np.linalg.norm(offset)))
        return raycast.Camera(tuple(target + offset), tuple(target), min(float(fov), WIDEST_CLOSEUP))
