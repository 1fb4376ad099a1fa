"""Trials of grasps: where they begin, what they do."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh
from helpers.grasps import candidates_of, make_sim, zoo_trio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import hand_hull, hand_spheres
from resdex_tasks.hand.shadow_hand import JOINTS, PALM_DOWN_QUAT
from resdex_tasks.objects.geometry.convex import convex_piece
from resdex_tasks.objects.object_set import GraspProposals, ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.proposals.candidates import depth_in_table
from resdex_tasks.proposals.trials import (
    DOWN_IN_HAND,
    FULL_MOTION,
    MAX_REACH,
    TrialScheduler,
    reach_into_objects,
    replay_trials,
)
from resdex_tasks.sims.base import TABLE_HEIGHT

MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def sim():
    return make_sim(zoo_trio(), 3)


def test_gravity_pulls_from_six_directions_of_the_hand():
    turn = Rotation.from_quat(FULL_MOTION.turn.numpy())
    down = turn.inv().apply([0.0, 0.0, -1.0])
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        assert (down @ direction).max() > 1 - 1e-5
    assert len({*DOWN_IN_HAND}) == 6
    assert float(FULL_MOTION.height[-1]) == pytest.approx(0.2)
    step = (turn[1:] * turn[:-1].inv()).magnitude()
    assert step.max() < np.radians(5), "the hand turns smoothly"


def test_the_object_begins_at_rest_on_the_table(sim):
    trials = replay_trials(sim, zoo_trio(), [candidates_of(obj, 4) for obj in zoo_trio()])
    for i, obj in enumerate(zoo_trio()):
        for pose in trials.object_pose[trials.object_index == i].double().numpy():
            lowest = Rotation.from_quat(pose[3:]).apply(obj.vertices)[:, 2].min() + pose[2]
            assert lowest == pytest.approx(TABLE_HEIGHT, abs=1e-6)


def test_the_open_hand_begins_above_the_table_and_comes_down_as_it_closes():
    obj = starter_objects().select(["flat_box"])[0]
    grasps = candidates_of(obj, 24)
    # beside the object, and the closed hand just above the table
    away = np.stack([np.full(24, 0.3), np.zeros(24), depth_in_table(obj, grasps) + 0.002], axis=1)
    away = Rotation.from_quat(grasps.rest_rotation).inv().apply(away)
    grasps = dataclasses.replace(grasps, translation=grasps.translation + away, squeeze=np.zeros(24))
    objects = ObjectSet([obj])
    sim = make_sim(objects, len(grasps))
    trials = replay_trials(sim, objects, [grasps])
    assert trials.rise.min() >= 0.0 and 0.003 < trials.rise.max() < 0.1
    scheduler = TrialScheduler(sim)
    scheduler.add(trials, FULL_MOTION)
    scheduler._fill()
    start = sim.state()
    torch.testing.assert_close(start.root_pose[:, 2], trials.root_pose[:, 2] + trials.rise)
    root = start.root_pose.double().numpy()
    centres, radii = hand_hull(root[:, 3:], root[:, :3], start.joint_pos.double().numpy())
    assert (centres[..., 2] - radii).min() > TABLE_HEIGHT
    for _ in range(FULL_MOTION.close_steps):
        scheduler.advance()
    left = sim.state().root_pose[:, 2] - trials.root_pose[:, 2]
    assert left.median().abs() < 0.004, "fingers that close beyond q may press on the table"


@given(depth=st.floats(-0.02, 0.02), yaw=st.floats(-np.pi, np.pi), seed=st.integers(0, 2**16))
@settings(max_examples=15)
def test_how_deep_a_hand_begins_in_an_object(sim, depth, yaw, seed):
    """A hand over a wide slab that lies turned on the table: what is lowest of it is deepest inside."""
    slab = dataclasses.replace(zoo_trio()[0], pieces=(convex_piece(trimesh.creation.box((2.0, 2.0, 0.2)).vertices),))
    tilt = Rotation.from_euler("xyz", np.random.default_rng(seed).uniform(-1, 1, 3)).as_quat()[None]
    rest = Rotation.from_euler("z", yaw).as_quat()[None]
    grasps = GraspProposals(tilt, np.zeros((1, 3)), np.full((1, len(JOINTS)), 0.3), rest)
    objects = ObjectSet([slab])
    opened = replay_trials(sim, objects, [grasps]).joint_pos.double().numpy()
    spheres = hand_spheres(opened)
    lowest = ((Rotation.from_quat(tilt).as_matrix() @ spheres.centres[0].T)[0, 2] - spheres.radii).min()
    grasps = dataclasses.replace(grasps, translation=np.array([[0.0, 0.0, 0.1 - depth - lowest]]))
    trials = replay_trials(sim, objects, [grasps])
    np.testing.assert_allclose(reach_into_objects(trials, objects), depth, atol=1e-6)


def test_a_hand_that_begins_inside_its_object_holds_nothing(sim):
    """Wedged in a block that is larger than the hand: it is lifted and turned, and that is no grasp."""
    block = dataclasses.replace(zoo_trio()[0], pieces=(convex_piece(trimesh.creation.box((0.3, 0.3, 0.12)).vertices),))
    down = Rotation.from_quat(PALM_DOWN_QUAT).as_quat()[None]
    grasps = GraspProposals(down, np.array([[0.0, 0.1, 0.03]]), np.zeros((1, len(JOINTS))), np.array([[0.0, 0, 0, 1]]))
    objects = ObjectSet([block])
    trials = replay_trials(sim, objects, [grasps])
    assert reach_into_objects(trials, objects) > MAX_REACH and trials.begins_inside.all()
    away = dataclasses.replace(grasps, translation=np.array([[0.0, 0.1, 0.5]]))
    assert not replay_trials(sim, objects, [away]).begins_inside.any()


def test_a_trial_begins_with_the_hand_outside_the_object(sim):
    for i, obj in enumerate(zoo_trio()):
        trials = replay_trials(sim, zoo_trio(), [candidates_of(obj, 24)], [i])
        assert (reach_into_objects(trials, zoo_trio()) > 4 * MILLIMETRE).mean() < 0.1, obj.name
