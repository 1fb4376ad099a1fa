import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.geometry.convex import convex_piece, mass_centre
from resdex_tasks.objects.geometry.stable_poses import rest_poses


def box(x, y, z):
    return np.array([[i, j, k] for i in (-x / 2, x / 2) for j in (-y / 2, y / 2) for k in (-z / 2, z / 2)])


def about_its_centre(points):
    return points - mass_centre([convex_piece(points)])


def cone(radius, height, sides):
    angle = 2 * np.pi * np.arange(sides) / sides
    rim = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(sides)], axis=1)
    return about_its_centre(np.concatenate([rim, [[0, 0, height]]]))


def leaning_prism(lean):
    """A unit cube whose top is pushed sideways: its centre of mass stands over x = lean / 2."""
    return about_its_centre(box(1, 1, 1) + np.outer(box(1, 1, 1)[:, 2] > 0, [lean, 0, 0]))


def test_a_box_rests_on_its_six_faces_the_largest_first():
    poses = rest_poses(box(3, 2, 1))
    assert len(poses) == 6
    np.testing.assert_allclose(poses.height, [0.5, 0.5, 1, 1, 1.5, 1.5])
    np.testing.assert_allclose(poses.margin, [1, 1, 0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(np.abs(poses.up), np.eye(3)[[2, 2, 1, 1, 0, 0]], atol=1e-12)
    # a rectangle a x b, seen from c above its middle: 4 atan(a b / (4 c sqrt(c^2 + a^2/4 + b^2/4)))
    top = 4 * np.arctan(3 * 2 / (4 * 0.5 * np.sqrt(0.25 + 2.25 + 1))) / (4 * np.pi)
    assert poses.probability[0] == pytest.approx(top)
    assert poses.probability.sum() == pytest.approx(1)


def test_a_cube_is_as_likely_on_each_face():
    np.testing.assert_allclose(rest_poses(box(1, 1, 1)).probability, 1 / 6)


def test_a_cone_rests_on_its_base_and_on_each_facet():
    sides, radius, height = 12, 1.0, 3.0
    poses = rest_poses(cone(radius, height, sides))
    assert len(poses) == 1 + sides
    base = np.argmax(poses.up[:, 2])
    apothem = radius * np.cos(np.pi / sides)
    assert poses.height[base] == pytest.approx(height / 4)
    assert poses.margin[base] == pytest.approx(apothem)
    facets = np.delete(np.arange(1 + sides), base)
    # the centre of mass, a quarter up the axis, is this far from a side whose slant makes atan(apothem / height)
    np.testing.assert_allclose(poses.height[facets], 3 / 4 * height * np.sin(np.arctan2(apothem, height)))


@pytest.mark.parametrize("lean, stands", [(0.9, True), (1.1, False)])
def test_a_prism_that_leans_over_its_base_falls(lean, stands):
    ups = rest_poses(leaning_prism(lean)).up
    assert bool((ups[:, 2] > 0.999).any()) is stands
    assert bool((ups[:, 2] < -0.999).any()) is stands
    assert (np.abs(ups[:, 1]) > 0.999).sum() == 2, "it lies on its parallelogram sides in any case"


def test_margin_and_tip_angle_leave_out_what_stands_badly():
    tall = box(1, 2, 4)  # on its end: margin 0.5, tips at atan(0.5 / 2) = 14 degrees
    assert len(rest_poses(tall, min_tip_degrees=13)) == 6
    assert len(rest_poses(tall, min_tip_degrees=15)) == 4
    assert len(rest_poses(tall, min_margin=0.49)) == 6
    assert len(rest_poses(tall, min_margin=0.51)) == 2, "only the largest faces have edges farther away"
    assert len(rest_poses(tall, min_margin=9)) == 0


@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
@settings(max_examples=40)
def test_any_body_rests_above_the_table_over_a_face(seed, count):
    rng = np.random.default_rng(seed)
    vertices = about_its_centre(rng.normal(size=(count, 3)))
    poses = rest_poses(vertices)
    assert len(poses) >= 1, "the lowest possible centre of mass is always stable"
    assert poses.probability.sum() == pytest.approx(1)
    heights = vertices @ poses.up.T + poses.height
    np.testing.assert_allclose(heights.min(axis=0), 0, atol=1e-9)
    assert (np.sum(heights < 1e-9, axis=0) >= 3).all()
    assert (poses.margin > 0).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_turning_a_body_turns_its_poses(seed):
    rng = np.random.default_rng(seed)
    vertices = about_its_centre(rng.normal(size=(12, 3)))
    turn = Rotation.random(random_state=seed)
    poses, turned = rest_poses(vertices), rest_poses(turn.apply(vertices))
    # facets that are almost in one plane count as one, and which of them stands for it depends on the turn
    np.testing.assert_allclose(turned.height, poses.height, atol=1e-3)
    np.testing.assert_allclose(turned.up, turn.apply(poses.up), atol=1e-3)
