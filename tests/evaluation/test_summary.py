"""How many episodes of which object, what they come to, and evaluation.json."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.results import rate, result
from helpers.scripted import DIVERGES, DROPS, MISSES, SUCCEEDS, Mixing, Still, scripted_task
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.objects.object_set import SPLITS
from runners.evaluation.intervals import Estimate, mean, success_rate
from runners.evaluation.rollout import Episodes
from runners.evaluation.run import evaluate
from runners.evaluation.summary import (
    EvaluationResult,
    GapRow,
    SuccessRow,
    Summary,
    TeacherResult,
    schedule,
    summarise,
)


def thing(name, category="box", split="train"):
    return SimpleNamespace(name=name, category=category, split=split)


# How many episodes of which object

object_sets = st.lists(st.sampled_from(SPLITS), min_size=1, max_size=12).map(
    lambda splits: [thing(f"o{i}", split=split) for i, split in enumerate(splits)]
)


@given(object_sets, st.integers(1, 5))
def test_schedule_gives_each_object_its_number_of_episodes(objects, per_object):
    index = schedule(objects, per_object)
    assert index.bincount(minlength=len(objects)).tolist() == [per_object] * len(objects)
    # in turns: the first episode of every object comes before the second of any
    assert index[: len(objects)].sort().values.tolist() == list(range(len(objects)))


@given(object_sets, st.integers(1, 40), st.integers(1, 5))
def test_schedule_spreads_the_episodes_of_a_split_evenly_over_its_objects(objects, per_split, per_object):
    counts = schedule(objects, per_object, per_split).bincount(minlength=len(objects)).tolist()
    for split in {obj.split for obj in objects}:
        of_split = [count for obj, count in zip(objects, counts) if obj.split == split]
        assert len(set(of_split)) == 1
        assert sum(of_split) >= per_split and sum(of_split) - len(of_split) < per_split  # one fewer would not do


# What they come to

FOUR = [
    thing("a", "box", "train"),
    thing("b", "mug", "unseen_object"),
    thing("c", "box", "unseen_object"),
    thing("d", "fork", "unseen_category"),
]


@pytest.fixture(scope="module")
def summary():
    """Two episodes each of a, which succeeds, b, dropped, c, missed, and d, which diverges; three at a time."""
    task = scripted_task(3)
    task.objects = FOUR
    return evaluate(task, Mixing(task), torch.tensor([SUCCEEDS, DROPS, MISSES, DIVERGES] * 2), seed=3)


def estimate(successes, objects):
    return success_rate(np.array(successes, dtype=bool), np.array(objects))


def test_success_is_counted_per_object_category_split_and_over_all(summary):
    assert [(o.name, o.category, o.split, o.episodes) for o in summary.objects] == [
        ("a", "box", "train", 2),
        ("b", "mug", "unseen_object", 2),
        ("c", "box", "unseen_object", 2),
        ("d", "fork", "unseen_category", 2),
    ]
    assert [o.success_once for o in summary.objects] == [rate(2, 2), rate(2, 2), rate(0, 2), rate(0, 2)]
    assert [o.success_at_end for o in summary.objects] == [rate(2, 2), rate(0, 2), rate(0, 2), rate(0, 2)]
    assert [o.diverged for o in summary.objects] == [0, 0, 0, 2]
    rows = {row.name: row for row in [*summary.categories, *summary.splits, summary.all]}
    assert list(rows) == ["box", "fork", "mug", *SPLITS, "all"]
    # the interval is over the two objects, a and c
    assert rows["box"].success_at_end == estimate([1, 1, 0, 0], [0, 0, 2, 2]) == Estimate(0.5, 0.0, 1.0)
    assert rows["box"].splits == ["train", "unseen_object"] and rows["fork"].splits == ["unseen_category"]
    assert rows["unseen_object"].success_once == estimate([1, 1, 0, 0], [1, 1, 2, 2])
    assert rows["unseen_object"].success_at_end == estimate([0, 0, 0, 0], [1, 1, 2, 2])
    assert rows["unseen_category"].success_at_end == rate(0, 2)  # a diverged episode is an episode, and a failure
    assert rows["all"].success_at_end == estimate([1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 2, 2, 3, 3])
    assert rows["all"].success_at_end.value == 0.25 and rows["all"].success_once.value == 0.5
    assert rows["all"].episodes == 8 and rows["all"].diverged == 2


def test_mixture_weights_are_means_over_the_episodes_that_did_not_diverge(summary):
    assert [o.weights for o in summary.objects] == [[1.5, 0, 1], [1.5, 1, 1], [1.5, 2, 1], None]
    assert {c.name: c.weights for c in summary.categories} == {"box": [1.5, 1, 1], "mug": [1.5, 1, 1], "fork": None}
    assert summary.all.weights == [1.5, 1, 1]


def test_quality_is_a_mean_with_an_interval_over_the_episodes_that_did_not_diverge():
    never, diverged = torch.zeros(5, dtype=torch.bool), torch.tensor([False, False, False, False, True])
    quality = torch.tensor([1.0, 2.0, 3.0, 10.0, float("nan")])
    episodes = Episodes(never, never, never, diverged, quality, weights=None)
    found = summarise(episodes, torch.tensor([0, 0, 0, 1, 3]), FOUR)
    assert [o.name for o in found.objects] == ["a", "b", "d"]  # c had no episode
    assert found.objects[0].quality == mean([1.0, 2.0, 3.0], [0, 0, 0])
    assert found.objects[1].quality == Estimate(10.0, None, None)
    assert found.objects[2].quality is None
    assert found.all.quality == mean([1.0, 2.0, 3.0, 10.0], [0, 0, 0, 1])


def test_opposed_grasps_are_counted_among_the_successes_at_the_end():
    at_end = torch.tensor([True, True, False, True, False])
    grip = torch.tensor([True, False, True, True, True])
    episodes = Episodes(at_end, at_end, grip, ~at_end & ~grip, torch.zeros(5), weights=None)
    found = summarise(episodes, torch.tensor([0, 0, 0, 1, 3]), FOUR)
    assert [row.opposed and row.opposed.value for row in found.objects] == [0.5, 1.0, None]
    assert found.all.opposed == mean([1.0, 0.0, 1.0], [0, 0, 1])


def test_policy_without_experts_has_no_mixture_weights():
    found = evaluate(scripted_task(2), Still(), torch.tensor([0, 1, 2]), seed=0)
    assert all(row.weights is None for row in [*found.objects, *found.categories, found.all])


# evaluation.json

numbers, words = st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
estimates = st.builds(Estimate, numbers, st.none() | numbers, st.none() | numbers)
rows = st.builds(
    SuccessRow,
    name=words,
    episodes=st.integers(1, 9),
    diverged=st.integers(0, 9),
    success_once=estimates,
    success_at_end=estimates,
    quality=st.none() | estimates,
    weights=st.none() | st.lists(numbers, max_size=3),
    category=words,
    split=words,
    splits=st.lists(words, max_size=2),
)
some_rows = st.lists(rows, max_size=2)
gaps = st.builds(
    GapRow,
    name=words,
    episodes=st.integers(1, 9),
    teacher_once=estimates,
    teacher_at_end=estimates,
    gap_once=estimates,
    gap_at_end=estimates,
)
results = st.builds(
    EvaluationResult,
    summary=st.builds(Summary, all=rows, splits=some_rows, categories=some_rows, objects=some_rows),
    checkpoint=words,
    seed=st.integers(0, 2**32 - 1),
    num_envs=st.integers(1, 9),
    proposal_weights=st.lists(numbers, min_size=3, max_size=3),
    experts=st.none() | st.lists(words, max_size=3),
    versions=st.dictionaries(words, words, max_size=2),
    settings=st.dictionaries(
        words, st.dictionaries(words, st.none() | st.booleans() | numbers, max_size=2), max_size=2
    ),
    teacher=st.none() | st.builds(TeacherResult, checkpoint=words, splits=st.lists(gaps, max_size=2), all=gaps),
)


@given(results)
@settings(max_examples=50)
def test_evaluation_result_survives_json(evaluated):
    text = json.dumps(evaluated.to_json(), allow_nan=False)
    assert EvaluationResult.from_json(json.loads(text)) == evaluated


def test_evaluation_json_layout():
    content = result(weights=[0.25, 0.75], experts=["mug-0000", "box-0000"]).to_json()
    assert list(content) == [
        "summary", "checkpoint", "seed", "num_envs", "proposal_weights", "experts", "versions", "settings", "teacher",
        "policy_id", "command", "machine",
    ]  # fmt: skip
    assert list(content["summary"]) == ["all", "splits", "categories", "objects"]
    row = content["summary"]["objects"][0]
    assert row["success_at_end"]["value"] == 0.4 and row["success_once"]["value"] == 0.5
    assert set(row["quality"]) == {"value", "low", "high"} and row["weights"] == [0.25, 0.75]
    assert (row["name"], row["category"], row["split"]) == ("mug-0", "mug", "train")


def test_evaluation_of_a_task_can_be_written_as_json(summary):
    whole = result()
    measured = EvaluationResult(**{**vars(whole), "summary": summary})
    assert EvaluationResult.from_json(json.loads(json.dumps(measured.to_json(), allow_nan=False))) == measured
