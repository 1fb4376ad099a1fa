"""The paper's reward (A.1), one pure function a formula, and the official code's variants as settings.

Symbols, as in A.1: d_palm and d_fingers are the palm-object distance and the sum of the five fingertip-object
distances, d_goal the object-goal distance, d_joints = ||q* - q||_1 (rad), all (N,), metres unless said.
"""

from dataclasses import dataclass, field
from typing import Dict, List, Optional

import torch
from torch import Tensor

from resdex_tasks.sims.base import SimState
from resdex_tasks.utils.config_reader import bounds
from resdex_tasks.utils.rotations import quat_conjugate, quat_mul, quat_rotate, rotation_angle
from resdex_tasks.utils.tensors import constant

TERMS = ("pose", "proposal", "reach", "lift", "move", "bonus")
FINGERS_NEAR = 0.6
"""m: the flag of d_fingers."""
PALM_NEAR = 0.12
"""m: the flag of d_palm."""
SUCCESS_RADIUS = 0.05
"""m: r_bonus is paid, and success counted, within this distance of the goal."""


@dataclass(frozen=True)
class RewardConfig:
    """`task.env.reward`. The presets `paper` and `official` are two sets of these values."""

    terms: List[str] = field(metadata=bounds(choices=TERMS, filled=True))
    """Which of pose, proposal, reach, lift, move, bonus are summed."""
    palm_point: List[float] = field(metadata=bounds(length=3))
    """The palm's point that d_palm measures from, in the palm's frame, m."""
    finger_point: List[float] = field(metadata=bounds(length=3))
    """The fingertips' point that d_fingers measures from, in the distal body's frame, m."""
    palm_distance_cap: Optional[float] = field(metadata=bounds(above=0))
    """r_reach counts no more than this palm distance; null: uncapped."""
    fingers_distance_cap: Optional[float] = field(metadata=bounds(above=0))
    """r_reach counts no more than this sum of fingertip distances; null: uncapped."""
    pose_weight: float
    """Weight of -||q* - q||_1 in r_pose."""
    proposal_weights: List[float] = field(metadata=bounds(length=3))
    """Weights of -D_t, -D_R and -D_q in r_proposal: UniDexGrasp's alpha * ||g - g_t||."""
    move_joint_gate: Optional[float]
    """r_move needs ||q* - q||_1 <= this, rad; null: no such gate (the hyper-policy's second stage)."""
    move_position_gate: Optional[float]
    """r_move needs D_t <= this, m; null: no such gate."""
    move_rotation_gate: Optional[float]
    """r_move needs D_R <= this, rad; null: no such gate."""
    lift_clearance: Optional[float]
    """r_lift needs the object this far above its resting height, m; null: contact alone."""
    lift_flat_height: Optional[float]
    """r_lift is a flat 0.2 once the object is this high, m; null: never."""


@dataclass
class Distances:
    """What the reward terms are functions of, each (N,)."""

    palm: Tensor
    fingers: Tensor
    goal: Tensor
    joints: Tensor
    position: Tensor
    """D_t = ||t_now - t||_1 between the hand root in the object's frame and the proposal's, m."""
    rotation: Tensor
    """D_R, the angle between the hand root's rotation in the object's frame and the proposal's, rad."""


def distances(
    state: SimState,
    goal: Tensor,
    target_joint_pos: Tensor,
    target_translation: Tensor,
    target_rotation: Tensor,
    config: RewardConfig,
) -> Distances:
    """Measure the hand, the object and the proposal g = (R, t, q) against each other.

    Args:
        goal: (3,) world frame, m.
        target_joint_pos: (N, 22) the proposal's q*, rad.
        target_translation: (N, 3) the proposal's t*, m.
        target_rotation: (N, 4) the proposal's R*.
    """
    position, to_object = state.object[:, :3], quat_conjugate(state.object[:, 3:7])
    # the five fingertips and the palm as one (N, 6, 7): small tensors cost by the operation
    bodies = torch.cat((state.fingertips[..., :7], state.palm_pose[:, None]), dim=1)
    offsets = constant((tuple(config.finger_point),) * 5 + (tuple(config.palm_point),), position.device)
    points = bodies[..., :3] + quat_rotate(bodies[..., 3:], offsets)
    to_points = (points - position[:, None]).norm(dim=-1)
    return Distances(
        palm=to_points[:, 5],
        fingers=to_points[:, :5].sum(dim=-1),
        goal=(goal - position).norm(dim=-1),
        joints=(target_joint_pos - state.joint_pos).abs().sum(dim=-1),
        position=(quat_rotate(to_object, state.root_pose[:, :3] - position) - target_translation).abs().sum(dim=-1),
        rotation=rotation_angle(quat_mul(to_object, state.root_pose[:, 3:]), target_rotation),
    )


def grasp_flags(d: Distances) -> Tensor:
    """f1 = 1(d_fingers <= 0.6) + 1(d_palm <= 0.12)."""
    return (d.fingers <= FINGERS_NEAR).float() + (d.palm <= PALM_NEAR).float()


def pose_reward(d: Distances, config: RewardConfig) -> Tensor:
    """r_pose = -0.05 ||q* - q||_1 (Eq. 3, A.1)."""
    return -config.pose_weight * d.joints


def proposal_reward(d: Distances, config: RewardConfig) -> Tensor:
    """alpha r_proposal = -(w_t D_t + w_R D_R + w_q D_q) (Eq. 1-2, weighted as UniDexGrasp)."""
    w_position, w_rotation, w_joints = config.proposal_weights
    return -(w_position * d.position + w_rotation * d.rotation + w_joints * d.joints)


def reach_reward(d: Distances, config: RewardConfig) -> Tensor:
    """r_reach = -1.0 d_palm - 0.5 d_fingers."""
    palm = d.palm if config.palm_distance_cap is None else d.palm.clamp(max=config.palm_distance_cap)
    fingers = d.fingers if config.fingers_distance_cap is None else d.fingers.clamp(max=config.fingers_distance_cap)
    return -1.0 * palm - 0.5 * fingers


def lift_reward(
    d: Distances, upward_action: Tensor, height: Tensor, rest_height: Tensor, config: RewardConfig
) -> Tensor:
    """r_lift = 0.1 + 0.1 a_z where f1 = 2, else 0.

    Args:
        upward_action: (N,) a_z, the wrist's scaled upward force in [-1, 1].
        height: (N,) z of the object's frame, m.
        rest_height: (N,) the same at rest on the table, m.
    """
    reward = 0.1 + 0.1 * upward_action
    if config.lift_clearance is not None:
        reward = torch.where(height >= rest_height + config.lift_clearance, reward, torch.zeros_like(reward))
    if config.lift_flat_height is not None:
        reward = torch.where(height >= config.lift_flat_height, torch.full_like(reward, 0.2), reward)
    return torch.where(grasp_flags(d) == 2, reward, torch.zeros_like(reward))


def move_reward(d: Distances, config: RewardConfig) -> Tensor:
    """r_move = 0.9 - 2 d_goal where f2 = f1 + 1(||q* - q||_1 <= 6) = 3, else 0; stage 2 of the hyper-policy: f1 = 2."""
    gate = grasp_flags(d) == 2
    if config.move_joint_gate is not None:
        gate = gate & (d.joints <= config.move_joint_gate)
    if config.move_position_gate is not None:
        gate = gate & (d.position <= config.move_position_gate)
    if config.move_rotation_gate is not None:
        gate = gate & (d.rotation <= config.move_rotation_gate)
    return torch.where(gate, 0.9 - 2 * d.goal, torch.zeros_like(d.goal))


def bonus_reward(d: Distances) -> Tensor:
    """r_bonus = 1 / (1 + 10 d_goal) where d_goal <= 0.05 m, else 0."""
    return torch.where(d.goal <= SUCCESS_RADIUS, 1 / (1 + 10 * d.goal), torch.zeros_like(d.goal))


def reward_terms(
    d: Distances, upward_action: Tensor, height: Tensor, rest_height: Tensor, config: RewardConfig
) -> Dict[str, Tensor]:
    """Every configured term by name, each (N,); the reward is their sum."""
    every = {
        "pose": lambda: pose_reward(d, config),
        "proposal": lambda: proposal_reward(d, config),
        "reach": lambda: reach_reward(d, config),
        "lift": lambda: lift_reward(d, upward_action, height, rest_height, config),
        "move": lambda: move_reward(d, config),
        "bonus": lambda: bonus_reward(d),
    }
    return {name: every[name]() for name in config.terms}
