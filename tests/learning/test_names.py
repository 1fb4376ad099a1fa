"""Runs whose names and folders hold what Hydra and a shell take apart: every command that is printed works."""

import shlex

import pytest
from helpers.command_line import STAGE1, TINY, call

from resdex_tasks.utils.overrides import assignment
from runners.policies.checkpoint import Checkpoint

pytestmark = pytest.mark.slow  # every test trains

NAME = "a (b)=c,d [e]{f}#~&';!\"ß"


def commands(text):
    """The arguments of every `python train.py` line."""
    lines = [line.split("python train.py", 1)[1] for line in text.splitlines() if "python train.py" in line]
    return [[argument for argument in shlex.split(line) if argument != "..."] for line in lines]


def test_both_stages_and_the_evaluation_run_under_any_name(at_experts):
    strange = [assignment("experiment", NAME), assignment("runs_dir", f"run {NAME}")]
    short = ["num_envs=4", "episodes_per_object=1", "scale=cpu", "sim=mujoco"]
    outcome = call(
        at_experts, *TINY, *STAGE1, "experts=[e0.pth,e1.pth]", "follow_up=true", "max_iterations=1", *strange, *short
    )
    assert outcome.status == 0, outcome.err
    runs = at_experts / f"run {NAME}"
    assert {path.name for path in runs.iterdir()} == {NAME, f"{NAME}_stage2"}
    assert (runs / f"{NAME}_stage2" / "evaluation.json").is_file()
    last = Checkpoint.read(runs / f"{NAME}_stage2" / "nn" / "last.pth")
    assert shlex.split(last.made_by.command)[:2] == ["python", "train.py"]
    printed = commands(outcome.out)
    assert len(printed) == 3  # evaluate the first, evaluate the second, a student of it
    for arguments in printed[:2]:
        again = call(at_experts, *arguments, *short)
        assert again.status == 0, again.err
        assert "replaces" in again.out or arguments is printed[0]
    assert assignment("teacher", str(last.path.relative_to(at_experts))) in printed[2]


def test_what_is_printed_instead_of_a_second_stage_starts_it(at_experts):
    outcome = call(
        at_experts, *TINY, *STAGE1, "experts=[e0.pth,e1.pth]", "max_iterations=1", assignment("experiment", NAME)
    )
    assert outcome.status == 0, outcome.err
    (*_, following) = commands(outcome.out)
    again = call(at_experts, *TINY, "follow_up=false", "objects=starter", "objects.names=[box,sphere]", *following)
    assert again.status == 0, again.err


def test_a_training_of_any_name_is_resumed(tmp_path):
    assert call(tmp_path, *TINY, "max_iterations=1", assignment("experiment", NAME)).status == 0
    refused = call(tmp_path, *TINY, "max_iterations=2", assignment("experiment", NAME))
    assert refused.status == 2
    shown = refused.err.split("resume it with ")[1].split(", or name another")[0]
    (argument,) = shlex.split(shown)
    outcome = call(tmp_path, *TINY, "max_iterations=2", argument)
    assert outcome.status == 0, outcome.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [NAME]
