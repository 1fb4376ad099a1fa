"""Two processes and one run's folder: none of them writes over the other."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from helpers.command_line import TINY, assert_one_sentence, call, train

from resdex_tasks.utils.locks import owned
from runners.learning import train as train_module
from runners.policies.checkpoint import Checkpoint

pytestmark = pytest.mark.slow  # every test trains

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def at_work(tmp_path):
    """Start a training that goes on until it is killed, in a process of its own."""
    processes = []

    def start(*overrides):
        process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "train.py"), *TINY, "max_iterations=100000", *overrides],
            cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        processes.append(process)
        for line in process.stdout:
            if line.startswith("writing "):
                return process
        raise AssertionError(process.wait())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_folder_at_work_is_refused_to_trainings_resumes_and_evaluations(tmp_path, at_work):
    train(tmp_path)
    process = at_work("checkpoint=runs/run/nn/last.pth")
    for others in (
        ["experiment=run"],
        ["checkpoint=runs/run/nn/last.pth", "max_iterations=200000"],
        ["test=True", "checkpoint=runs/run/nn/best.pth"],
    ):
        assert_one_sentence(call(tmp_path, *TINY, *others), "another process is at work in runs/run", "experiment=NAME")
    elsewhere = ["test=True", "checkpoint=runs/run/nn/best.pth", "experiment=mine", "episodes_per_object=1"]
    assert call(tmp_path, *TINY, *elsewhere).status == 0
    process.kill()
    process.wait()
    with owned(tmp_path / "runs" / "run"):
        pass


def test_one_name_is_taken_before_the_first_save(tmp_path, at_work):
    at_work("experiment=run", "train.params.config.save_frequency=100000")
    assert not (tmp_path / "runs" / "run" / "nn" / "last.pth").exists()
    assert_one_sentence(call(tmp_path, *TINY, "experiment=run"), "another process is at work in runs/run")


def test_names_by_the_second_are_counted_up(tmp_path, monkeypatch):
    class Stopped:
        @staticmethod
        def now():
            return datetime(2030, 1, 2, 3, 4, 5)

    monkeypatch.setattr(train_module, "datetime", Stopped)
    for _ in range(3):
        outcome = call(tmp_path, *TINY, "max_iterations=1")
        assert outcome.status == 0, outcome.err
    name = "ResDexBase_2030-01-02_03-04-05"
    runs = tmp_path / "runs"
    assert sorted(path.name for path in runs.iterdir()) == [name, f"{name}_2", f"{name}_3"]
    assert all(Checkpoint.read(path / "nn" / "last.pth").made_by.iterations == 1 for path in runs.iterdir())


def test_a_second_evaluation_says_what_it_replaces(tmp_path):
    train(tmp_path)
    evaluation = [*TINY, "test=True", "checkpoint=runs/run/nn/last.pth", "episodes_per_object=1"]
    assert "replaces" not in call(tmp_path, *evaluation).out
    said = call(tmp_path, *evaluation, "seed=3").out
    assert "replaces runs/run/evaluation.json: runs/run/nn/last.pth with seed 42" in said
