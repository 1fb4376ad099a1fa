"""`test=True` from the command line: evaluates a checkpoint."""

import pytest
from helpers.command_line import TINY, assert_one_sentence, call, files, train

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.object_set import SPLITS
from resdex_tasks.utils.files import read_json
from runners.config import load_config
from runners.evaluation import gallery
from runners.evaluation.playing import evaluation_task
from runners.evaluation.run import evaluate_checkpoint
from runners.evaluation.summary import EvaluationResult

EVALUATION = ("test=True", "checkpoint=runs/run/nn/last.pth", "scale=cpu", "sim=mujoco", "sim.numThreads=1",
              "task.env.episodeLength=6")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with a trained runs/run; galleries are small, as most of the time would go into them."""
    path = tmp_path_factory.mktemp("evaluated")
    train(path, "max_iterations=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "WIDTH", 96)
        patch.setattr(gallery, "HEIGHT", 96)
        yield path


def evaluated(folder, *overrides):
    outcome = call(folder, *EVALUATION, *overrides)
    assert outcome.status == 0, outcome.err
    return outcome, EvaluationResult.from_json(read_json(folder / "runs" / "run" / "evaluation.json"))


def test_evaluation_writes_numbers_tables_and_pictures(folder):
    before = files(folder)
    outcome, result = evaluated(folder, "objects.names=[box,cube,mug]", "episodes_per_object=3", "num_envs=4", "seed=5")
    summary = result.summary
    assert result.checkpoint == "runs/run/nn/last.pth" and result.seed == 5 and result.num_envs == 3
    assert set(result.settings) == {"task", "sim", "objects"} and result.experts is None and "torch" in result.versions
    assert [(o.name, o.episodes) for o in summary.objects] == [("box", 3), ("cube", 3), ("mug", 3)]
    assert [c.name for c in summary.categories] == ["box", "mug"]
    for row in [*summary.objects, *summary.categories, *summary.splits, summary.all]:
        for success in (row.success_once, row.success_at_end):
            assert 0 <= success.low <= success.value + 1e-12 and success.value <= success.high + 1e-12
            assert success.high <= 1
        assert row.success_at_end.value <= row.success_once.value
        assert row.quality.low <= row.quality.value <= row.quality.high
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


def test_num_episodes_overrides_episodes_per_object(folder):
    _, result = evaluated(folder, "num_episodes=4", "episodes_per_object=1", "num_envs=3")
    assert result.summary.all.episodes == 4


def test_evaluation_is_reproducible_from_its_seed(folder):
    arguments = ("episodes_per_object=4", "num_envs=3", "seed=3", "task.env.goalHeight=0.1", "experiment=again")
    arguments = (*arguments, "task.env.vision.numPoints=32")  # of no account: this policy sees no points
    results = []
    for _ in range(2):
        outcome = call(folder, *TINY, *EVALUATION, *arguments)  # arguments of a training do not disturb
        assert outcome.status == 0
        assert "note: task.env.goalHeight is 0.1 here; the policy was trained with 0.2" in outcome.out
        assert outcome.out.count("note:") == 1
        results.append(read_json(folder / "runs" / "again" / "evaluation.json"))
    assert results[0] == results[1]


@pytest.mark.slow
def test_several_splits_of_the_zoo_are_evaluated_in_one_run(folder):
    splits = "objects.split=[train,unseen_object,unseen_category]"
    outcome, result = evaluated(folder, "objects=zoo", splits, "objects.count=2", "num_episodes=3", "num_envs=5")
    assert [(row.name, row.episodes) for row in result.summary.splits] == [(split, 4) for split in SPLITS]
    assert "Unseen object, seen category" in outcome.out
    assert [o.split for o in result.summary.objects] == [split for split in SPLITS for _ in range(2)]


@pytest.mark.parametrize(
    "overrides, culprit",
    [
        (["num_episodes=0"], "num_episodes is 0"),
        (["objects=zoo", "objects.split=[train,nowhere]", "objects.count=1"], "nowhere"),
        (["objects=zoo", "objects.split=[]"], "objects.split is []"),
        (["runs_dir=file/runs"], "file"),
    ],
)
def test_invalid_input_is_one_sentence_and_writes_nothing(tmp_path, overrides, culprit):
    (tmp_path / "file").touch()
    outcome = call(tmp_path, "test=True", "checkpoint=base_box", "sim=mujoco", *overrides)
    assert_one_sentence(outcome, culprit)
    assert list(files(tmp_path)) == ["file"]


def test_a_task_that_another_made_plays_one_episode_in_each_environment(folder, monkeypatch):
    monkeypatch.chdir(folder)
    settings = [*EVALUATION, "objects.names=[box,cube]", "num_envs=5", "experiment=others", "scale=cpu"]
    config = load_config([*settings, "sim_device=cpu", "rl_device=cpu"])
    objects = make_objects(config.objects)
    task = evaluation_task(config, objects, 5)
    result = evaluate_checkpoint(config, objects, task).result
    assert [(o.name, o.episodes) for o in result.summary.objects] == [("box", 3), ("cube", 2)] and result.num_envs == 5
    assert task.obs  # it was this task that played
    assert (folder / "runs" / "others" / "evaluation.json").exists()
