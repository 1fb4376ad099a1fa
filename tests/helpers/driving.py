"""Moves a simulator's hand and reads what it feels, for tests."""

import torch

from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS, PALM_DOWN_QUAT
from resdex_tasks.utils.rotations import quat_rotate

PALM_DOWN = torch.tensor(PALM_DOWN_QUAT)
HIGH = 1.5
"""m: far from table and object."""
DRIVEN = [JOINTS.index(name) for name in ACTUATED]
ALIKE = ("box", "cube", "big_box")


def place(sim, height=HIGH, root_quat=PALM_DOWN, object_position=(0.0, 0.5, 0.7), object_quat=(0.0, 0.0, 0.0, 1.0)):
    """Reset everywhere: hand above the table's centre, object beside it."""
    n = sim.num_envs

    def pose(position, quat):
        position, quat = torch.as_tensor(position), torch.as_tensor(quat)
        return torch.cat((position.expand(n, 3), quat.expand(n, 4)), dim=1)

    sim.reset(
        torch.arange(n), pose((0.0, 0.0, height), root_quat), torch.zeros(n, 22), pose(object_position, object_quat)
    )


def advance(sim, steps, targets=None, force=None, torque=None):
    """Constant commands for some control steps. Returns the root poses (steps + 1, N, 7), the first included."""
    n = sim.num_envs
    targets = torch.zeros(n, 18) if targets is None else targets
    force = torch.zeros(n, 3) if force is None else force
    torque = torch.zeros(n, 3) if torque is None else torque
    poses = [sim.state().root_pose.clone()]
    for _ in range(steps):
        sim.step(targets, force, torque)
        poses.append(sim.state().root_pose.clone())
    return torch.stack(poses)


def finger_targets(num_envs, **joints):
    """(N, 18) joint targets, 0 but for the named ones, each a number or (N,)."""
    targets = torch.zeros(num_envs, 18)
    for name, value in joints.items():
        targets[:, ACTUATED.index(name)] = torch.as_tensor(value, dtype=torch.float32)
    return targets


def curled(num_envs, angle=1.2):
    """All four fingers bent at the knuckle: palm down, their tips are the lowest points of the hand."""
    return finger_targets(num_envs, FFJ2=angle, MFJ2=angle, RFJ2=angle, LFJ2=angle)


def world_wrenches(state):
    """The fingertips' forces and torques (N, 5, 3), turned from the distal bodies' frames to the world's."""
    quat = state.fingertips[..., 3:7]
    wrench = state.fingertip_wrenches
    return quat_rotate(quat, wrench[..., :3]), quat_rotate(quat, wrench[..., 3:])


def snapshot(sim):
    state = sim.state()
    return torch.cat([t.flatten(1) for t in vars(state).values()], dim=1).clone()


def random_commands(n, steps, seed=0):
    """Wild enough to reach the table and the object."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield (
            torch.rand(n, 18, generator=generator) * 1.5,
            torch.randn(n, 3, generator=generator) * 40 - torch.tensor([0.0, 0.0, 40.0]),
            torch.randn(n, 3, generator=generator) * 3,
        )


def press(sim):
    """Press on the table with the tips of the four curled fingers, differently in each of three environments.

    Returns the force (3, 3) that then acts on the hand from outside besides the table's: the wrist force and its drag.
    """
    place(sim, height=0.71)
    force = torch.tensor([[0.0, 0.0, -5.0], [0.0, 0.0, -10.0], [2.0, 1.0, -10.0]])
    advance(sim, 40, curled(3))
    poses = advance(sim, 60, curled(3), force)
    velocity = (poses[-1, :, :3] - poses[-2, :, :3]) * 60
    return force - sim.wrist_law.linear_damping * velocity
