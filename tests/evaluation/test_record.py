"""How good a policy was found to be goes into its file, and into no other's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.command_line import TINY, call, files
from helpers.policies import base_spec, checkpoint_of
from helpers.results import result

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_json
from runners.evaluation.record import main, record
from runners.policies.cards import success_table
from runners.policies.checkpoint import Checkpoint


@pytest.fixture
def evaluated(tmp_path):
    """A policy's file, and an evaluation of it, by path."""
    policy, evaluation = tmp_path / "policy.pth", tmp_path / "evaluation.json"
    checkpoint_of(base_spec()).write(policy)
    own = {"policy_id": Checkpoint.read(policy).id, "command": "python train.py test=True", "machine": "a laptop"}
    write_json(evaluation, replace(result(), **own).to_json())
    return policy, evaluation


def test_an_evaluation_is_noted_beside_weights_that_stay(evaluated, capsys):
    policy, evaluation = evaluated
    before = Checkpoint.read(policy)
    assert main([str(evaluation), str(policy)]) == 0
    assert capsys.readouterr().out.endswith("at the end 75.0 [69.8, 79.6] %, 300 episodes\n")
    after = Checkpoint.read(policy)
    assert after.id == before.id and all(torch.equal(after.weights[k], before.weights[k]) for k in before.weights)
    assert replace(after, weights={}, measured=None) == replace(before, weights={})
    measured = after.measured
    assert (measured.command, measured.machine, measured.seed) == ("python train.py test=True", "a laptop", 7)
    assert list(measured.rows) == ["train", "unseen_object", "unseen_category", "all"]
    train = measured.rows["train"]
    assert (train.episodes, train.success_at_end.value, train.success_once.value) == (100, 0.8, 0.9)
    assert train.objects == 2 and train.quality.value == 31.0


def test_it_comes_back_as_it_was_found(evaluated):
    policy, evaluation = evaluated
    assert Checkpoint.read(policy).measured is None
    assert record(evaluation, str(policy)) == Checkpoint.read(policy).measured


@pytest.mark.parametrize(
    "change, words",
    [
        ({"policy_id": "0123456789ab"}, "is of the policy 0123456789ab, and"),
        ({"policy_id": ""}, "is of a policy that it does not name"),
        ({"summary": 3}, "is not an evaluation.json"),
        ({"settings": {}}, "is not an evaluation.json"),
    ],
)
def test_another_evaluation_is_refused_and_changes_nothing(evaluated, change, words):
    policy, evaluation = evaluated
    evaluation.write_text(json.dumps({**json.loads(evaluation.read_text()), **change}))
    before = files(policy.parent)
    with pytest.raises(UserError, match=words):
        record(evaluation, str(policy))
    assert files(policy.parent) == before


def test_a_missing_evaluation_is_one_sentence(evaluated, capsys):
    policy, _ = evaluated
    assert main(["nowhere.json", str(policy)]) == 2
    assert (
        capsys.readouterr().err == "error: no file nowhere.json; python train.py test=True writes an evaluation.json\n"
    )


@pytest.mark.slow
def test_what_train_py_evaluates_is_noted(tmp_path):
    Checkpoint.read("base_box").write(tmp_path / "box.pth")
    small = [o for o in TINY if o.startswith(("scale", "sim", "num_envs", "task.env"))]
    outcome = call(tmp_path, *small, "test=True", "checkpoint=box.pth", "episodes_per_object=4", "experiment=own")
    assert outcome.status == 0, outcome.err
    measured = record(tmp_path / "runs" / "own" / "evaluation.json", str(tmp_path / "box.pth"))
    assert measured.command.startswith("python train.py ") and "checkpoint=box.pth" in measured.command
    assert "cores" in measured.machine or "core" in measured.machine
    assert "starter: box" in success_table([Checkpoint.read(tmp_path / "box.pth")])
    assert Path(tmp_path / "box.pth").stat().st_size < 2**21
