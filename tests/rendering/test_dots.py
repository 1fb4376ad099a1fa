"""Points drawn over a picture: where they fall, and the clouds that a film of a vision policy shows."""

import importlib

import numpy as np
import pytest
import torch
from helpers.command_line import TINY
from helpers.configs import task_config
from helpers.fake_sim import FakeSim
from helpers.policies import base_spec, checkpoint_of, student_spec
from helpers.simulators import mujoco_sim
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.rendering.raycast import DOT_COLOUR, Camera, camera_rays, with_points
from runners.config import load_config
from runners.policies.policy import Policy
from runners.viewer import film

pytest.importorskip("mujoco.batch")
mujoco_common = importlib.import_module("resdex_tasks.sims.mujoco_common")  # of the engine, which may be missing

HEIGHT, WIDTH = 40, 60
CAMERAS = (Camera((1.0, 0.2, 0.5), (0.0, 0.0, 0.4), fov=40), Camera((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), fov=70))
PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def changed(picture, camera, points):
    """Which pixels (H, W) points (P, 3) change."""
    return (with_points(picture, camera, np.asarray(points)) != picture).any(axis=-1)


def along(camera, row, column, distance=0.8):
    """(3,) on the ray through a pixel."""
    return np.array(camera.position) + distance * camera_rays(camera, WIDTH, HEIGHT)[row, column]


@given(st.sampled_from(CAMERAS), st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), st.floats(0.01, 10))
@settings(max_examples=50)
def test_a_point_on_the_ray_through_a_pixel_is_drawn_there(camera, row, column, distance):
    """In the dots' colour, and nothing else but pixels next to it."""
    point = along(camera, row, column, distance)
    image = with_points(PICTURE, camera, point[None])
    assert tuple(image[row, column]) == DOT_COLOUR
    rows, columns = np.nonzero((image != PICTURE).any(axis=-1))
    assert np.hypot(rows - row, columns - column).max(initial=0) < 1.5
    assert image.dtype == np.uint8 and image.shape == PICTURE.shape


def test_a_dot_grows_with_the_picture():
    small, large = (np.zeros((size, size, 3), np.uint8) for size in (100, 1000))
    middle = np.array([CAMERAS[0].target])
    assert changed(small, CAMERAS[0], middle).sum() == 4  # the middle is where four pixels meet
    assert changed(large, CAMERAS[0], middle).sum() == pytest.approx(np.pi * 4.5**2, rel=0.2)


@pytest.mark.parametrize("camera", CAMERAS)
def test_what_is_behind_the_camera_or_beside_the_picture_is_not_drawn(camera):
    eye, rays = np.array(camera.position), camera_rays(camera, 3 * WIDTH, 3 * HEIGHT)
    fov = 2 * np.degrees(np.arctan(3 * np.tan(np.radians(camera.fov / 2))))
    wider = Camera(camera.position, camera.target, fov)
    outer = camera_rays(wider, 3 * WIDTH, 3 * HEIGHT)
    outer[HEIGHT - 4 : 2 * HEIGHT + 4, WIDTH - 4 : 2 * WIDTH + 4] = outer[0, 0]
    behind = eye - rays.reshape(-1, 3)
    for points in (behind, eye + outer.reshape(-1, 3), eye[None], np.zeros((0, 3))):
        assert not changed(PICTURE, camera, points).any()
    # as the same rays forwards are, every one
    assert changed(PICTURE, camera, eye + rays.reshape(-1, 3)).all()


def test_the_picture_itself_is_left_alone():
    before = PICTURE.copy()
    image = with_points(PICTURE, CAMERAS[0], along(CAMERAS[0], 3, 4)[None])
    assert np.array_equal(PICTURE, before) and not np.array_equal(image, before)


def test_dots_do_not_add_up():
    point = along(CAMERAS[0], 20, 30)
    assert np.array_equal(
        with_points(PICTURE, CAMERAS[0], np.stack([point] * 5)), with_points(PICTURE, CAMERAS[0], point[None])
    )


def test_a_simulators_picture_shows_them_over_the_scene():
    """Even those inside the object; without points it is the picture that it was."""
    sim = mujoco_sim(["box"])
    plain = sim.render(0, WIDTH, HEIGHT)
    assert np.array_equal(sim.render(0, WIDTH, HEIGHT), plain)
    centre = torch.tensor(np.stack([along(mujoco_common.VIEW, 25, 31)]), dtype=torch.float32)
    with_dot = sim.render(0, WIDTH, HEIGHT, points=centre)
    assert np.array_equal(with_dot, with_points(plain, mujoco_common.VIEW, centre.numpy()))
    assert (with_dot[25, 31] != plain[25, 31]).any()


# The cloud in the world frame


def cloud_task(num_envs=3, groups=None, **vision):
    config = task_config(observation="vision", vision={"source": "mesh", **vision})
    return GraspTask(FakeSim(num_envs), starter_objects().select(["mug"]), config, 0, groups)


@pytest.mark.parametrize("frame", ["yaw", "world"])
def test_seen_points_are_the_observed_cloud_in_the_world(frame):
    task = cloud_task(frame=frame)
    task.reset()
    assert task.yaw.abs().min() > 0.01
    world = task.clouds.world_points(task.sim)
    for env in range(3):
        torch.testing.assert_close(task.seen_points(env), world[env], atol=1e-6, rtol=0)


def test_seen_points_are_those_that_the_policy_saw_not_new_ones():
    """Whoever looks draws no random numbers, and what moved since was not seen."""
    camera = {"eyes": [[0.5, 0.0, 0.1]], "occlusion": "fast", "noise": 0.01, "dropout": 0.3, "lost": "hold"}
    task = cloud_task(source="camera", frame="world", camera=camera)
    task.reset()
    before = task.clouds.generator.get_state()
    task.sim.now.object[:, :3] += 0.1
    assert torch.equal(task.seen_points(1), task.obs["cloud"][1])
    assert torch.equal(task.clouds.generator.get_state(), before)


def test_who_sees_no_cloud_has_no_seen_points():
    task = cloud_task(groups=["base"])
    task.reset()
    assert task.seen_points(0) is None
    assert cloud_task().seen_points(0) is None, "before anything was observed"


# Films


@pytest.fixture()
def rendered(monkeypatch):
    """The points of every picture, which stays black."""
    shown = []

    def render(self, env_id, width, height, closeup=False, points=None):
        shown.append(points)
        return np.zeros((height, width, 3), np.uint8)

    monkeypatch.setattr(mujoco_common.MujocoGraspSim, "render", render)
    return shown


CONFIG = (
    *(o for o in TINY if o.startswith(("s", "num_envs"))),
    "task=ResDexVision",
    "objects=starter",
    "objects.names=[box]",
    "objects.codes=null",
    "task.env.episodeLength=9",
    "task.env.vision.numPoints=16",
    "task.env.vision.poolPoints=16",
)


def test_a_film_of_a_vision_policy_shows_what_it_sees(rendered, tmp_path):
    objects = starter_objects().select(["box"])
    policy = Policy.load(checkpoint_of(student_spec(16)))
    film.film(load_config(CONFIG), policy, tmp_path, objects)
    assert len(rendered) == 2 and {path.name for path in tmp_path.iterdir()} == {"episode.gif", "episode.png"}
    for points in rendered:
        assert points.shape == (16, 3)
        # on the box, which falls from 10 cm above the table's middle
        middle = points.mean(dim=0) - torch.tensor([0.0, 0.0, 0.7])
        assert middle[:2].abs().max() < 0.04 and -0.1 < middle[2] < 0.04
    assert not torch.equal(rendered[0], rendered[-1])


def test_a_film_of_another_policy_shows_no_points(rendered, tmp_path):
    base = Policy.load(checkpoint_of(base_spec()))
    film.film(load_config(CONFIG), base, tmp_path, starter_objects().select(["box"]))
    assert rendered == [None] * 2
