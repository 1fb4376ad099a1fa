"""Whole episodes, played a batch at a time, whose outcomes are known beforehand."""

import numpy as np
import pytest
import torch
from helpers.fake_sim import fake_task
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.objects.starter import starter_objects
from runners.evaluation.rollout import LOST, Episodes, play, run_episodes

LENGTH = 4
GOAL = torch.tensor([0.0, 0.0, 0.8])
NAMES = ("box", "cube", "can", "mug")
BOX = starter_objects().select(["box"])[0]
HOLDS, TOUCHES, FAILS, BREAKS = range(4)


def script(sim):
    """Object 0 is at the goal from step 2 on, 1 at step 3 alone, 2 never; 3 breaks down at the goal in step 2."""
    step = sim.clock
    for env, obj in enumerate(sim.object_index.tolist()):
        at_goal = {HOLDS: step[env] >= 2, TOUCHES: step[env] == 3, FAILS: False, BREAKS: step[env] <= 2}[obj]
        sim.now.object[env, :3] = GOAL if at_goal else torch.tensor([0.0, 0.0, 0.6])
        sim.diverged[env] = obj == BREAKS and step[env] == 2


def scripted_task(num_envs, objects=NAMES, on_step=script, **changes):
    """A task whose simulator has `clock` (num_envs,): the step of the episode in each environment, from 1."""
    task = fake_task(num_envs, lambda sim: on_step(sim), objects=objects, episodeLength=LENGTH, **changes)
    sim, reset = task.sim, task.sim.reset
    sim.clock = [0] * num_envs
    step = sim.on_step

    def counted_step(sim):
        sim.clock = [c + 1 for c in sim.clock]
        step(sim)

    def counted_reset(env_ids, *args, **kwargs):
        for env in env_ids.tolist():
            sim.clock[env] = 0
        reset(env_ids, *args, **kwargs)

    sim.on_step, sim.reset = counted_step, counted_reset
    return task


class Mixing:
    """A policy that does nothing, with weights (step so far, object, 1)."""

    weights = None

    def __init__(self, task):
        self.task = task

    def __call__(self, obs):
        progress, index = self.task.progress.float(), self.task.sim.object_index.float()
        self.weights = torch.stack((progress, index, torch.ones_like(progress)), dim=1)
        return torch.zeros(len(obs), NUM_ACTIONS)


def still(obs):
    return torch.zeros(len(obs), NUM_ACTIONS)


def test_latched_held_and_diverged_are_those_of_the_episode():
    episodes = run_episodes(scripted_task(4), still)
    assert episodes.latched.tolist() == [True, True, False, False]
    assert episodes.held.tolist() == [True, False, False, False]
    assert episodes.diverged.tolist() == [False, False, False, True]
    assert [episodes.outcome(i) for i in range(4)] == ["held", "latched", "missed", "diverged"]
    assert episodes.weights is None


def test_a_last_step_at_which_the_physics_breaks_down_is_no_success():
    def broken_at_the_end(sim):
        sim.now.object[:, :3] = GOAL
        sim.diverged[:] = sim.clock[0] == LENGTH

    episodes = run_episodes(scripted_task(1, ("box",), broken_at_the_end), still)
    assert episodes.outcome(0) == "diverged" and not episodes.latched[0] and not episodes.held[0]


def test_idle_environments_are_neither_counted_nor_waited_for():
    task = scripted_task(4)
    task.sim.put_objects(torch.tensor([0, 1]), torch.tensor([BREAKS, HOLDS]))
    episodes = run_episodes(task, still, count=1)
    assert episodes.diverged.tolist() == [True] and len(episodes.held) == len(episodes.quality) == 1
    assert task.sim.steps == 2


def test_weights_are_averaged_over_the_steps_of_the_episode():
    task = scripted_task(4)
    weights = run_episodes(task, Mixing(task)).weights
    # steps 0..3 have the mean 1.5; the episode that breaks down has the steps 0 and 1
    assert weights.tolist() == [[1.5, 0, 1], [1.5, 1, 1], [1.5, 2, 1], [0.5, 3, 1]]


def proposal_pose(sim, wrist_off=0.0, joint_off=0.0, turn_off=0.0):
    """Put the hand where the box's first proposal wants it, but for so much (m, rad, rad), the object being upright."""
    wanted = BOX.proposals
    identity = torch.tensor([0.0, 0.0, 0.0, 1.0])
    place = sim.now.object[:, :3]
    sim.now.object[:, 3:7] = identity
    x, y, z, w = wanted.rotation[0]
    s, c = np.sin(turn_off / 2), np.cos(turn_off / 2)  # about the object's z: (0, 0, s, c) * R
    turned = torch.tensor([c * x - s * y, c * y + s * x, c * z + s * w, c * w - s * z], dtype=torch.float32)
    sim.now.root_pose[:, :3] = place + torch.tensor(wanted.translation[0], dtype=torch.float32)
    sim.now.root_pose[:, 0] += wrist_off
    sim.now.root_pose[:, 3:] = turned
    lower, upper = sim.joint_limits.unbind(-1)
    sim.now.joint_pos[:] = torch.tensor(wanted.joint_pos[0], dtype=torch.float32).clamp(lower, upper)
    sim.now.joint_pos[:, 3] += joint_off


@pytest.mark.parametrize(
    "off, each_step",
    [
        ({}, 0.0),
        ({"wrist_off": 0.1}, 0.3 * 0.1),
        ({"joint_off": 0.2}, 0.05 * 0.2),
        ({"turn_off": 0.5}, 0.02 * 0.5),
        ({"wrist_off": -0.1, "joint_off": -0.2, "turn_off": -0.5}, 0.3 * 0.1 + 0.05 * 0.2 + 0.02 * 0.5),
        ({"wrist_off": 5.0}, 0.3 * LOST),  # the object flew off
    ],
)
def test_quality_is_minus_the_sum_of_the_proposal_reward(off, each_step):
    task = scripted_task(2, ("box",), lambda sim: proposal_pose(sim, **off))
    episodes = run_episodes(task, still)
    assert episodes.quality.tolist() == pytest.approx([LENGTH * each_step] * 2, abs=2e-5)


def test_quality_has_the_tasks_weights_whatever_its_reward_pays():
    reward = {"terms": ["bonus"], "proposalWeights": [1.0, 0.0, 0.0]}
    task = scripted_task(1, ("box",), lambda sim: proposal_pose(sim, 0.1, 0.2, 0.5), reward=reward)
    assert run_episodes(task, still).quality.tolist() == pytest.approx([LENGTH * 0.1], abs=2e-5)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=20)
def test_every_episode_is_one_whole_episode_of_its_object_whatever_the_number_of_environments(index, num_envs):
    task = scripted_task(num_envs)
    sizes, steps = [], []
    batches = -(-len(index) // num_envs)
    episodes = play(
        task,
        Mixing(task),
        torch.tensor(index),
        seed=1,
        on_step=lambda: steps.append(task.sim.steps),
        on_batch=lambda batch: sizes.append(len(batch.held)),
    )
    assert sizes == [num_envs] * (len(index) // num_envs) + ([len(index) % num_envs] if len(index) % num_envs else [])
    assert episodes.held.tolist() == [obj == HOLDS for obj in index]
    assert episodes.latched.tolist() == [obj in (HOLDS, TOUCHES) for obj in index]
    assert episodes.diverged.tolist() == [obj == BREAKS for obj in index]
    assert episodes.weights[:, 1].tolist() == index
    assert len(episodes.quality) == len(index)
    lengths = [
        max(2 if obj == BREAKS else LENGTH for obj in index[i : i + num_envs]) for i in range(0, len(index), num_envs)
    ]
    assert task.sim.steps == sum(lengths)  # a batch ends with its last episode: idle environments are not waited for
    assert len(steps) == sum(lengths) - batches


def starts(seed, on_step, index=(BREAKS, FAILS, HOLDS, TOUCHES)):
    """The poses of object and hand with which every batch of two starts."""
    task, seen = scripted_task(2, on_step=on_step), []

    def policy(obs):
        if not task.progress.any():
            seen.append((task.sim.now.object.tolist(), task.sim.now.root_pose.tolist()))
        return still(obs)

    play(task, policy, torch.tensor(index), seed)
    assert len(seen) == -(-len(index) // 2)
    return seen


def test_starts_depend_on_the_seed_and_on_nothing_that_happens():
    assert starts(1, script) == starts(1, script)
    assert starts(1, script) == starts(1, lambda sim: None)  # where no environment is reset in between
    assert starts(1, script) != starts(2, script)
    first, second = starts(1, script, [FAILS, FAILS, FAILS, FAILS])
    assert first != second  # another episode of the same objects


def test_a_task_that_cuts_episodes_or_draws_objects_cannot_be_played():
    with pytest.raises(ValueError, match="stagger"):
        play(fake_task(1, staggerEpisodes=True), still, torch.tensor([0]), 0)
    with pytest.raises(ValueError, match="object_sampling"):
        play(fake_task(1, objectSampling="random"), still, torch.tensor([0]), 0)


def test_episodes_are_joined_in_order():
    task = scripted_task(4)
    whole = run_episodes(task, Mixing(task))
    parts = [run_episodes(task, Mixing(task), count=2), run_episodes(task, Mixing(task))]
    joined = Episodes.joined(parts)
    assert joined.held.tolist() == [*whole.held[:2].tolist(), *whole.held.tolist()]
    assert joined.weights.tolist() == [*whole.weights[:2].tolist(), *whole.weights.tolist()]
