"""Complete episodes, played a batch at a time, whose outcomes are known beforehand."""

import numpy as np
import pytest
import torch
from helpers.fake_sim import fake_task
from helpers.scripted import DIVERGES, DROPS, GOAL, LENGTH, MISSES, SUCCEEDS, Mixing, Still, script, scripted_task
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.observations import SIZES
from runners.evaluation.rollout import DIVERGED, LOST, OUTCOMES, Episodes, play, run_episodes

BOX = starter_objects().select(["box"])[0]


# Outcomes


def test_success_once_success_at_end_and_diverged_are_those_of_the_episode():
    episodes = run_episodes(scripted_task(4), Still())
    assert episodes.success_once.tolist() == [True, True, False, False]
    assert episodes.success_at_end.tolist() == [True, False, False, False]
    assert episodes.diverged.tolist() == [False, False, False, True]
    assert [episodes.outcome(i) for i in range(4)] == ["success", "dropped", "missed", "diverged"] == list(OUTCOMES)
    assert episodes.weights is None and len(episodes) == 4


def test_divergence_at_the_last_step_is_no_success():
    def broken_at_the_end(sim):
        sim.now.object[:, :3] = GOAL
        sim.diverged[:] = sim.clock[0] == LENGTH

    episodes = run_episodes(scripted_task(1, ("box",), broken_at_the_end), Still())
    assert episodes.outcome(0) == DIVERGED and not episodes.success_once[0] and not episodes.success_at_end[0]


def test_idle_environments_are_neither_counted_nor_waited_for():
    task = scripted_task(4)
    task.sim.put_objects(torch.tensor([0, 1]), torch.tensor([DIVERGES, SUCCEEDS]))
    episodes = run_episodes(task, Still(), count=1)
    assert episodes.diverged.tolist() == [True] and len(episodes.success_at_end) == len(episodes.quality) == 1
    assert task.sim.steps == 2


def test_mixture_weights_are_averaged_over_the_steps_of_the_episode():
    task = scripted_task(4)
    weights = run_episodes(task, Mixing(task)).weights
    # steps 0..3 have the mean 1.5; the episode that breaks down has the steps 0 and 1
    assert weights.tolist() == [[1.5, 0, 1], [1.5, 1, 1], [1.5, 2, 1], [0.5, 3, 1]]


def test_a_policy_is_given_every_group_of_the_task():
    """Of which it takes its own."""
    task = scripted_task(2)
    task = GraspTask(task.sim, task.objects, task.config, seed=0, groups=("base", "full"))
    shapes = []

    class Watching(Still):
        def __call__(self, obs):
            shapes.append({group: tuple(value.shape) for group, value in obs.items()})
            return super().__call__(obs)

    run_episodes(task, Watching())
    assert shapes == [{group: (2, SIZES[group]) for group in ("base", "full")}] * LENGTH


# Quality


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
    episodes = run_episodes(task, Still())
    assert episodes.quality.tolist() == pytest.approx([LENGTH * each_step] * 2, abs=2e-5)


def test_quality_uses_the_tasks_proposal_weights_whatever_its_reward_pays():
    reward = {"terms": ["bonus"], "proposalWeights": [1.0, 0.0, 0.0]}
    task = scripted_task(1, ("box",), lambda sim: proposal_pose(sim, 0.1, 0.2, 0.5), reward=reward)
    assert run_episodes(task, Still()).quality.tolist() == pytest.approx([LENGTH * 0.1], abs=2e-5)


# Batches


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=20)
def test_every_entry_is_one_complete_episode_of_its_object_for_any_number_of_environments(index, num_envs):
    task = scripted_task(num_envs)
    sizes, steps = [], []
    batches = -(-len(index) // num_envs)
    episodes = play(
        task,
        Mixing(task),
        torch.tensor(index),
        seed=1,
        on_step=lambda: steps.append(task.sim.steps),
        on_batch=lambda batch: sizes.append(len(batch)),
    )
    assert sizes == [num_envs] * (len(index) // num_envs) + ([len(index) % num_envs] if len(index) % num_envs else [])
    assert episodes.success_at_end.tolist() == [obj == SUCCEEDS for obj in index]
    assert episodes.success_once.tolist() == [obj in (SUCCEEDS, DROPS) for obj in index]
    assert episodes.diverged.tolist() == [obj == DIVERGES for obj in index]
    assert episodes.weights[:, 1].tolist() == index
    assert len(episodes.quality) == len(index)
    lengths = [
        max(2 if obj == DIVERGES else LENGTH for obj in index[i : i + num_envs]) for i in range(0, len(index), num_envs)
    ]
    assert task.sim.steps == sum(lengths)  # a batch ends with its last episode: idle environments are not waited for
    assert len(steps) == sum(lengths) - batches


class Recording(Still):
    """Notes the poses of object and hand with which every batch starts."""

    def __init__(self, task):
        self.task, self.starts = task, []

    def __call__(self, obs):
        if not self.task.progress.any():
            self.starts.append((self.task.sim.now.object.tolist(), self.task.sim.now.root_pose.tolist()))
        return super().__call__(obs)


def starts(seed, on_step, index=(DIVERGES, MISSES, SUCCEEDS, DROPS)):
    """The poses with which every batch of two starts."""
    task = scripted_task(2, on_step=on_step)
    policy = Recording(task)
    play(task, policy, torch.tensor(index), seed)
    assert len(policy.starts) == -(-len(index) // 2)
    return policy.starts


def test_initial_states_depend_on_the_seed_and_on_nothing_that_happens():
    assert starts(1, script) == starts(1, script)
    assert starts(1, script) == starts(1, lambda sim: None)  # where no environment is reset in between
    assert starts(1, script) != starts(2, script)
    first, second = starts(1, script, [MISSES, MISSES, MISSES, MISSES])
    assert first != second  # another episode of the same objects


def test_staggered_episodes_and_random_objects_are_rejected():
    with pytest.raises(ValueError, match="stagger"):
        play(fake_task(1, staggerEpisodes=True), Still(), torch.tensor([0]), 0)
    with pytest.raises(ValueError, match="object_sampling"):
        play(fake_task(1, objectSampling="random"), Still(), torch.tensor([0]), 0)


def test_joined_episodes_keep_their_order():
    task = scripted_task(4)
    whole = run_episodes(task, Mixing(task))
    parts = [run_episodes(task, Mixing(task), count=2), run_episodes(task, Mixing(task))]
    joined = Episodes.joined(parts)
    for name in ("success_once", "success_at_end", "diverged", "quality", "weights"):
        assert getattr(joined, name).tolist() == [value for part in parts for value in getattr(part, name).tolist()]
    assert joined.success_at_end.tolist() == [*whole.success_at_end[:2].tolist(), *whole.success_at_end.tolist()]
    assert joined.weights.tolist() == [*whole.weights[:2].tolist(), *whole.weights.tolist()]
