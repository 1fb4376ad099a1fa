import dataclasses

import numpy as np
import pytest
from helpers.grasps import candidates_of, make_sim, zoo_trio
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.proposals.candidates import CANDIDATE_CONFIG, sample_candidates, vary_candidates
from resdex_tasks.proposals.file import proposals_for
from resdex_tasks.proposals.search import SearchConfig, propose
from resdex_tasks.proposals.similar import PER_EXAMPLE, similar_grasps
from resdex_tasks.proposals.trials import QUICK_MOTION, holds, replay_trials, run_trials

BOTTLE, MUG, PLATE = zoo_trio()
FACTORS = st.tuples(*3 * [st.floats(0.6, 1.6)])


def stretched(obj: GraspObject, factors) -> GraspObject:
    pieces = [dataclasses.replace(piece, vertices=piece.vertices * factors) for piece in obj.pieces]
    return dataclasses.replace(obj, pieces=tuple(pieces))


def example_of(obj: GraspObject, count=6):
    return proposals_for(obj, count, candidates_of(obj, count))


def grasp_centres(grasps):
    return grasps.translation + Rotation.from_quat(grasps.rotation).apply(CANDIDATE_CONFIG.grasp_centre)


def test_an_objects_own_grasps_come_back_as_they_are():
    example = example_of(MUG)
    back, own = similar_grasps(MUG, [example], 3), example.proposals
    assert len(back) == 3
    for field in dataclasses.fields(own):
        np.testing.assert_allclose(getattr(back, field.name), getattr(own, field.name)[:3], atol=1e-7)


@pytest.mark.slow
@given(factors=FACTORS)
def test_the_grasp_centre_keeps_its_place_in_the_box(factors):
    example, larger = example_of(MUG), stretched(MUG, factors)
    grasps = similar_grasps(larger, [example], PER_EXAMPLE)

    def place(centres, obj):
        """Where in the box, and how far outside."""
        low, high = obj.vertices.min(axis=0), obj.vertices.max(axis=0)
        inside = np.minimum(np.maximum(centres, low), high)
        return np.concatenate([(inside - low) / (high - low), centres - inside], axis=1)

    own = example.proposals.take(np.arange(PER_EXAMPLE))
    np.testing.assert_allclose(place(grasp_centres(grasps), larger), place(grasp_centres(own), MUG), atol=1e-4)
    np.testing.assert_array_equal(grasps.rotation, own.rotation)
    np.testing.assert_array_equal(grasps.joint_pos, own.joint_pos)


def test_the_most_similar_object_gives_its_best_grasps_first():
    examples = [example_of(obj) for obj in (PLATE, stretched(MUG, 1.05), BOTTLE)]
    grasps = similar_grasps(MUG, examples, 2 * PER_EXAMPLE)
    np.testing.assert_array_equal(grasps.joint_pos[:PER_EXAMPLE], examples[1].proposals.joint_pos[:PER_EXAMPLE])
    after = grasps.joint_pos[PER_EXAMPLE:]
    assert not (after[:, None] == examples[1].proposals.joint_pos).all(axis=2).any(), "no more than its share"
    nothing = proposals_for(MUG, 9, None)
    np.testing.assert_array_equal(similar_grasps(MUG, [nothing, *examples], 4).joint_pos, grasps.joint_pos[:4])


def test_a_grasp_from_another_pose_at_rest_does_not_count():
    upright = dataclasses.replace(MUG, proposals=MUG.proposals.take(np.arange(1)))
    example = example_of(upright)
    down = Rotation.from_euler("x", 180, degrees=True) * Rotation.from_quat(example.proposals.rest_rotation)
    turned = dataclasses.replace(example.proposals, rest_rotation=down.as_quat())
    assert similar_grasps(upright, [dataclasses.replace(example, proposals=turned)], 4) is None
    assert similar_grasps(upright, [], 4) is None


@pytest.mark.slow
def test_grasps_of_a_similar_object_hold_more_often_than_random_ones():
    pytest.importorskip("mujoco.batch")
    objects = starter_objects().select(["box", "can"])
    done = []
    config = SearchConfig(candidates=48, variations=6, rounds=6, parents=3, wanted=3)
    examples = propose(make_sim, objects, config, num_envs=32, progress=lambda: done.append(1))
    assert done == [1, 1]
    larger = ObjectSet([stretched(obj, (1.1, 1.05, 1.1)) for obj in objects])
    sim, rng = make_sim(larger, 32), np.random.default_rng(0)

    def held(grasps):
        return int(run_trials(sim, replay_trials(sim, larger, grasps), QUICK_MOTION).held.sum())

    led = [vary_candidates(obj, similar_grasps(obj, examples, 96), 96, rng) for obj in larger]
    assert held(led) > held([sample_candidates(obj, 96, rng) for obj in larger])
    (begun,) = propose(make_sim, larger[:1], config, num_envs=16, examples=examples)
    assert begun.count == 3 and holds(make_sim(larger[:1], 3), larger[:1], [begun.proposals])[0].mean() > 0.6
