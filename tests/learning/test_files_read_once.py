"""No command opens a checkpoint's file more than once, however many parts of the program need what is in it."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers.command_line import STAGE1, STAGE2, TINY, call, train

from resdex_tasks.shapes.encoder import SHIPPED_ENCODER
from runners.policies.checkpoint import Checkpoint
from runners.policies.experts import shipped_experts

pytestmark = pytest.mark.slow  # every test trains

SMALL = tuple(o for o in TINY if not o.startswith("max_iterations"))


class Opened:
    """How often each file was opened by torch, and read as a checkpoint."""

    def __init__(self, monkeypatch):
        self.files, self.checkpoints = Counter(), Counter()
        load, read = torch.load, Checkpoint.read

        def counting_load(file, *rest, **named):
            self.files[Path(file).resolve()] += 1
            return load(file, *rest, **named)

        def counting_read(name):
            checkpoint = read(name)
            self.checkpoints[checkpoint.path.resolve()] += 1
            return checkpoint

        monkeypatch.setattr(torch, "load", counting_load)
        monkeypatch.setattr(Checkpoint, "read", counting_read)

    def once_each(self, folder, *names):
        """Whether exactly these files below `folder` were opened, each once, besides the shipped encoder's."""
        expected = {(folder / name).resolve(): 1 for name in names}
        return (
            dict(self.checkpoints) == expected
            and {path: count for path, count in self.files.items() if path != SHIPPED_ENCODER.resolve()} == expected
        )


@pytest.fixture
def opened(monkeypatch):
    return Opened(monkeypatch)


def run(folder, *overrides):
    outcome = call(folder, *overrides)
    assert outcome.status == 0, outcome.err
    return outcome.out


@pytest.mark.slow
def test_an_evaluation_with_a_film_reads_its_checkpoint_once(at_experts, opened):
    run(at_experts, *SMALL, "test=True", "checkpoint=e0.pth", "episodes_per_object=1", "capture_video=True")
    assert opened.once_each(at_experts, "e0.pth")


def test_an_evaluation_of_a_shipped_policy_reads_its_checkpoint_once(tmp_path, opened):
    run(tmp_path, *(o for o in SMALL if "units" not in o), "test=True", "checkpoint=base_box", "episodes_per_object=1")
    (path,) = opened.checkpoints
    assert path.stem == "base_box" and opened.once_each(path.parent, path.name)


def test_a_resumed_training_reads_its_checkpoint_once(tmp_path, opened):
    train(tmp_path, "max_iterations=1")
    assert opened.once_each(tmp_path)  # a new one reads none
    run(tmp_path, *TINY, "checkpoint=runs/run/nn/last.pth")
    assert opened.once_each(tmp_path, "runs/run/nn/last.pth")


def test_a_resumed_hyper_policy_reads_its_checkpoint_once(at_experts, opened):
    run(at_experts, *SMALL, *STAGE1, "checkpoint=stage1.pth", "max_iterations=3", "experiment=run")
    assert opened.once_each(at_experts, "stage1.pth")


def test_a_resumed_hyper_policy_reads_the_experts_that_it_is_compared_with_once(at_experts, opened):
    more = ("experts=[e0.pth,e1.pth]", "checkpoint=stage1.pth", "max_iterations=3", "experiment=run")
    run(at_experts, *SMALL, *STAGE1, *more)
    assert opened.once_each(at_experts, "stage1.pth", "e0.pth", "e1.pth")


def test_stage_2_reads_stage_1_once(at_experts, opened):
    run(at_experts, *TINY, *STAGE2, "stage1=stage1.pth", "experiment=run")
    assert opened.once_each(at_experts, "stage1.pth")


@pytest.mark.slow
def test_one_command_through_both_stages_films_and_the_evaluation_reads_each_file_once(at_experts, opened):
    overrides = [o for o in (*TINY, *STAGE1) if not o.startswith("follow_up")]
    more = ("experts=[e0.pth,e1.pth]", "experiment=run", "episodes_per_object=1", "capture_video=True")
    out = run(at_experts, *overrides, *more)
    assert "ResDexHyperStage2, from runs/run/nn/last.pth" in out and "evaluation of runs/run_stage2/nn/last.pth" in out
    last = ("runs/run/nn/last.pth", "runs/run_stage2/nn/last.pth")
    assert opened.once_each(at_experts, "e0.pth", "e1.pth", *last)
    assert opened.files[SHIPPED_ENCODER.resolve()] <= 1


def test_a_training_on_shipped_experts_reads_each_once(tmp_path, opened):
    run(tmp_path, *(o for o in TINY if "max_it" not in o), *STAGE1, "max_iterations=1", "experiment=run")
    names = {path.stem for path in opened.checkpoints}
    assert names == set(shipped_experts())
    assert set(opened.checkpoints.values()) == {1}
