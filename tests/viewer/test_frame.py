"""Where the viewer draws things, and what it draws over them."""

import numpy as np
import torch
from helpers.driving import world_wrenches
from helpers.simulators import mujoco_task
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.hand.description import DISTAL_BODIES
from resdex_tasks.hand.geometry import body_names
from resdex_tasks.sims.base import SimState
from resdex_tasks.utils.rotations import quat_conjugate, quat_rotate
from runners.viewer.frame import FARTHEST_CONTACT, fingertip_forces, frame_of

NUMBERS = st.floats(-1, 1, width=32)
VECTOR = st.tuples(NUMBERS, NUMBERS, NUMBERS).map(torch.tensor)
QUAT = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).filter(lambda q: np.linalg.norm(q) > 0.1)


def test_the_fingertips_are_drawn_where_the_simulator_says():
    task = mujoco_task(2, ("box",))
    task.reset()
    for _ in range(20):
        task.step(torch.ones(2, 24))
    frame, state = frame_of(task), task.sim.state()
    distal = [body_names().index(name) for name in DISTAL_BODIES]
    np.testing.assert_allclose(frame.hand[distal, :3], state.fingertips[0, :, :3], atol=1e-5)
    turned = np.abs((frame.hand[distal, 3:] * state.fingertips[0, :, 3:7].numpy()).sum(axis=1))
    np.testing.assert_allclose(turned, 1, atol=1e-5)
    np.testing.assert_allclose(frame.object, state.object[0, :7])
    assert frame.cloud is None


def state_of(quat, force, torque) -> SimState:
    """One environment in which all fingertips feel the same, in the world frame about the body's origin (1, 2, 3)."""
    quat = torch.tensor(quat) / torch.tensor(quat).norm()
    wrench = torch.cat([quat_rotate(quat_conjugate(quat), vector) for vector in (force, torque)])
    tip = torch.cat((torch.tensor([1.0, 2.0, 3.0]), quat, torch.zeros(6)))
    nothing = torch.zeros(1, 0)
    return SimState(
        joint_pos=nothing,
        joint_vel=nothing,
        palm_pose=nothing,
        root_pose=nothing,
        fingertips=tip.expand(1, 5, 13),
        fingertip_wrenches=wrench.expand(1, 5, 6),
        object=nothing,
    )


@given(QUAT, VECTOR.filter(lambda force: force.norm() > 0.1), VECTOR)
@settings(max_examples=50)
def test_a_force_acts_on_its_own_line(quat, force, at):
    """A force at a point near the finger has its moment about the origin, which leads back to its line."""
    at = 0.5 * FARTHEST_CONTACT * at / max(1.0, float(at.norm()))
    points, forces = fingertip_forces(state_of(quat, force, torch.linalg.cross(at, force)))
    torch.testing.assert_close(forces[0, 2], force, atol=1e-4, rtol=1e-4)
    offset = points[0, 2] - torch.tensor([1.0, 2.0, 3.0]) - at
    assert torch.linalg.cross(offset, force / force.norm()).norm() < 1e-3


def test_without_a_force_its_point_is_the_bodys_origin():
    points, forces = fingertip_forces(state_of((0.0, 0.0, 0.0, 1.0), torch.zeros(3), torch.ones(3)))
    assert points[0].tolist() == [[1.0, 2.0, 3.0]] * 5 and not forces.any()


def test_the_forces_are_those_that_the_fingertips_feel():
    task = mujoco_task(1, ("box",))
    task.reset()
    for _ in range(60):
        task.step(torch.tensor([0.0, 0.0, -1.0, *[0.0] * 3, *[1.0] * 18])[None])
    frame, felt = frame_of(task), world_wrenches(task.sim.state())[0][0]
    assert felt.norm(dim=-1).max() > 0.5
    np.testing.assert_allclose(frame.forces, felt, atol=1e-4)
    tips = task.sim.state().fingertips[0, :, :3].numpy()
    assert (np.linalg.norm(frame.contacts - tips, axis=1) <= FARTHEST_CONTACT + 1e-6).all()
