"""Grasp candidates: hands about an object, before any simulator."""

import dataclasses

import numpy as np
import pytest
from helpers.grasps import candidates_of, zoo_trio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import hand_spheres, joint_ranges
from resdex_tasks.hand.shadow_hand import JOINTS
from resdex_tasks.objects.dexgraspnet.files import MAX_DEPTH
from resdex_tasks.objects.geometry.stable_poses import rest_heights
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.proposals.candidates import CANDIDATE_CONFIG, depth_in_table, sample_candidates, vary_candidates
from resdex_tasks.proposals.closure import CLOSING_SENSE
from resdex_tasks.proposals.reach import reach_into_object
from resdex_tasks.proposals.trials import MAX_REACH


def hands_on_table(obj, grasps):
    """Each hand's rotation and position (P, 3), with the object at rest on z = 0."""
    rest = Rotation.from_quat(grasps.rest_rotation)
    height = rest_heights(obj.vertices, grasps.rest_rotation)
    position = rest.apply(grasps.translation) + height[:, None] * [0, 0, 1]
    return rest * Rotation.from_quat(grasps.rotation), position


@pytest.mark.parametrize("obj", zoo_trio(), ids=lambda obj: obj.category)
def test_candidates_are_hands_over_the_table_that_face_the_object(obj):
    grasps = candidates_of(obj)
    assert len(grasps) == 12
    low, high = joint_ranges().T
    assert (grasps.joint_pos >= low - 1e-9).all() and (grasps.joint_pos <= high + 1e-9).all()
    hand, position = hands_on_table(obj, grasps)
    # the palm's face, or the fingers beyond it, look at the object
    to_object = -position + [0, 0, np.ptp(obj.vertices, axis=0).max() / 4]
    to_object /= np.linalg.norm(to_object, axis=1, keepdims=True)
    looks = hand.apply([0.0, -1.0, 1.0]) / np.sqrt(2)
    assert (np.sum(looks * to_object, axis=1) > 0.3).all()
    spheres = hand_spheres(grasps.joint_pos)
    palm = np.einsum("kij,ksj->ksi", hand.as_matrix(), spheres.centres[:, spheres.finger < 0]) + position[:, None]
    assert (palm[..., 2] - spheres.radii[spheres.finger < 0]).min() > 0.0
    rests = {tuple(np.round(r, 6)) for r in grasps.rest_rotation}
    assert rests == {tuple(np.round(r, 6)) for r in obj.proposals.rest_rotation}


@pytest.mark.parametrize("obj", zoo_trio(), ids=lambda obj: obj.category)
def test_a_candidates_hand_touches_and_its_squeeze_is_apart_from_it(obj):
    """q is the hand at first contact: closed on by the squeeze it would be in the object."""
    grasps = candidates_of(obj, 24)
    reach = reach_into_object(obj, grasps)
    assert np.median(np.abs(reach)) < 0.002 and np.mean(reach > MAX_REACH) <= 0.1
    low, high = joint_ranges().T
    squeezed = (grasps.joint_pos + np.outer(grasps.squeeze, CLOSING_SENSE)).clip(low, high)
    deeper = reach_into_object(obj, dataclasses.replace(grasps, joint_pos=squeezed)) - reach
    assert grasps.squeeze.min() >= 0 and grasps.squeeze.max() <= CANDIDATE_CONFIG.closure.max_further
    assert deeper[grasps.squeeze > 0.15].mean() > 0.004


@given(seed=st.integers(0, 2**31))
@settings(max_examples=2)
def test_candidates_and_variations_are_finite_and_drawn_from_their_generator_alone(seed):
    box = starter_objects()[0]
    parents = candidates_of(box, 3, seed)  # GraspProposals itself refuses what is not finite or not a rotation
    for make in (lambda rng: sample_candidates(box, 3, rng), lambda rng: vary_candidates(box, parents, 5, rng)):
        one, two = (make(np.random.default_rng(seed)) for _ in range(2))
        for field in ("rotation", "translation", "joint_pos", "rest_rotation"):
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    varied, again = vary_candidates(box, parents, 9, np.random.default_rng(seed)), np.tile(parents.translation, (3, 1))
    assert 0 < np.median(np.linalg.norm(varied.translation - again, axis=1)) < 0.05


def test_how_deep_a_hand_reaches_into_the_table():
    obj = starter_objects().select(["box"])[0]
    height = rest_heights(obj.vertices, obj.proposals.rest_rotation[:1])[0]
    flat = dataclasses.replace(obj.proposals.take(np.arange(1)), joint_pos=np.zeros((1, len(JOINTS))))

    def depth_at(z):
        return depth_in_table(obj, dataclasses.replace(flat, translation=np.array([[0.0, 0.0, z - height]])))[0]

    assert depth_at(0.1) < -0.05 and depth_at(0.02) == pytest.approx(depth_at(0.1) + 0.08)
    bent = dataclasses.replace(flat, joint_pos=np.deg2rad([[80.0 if j == "FFJ2" else 0.0 for j in JOINTS]]))
    assert depth_in_table(obj, bent) > depth_in_table(obj, flat) + 0.04, "a finger that points down"
    hand, position = hands_on_table(obj, bent)
    spheres = hand_spheres(bent.joint_pos)
    inside = np.einsum("kij,ksj->ksi", hand.as_matrix(), spheres.centres)[..., 2] + position[:, 2:] - spheres.radii
    assert depth_in_table(obj, bent)[0] == pytest.approx(-inside.min(), abs=0.004)


@pytest.mark.parametrize("obj", zoo_trio(), ids=lambda obj: obj.category)
def test_hands_stay_out_of_the_table_even_where_those_they_vary_did_not(obj):
    candidates = candidates_of(obj)
    assert depth_in_table(obj, candidates).max() < MAX_DEPTH
    down = Rotation.from_quat(candidates.rest_rotation).inv().apply([0.0, 0.0, -0.03])
    deep = dataclasses.replace(candidates, translation=candidates.translation + down)
    assert depth_in_table(obj, deep).max() > 0.02
    varied = vary_candidates(obj, deep, 24, np.random.default_rng(1))
    assert depth_in_table(obj, varied).max() < MAX_DEPTH


def test_a_configuration_says_how_hands_are_turned():
    obj = zoo_trio()[0]
    config = dataclasses.replace(
        CANDIDATE_CONFIG, pitch_deg=(30.0, 30.0), pinch_pitch_deg=(30.0, 30.0), roll_deg=0.0, pinch_roll_deg=0.0
    )
    hand, _ = hands_on_table(obj, sample_candidates(obj, 6, np.random.default_rng(0), config))
    np.testing.assert_allclose(hand.apply([0.0, 0.0, 1.0])[:, 2], -0.5, atol=1e-9, err_msg="fingers point down by 30")
