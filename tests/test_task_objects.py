"""Which object stands where, and what the task then knows of it."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from helpers.configs import task_config
from helpers.fake_sim import FakeSim, fake_task
from helpers.simulators import mujoco_task

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.object_set import CODE_SIZE, ObjectSet
from resdex_tasks.objects.sampling import MEMORY, FailingObjects
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.observations import BLOCKS

NAMES = ("box", "can", "flat_box")


def end_episodes(task):
    """Steps until every environment has started anew."""
    for _ in range(task.config.episode_length):
        task.step(torch.zeros(task.num_envs, 24))


def test_by_default_an_environment_keeps_its_object():
    task = fake_task(7, objects=NAMES, episodeLength=2)
    task.reset()
    before = task.sim.object_index.tolist()
    end_episodes(task)
    assert task.sim.object_index.tolist() == before == [0, 1, 2, 0, 1, 2, 0]


def test_random_sampling_draws_every_object_about_equally_often_from_the_seed_alone():
    counts = []
    for _ in range(2):
        task = fake_task(300, objects=NAMES, episodeLength=2, objectSampling="random", seed=3)
        task.reset()
        first = task.sim.object_index.clone()
        end_episodes(task)
        assert (task.sim.object_index != first).float().mean() > 0.5
        counts.append(torch.bincount(task.sim.object_index, minlength=3).tolist())
    assert counts[0] == counts[1]
    assert min(counts[0]) > 70  # 100 expected


def test_a_drawn_object_brings_its_resting_height_and_proposal():
    task = fake_task(40, objects=NAMES, episodeLength=2, objectSampling="random")
    task.reset()
    end_episodes(task)
    objects = starter_objects().select(NAMES)
    bottoms = [-min(p.vertices[:, 2].min() for p in o.pieces) for o in objects]
    expected = torch.tensor([0.6 + bottoms[i] for i in task.sim.object_index.tolist()], dtype=torch.float32)
    torch.testing.assert_close(task.rest_height, expected)
    assert task.proposal_index.tolist() == task.sim.object_index.tolist()  # one proposal an object


def test_with_physics_the_drawn_object_is_the_one_that_comes_to_rest():
    task = mujoco_task(6, NAMES, objectSampling="random", episodeLength=60, seed=5)
    task.reset()
    for _ in range(2):
        for step in range(60):
            if step == 59:
                height, rest = task.sim.state().object[:, 2].clone(), task.rest_height.clone()
            task.step(torch.tensor([[0.0, 0.0, 1.0, *[0.0] * 21]]).expand(6, 24))
        torch.testing.assert_close(height, rest, atol=1e-3, rtol=0)


@pytest.mark.parametrize("sampling", ["random", "failing"])
def test_a_saved_state_brings_the_drawn_objects_along(sampling):
    task, other = (fake_task(9, objects=NAMES, episodeLength=3, objectSampling=sampling, seed=s) for s in (1, 2))
    for t in (task, other):
        t.reset()
    other.set_state(copy.deepcopy(task.get_state()))
    for _ in range(7):
        (obs, *rest, _), (other_obs, *other_rest, _) = task.step(torch.zeros(9, 24)), other.step(torch.zeros(9, 24))
        assert all(torch.equal(a, b) for a, b in zip((obs["base"], *rest), (other_obs["base"], *other_rest)))
    assert task.sim.object_index.tolist() == other.sim.object_index.tolist()


def test_objects_that_fail_are_drawn_more_often_by_hand():
    """Object 0 fails twice, object 1 succeeds twice, object 2 is not met: rates 3/4, 1/4, 1/2."""
    drawn = FailingObjects(3, torch.device("cpu"))
    drawn.note(torch.tensor([0, 1, 0, 1]), torch.tensor([False, True, False, True]))
    expected = [1 / 6 + 0.5 * rate / 1.5 for rate in (0.75, 0.25, 0.5)]
    assert drawn.chances.tolist() == pytest.approx(expected)
    drawn.note(torch.tensor([0]), torch.tensor([True]))
    assert drawn.episodes.tolist() == pytest.approx([2 * MEMORY + 1, 2, 0]), "older episodes count less"
    assert drawn.failures.tolist() == pytest.approx([2 * MEMORY, 0, 0])


def test_the_task_counts_the_episodes_that_end_and_draws_by_them():
    task = fake_task(300, objects=NAMES, episodeLength=2, objectSampling="failing", seed=3)
    task.reset()
    first = torch.bincount(task.sim.object_index, minlength=3)
    assert first.min() > 70, "as nothing is known yet"
    end_episodes(task)
    assert task.failing_objects.episodes.tolist() == first.tolist() == task.failing_objects.failures.tolist()
    task.failing_objects.note(torch.tensor([1, 2]).repeat(10_000), torch.ones(20_000, dtype=torch.bool))
    end_episodes(task)
    counts = torch.bincount(task.sim.object_index, minlength=3)
    assert counts[0] > 0.55 * 300 and counts.min() > 30, "a half is uniform"


def coded():
    """A set whose codes are i + 1 everywhere, but for the last object, which has none."""
    objects = starter_objects().select(NAMES)
    codes = [np.full(CODE_SIZE, 1.0), np.full(CODE_SIZE, 2.0), None]
    return ObjectSet([dataclasses.replace(o, code=code) for o, code in zip(objects, codes)])


def test_the_full_observation_ends_with_the_objects_code():
    task = GraspTask(FakeSim(5, 3), coded(), task_config(observation="full"), seed=0)
    block = task.reset()["full"][:, BLOCKS["object_code"].slice]
    expected = torch.tensor([1.0, 2.0, 0.0, 1.0, 2.0])[:, None].expand(5, CODE_SIZE)
    assert torch.equal(block, expected)


def test_the_code_follows_a_drawn_object():
    config = task_config(observation="full", objectSampling="random", episodeLength=2)
    task = GraspTask(FakeSim(30, 3), coded(), config, seed=0)
    task.reset()
    end_episodes(task)
    values = torch.tensor([1.0, 2.0, 0.0])[task.sim.object_index]
    assert torch.equal(task.obs["full"][:, BLOCKS["object_code"].slice], values[:, None].expand(30, CODE_SIZE))
