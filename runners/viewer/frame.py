"""Where everything is at one moment, for whoever draws it."""

import functools
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.hand.geometry import BodyPoses
from resdex_tasks.sims.base import SimState
from resdex_tasks.utils.rotations import quat_rotate

FARTHEST_CONTACT = 0.04
"""m from a distal body's origin: no point of its surface is farther."""


@dataclass(frozen=True)
class Frame:
    """The first environment, in the world frame; quaternions xyzw."""

    hand: np.ndarray
    """(23, 7) poses of the hand's bodies, in the order of `hand.geometry.body_names`."""
    object: np.ndarray
    """(7,) pose of the object's frame."""
    contacts: np.ndarray
    """(5, 3) m: where the contact forces act on the fingertips."""
    forces: np.ndarray
    """(5, 3) N: the net contact force on each fingertip, which the policy feels."""
    cloud: Optional[np.ndarray]
    """(P, 3) m: the points that the policy sees; None: it sees none."""


def frame_of(task: GraspTask) -> Frame:
    """Where everything of the first environment is."""
    state = task.sim.state()
    bodies = _kinematics(task.device)(state.root_pose[:1], state.joint_pos[:1])[0]
    points, forces = fingertip_forces(state)
    cloud = task.seen_points(0)
    return Frame(
        hand=_array(bodies),
        object=_array(state.object[0, :7]),
        contacts=_array(points[0]),
        forces=_array(forces[0]),
        cloud=None if cloud is None else _array(cloud),
    )


def fingertip_forces(state: SimState) -> Tuple[Tensor, Tensor]:
    """Points (N, 5, 3), m, and forces (N, 5, 3), N, that fingertips feel, in the world frame.

    A simulator gives the net wrench about the distal body's origin. The point is the one of the force's line that is
    nearest to it, r = F x T / |F|^2, as far as this is on the finger; where there is no force, it is the origin.
    """
    force, torque = state.fingertip_wrenches.split(3, dim=-1)
    arm = torch.cross(force, torque, dim=-1) / force.square().sum(dim=-1, keepdim=True).clamp(min=1e-12)
    length = arm.norm(dim=-1, keepdim=True)
    arm = arm * (FARTHEST_CONTACT / length.clamp(min=FARTHEST_CONTACT))
    position, quat = state.fingertips[..., :3], state.fingertips[..., 3:7]
    return position + quat_rotate(quat, arm), quat_rotate(quat, force)


@functools.lru_cache(maxsize=None)
def _kinematics(device: torch.device) -> BodyPoses:
    return BodyPoses(device)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
