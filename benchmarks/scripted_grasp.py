"""An open-loop grasp that needs no training: go down over the object, close the fingers, lift."""

import torch
from torch import Tensor

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS

APPROACH_STEPS, CLOSE_STEPS, LIFT_STEPS = 30, 60, 90
"""Control steps of an episode after which the fingers begin to close, the lift begins, and the hand holds still."""
CLEARANCE = 0.065
"""m from the object's centre up to the hand's root when the fingers close."""
BEHIND = 0.10
"""m from the object's centre back to the hand's root, along the hand: what puts the object below the palm."""
LIFT = 0.15
"""m"""
GAIN = 40.0
"""Wrist action per metre away from where the root should be."""
OPEN = {"THJ4": 0.75}
CLOSED = {
    **{f"{finger}J{j}": 1.4 for finger in ("FF", "MF", "RF", "LF") for j in (2, 1)},
    "THJ4": 0.75, "THJ3": 1.2, "THJ1": 0.3, "THJ0": -0.6,
}  # fmt: skip
"""rad; the joints not named stay at 0."""


def _joint_targets(task: GraspTask, targets: dict) -> Tensor:
    """(18,) actions that stand for these joint targets."""
    actuated = [JOINTS.index(name) for name in ACTUATED]
    lower, upper = task.sim.joint_limits[actuated].unbind(-1)
    wanted = torch.tensor([targets.get(name, 0.0) for name in ACTUATED], device=task.device)
    return (2 * (wanted - lower) / (upper - lower) - 1).clamp(-1.0, 1.0)


def scripted_action(task: GraspTask) -> Tensor:
    """(N, 24) the script's action at every environment's own step of its episode."""
    step = task.progress[:, None]
    state = task.sim.state()
    root, obj = state.root_pose[:, :3], state.object[:, :3]
    cos, sin = task.yaw.cos(), task.yaw.sin()
    behind = BEHIND * torch.stack((-sin, cos), dim=1)  # palm down at yaw 0, the fingers point along -y
    height = task.rest_height + CLEARANCE
    height = height + LIFT * ((step[:, 0] - CLOSE_STEPS) / (LIFT_STEPS - CLOSE_STEPS)).clamp(0.0, 1.0)
    over = torch.where(step < APPROACH_STEPS, obj[:, :2], torch.zeros_like(obj[:, :2]))
    offset = torch.cat((over + behind, height[:, None]), dim=1) - root
    x, y = offset[:, 0] * cos + offset[:, 1] * sin, -offset[:, 0] * sin + offset[:, 1] * cos
    force = (GAIN * torch.stack((x, y, offset[:, 2]), dim=1)).clamp(-1.0, 1.0)
    fingers = torch.where(step < APPROACH_STEPS, _joint_targets(task, OPEN), _joint_targets(task, CLOSED))
    return torch.cat((force, torch.zeros_like(force), fingers), dim=1)
