"""What episodes come to, and `test=True` from the command line."""

import json
from types import SimpleNamespace

import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call, files, train
from hypothesis import given
from hypothesis import strategies as st
from test_episodes import BREAKS, FAILS, HOLDS, TOUCHES, Mixing, scripted_task, still

from resdex_tasks.objects.object_set import SPLITS
from resdex_tasks.utils.errors import UserError
from runners.evaluation import gallery
from runners.evaluation.files import check_writable
from runners.evaluation.intervals import mean, rate
from runners.evaluation.summary import evaluate, schedule, summarise, write_json

EVALUATION = ("test=True", "checkpoint=runs/run/nn/last.pth", "scale=cpu", "sim=mujoco", "sim.numThreads=1",
              "task.env.episodeLength=6")  # fmt: skip


def thing(name, category="box", split="train"):
    return SimpleNamespace(name=name, category=category, split=split)


# How many episodes of which object

object_sets = st.lists(st.sampled_from(SPLITS), min_size=1, max_size=12).map(
    lambda splits: [thing(f"o{i}", split=split) for i, split in enumerate(splits)]
)


@given(object_sets, st.integers(1, 5))
def test_each_object_has_its_number_of_episodes(objects, per_object):
    index = schedule(objects, per_object)
    assert index.bincount(minlength=len(objects)).tolist() == [per_object] * len(objects)
    # in turns: the first episode of every object comes before the second of any
    assert index[: len(objects)].sort().values.tolist() == list(range(len(objects)))


@given(object_sets, st.integers(1, 40), st.integers(1, 5))
def test_episodes_of_a_split_are_spread_evenly_over_its_objects(objects, per_split, per_object):
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


def four_objects(episodes_each=2, num_envs=3):
    """a is held, b latched, c missed, d diverges: `episodes_each` of each, three at a time."""
    task = scripted_task(num_envs)
    task.objects = FOUR
    return evaluate(task, Mixing(task), torch.tensor([HOLDS, TOUCHES, FAILS, BREAKS] * episodes_each), seed=3)


def test_success_is_counted_per_object_category_split_and_over_all():
    result = four_objects()
    assert [(o["name"], o["category"], o["split"], o["episodes"]) for o in result["objects"]] == [
        ("a", "box", "train", 2),
        ("b", "mug", "unseen_object", 2),
        ("c", "box", "unseen_object", 2),
        ("d", "fork", "unseen_category", 2),
    ]
    assert [o["latched"]["rate"] for o in result["objects"]] == [1.0, 1.0, 0.0, 0.0]
    assert [o["held"]["rate"] for o in result["objects"]] == [1.0, 0.0, 0.0, 0.0]
    assert [o["diverged"] for o in result["objects"]] == [0, 0, 0, 2]
    rows = {row["name"]: row for row in [*result["categories"], *result["splits"], result["all"]]}
    assert list(rows) == ["box", "fork", "mug", *SPLITS, "all"]
    assert rows["box"]["held"] == rate(2, 4) and rows["box"]["splits"] == ["train", "unseen_object"]
    assert rows["fork"]["splits"] == ["unseen_category"]
    assert rows["unseen_object"]["latched"] == rate(2, 4) and rows["unseen_object"]["held"] == rate(0, 4)
    assert rows["unseen_category"]["held"] == rate(0, 2)  # a diverged episode is an episode, and a failure
    assert rows["all"]["episodes"] == 8 and rows["all"]["held"] == rate(2, 8) and rows["all"]["diverged"] == 2


def test_weights_are_means_over_the_episodes_that_did_not_diverge():
    result = four_objects()
    assert [o["weights"] for o in result["objects"]] == [[1.5, 0, 1], [1.5, 1, 1], [1.5, 2, 1], None]
    assert {c["name"]: c["weights"] for c in result["categories"]} == {
        "box": [1.5, 1, 1],
        "mug": [1.5, 1, 1],
        "fork": None,
    }
    assert result["all"]["weights"] == [1.5, 1, 1]


def test_quality_is_a_mean_with_an_interval_over_the_episodes_that_did_not_diverge():
    flags = {name: torch.zeros(5, dtype=torch.bool) for name in ("latched", "held", "diverged")}
    flags["diverged"][4] = True
    quality = torch.tensor([1.0, 2.0, 3.0, 10.0, float("nan")])
    episodes = SimpleNamespace(**flags, quality=quality, weights=None)
    result = summarise(episodes, torch.tensor([0, 0, 0, 1, 3]), FOUR)
    assert result["objects"][0]["D"] == mean([1.0, 2.0, 3.0])
    assert result["objects"][1]["D"] == {"mean": 10.0, "low": None, "high": None}
    assert result["objects"][2]["D"] is None
    assert result["all"]["D"] == mean([1.0, 2.0, 3.0, 10.0])
    assert [o["name"] for o in result["objects"]] == ["a", "b", "d"]  # c had no episode
    json.dumps(result, allow_nan=False)


def test_a_policy_without_experts_has_no_weights():
    task = scripted_task(2)
    result = evaluate(task, still, torch.tensor([0, 1, 2]), seed=0)
    assert all(row["weights"] is None for row in [*result["objects"], *result["categories"], result["all"]])


def test_where_there_is_no_terminal_a_line_now_and_then_says_how_it_goes(monkeypatch, capsys):
    monkeypatch.setattr("runners.evaluation.progress.LINE_INTERVAL", -1.0)
    four_objects(1, num_envs=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("episode 4/4: held 0.25, latched 0.50, 0 min left")
    done = [int(line.split()[1].split("/")[0]) for line in lines]
    assert done == sorted(done) and len(set(done)) > 2


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "evaluation.json"
    result = four_objects()
    write_json(path, result)
    for unwritable in (object(), float("nan")):
        with pytest.raises((TypeError, ValueError)):
            write_json(path, {"all": unwritable})
    assert json.loads(path.read_text()) == result
    assert [p.name for p in path.parent.iterdir()] == ["evaluation.json"]


def test_a_folder_that_cannot_be_written_is_known_before_the_work(tmp_path):
    check_writable(tmp_path / "new" / "deep")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file"):
        check_writable(tmp_path / "file" / "new")


# From the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with a trained runs/run; galleries are small."""
    path = tmp_path_factory.mktemp("evaluated")
    train(path, "max_iterations=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "WIDTH", 96)
        patch.setattr(gallery, "HEIGHT", 96)
        yield path


def evaluated(folder, *overrides):
    outcome = call(folder, *EVALUATION, *overrides)
    assert outcome.status == 0, outcome.err
    return outcome, json.loads((folder / "runs" / "run" / "evaluation.json").read_text())


def test_an_evaluation_leaves_numbers_tables_and_pictures(folder):
    before = files(folder)
    outcome, result = evaluated(folder, "objects.names=[box,cube,mug]", "episodes_per_object=3", "num_envs=4", "seed=5")
    assert result["checkpoint"] == "runs/run/nn/last.pth" and result["seed"] == 5
    assert [(o["name"], o["episodes"]) for o in result["objects"]] == [("box", 3), ("cube", 3), ("mug", 3)]
    assert [c["name"] for c in result["categories"]] == ["box", "mug"]
    for row in [*result["objects"], *result["categories"], *result["splits"], result["all"]]:
        for kind in ("latched", "held"):
            low, middle, high = (row[kind][name] for name in ("low", "rate", "high"))
            assert 0 <= low <= middle + 1e-12 and middle <= high + 1e-12 and high <= 1
        assert row["held"]["rate"] <= row["latched"]["rate"]
        assert row["D"]["low"] <= row["D"]["mean"] <= row["D"]["high"]
    # 9 episodes in 3 rounds of 3, not in rounds of 4, 4 and 1
    assert "9 episodes of 3 objects, 3 at a time" in outcome.out
    assert all(f"| {name}" in outcome.out for name in ("box", "cube", "mug", "**all**"))
    after = files(folder)
    new = {"evaluation.json", "evaluation.md", "gallery.png", "success_by_category.png", "learning_curve.png"}
    assert set(after) - set(before) == {f"runs/run/{name}" for name in new}
    assert all(after[name] == content for name, content in before.items())  # the training is left alone
    report = (folder / "runs" / "run" / "evaluation.md").read_text()
    assert all(f"({name})" in report for name in new if name.endswith(".png"))
    assert all(name in outcome.out for name in new)


def test_num_episodes_goes_before_episodes_per_object(folder):
    _, result = evaluated(folder, "num_episodes=4", "episodes_per_object=1", "num_envs=3")
    assert result["all"]["episodes"] == 4


def test_the_same_seed_evaluates_to_the_same(folder):
    arguments = ("episodes_per_object=4", "num_envs=3", "seed=3", "task.env.goalHeight=0.1", "experiment=again")
    results = []
    for _ in range(2):
        assert call(folder, *TINY, *EVALUATION, *arguments).status == 0  # arguments of a training do not disturb
        results.append(json.loads((folder / "runs" / "again" / "evaluation.json").read_text()))
    assert results[0] == results[1]


def test_several_splits_of_the_zoo_are_evaluated_in_one_go(folder):
    splits = "objects.split=[train,unseen_object,unseen_category]"
    outcome, result = evaluated(folder, "objects=zoo", splits, "objects.count=2", "num_episodes=3", "num_envs=5")
    assert [(row["name"], row["episodes"]) for row in result["splits"]] == [(split, 4) for split in SPLITS]
    assert "Unseen object, seen category" in outcome.out
    assert [o["split"] for o in result["objects"]] == [split for split in SPLITS for _ in range(2)]


@pytest.mark.parametrize(
    "overrides, culprit",
    [
        (["num_episodes=0"], "num_episodes is 0"),
        (["objects=zoo", "objects.split=[train,nowhere]", "objects.count=1"], "nowhere"),
        (["objects=zoo", "objects.split=[]"], "objects.split is empty"),
        (["runs_dir=file/runs"], "file"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path, overrides, culprit):
    (tmp_path / "file").touch()
    outcome = call(tmp_path, "test=True", "checkpoint=base_box", "sim=mujoco", *overrides)
    assert_one_sentence(outcome, culprit)
    assert list(files(tmp_path)) == ["file"]
