"""A student beside its teacher: the gap on the same episodes, its table, and evaluation.json."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.command_line import STUDENT, TINY, assert_one_sentence, call, files, train
from helpers.results import cells, rate, result
from hypothesis import given
from hypothesis import strategies as st

from resdex_tasks.objects.object_set import SPLITS
from resdex_tasks.utils.files import read_json
from runners.evaluation import gallery
from runners.evaluation.intervals import Estimate, mean
from runners.evaluation.rollout import Episodes
from runners.evaluation.summary import EvaluationResult, GapRow, TeacherResult, compare
from runners.evaluation.tables import evaluation_report, summary_tables, teacher_table
from runners.policies.checkpoint import Checkpoint

OBJECTS = [SimpleNamespace(split=split) for split in ("train", "unseen_object", "unseen_object")]
INDEX = torch.tensor([0, 0, 1, 1, 2, 2])
"""Two episodes of each."""


def played(at_end, once=None):
    """Episodes of which some succeed, told by 0 and 1; once where not said otherwise as at the end."""
    at_end, once = (torch.tensor(flags, dtype=torch.bool) for flags in (at_end, at_end if once is None else once))
    return Episodes(once, at_end, torch.zeros_like(once), torch.zeros_like(once), torch.zeros(len(once)), None)


# The gap


def test_a_gap_is_the_students_success_minus_its_teachers_on_the_same_episodes():
    student = played([1, 0, 1, 0, 0, 0], once=[1, 1, 1, 0, 0, 0])
    teacher = played([0, 0, 1, 1, 1, 1], once=[0, 0, 1, 1, 1, 1])
    found = compare("hyper_stage2", student, teacher, INDEX, OBJECTS)
    assert found.checkpoint == "hyper_stage2"
    train, unseen = found.splits
    assert [(row.name, row.episodes) for row in (train, unseen, found.all)] == [
        ("train", 2),
        ("unseen_object", 4),
        ("all", 6),
    ]
    assert train.teacher_at_end == rate(0, 2) and unseen.teacher_at_end.value == 1.0
    # +1 and 0 of one object: 0.5 -+ 12.7062 * sqrt(1 / 2) / sqrt(2)
    assert train.gap_at_end.value == 0.5
    assert (train.gap_at_end.low, train.gap_at_end.high) == pytest.approx((0.5 - 6.3531, 0.5 + 6.3531), abs=1e-4)
    assert train.gap_once == Estimate(1.0, 1.0, 1.0)
    # 0 and -1 of one object, -1 and -1 of the other, drawn again: between -1 and -0.5
    assert unseen.gap_at_end == Estimate(-0.75, -1.0, -0.5)
    assert found.all.gap_at_end.value == pytest.approx((1 + 0 + 0 - 1 - 1 - 1) / 6)
    assert found.all.gap_once.value == pytest.approx((1 + 1 + 0 - 1 - 1 - 1) / 6)
    assert found.all.gap_at_end.low < found.all.gap_at_end.value < found.all.gap_at_end.high


OUTCOMES = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=12)


@given(OUTCOMES)
def test_a_student_that_does_as_its_teacher_has_no_gap_at_all(episodes):
    index, success = (torch.tensor(column) for column in zip(*episodes))
    both = played(success.int().tolist())
    found = compare("teacher", both, both, index, OBJECTS)
    for row in [*found.splits, found.all]:
        assert row.gap_once.value == row.gap_at_end.value == 0.0
        for gap in (row.gap_once, row.gap_at_end):
            assert (gap.low, gap.high) in [(0.0, 0.0)] + [(None, None)] * (row.episodes == 1)


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_the_gap_is_the_difference_of_the_rates_and_its_interval_is_paired(episodes, random):
    index, success = (torch.tensor(column) for column in zip(*episodes))
    ours, theirs = success.int().tolist(), random.choices((0, 1), k=len(episodes))
    found = compare("teacher", played(ours), played(theirs), index, OBJECTS).all
    assert found.teacher_at_end.value == pytest.approx(sum(theirs) / len(theirs))
    assert found.gap_at_end.value == pytest.approx((sum(ours) - sum(theirs)) / len(ours))
    assert found.gap_at_end == mean([a - b for a, b in zip(ours, theirs)], index.tolist())


def test_equal_rates_of_different_episodes_are_not_certainly_equal():
    ours, theirs = played([1, 1, 0, 0, 1, 0]), played([0, 0, 1, 1, 1, 0])
    gap = compare("teacher", ours, theirs, INDEX, OBJECTS).all.gap_at_end
    assert gap.value == 0.0 and gap.low < -0.5 and gap.high > 0.5


# The table


def gaps(name, teacher, gap, once=(0.9, 0.0)):
    """A row of which the intervals are a tenth to both sides."""
    numbers = {"teacher_at_end": teacher, "gap_at_end": gap, "teacher_once": once[0], "gap_once": once[1]}
    return GapRow(name, 100, **{key: Estimate(n, n - 0.1, n + 0.1) for key, n in numbers.items()})


def beside(splits=SPLITS):
    rows = [gaps(split, 0.8 + 0.01 * i, 0.02 - 0.02 * i) for i, split in enumerate(splits)]
    return TeacherResult("hyper_stage2", rows, gaps("all", 0.8, -0.02))


TEACHERS, DIFFERENCE = "hyper_stage2 (teacher)", "difference, points"


def test_table_3_has_three_rows_for_each_measure_and_a_column_for_each_split():
    assert cells(teacher_table("student", result(), beside())) == [
        ["policy", "success %", "Train", "Unseen object, seen category", "Unseen category"],
        [TEACHERS, "at end", "80.0 [70.0, 90.0]", "81.0 [71.0, 91.0]", "82.0 [72.0, 92.0]"],
        ["student", "at end", "80.0 [71.1, 86.7]", "70.0 [60.4, 78.1]", "75.0 [65.7, 82.5]"],
        [DIFFERENCE, "at end", "2.0 [-8.0, 12.0]", "0.0 [-10.0, 10.0]", "-2.0 [-12.0, 8.0]"],
        [TEACHERS, "once (official)", *["90.0 [80.0, 100.0]"] * 3],
        ["student", "once (official)", "90.0 [82.6, 94.5]", "85.0 [76.7, 90.7]", "88.0 [80.2, 93.0]"],
        [DIFFERENCE, "once (official)", *["0.0 [-10.0, 10.0]"] * 3],
    ]


def test_table_3_of_few_splits_has_their_columns_alone():
    table = cells(teacher_table("student", result(train=None), beside(SPLITS[1:])))
    assert table[0][2:] == ["Unseen object, seen category", "Unseen category"]
    assert [row[2] for row in table[1:4]] == ["80.0 [70.0, 90.0]", "70.0 [60.4, 78.1]", "2.0 [-8.0, 12.0]"]


def test_the_table_stands_in_the_summary_and_in_the_report_of_a_student():
    measured = replace(result(), teacher=beside())
    table = teacher_table("student", measured, measured.teacher)
    assert summary_tables("student", measured)[1] == table
    text = evaluation_report("student", measured)
    assert text.count("## Beside its teacher") == 1 and table in text
    assert "teacher" not in "".join(summary_tables("student", result())) + evaluation_report("student", result())


# evaluation.json


def test_layout_of_a_teacher_in_evaluation_json():
    content = replace(result(), teacher=beside()).to_json()["teacher"]
    assert list(content) == ["checkpoint", "splits", "all"] and content["checkpoint"] == "hyper_stage2"
    assert [row["name"] for row in content["splits"]] == list(SPLITS)
    assert set(content["all"]) == {
        "name", "episodes", "teacher_once", "teacher_at_end", "gap_once", "gap_at_end",
    }  # fmt: skip
    assert content["all"]["gap_at_end"] == {"value": -0.02, "low": pytest.approx(-0.12), "high": pytest.approx(0.08)}


def test_intervals_of_a_single_episode_survive_json():
    one = compare("teacher", played([1]), played([0]), torch.tensor([0]), OBJECTS)
    assert one.all.gap_at_end == Estimate(1.0, None, None)
    measured = replace(result(), teacher=one)
    assert EvaluationResult.from_json(json.loads(json.dumps(measured.to_json()))) == measured


def test_an_evaluation_from_before_there_were_students_still_reads():
    content = result().to_json()
    for key in ("teacher", "policy_id", "command", "machine"):
        del content[key]
    assert EvaluationResult.from_json(content) == result()


# From the command line

EVALUATION = (
    "test=True",
    "checkpoint=runs/run/nn/last.pth",
    "episodes_per_object=2",
    "objects.names=[box,mug]",
    *(o for o in (*TINY, *STUDENT) if o.startswith(("s", "num_envs", "task.env", "objects"))),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with a student in runs/run, whose teacher is teacher.pth."""
    folder = tmp_path_factory.mktemp("student")
    Checkpoint.read("base_box").write(folder / "teacher.pth")
    train(folder, *STUDENT, "teacher=teacher.pth")
    return folder


@pytest.fixture()
def folder(trained, tmp_path, monkeypatch):
    """A folder of the test's own with the same; galleries are small, as most of the time would go into them."""
    monkeypatch.setattr(gallery, "WIDTH", 64)
    monkeypatch.setattr(gallery, "HEIGHT", 64)
    for name, content in files(trained).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def evaluated(folder, *overrides):
    outcome = call(folder, *EVALUATION, *overrides)
    assert outcome.status == 0, outcome.err
    run = folder / "runs" / "run"
    return outcome, EvaluationResult.from_json(read_json(run / "evaluation.json")), (run / "evaluation.md").read_text()


def notes(outcome):
    return [line for line in outcome.out.splitlines() if line.startswith("note: ") and "teacher" in line]


@pytest.mark.slow
def test_a_student_is_evaluated_beside_its_teacher(folder):
    outcome, found, report = evaluated(folder)
    assert found.teacher.checkpoint == "teacher.pth" and found.summary.all.episodes == found.teacher.all.episodes == 4
    assert "the same episodes by its teacher teacher.pth" in outcome.out and notes(outcome) == []
    table = teacher_table("run", found, found.teacher)
    assert [row[:2] for row in cells(table)[1:4]] == [
        ["teacher.pth (teacher)", "at end"],
        ["run", "at end"],
        ["difference, points", "at end"],
    ]
    assert table in outcome.out and f"## Beside its teacher\n\n{table}" in report
    for row in [*found.teacher.splits, found.teacher.all]:
        ours = next(r for r in [*found.summary.splits, found.summary.all] if r.name == row.name)
        assert row.gap_once.value == pytest.approx(ours.success_once.value - row.teacher_once.value)


@pytest.mark.slow
def test_the_teachers_episodes_are_those_of_its_own_evaluation(folder):
    """The same starts: what a teacher reaches beside its student is what it reaches by itself."""
    # the object falls from under the goal: how far aside it started decides
    near = ("task.env.goalHeight=0.095", "seed=3", "episodes_per_object=6")
    _, found, _ = evaluated(folder, *near)
    alone = [o for o in EVALUATION if not o.startswith(("checkpoint", "task"))]
    outcome = call(
        folder, *alone, "task=ResDexBase", "task.env.episodeLength=6", "task.env.objectSampling=random",
        "checkpoint=teacher.pth", "experiment=alone", *near,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    own = EvaluationResult.from_json(read_json(folder / "runs" / "alone" / "evaluation.json"))
    assert 0 < own.summary.all.success_at_end.value < 1 and own.teacher is None
    assert found.teacher.all.teacher_at_end == own.summary.all.success_at_end
    assert found.teacher.all.teacher_once == own.summary.all.success_once


@pytest.mark.slow
def test_an_empty_teacher_leaves_it_out(folder):
    outcome, found, report = evaluated(folder, "teacher=")
    assert found.teacher is None and found.summary.all.episodes == 4
    assert "teacher" not in outcome.out + report


@pytest.mark.slow
def test_a_student_whose_teacher_is_gone_is_evaluated_alone(folder):
    (folder / "teacher.pth").unlink()
    outcome, found, report = evaluated(folder)
    (note,) = notes(outcome)
    assert note.startswith("note: without its teacher: no checkpoint teacher.pth")
    assert found.teacher is None and found.summary.all.episodes == 4 and "teacher" not in report


@pytest.mark.slow
def test_another_teacher_can_be_named_and_is_told_from_its_own(folder):
    outcome, found, _ = evaluated(folder, "teacher=zoo_expert_bottle-0035")
    (note,) = notes(outcome)
    assert note == (
        "note: zoo_expert_bottle-0035 is another policy than the teacher that runs/run/nn/last.pth learned from"
    )
    assert found.teacher.checkpoint == "zoo_expert_bottle-0035"
    # the same weights by another name are the same teacher
    (folder / "renamed.pth").write_bytes((folder / "teacher.pth").read_bytes())
    outcome, found, _ = evaluated(folder, "teacher=renamed.pth")
    assert notes(outcome) == [] and found.teacher.checkpoint == "renamed.pth"


@pytest.mark.slow
def test_a_teacher_that_is_named_and_missing_is_one_sentence(folder):
    before = files(folder)
    assert_one_sentence(call(folder, *EVALUATION, "teacher=nowhere.pth"), "no checkpoint nowhere.pth")
    assert files(folder) == before


@pytest.mark.slow
def test_who_learned_by_itself_has_no_teacher(folder):
    alone = [o for o in EVALUATION if not o.startswith(("checkpoint", "task"))]
    outcome = call(folder, *alone, "checkpoint=teacher.pth", "teacher=base_box", "task.env.episodeLength=6")
    assert outcome.status == 0 and "teacher base_box" not in outcome.out
    assert read_json(folder / "runs" / "evaluation_teacher" / "evaluation.json")["teacher"] is None
