"""What policies see: 227 numbers in named blocks, and the groups of them; every slice in the project comes from here.

All vectors and rotations are expressed in the yaw-aligned frame: the world frame turned about z by the yaw with which
the hand started the episode, so that nothing depends on how the scene is turned about z.
"""

from dataclasses import dataclass
from typing import Dict, Mapping, Tuple

import torch
from torch import Tensor

from resdex_tasks.hand.shadow_hand import NUM_ACTIONS, NUM_JOINTS
from resdex_tasks.objects.object_set import CODE_SIZE
from resdex_tasks.sims.base import SimState
from resdex_tasks.utils.rotations import euler_xyz, quat_mul, rotate_yaw, yaw_quat

WRENCH_SCALE = 10.0
ANGULAR_VELOCITY_SCALE = 0.2


@dataclass(frozen=True)
class Block:
    """Where one quantity lies in the observation."""

    start: int
    size: int

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + self.size)


def _layout(*blocks: Tuple[str, int]) -> Dict[str, Block]:
    out, start = {}, 0
    for name, size in blocks:
        out[name] = Block(start, size)
        start += size
    return out


BLOCKS: Dict[str, Block] = _layout(
    ("joint_pos", NUM_JOINTS),  # scaled to [-1, 1] by the joint limits
    ("fingertips", 65),  # 5 x (position 3, quaternion 4, linear velocity 3, angular velocity 3)
    ("fingertip_wrenches", 30),  # 5 x (force 3, torque 3) in the fingertip's frame, x 10
    ("palm_pos", 3),
    ("root_euler", 3),  # roll, pitch, yaw
    ("last_action", NUM_ACTIONS),
    ("object_pos", 3),
    ("goal_offset", 3),  # goal - object
    ("object_quat", 4),  # with w >= 0
    ("object_lin_vel", 3),
    ("object_ang_vel", 3),  # x 0.2
    ("object_code", CODE_SIZE),
)
NUM_PROPRIOCEPTION = BLOCKS["last_action"].start
"""123: the paper's J."""

_LAST_BLOCK = {"proprioception": "last_action", "base": "goal_offset", "full": "object_code"}
"""Every group begins with the first block: the one that it ends with says all."""
SIZES: Dict[str, int] = {group: BLOCKS[last].slice.stop for group, last in _LAST_BLOCK.items()}
"""Observation group -> its size. `proprioception` (147): the paper's J and the last action. `base` (153): what a
geometry-unaware base policy sees, these and the object's position (Sec. 4.1). `full` (227): what the hyper-policy sees.
"""
CLOUD = "cloud"
"""The observation group of points on the object, (N, P, 3), `vision`."""
VIEWS: Dict[str, Tuple[str, ...]] = {"base": ("base",), "full": ("full",), "vision": ("proprioception", CLOUD)}
"""What a policy may see -> the observation groups that this is made of."""


def layout(view: str, num_points: int = 0) -> Dict[str, int]:
    """The blocks of what a policy sees, or of a group: name -> size, in order.

    Args:
        num_points: of the cloud, where there is one.
    """
    blocks: Dict[str, int] = {}
    for group in VIEWS.get(view, (view,)):
        if group == CLOUD:
            blocks[CLOUD] = 3 * num_points
        else:
            blocks.update({name: block.size for name, block in BLOCKS.items() if block.start < SIZES[group]})
    return blocks


def joined(observations: Mapping[str, Tensor], view: str) -> Tensor:
    """What a policy sees as one row of numbers: its groups (N, ...), one after the other. (N, size)"""
    parts = [observations[group].flatten(1) for group in VIEWS[view]]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def narrow(observation: Tensor, group: str) -> Tensor:
    """What `group` sees of an observation (N, size) of the same or a larger group. (N, SIZES[group])"""
    if observation.shape[1] < SIZES[group]:
        raise ValueError(f"an observation of {observation.shape[1]} numbers does not hold the group '{group}'")
    return observation[:, : SIZES[group]]


def full_observation(
    state: SimState, joint_limits: Tensor, yaw: Tensor, last_action: Tensor, goal: Tensor, object_code: Tensor
) -> Tensor:
    """The observation group `full`, not yet clipped.

    Args:
        joint_limits: (22, 2) rad.
        yaw: (N,) of the yaw-aligned frame, rad.
        last_action: (N, 24) in [-1, 1], in the yaw-aligned frame.
        goal: (3,) or (N, 3), world frame, m.
        object_code: (N, 64).

    Returns:
        (N, 227)
    """
    tips, obj = state.fingertips, state.object
    # every vector in one rotation and every quaternion in one product: small tensors cost by the operation
    vectors = torch.cat(
        (
            tips[..., :3],
            tips[..., 7:10],
            tips[..., 10:],
            torch.stack((state.palm_pose[:, :3], obj[:, :3], goal - obj[:, :3], obj[:, 7:10], obj[:, 10:]), dim=1),
        ),
        dim=1,
    )
    vectors = rotate_yaw(vectors, yaw.cos()[:, None], -yaw.sin()[:, None])
    tip_pos, tip_lin_vel, tip_ang_vel, others = vectors.split(5, dim=1)
    palm_pos, object_pos, goal_offset, object_lin_vel, object_ang_vel = others.unbind(1)
    quats = torch.cat((tips[..., 3:7], state.root_pose[:, None, 3:], obj[:, None, 3:7]), dim=1)
    quats = quat_mul(yaw_quat(-yaw)[:, None], quats)
    root_quat, object_quat = quats[:, 5], quats[:, 6]

    lower, upper = joint_limits.unbind(-1)
    return torch.cat(
        (
            2 * (state.joint_pos - lower) / (upper - lower) - 1,
            torch.cat((tip_pos, quats[:, :5], tip_lin_vel, tip_ang_vel), dim=-1).flatten(1),
            state.fingertip_wrenches.flatten(1) * WRENCH_SCALE,
            palm_pos,
            euler_xyz(root_quat),
            last_action,
            object_pos,
            goal_offset,
            torch.where(object_quat[:, 3:] < 0, -object_quat, object_quat),
            object_lin_vel,
            object_ang_vel * ANGULAR_VELOCITY_SCALE,
            object_code,
        ),
        dim=1,
    )
