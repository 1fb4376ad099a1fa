"""Clouds from all over the objects: they move with them, differ from episode to episode, and lie on their surface."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from helpers.boxes import boxes
from helpers.configs import task_config
from helpers.fake_sim import FakeSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist, pdist
from scipy.spatial.transform import Rotation

from resdex_tasks.factory import make_objects
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.geometry.surface import depth_inside
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.rotations import quat_mul, quat_rotate, yaw_quat
from resdex_tasks.vision import clouds
from resdex_tasks.vision.clouds import farthest_points

STARTER = starter_objects()
IDENTITY = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
NUM, POOL = 16, 64
"""Points of the clouds here, and of what they are drawn from."""


def cloud_task(num_envs=4, objects=("mug",), seed=0, task=None, **vision):
    """A task without physics, whose policy sees a cloud; `vision` are keys of `task.env.vision`, `task` the others."""
    chosen = objects if isinstance(objects, ObjectSet) else STARTER.select(objects)
    vision = {"source": "mesh", "numPoints": NUM, "poolPoints": POOL, **vision}
    config = task_config(observation="vision", vision=vision, **(task or {}))
    return GraspTask(FakeSim(num_envs, len(chosen)), chosen, config, seed)


def cloud_at(task, pose=IDENTITY, yaw=0.0):
    """(N, P, 3) what is seen of objects at one pose (7,) or at (N, 7), in frames of one yaw or of (N,)."""
    task.sim.now.object[:, :7] = torch.as_tensor(pose)
    task.yaw = torch.as_tensor(yaw).expand(task.num_envs).clone()
    return task.observe(("cloud",))["cloud"].clone()


def random_poses(count, seed):
    """(count, 7) above the table."""
    generator = torch.Generator().manual_seed(seed)
    quat = torch.randn(count, 4, generator=generator)
    position = torch.tensor([0.0, 0.0, 0.7]) + 0.1 * torch.randn(count, 3, generator=generator)
    return torch.cat((position, quat / quat.norm(dim=1, keepdim=True)), dim=1)


def rows(points):
    """A cloud (P, 3) as a set."""
    return {tuple(point) for point in points.tolist()}


# Where the points are


@given(st.integers(0, 2**31), st.floats(-math.pi, math.pi))
@settings(max_examples=20)
def test_the_cloud_moves_rigidly_with_its_object(seed, yaw):
    """Seen from the yaw-aligned frame, a point p of the object is at Rz(-yaw) (R p + t)."""
    task = cloud_task(3, ("mug", "box", "can"))
    at_rest, poses = cloud_at(task).numpy(), random_poses(3, seed)
    moved = cloud_at(task, poses, yaw).numpy()
    for own, seen, pose in zip(at_rest, moved, poses.double().numpy()):
        world = Rotation.from_quat(pose[3:]).apply(own) + pose[:3]
        np.testing.assert_allclose(seen, Rotation.from_euler("z", -yaw).apply(world), atol=1e-6)
        np.testing.assert_allclose(pdist(seen), pdist(own), atol=1e-6)


def turned(poses, angle):
    """The same scene turned about z."""
    q = yaw_quat(torch.tensor(angle)).expand(len(poses), 4)
    return torch.cat((quat_rotate(q, poses[:, :3]), quat_mul(q, poses[:, 3:])), dim=1)


@given(st.integers(0, 2**31), st.floats(-math.pi, math.pi), st.floats(-math.pi, math.pi))
@settings(max_examples=20)
def test_turning_the_whole_scene_changes_nothing_in_the_yaw_aligned_frame(seed, yaw, angle):
    task, poses = cloud_task(), random_poses(4, seed)
    before = cloud_at(task, poses, yaw)
    torch.testing.assert_close(cloud_at(task, turned(poses, angle), yaw + angle), before, atol=1e-6, rtol=0)


@given(st.integers(0, 2**31), st.floats(0.1, math.pi))
@settings(max_examples=20)
def test_in_the_world_frame_it_shows(seed, angle):
    """The official code's: what is seen turns with the scene, whatever the yaw of the proprioception's frame."""
    task, poses = cloud_task(frame="world"), random_poses(4, seed)
    before = cloud_at(task, poses, 0.0)
    assert torch.equal(cloud_at(task, poses, 1.0), before)
    after = cloud_at(task, turned(poses, angle), angle)
    assert (after - before).abs().amax(dim=(1, 2)).min() > 1e-3
    world = quat_rotate(yaw_quat(torch.tensor(angle)).expand(4, NUM, 4), before)
    torch.testing.assert_close(after, world, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_how_an_objects_frame_lies_in_it_is_not_seen(seed):
    """The same body in the same place, whose file had other axes: another quaternion, the same points."""
    (obj,) = make_objects({"source": "zoo", "names": ["teapot-0000"], "split": "all"})
    turn = Rotation.random(random_state=seed)
    pieces = [dataclasses.replace(piece, vertices=turn.apply(piece.vertices)) for piece in obj.pieces]
    other = dataclasses.replace(obj, pieces=tuple(pieces))
    (pose,) = random_poses(1, seed)
    turned_back = Rotation.from_quat(pose[3:].numpy()) * turn.inv()
    other_pose = torch.cat((pose[:3], torch.tensor(turned_back.as_quat(), dtype=torch.float32)))
    first, second = (
        cloud_at(cloud_task(1, ObjectSet([body]), numPoints=POOL), place)[0].numpy()
        for body, place in ((obj, pose), (other, other_pose))
    )
    # of two points that are equally far, either may come first
    assert cKDTree(first).query(second)[0].max() < 1e-5 and cKDTree(second).query(first)[0].max() < 1e-5


@pytest.mark.parametrize("name", STARTER.names)
def test_every_point_is_on_its_objects_surface(name):
    (obj,) = chosen = STARTER.select([name])
    points = cloud_at(cloud_task(2, chosen)).double().numpy()
    assert np.abs(depth_inside(obj, points)).max() < 1e-5


def test_every_environment_sees_the_object_that_it_holds():
    objects = make_objects({"source": "zoo", "count": 8})
    task = cloud_task(24, objects, task={"objectSampling": "random"})
    task.reset()
    points = cloud_at(task).double().numpy()
    held = task.sim.object_index.tolist()
    assert len(set(held)) > 4 and held != [i % 8 for i in range(24)]
    for own, index in zip(points, held):
        assert np.abs(depth_inside(objects[index], own)).max() < 1e-5
    assert sum(np.abs(depth_inside(objects[(i + 1) % 8], own)).max() < 1e-3 for own, i in zip(points, held)) == 0


OVERLAPPING = boxes(((-0.02, 0, 0), (0.06, 0.04, 0.04)), ((0.02, 0, 0), (0.06, 0.03, 0.03)), name="overlapping")


@pytest.mark.parametrize("surface", ["outer", "pieces"])
def test_the_outer_surface_has_no_point_inside_a_piece(surface):
    task = cloud_task(1, ObjectSet([OVERLAPPING]), surface=surface, numPoints=256, poolPoints=256)
    depth = depth_inside(OVERLAPPING, cloud_at(task)[0].double().numpy())
    assert depth.min() > -1e-5
    inside = depth > 1e-3
    assert not inside.any() if surface == "outer" else inside.mean() > 0.05


def test_the_pool_is_spread_all_over_the_object():
    """64 points on a mug of 10 cm: neither close to each other, as random ones are (4 mm), nor with gaps (23 mm)."""
    pool = cloud_at(cloud_task(1, numPoints=POOL))[0].numpy()
    many = cloud_at(cloud_task(1, numPoints=1024, poolPoints=1024))[0].numpy()
    assert pdist(pool).min() > 0.01
    assert cKDTree(pool).query(many)[0].max() < 0.02


def test_a_cloud_is_what_the_policy_is_given():
    task = cloud_task(3)
    observations = task.reset()
    assert {name: tuple(value.shape) for name, value in observations.items()} == {
        "proprioception": (3, 147),
        "cloud": (3, NUM, 3),
    }
    assert task.num_obs == 147 + 3 * NUM
    assert not torch.equal(observations["cloud"], torch.zeros(3, NUM, 3))
    with pytest.raises(ValueError, match="made without the group 'cloud'"):
        GraspTask(FakeSim(1), STARTER.select(["box"]), task_config(), 0).observe(("cloud",))


# Which points are drawn


def test_an_episode_sees_some_points_of_the_pool_each_once():
    pool = rows(cloud_at(cloud_task(1, numPoints=POOL))[0])
    task = cloud_task(8)
    task.reset()
    drawn = [rows(own) for own in cloud_at(task)]
    assert len(pool) == POOL and all(len(own) == NUM and own < pool for own in drawn)
    assert len({frozenset(own) for own in drawn}) == 8, "every environment has a draw of its own"
    task.reset()
    again = [rows(own) for own in cloud_at(task)]
    assert all(own < pool for own in again) and all(a != b for a, b in zip(drawn, again))
    # 16 episodes of 16 of 64: each point is left out by all of them with chance 0.75 ** 16, 1 %
    assert len(set().union(*drawn, *again)) > POOL - 6


def test_an_episode_keeps_its_points_to_its_end_and_the_next_has_others():
    task = cloud_task(3, task={"episodeLength": 4})
    task.reset()
    task.progress[1] = 2  # the second ends first
    first = cloud_at(task)
    task.step(torch.zeros(3, 24))
    assert torch.equal(cloud_at(task), first)
    task.step(torch.zeros(3, 24))
    second = cloud_at(task)
    assert torch.equal(second[[0, 2]], first[[0, 2]]) and rows(second[1]) != rows(first[1])


def test_a_cloud_of_the_whole_pool_is_the_same_in_every_episode():
    task = cloud_task(2, numPoints=POOL)
    task.reset()
    first = cloud_at(task)
    task.reset()
    assert torch.equal(cloud_at(task), first) and torch.equal(first[0], first[1])


def test_the_same_seed_gives_the_same_draws():
    def episodes(seed):
        task = cloud_task(3, seed=seed, task={"episodeLength": 2})
        return [task.reset()["cloud"], *(task.step(torch.zeros(3, 24))[0]["cloud"] for _ in range(5))]

    first, again, other = episodes(3), episodes(3), episodes(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not any(torch.equal(a, b) for a, b in zip(first, other))
    task = cloud_task(3)
    assert torch.equal(task.reset(seed=7)["cloud"], task.reset(seed=7)["cloud"])


def test_a_saved_state_brings_the_draws_along():
    """To the bit, through ends of episodes and objects drawn anew."""
    changes = {"objects": ("mug", "box", "can"), "task": {"episodeLength": 3, "objectSampling": "random"}}
    task, other = cloud_task(5, seed=1, **changes), cloud_task(5, seed=2, **changes)
    task.reset(), other.reset()
    task.step(torch.zeros(5, 24))
    saved = copy.deepcopy(task.get_state())
    assert not torch.equal(other.obs["cloud"], task.obs["cloud"])
    wanted = [task.observe(("cloud",))["cloud"], *(task.step(torch.zeros(5, 24))[0]["cloud"] for _ in range(7))]
    other.set_state(saved)
    assert torch.equal(other.obs["cloud"], wanted[0])
    found = [other.observe(("cloud",))["cloud"], *(other.step(torch.zeros(5, 24))[0]["cloud"] for _ in range(7))]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted))


# Farthest-point sampling


def samples_of(seed, sets=2, count=200):
    return np.random.default_rng(seed).normal(size=(sets, count, 3)).astype(np.float32)


CPU = torch.device("cpu")


def test_farthest_points_by_hand():
    """On a line, mean 2.6: the farthest from it, then the farthest from that, then the middle of the largest gap."""
    places = [0.0, 1.0, 2.0, 10.0, 0.0]
    samples = np.array([[(x, 0.0, 0.0) for x in places]], np.float32)
    assert farthest_points(samples, 4, CPU)[0, :, 0].tolist() == [10.0, 0.0, 2.0, 1.0]


@given(st.integers(0, 2**31), st.integers(1, 30))
@settings(max_examples=20)
def test_the_beginning_of_a_farthest_point_sample_is_one(seed, count):
    samples = samples_of(seed)
    chosen = farthest_points(samples, 2 * count, CPU)
    assert np.array_equal(chosen, farthest_points(samples, 2 * count, CPU)), "the same again"
    assert np.array_equal(chosen[:, :count], farthest_points(samples, count, CPU))
    for own, points in zip(samples, chosen):
        assert len(rows(points)) == 2 * count and rows(points) <= rows(own)


@given(st.integers(0, 2**31), st.integers(4, 30))
@settings(max_examples=20)
def test_farthest_points_are_farther_apart_than_random_ones(seed, count):
    samples = samples_of(seed, sets=1)
    random = samples[0][np.random.default_rng(seed).choice(200, count, replace=False)]
    chosen = farthest_points(samples, count, CPU)[0]
    assume(len(rows(random)) == count)
    assert pdist(chosen).min() > pdist(random).min()
    # as the method has it: no sample is farther from the chosen ones than these are from each other
    assert cdist(samples[0], chosen).min(axis=1).max() <= pdist(chosen).min() + 1e-6


def test_many_sets_are_sampled_as_each_alone():
    samples = samples_of(0, sets=150, count=20)
    together = farthest_points(samples, 5, CPU)
    assert together.shape == (150, 5, 3)
    for i in (0, 63, 64, 149):
        assert np.array_equal(together[i], farthest_points(samples[i : i + 1], 5, CPU)[0])


def test_points_are_computed_once(monkeypatch):
    """The same shapes, whatever their names, have the same points, which the cache keeps."""
    objects = make_objects({"source": "zoo", "names": ["mug-0003", "bottle-0003"]})
    first = cloud_at(cloud_task(2, objects))
    monkeypatch.setattr(clouds, "farthest_points", lambda *_: pytest.fail("computed again"))
    renamed = ObjectSet([dataclasses.replace(obj, name=f"my {obj.name}") for obj in objects])
    assert torch.equal(cloud_at(cloud_task(2, renamed)), first)


def test_two_objects_of_one_shape_have_the_same_points():
    box = STARTER.select(["box"])[0]
    task = cloud_task(3, ObjectSet([box, STARTER.select(["mug"])[0], dataclasses.replace(box, name="other")]))
    first, mug, other = cloud_at(task)
    assert torch.equal(first, other) and not torch.equal(first, mug)


# What cannot be


def test_more_points_than_the_pool_has_is_one_sentence():
    with pytest.raises(
        UserError, match=r"vision\.numPoints is 65, more than the task\.env\.vision\.poolPoints=64"
    ) as caught:
        cloud_task(numPoints=65, poolPoints=64)
    assert "\n" not in str(caught.value)
    cloud_task(numPoints=POOL)


def test_an_object_without_surface_is_one_sentence():
    """Three boxes, each so little larger than the one before that their faces count as one. Of such faces the earlier
    box's is kept: the second box hides the third, the first the second, and the third, twice as much larger, the first.
    """
    edges = [0.1 * (1 + 2 * 0.7e-6 * k) for k in range(3)]
    hidden = boxes(*(((0, 0, 0), (edge, edge, edge)) for edge in edges), name="matryoshka")
    with pytest.raises(UserError, match=r"object 'matryoshka' has hardly any surface.*task\.env\.vision") as caught:
        cloud_task(1, ObjectSet([hidden]))
    assert "\n" not in str(caught.value)
    cloud_task(1, ObjectSet([hidden]), surface="pieces")
