"""The picture of final grasps."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.results import grasp
from helpers.scripted import LENGTH, NAMES, Still, scripted_task
from helpers.simulators import mujoco_sim
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resdex_tasks.sims.base import TABLE_HEIGHT
from runners.evaluation import gallery
from runners.evaluation.gallery import FRAME, GAP, HEAD_HEIGHT, chosen_objects, final_grasps, write_gallery
from runners.evaluation.rollout import OUTCOMES

categories = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=30).map(
    lambda names: [SimpleNamespace(name=f"{c}{i}", category=c) for i, c in enumerate(names)]
)


@given(categories, st.integers(0, 5), st.integers(1, 12))
def test_chosen_objects_are_spread_over_the_categories_by_the_seed_alone(objects, seed, count):
    chosen = chosen_objects(objects, seed, count)
    assert chosen.names == chosen_objects(objects, seed, count).names
    assert len(chosen) == min(count, len(objects))
    available, taken = Counter(o.category for o in objects), Counter(o.category for o in chosen)
    # no category has two more than one that could still give
    assert all(taken[c] <= taken[other] + 1 for c in taken for other in available if taken[other] < available[other])


def test_another_seed_chooses_other_objects():
    objects = [SimpleNamespace(name=f"{c}{i}", category=c) for c in "abcdefgh" for i in range(9)]
    assert len({tuple(chosen_objects(objects, seed, 4).names) for seed in range(5)}) == 5


def test_final_grasps_are_rendered_at_the_last_step_and_name_the_outcome(monkeypatch):
    task = scripted_task(4)
    clocks = []

    def render(env, width, height, closeup=False, points=None):
        clocks.append(task.sim.clock[env])
        return np.full((height, width, 3), 10 * env, np.uint8)

    monkeypatch.setattr(task.sim, "render", render)
    grasps = final_grasps(task, Still(), seed=0)
    assert [(g.object, g.outcome) for g in grasps] == list(zip(NAMES, OUTCOMES))
    assert [int(g.image.max()) for g in grasps] == [0, 10, 20, 30]
    assert clocks[:3] == [LENGTH - 1] * 3


def test_of_several_tries_the_one_that_a_person_would_call_a_grasp_is_shown(monkeypatch):
    tries = [
        [grasp("a", "missed"), grasp("b"), grasp("c", opposed=True), grasp("d", "dropped", True)],
        [grasp("a", "missed", True), grasp("b", opposed=True), grasp("c"), grasp("d", "missed")],
        [grasp("a", "dropped"), grasp("b"), grasp("c"), grasp("d")],
    ]
    left, asked = iter(tries), []

    def ends(task, policy, seed, shown):
        asked.append((seed, list(shown)))
        return next(left)

    monkeypatch.setattr(gallery, "_ends", ends)
    best = final_grasps(SimpleNamespace(num_envs=4), Still(), seed=7)
    assert [best[i] is tries[k][i] for i, k in enumerate((0, 1, 0, 2))] == [True] * 4
    # no picture is made of what has a grasp already
    assert asked == [(7, [0, 1, 2, 3]), (8, [0, 1, 3]), (9, [0, 3])]


def test_gallery_has_a_row_for_each_object_and_a_column_for_each_policy(tmp_path):
    columns = {
        "k = 1": [grasp("a", "missed"), grasp("b")],
        "k = 2": [grasp("a"), grasp("b")],
        "k = 3": [grasp("a"), grasp("b")],
    }
    write_gallery(tmp_path / "new" / "gallery.png", columns)
    image = np.asarray(Image.open(tmp_path / "new" / "gallery.png"))
    assert image.shape == (HEAD_HEIGHT + 2 * (60 + 2 * GAP), 3 * (80 + 2 * GAP), 3)
    edge = GAP + FRAME // 2
    first_row, second_row = HEAD_HEIGHT + edge, HEAD_HEIGHT + 60 + 2 * GAP + edge
    assert tuple(image[first_row, 40]) == gallery.COLOURS["missed"]
    assert tuple(image[first_row, 40 + 80 + 2 * GAP]) == tuple(image[second_row, 40]) == gallery.COLOURS["success"]
    assert all((image[:HEAD_HEIGHT, x : x + 84] < 128).any() for x in (0, 84, 168))  # each column has its head


def test_gallery_of_one_policy_is_a_grid(tmp_path):
    write_gallery(tmp_path / "g.png", {"ours": [grasp(name) for name in "abcdef"]})
    assert Image.open(tmp_path / "g.png").size == (4 * (80 + 2 * GAP), 2 * (60 + 2 * GAP))


def test_gallery_row_of_different_objects_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="one object"):
        write_gallery(tmp_path / "g.png", {"x": [grasp("a")], "y": [grasp("b")]})
    assert not list(tmp_path.iterdir())


def test_closeup_follows_the_hand():
    sim = mujoco_sim(["box"])
    across = torch.tensor([[0.5, 0.4, TABLE_HEIGHT]])
    upright, palm_down = torch.tensor([[0.0, 0.0, 0.0, 1.0]]), sim.state().root_pose[:, 3:].clone()
    above = across + torch.tensor([[0.0, 0.0, 0.2]])
    sim.reset(
        torch.tensor([0]),
        root_pose=torch.cat((above, palm_down), dim=1),
        joint_pos=torch.zeros(1, 22),
        object_pose=torch.cat((across + torch.tensor([[0.0, 0.0, 0.1]]), upright), dim=1),
    )

    def orange(image):
        image = image.astype(int)
        return image[..., 0] > image[..., 2] + 60

    assert not orange(sim.render(0, 64, 64)).any()  # it is out of the usual picture
    rows, columns = np.nonzero(orange(sim.render(0, 64, 64, closeup=True)))
    assert len(rows) > 20 and 8 < columns.mean() < 56 and 8 < rows.mean() < 56
