"""The 227 numbers that a policy may see, as named blocks; every slice in the project comes from here.

All vectors and rotations are expressed in the yaw-aligned frame: the world frame turned about z by the yaw with which
the hand started the episode, so that nothing depends on how the scene is turned about z.
"""

from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from resdex_tasks.rotations import euler_xyz, quat_mul, rotate_yaw, yaw_quat
from resdex_tasks.shadow_hand import NUM_ACTIONS, NUM_JOINTS
from resdex_tasks.sims.base import SimState

WRENCH_SCALE = 10.0
ANGULAR_VELOCITY_SCALE = 0.2
CODE_SIZE = 64


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
NUM_BASE = BLOCKS["object_quat"].start
"""153: what a geometry-unaware base policy sees (Sec. 4.1), a prefix of the full observation."""
NUM_FULL = BLOCKS["object_code"].start + CODE_SIZE
"""227: what the hyper-policy sees."""

SIZES = {"base": NUM_BASE, "full": NUM_FULL}
"""`env.observation` -> observation size."""


def full_observation(
    state: SimState, joint_limits: Tensor, yaw: Tensor, last_action: Tensor, goal: Tensor, object_code: Tensor
) -> Tensor:
    """The full observation, not yet clipped.

    Args:
        joint_limits: (22, 2) rad.
        yaw: (N,) of the yaw-aligned frame, rad.
        last_action: (N, 24) in [-1, 1], in the yaw-aligned frame.
        goal: (3,) or (N, 3), world frame, m.
        object_code: (N, 64).

    Returns:
        (N, 227)
    """
    cos, sin = yaw.cos(), -yaw.sin()  # the rotation by -yaw
    to_frame = yaw_quat(-yaw)

    def turn(vectors: Tensor) -> Tensor:
        return rotate_yaw(vectors, cos, sin)

    tips = state.fingertips
    c, s = cos[:, None], sin[:, None]
    fingertips = torch.cat(
        (
            rotate_yaw(tips[..., :3], c, s),
            quat_mul(to_frame[:, None].expand(-1, 5, -1), tips[..., 3:7]),
            rotate_yaw(tips[..., 7:10], c, s),
            rotate_yaw(tips[..., 10:], c, s),
        ),
        dim=-1,
    )
    lower, upper = joint_limits.unbind(-1)
    position, quat = state.object[:, :3], quat_mul(to_frame, state.object[:, 3:7])
    return torch.cat(
        (
            2 * (state.joint_pos - lower) / (upper - lower) - 1,
            fingertips.flatten(1),
            state.fingertip_wrenches.flatten(1) * WRENCH_SCALE,
            turn(state.palm_pose[:, :3]),
            euler_xyz(quat_mul(to_frame, state.root_pose[:, 3:])),
            last_action,
            turn(position),
            turn(goal - position),
            torch.where(quat[:, 3:] < 0, -quat, quat),
            turn(state.object[:, 7:10]),
            turn(state.object[:, 10:]) * ANGULAR_VELOCITY_SCALE,
            object_code,
        ),
        dim=1,
    )
