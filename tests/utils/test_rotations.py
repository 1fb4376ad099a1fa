"""Quaternions against scipy's rotations, which share the xyzw order and nothing else."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from resdex_tasks.utils.rotations import (
    euler_xyz,
    matrix_quat,
    quat_conjugate,
    quat_mul,
    quat_rotate,
    rotate_yaw,
    rotation_angle,
    yaw_quat,
)

component = st.floats(-1.0, 1.0)
quats = (
    st.tuples(component, component, component, component)
    .filter(lambda q: np.linalg.norm(q) > 0.1)
    .map(lambda q: np.array(q) / np.linalg.norm(q))
)
vectors = st.tuples(*[st.floats(-10.0, 10.0)] * 3).map(np.array)
angles = st.floats(-math.pi, math.pi)


def same_rotation(a, b, atol=1e-9):
    """q and -q are one rotation."""
    a, b = np.asarray(a), np.asarray(b)
    return np.allclose(a, b, atol=atol) or np.allclose(a, -b, atol=atol)


@given(quats, quats)
def test_product_rotates_by_the_second_then_by_the_first(a, b):
    ours = quat_mul(torch.from_numpy(a), torch.from_numpy(b))
    assert same_rotation(ours, (Rotation.from_quat(a) * Rotation.from_quat(b)).as_quat())


@given(quats)
def test_conjugate_is_the_inverse(q):
    assert same_rotation(quat_conjugate(torch.from_numpy(q)), Rotation.from_quat(q).inv().as_quat())


@given(quats, vectors)
def test_rotating_a_vector(q, v):
    ours = quat_rotate(torch.from_numpy(q), torch.from_numpy(v))
    np.testing.assert_allclose(ours, Rotation.from_quat(q).apply(v), atol=1e-9)


@given(angles, vectors)
def test_yaw_turns_about_z(yaw, v):
    """A quarter turn takes x to y: the sign that every yaw-aligned quantity depends on."""
    expected = Rotation.from_euler("z", yaw).apply(v)
    angle = torch.tensor(yaw, dtype=torch.float64)
    np.testing.assert_allclose(quat_rotate(yaw_quat(angle), torch.from_numpy(v)), expected, atol=1e-9)
    np.testing.assert_allclose(rotate_yaw(torch.from_numpy(v), angle.cos(), angle.sin()), expected, atol=1e-9)


@given(quats, quats)
def test_rotation_angle_is_the_shorter_way_round(a, b):
    expected = (Rotation.from_quat(a) * Rotation.from_quat(b).inv()).magnitude()
    # the asin is ill-conditioned at half a turn: an error of 1e-16 in its argument is one of 1e-8 in the angle
    assert rotation_angle(torch.from_numpy(a), torch.from_numpy(b)).item() == pytest.approx(expected, abs=1e-6)


@given(quats, quats)
def test_rotation_angle_ignores_the_sign_of_a_quaternion(a, b):
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    torch.testing.assert_close(rotation_angle(-a, b), rotation_angle(a, b))


def test_rotation_angle_stays_finite_where_rounding_leaves_the_unit_ball():
    """A float32 vector part a little longer than 1 must not become NaN."""
    a = torch.tensor([1.0, 1e-4, 0.0, 0.0]) * (1 + 1e-6)
    assert rotation_angle(a, torch.tensor([0.0, 0.0, 0.0, 1.0])).item() == pytest.approx(math.pi, abs=1e-3)


@given(angles, st.floats(-1.5, 1.5), angles)
def test_euler_angles_round_trip(roll, pitch, yaw):
    """Rz(yaw) Ry(pitch) Rx(roll) is scipy's extrinsic xyz; pitch stays off +-90 degrees, where two angles are one."""
    rotation = Rotation.from_euler("xyz", [roll, pitch, yaw])
    ours = euler_xyz(torch.from_numpy(rotation.as_quat())).numpy()
    turns = (ours - [roll, pitch, yaw]) / (2 * math.pi)
    np.testing.assert_allclose(turns - np.round(turns), 0, atol=1e-8)
    assert (np.abs(ours) <= math.pi).all() and abs(ours[1]) <= math.pi / 2


@given(quats)
def test_euler_angles_ignore_the_sign_of_a_quaternion(q):
    q = torch.from_numpy(q)
    turns = (euler_xyz(q) - euler_xyz(-q)) / (2 * math.pi)
    torch.testing.assert_close(turns, turns.round(), atol=1e-12, rtol=0)


def test_leading_axes_broadcast():
    """One quaternion for many vectors, and five fingertips at a time, as the task uses them."""
    q = torch.from_numpy(Rotation.from_quat(np.random.default_rng(0).normal(size=(4, 4))).as_quat())
    v = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    expected = np.stack([Rotation.from_quat(a).apply(b) for a, b in zip(q.numpy(), v.numpy())])
    np.testing.assert_allclose(quat_rotate(q, v), expected, atol=1e-9)
    np.testing.assert_allclose(quat_rotate(q[0], v), Rotation.from_quat(q[0].numpy()).apply(v.numpy()), atol=1e-9)
    grid = q[:, None].expand(4, 5, 4)
    assert quat_mul(grid, grid).shape == (4, 5, 4)
    assert rotation_angle(grid, grid[:, :1].expand_as(grid)).abs().max() < 1e-6
    assert euler_xyz(grid).shape == (4, 5, 3)


@given(quats)
def test_a_matrix_gives_the_quaternion_of_its_rotation(q):
    found = matrix_quat(torch.from_numpy(Rotation.from_quat(q).as_matrix())[None])[0].numpy()
    assert min(np.abs(found - q).max(), np.abs(found + q).max()) < 1e-7


def test_a_matrix_of_half_a_turn_gives_a_unit_quaternion():
    for axis in range(3):
        matrix = -torch.eye(3)
        matrix[axis, axis] = 1.0
        expected = torch.zeros(4)
        expected[axis] = 1.0
        torch.testing.assert_close(matrix_quat(matrix), expected)
