"""How episodes begin: objects and seeds on demand, starts that differ, and what a task says of its health."""

import math

import pytest
import torch
from helpers.fake_sim import fake_task
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.sims.base import Overflow
from resdex_tasks.utils.rotations import quat_mul, quat_rotate, rotation_angle, yaw_quat

NAMES = ("box", "cube", "can")
NONE = {"objectOffset": 0.0, "handOffset": 0.0, "handTilt": 0.0, "handYaw": 0.0}


def starts(task):
    """Root and object poses where the last reset put them."""
    return task.sim.now.root_pose.clone(), task.sim.now.object[:, :7].clone()


def test_a_reset_puts_the_objects_that_are_asked_for():
    task = fake_task(4, objects=NAMES)
    task.reset(torch.tensor([2, 0, 0, 1]))
    assert task.sim.object_index.tolist() == [2, 0, 0, 1]
    task.reset()
    assert task.sim.object_index.tolist() == [2, 0, 0, 1], "they stay"


def test_a_reset_with_a_seed_repeats_the_start_whatever_went_before():
    task = fake_task(4, start={"objectOffset": 0.02, "handYaw": 0.3})
    task.reset(seed=5)
    first = starts(task)
    task.reset()
    assert not torch.equal(starts(task)[1], first[1])
    task.reset(seed=5)
    assert all(torch.equal(a, b) for a, b in zip(starts(task), first))


def test_a_task_that_draws_objects_refuses_to_be_given_some():
    task = fake_task(2, objects=NAMES, objectSampling="random")
    with pytest.raises(ValueError, match="object_sampling"):
        task.reset(torch.tensor([0, 1]))


def test_without_noise_the_hand_starts_where_the_paper_puts_it():
    task = fake_task(64, start=NONE)
    task.reset(seed=1)
    root, obj = starts(task)
    torch.testing.assert_close(root[:, :3], torch.tensor([0.0, 0.0, 0.8]).expand(64, 3))
    torch.testing.assert_close(obj[:, :3], torch.tensor([0.0, 0.0, 0.7]).expand(64, 3))


@given(st.floats(0.001, 0.05), st.floats(0.001, 0.05), st.integers(0, 2**31))
@settings(max_examples=10)
def test_noise_fills_its_range_and_stays_in_it(object_offset, hand_offset, seed):
    task = fake_task(256, start={"objectOffset": object_offset, "handOffset": hand_offset})
    task.reset(seed=seed)
    root, obj = starts(task)
    moved = {"hand": root[:, :3] - torch.tensor([0.0, 0.0, 0.8]), "object": obj[:, :2]}
    for name, most in (("hand", hand_offset), ("object", object_offset)):
        assert moved[name].abs().max() <= most + 1e-6
        assert (moved[name].abs().amax(dim=0) > 0.8 * most).all(), "256 draws come near the edge along every axis"
    assert (obj[:, 2] - 0.7).abs().max() < 1e-6, "the object drops from its height"


def fingers_up(task):
    """(N,) how far upward the fingers of the hand, palm down, point."""
    quat = task.sim.now.root_pose[:, 3:]
    return quat_rotate(quat, torch.tensor([0.0, 0.0, 1.0]).expand(len(quat), 3))[:, 2]


def test_tilt_leans_the_hand():
    upright, leaning = fake_task(256, start=NONE), fake_task(256, start={**NONE, "handTilt": 0.2})
    for task in (upright, leaning):
        task.reset(seed=3)
    assert fingers_up(upright).abs().max() < 1e-6
    assert 0.15 < fingers_up(leaning).abs().max() <= math.sin(0.2) + 1e-6


def test_yaw_noise_turns_the_hand_and_its_frame():
    exact, noisy = (fake_task(256, start={**NONE, "handYaw": yaw}, handYaw="proposal") for yaw in (0.0, 0.3))
    for task in (exact, noisy):
        task.reset(seed=3)
    turn = torch.remainder(noisy.yaw - exact.yaw + math.pi, 2 * math.pi) - math.pi
    assert 0.25 < turn.abs().max() <= 0.3 + 1e-5
    turned = quat_mul(yaw_quat(turn), exact.sim.now.root_pose[:, 3:])
    assert rotation_angle(turned, noisy.sim.now.root_pose[:, 3:]).max() < 1e-3


def test_health_counts_diverged_episodes_and_passes_on_the_engines_overflows():
    def breaks_first(sim):
        sim.diverged[0] = sim.steps == 1

    task = fake_task(2, breaks_first)
    overflow = Overflow("contacts", 3, "raise sim.contactsPerEnv")
    task.sim.overflows = lambda: [overflow]
    task.reset()
    assert task.health().num_diverged == 0
    task.step(torch.zeros(2, 24))
    assert task.health().num_diverged == 1 and task.health().overflows == [overflow]


def test_a_task_observes_several_groups_at_once():
    task = fake_task(3)
    task.groups = ("full", "proprioception")
    obs = task.reset()
    assert {name: value.shape for name, value in obs.items()} == {"full": (3, 227), "proprioception": (3, 147)}
    stepped = task.step(torch.zeros(3, 24))[0]
    assert torch.equal(stepped["full"][:, :147], stepped["proprioception"])
