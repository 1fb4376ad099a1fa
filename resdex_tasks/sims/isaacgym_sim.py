"""NVIDIA Isaac Gym Preview 4 behind the simulator interface.

Two classes, because two may own the engine: `SharedIsaacGymSim` lives in a gym and sim that somebody else made and
steps (IsaacGymEnvs' `VecTask`), `IsaacGymSim` makes and steps its own.

Written against the engine's documentation and stubs, and tested on a double of it (docs/isaacgym.md). Isaac Gym must be
imported before torch: `isaacgym_first` sees to it.
"""

import logging
import weakref
from typing import Any, ClassVar, Dict, List, Optional

import numpy as np
import torch
from isaacgym import gymapi, gymtorch
from torch import Tensor

from resdex_tasks.hand.description import DISTAL_BODIES
from resdex_tasks.hand.geometry import BodyPoses, body_names, joint_ranges
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS, PALM_DOWN_QUAT
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.sims.base import CONTROL_HZ, TABLE_HEIGHT, GraspSim, SimState, WristLaw
from resdex_tasks.sims.isaacgym_config import IsaacGymSimConfig
from resdex_tasks.sims.isaacgym_scene import IsaacGymScene, sim_params
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.rotations import quat_conjugate, quat_rotate, rotation_angle
from resdex_tasks.utils.tensors import constant

ABSURD_DISTANCE, ABSURD_SPEED = 1000.0, 1000.0
"""m, and m/s or rad/s: what is farther or faster has broken down, though its numbers are finite."""
MEASURED_STEPS, MEASURED_HEIGHT = 30, 3.0
"""Control steps, and m, of the hand's free motion by which the wrist's response is measured at the start."""
CREDIBLE = (0.3, 3.0)
"""Between which the measured response may differ from the computed one, as factors."""
HAND, OBJECT = 0, 1

log = logging.getLogger(__name__)


class SharedIsaacGymSim(GraspSim):
    """The simulator in a gym and sim that another owns and steps.

    The owner calls, in this order: the constructor, `gym.prepare_sim`, `ready`; then, for every control step, `step`
    (which only hands over the commands), `simulate` (or the engine's own two calls) and `refresh`.

    Args:
        gym, sim: Isaac Gym's, before `prepare_sim`.
        objects: the object set.
        object_index: (N,) which object each environment holds, for good.
        config: settings.
        wrist_law: the palm's response to the wrist wrench.
        device: where the tensors live, that of the engine's pipeline.

    Raises:
        UserError: the engine does not import the scene as it should.
    """

    def __init__(
        self,
        gym: Any,
        sim: Any,
        objects: ObjectSet,
        object_index: Tensor,
        config: IsaacGymSimConfig,
        wrist_law: WristLaw,
        device: str = "cpu",
    ) -> None:
        self.gym, self.sim, self.config, self.wrist_law = gym, sim, config, wrist_law
        self.device, self.num_envs = torch.device(device), len(object_index)
        self.object_index = object_index.to(self.device, torch.int64, copy=True)
        self.diverged = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self.joint_limits = torch.tensor(joint_ranges(), dtype=torch.float32, device=self.device)
        self._scene = IsaacGymScene(gym, sim, objects, object_index.tolist(), config, wrist_law, self.device)
        self._rows, self._masses = self._scene.rows, self._scene.masses
        self._roots = torch.stack((self._rows.hand, self._rows.object), dim=1).long()  # (N, 2): `HAND`, `OBJECT`
        self._com = torch.stack((self._masses.com[0].expand(self.num_envs, 3), self._scene.object_com), dim=1)
        names = body_names()
        self._distal = [names.index(name) for name in DISTAL_BODIES]
        self._actuated = torch.tensor([JOINTS.index(name) for name in ACTUATED], device=self.device)
        self._body_poses = BodyPoses(self.device)
        self.gains = [1.0, 1.0]
        """Of force and torque: measured response over computed one, inverted."""
        self._state: SimState
        self._poses: Tensor  # (N, 23, 7) of the hand's bodies

    def ready(self) -> None:
        """After `prepare_sim`: take hold of the engine's tensors, measure the wrist's response, place everything.

        Raises:
            UserError: the hand does not answer as a wrist should.
        """
        gym, sim, n = self.gym, self.sim, self.num_envs
        # the handles are kept: the tensors are views of what they own
        self._handles = {
            "root": gym.acquire_actor_root_state_tensor(sim),
            "dof": gym.acquire_dof_state_tensor(sim),
            "body": gym.acquire_rigid_body_state_tensor(sim),
        }
        if self.config.fingertip_wrenches == "sensor":
            self._handles["sensor"] = gym.acquire_force_sensor_tensor(sim)
        else:
            self._handles["contact"] = gym.acquire_net_contact_force_tensor(sim)
        self._now = {name: gymtorch.wrap_tensor(handle) for name, handle in self._handles.items()}
        # what is written is ours, whole and alive until it has been read: the engine keeps addresses
        self._root_out = torch.zeros_like(self._now["root"])
        self._dof_out = torch.zeros_like(self._now["dof"])
        self._targets = torch.zeros(len(self._dof_out), device=self.device)
        self._forces = torch.zeros(len(self._now["body"]), 3, device=self.device)
        self._torques = torch.zeros_like(self._forces)
        self._pending = torch.zeros(n, dtype=torch.bool, device=self.device)
        self._read()
        self._place(MEASURED_HEIGHT)
        for axis, full in enumerate((self.wrist_law.max_force, self.wrist_law.max_torque)):
            self.gains[axis] = self._measured_gain(axis, full)
        self._place(TABLE_HEIGHT + 0.5)

    def _place(self, height: float) -> None:
        """The hand at rest at this height, palm down, above an object on the table."""
        n = self.num_envs

        def pose(z: float, quat: Any) -> Tensor:
            return constant((0.0, 0.0, z, *quat), self.device).expand(n, 7)

        every = torch.arange(n, device=self.device)
        joints = torch.zeros(n, len(JOINTS), device=self.device)
        self.reset(every, pose(height, PALM_DOWN_QUAT), joints, pose(TABLE_HEIGHT + 0.15, (0.0, 0.0, 0.0, 1.0)))

    def _measured_gain(self, axis: int, full: float) -> float:
        """Expected over measured steady speed under a full force (0) or torque (1) about z, in free space.

        Whether a force acts in every substep, and when it is damped, the engine's documentation leaves open.
        """
        self._place(MEASURED_HEIGHT)
        push = torch.tensor([0.0, 0.0, full], device=self.device).expand(self.num_envs, 3)
        still, targets = torch.zeros_like(push), torch.zeros(self.num_envs, len(ACTUATED), device=self.device)
        before = after = self._state.root_pose
        for _ in range(MEASURED_STEPS):
            self._hand_over(targets, *((push, still) if axis == 0 else (still, push)))
            self.simulate()
            self.refresh()
            before, after = after, self._state.root_pose
        # of the motion over a whole step: within it, the velocity may come and go
        moved = (after - before)[:, 2] if axis == 0 else rotation_angle(after[:, 3:], before[:, 3:])
        speed = CONTROL_HZ * float(moved.median())
        expected = self.wrist_law.max_speed if axis == 0 else self.wrist_law.max_angular_speed
        gain = expected / speed if speed > 0 else float("inf")
        log.info("wrist: %.4f of the expected %s", 1 / gain, "speed" if axis == 0 else "angular speed")
        if not CREDIBLE[0] < gain < CREDIBLE[1]:
            what = "force" if axis == 0 else "torque"
            raise UserError(f"Isaac Gym moves the wrist at {speed:.3g} under full {what}, not at {expected:.3g}")
        return gain

    def step(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        """Hand over the commands of the next `simulate`, see `GraspSim.step`; `refresh` ends the step."""
        self._hand_over(joint_targets, wrist_force, wrist_torque)

    def _hand_over(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        gym, sim = self.gym, self.sim
        self._targets[self._rows.dofs[:, self._actuated]] = joint_targets
        palm = self._rows.bodies[:, 0]
        force, torque = self._scene.wrist.wrench(wrist_force, wrist_torque, self._poses, self._masses)
        self._forces[palm], self._torques[palm] = force * self.gains[0], torque * self.gains[1]
        ids = self._pending.nonzero(as_tuple=True)[0]
        if len(ids):
            # each setter counts once between two simulates, so all that was reset goes in one call; the indices are
            # int32 and stay ours, because the engine reads them later
            self._hand_ids = self._rows.hand[ids].contiguous()
            self._actor_ids = torch.cat((self._hand_ids, self._rows.object[ids]))
            pairs = ((self._root_out, self._actor_ids), (self._dof_out, self._hand_ids))
            setters = (gym.set_actor_root_state_tensor_indexed, gym.set_dof_state_tensor_indexed)
            for setter, (values, actors) in zip(setters, pairs):
                setter(sim, gymtorch.unwrap_tensor(values), gymtorch.unwrap_tensor(actors), len(actors))
        gym.set_dof_position_target_tensor(sim, gymtorch.unwrap_tensor(self._targets))
        gym.apply_rigid_body_force_tensors(
            sim, gymtorch.unwrap_tensor(self._forces), gymtorch.unwrap_tensor(self._torques), gymapi.ENV_SPACE
        )

    def simulate(self) -> None:
        """The engine's step."""
        self.gym.simulate(self.sim)
        if self.device.type == "cpu":
            self.gym.fetch_results(self.sim, True)

    def refresh(self) -> None:
        """Read what the engine's step came to."""
        self._pending[:] = False
        self._read()
        broken = self._broken()
        self.diverged = broken
        ids = broken.nonzero(as_tuple=True)[0]
        if len(ids):  # back to where the last reset put it, at rest
            self._root_out[self._roots[ids].flatten(), 7:] = 0
            self._dof_out[self._rows.dofs[ids].flatten(), 1] = 0
            self._pending[ids] = True
            self._show_staged(ids)

    def _read(self) -> None:
        gym, sim = self.gym, self.sim
        gym.refresh_actor_root_state_tensor(sim)
        gym.refresh_dof_state_tensor(sim)
        gym.refresh_rigid_body_state_tensor(sim)
        if "sensor" in self._now:
            gym.refresh_force_sensor_tensor(sim)
        else:
            gym.refresh_net_contact_force_tensor(sim)
        bodies = self._now["body"][self._rows.bodies]
        self._poses = bodies[..., :7]
        tips = _at_origin(bodies[:, self._distal], self._masses.com[self._distal])
        roots = _at_origin(self._now["root"][self._roots], self._com)
        joints = self._now["dof"][self._rows.dofs]
        self._state = SimState(
            joint_pos=joints[..., 0].clone(),
            joint_vel=joints[..., 1].clone(),
            palm_pose=roots[:, HAND, :7].clone(),
            root_pose=roots[:, HAND, :7].clone(),
            fingertips=tips,
            fingertip_wrenches=self._wrenches(tips[..., 3:7]),
            object=roots[:, OBJECT].clone(),
        )

    def _wrenches(self, quat: Tensor) -> Tensor:
        if "sensor" in self._now:
            return self._now["sensor"].reshape(self.num_envs, len(self._distal), 6).clone()
        force = self._now["contact"][self._rows.bodies[:, self._distal]]
        return torch.cat((quat_rotate(quat_conjugate(quat), force), torch.zeros_like(force)), dim=-1)

    def _broken(self) -> Tensor:
        """(N,) bool: a number is none, or nothing that could be."""
        roots, dofs = self._now["root"][self._roots], self._now["dof"][self._rows.dofs]
        far = roots[..., :3].abs().flatten(1).amax(dim=1) > ABSURD_DISTANCE
        speeds = torch.cat((roots[..., 7:].flatten(1), dofs[..., 1]), dim=1)
        return ~self._state.finite() | far | (speeds.abs().amax(dim=1) > ABSURD_SPEED)

    def state(self) -> SimState:
        return self._state

    def reset(self, env_ids: Tensor, root_pose: Tensor, joint_pos: Tensor, object_pose: Tensor) -> None:
        if len(env_ids) == 0:
            return
        n = len(env_ids)
        poses = torch.stack((root_pose, object_pose), dim=1)
        self._root_out[self._roots[env_ids]] = torch.cat((poses, poses.new_zeros(n, 2, 6)), dim=-1)
        self._dof_out[self._rows.dofs[env_ids]] = torch.stack((joint_pos, torch.zeros_like(joint_pos)), dim=-1)
        self._targets[self._rows.dofs[env_ids]] = joint_pos
        self._pending[env_ids] = True
        self._show_staged(env_ids)

    def _show_staged(self, ids: Tensor) -> None:
        """What the engine will not show before its next step: the state at rest that environments were put into."""
        shown = SimState(**{name: value.clone() for name, value in vars(self._state).items()})
        roots, joint_pos = self._root_out[self._roots[ids]], self._dof_out[self._rows.dofs[ids]][..., 0]
        poses = self._body_poses(roots[:, HAND, :7], joint_pos)
        self._poses = self._poses.clone()
        self._poses[ids] = poses
        shown.joint_pos[ids], shown.joint_vel[ids] = joint_pos, 0.0
        shown.palm_pose[ids] = shown.root_pose[ids] = roots[:, HAND, :7]
        shown.fingertips[ids] = torch.nn.functional.pad(poses[:, self._distal], (0, 6))
        shown.fingertip_wrenches[ids] = 0.0
        shown.object[ids] = roots[:, OBJECT]
        self._state = shown

    def put_objects(self, env_ids: Tensor, object_index: Tensor) -> None:
        """Nothing, where the objects stand there already.

        Raises:
            UserError: others are asked for: the engine cannot swap them.
        """
        if not torch.equal(self.object_index[env_ids], object_index.to(self.device)):
            raise UserError("sim=isaacgym keeps an environment's object for good: task.env.objectSampling=fixed")

    def get_state(self) -> dict:
        """What continues from here. Not bit-exactly: contacts are inside the engine."""
        roots, dofs = self._now["root"][self._roots].clone(), self._now["dof"][self._rows.dofs].clone()
        waiting = self._pending
        roots[waiting], dofs[waiting] = self._root_out[self._roots[waiting]], self._dof_out[self._rows.dofs[waiting]]
        sensed: Dict[str, Tensor] = {name: value.clone() for name, value in vars(self._state).items()}
        return {
            "roots": roots,
            "dofs": dofs,
            "targets": self._targets[self._rows.dofs],
            "poses": self._poses.clone(),
            "sensed": sensed,
            "object_index": self.object_index.clone(),
        }

    def set_state(self, state: dict) -> None:
        state = {k: v if k == "sensed" else v.to(self.device) for k, v in state.items()}
        self.put_objects(torch.arange(self.num_envs, device=self.device), state["object_index"])
        self._root_out[self._roots], self._dof_out[self._rows.dofs] = state["roots"], state["dofs"]
        self._targets[self._rows.dofs] = state["targets"]
        self._pending[:] = True
        self._poses = state["poses"].clone()
        self._state = SimState(**{name: value.to(self.device, copy=True) for name, value in state["sensed"].items()})

    def render(
        self, env_id: int, width: int, height: int, closeup: bool = False, points: Optional[Tensor] = None
    ) -> np.ndarray:
        """UserError: the engine draws only with a graphics device."""
        raise UserError("sim=isaacgym makes no pictures: evaluate the checkpoint with sim=mujoco for them")


class IsaacGymSim(SharedIsaacGymSim):
    """The simulator with an engine of its own: one in a process, which is all that Isaac Gym can do."""

    made: ClassVar[List[str]] = []
    """Of this process."""

    def __init__(
        self,
        objects: ObjectSet,
        object_index: Tensor,
        config: IsaacGymSimConfig,
        wrist_law: WristLaw,
        device: str = "cpu",
    ) -> None:
        if self.made:
            raise UserError("Isaac Gym makes one simulator in a process, and this process had one: start another")
        where, gym = torch.device(device), gymapi.acquire_gym()
        number = where.index or 0 if where.type == "cuda" else 0
        sim = gym.create_sim(number, -1, gymapi.SIM_PHYSX, sim_params(config, where))  # -1: draw nothing
        if sim is None:
            raise UserError("Isaac Gym cannot make a simulator; what it printed says why")
        self.made.append(device)
        weakref.finalize(self, gym.destroy_sim, sim).atexit = False  # a process that ends needs no tidying
        super().__init__(gym, sim, objects, object_index, config, wrist_law, device)
        gym.prepare_sim(sim)
        self.ready()

    def step(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        self._hand_over(joint_targets, wrist_force, wrist_torque)
        self.simulate()
        self.refresh()


def _at_origin(states: Tensor, com: Tensor) -> Tensor:
    """States (..., 13) with the velocity of their frames' origins in place of that of their centres of mass.

    Args:
        com: (..., 3) m, the centres in the bodies' frames.
    """
    spin = states[..., 10:]
    offset = quat_rotate(states[..., 3:7], com)
    return torch.cat((states[..., :7], states[..., 7:10] - torch.cross(spin, offset, dim=-1), spin), dim=-1)
