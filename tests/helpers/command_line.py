"""Runs commands inside the test's own process, small enough for one core."""

import contextlib
import io
import os
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence

import pytest

from resdex_tasks.sims.registry import SIMULATORS
from runners.launch import main

TINY = (
    "scale=cpu",
    "sim=mujoco",
    "sim.numThreads=1",
    "train.params.torch_threads=1",
    "num_envs=4",
    "task.env.episodeLength=6",
    "train.params.network.mlp.units=[16,16]",
    "train.params.config.horizon_length=4",
    "train.params.config.mini_epochs=2",
    "train.params.config.games_to_track=4",
    "train.params.config.save_frequency=1",
    "train.params.config.final_max_lr=1e-3",  # as max_lr: else the learning rate knows how long the training will be
    "max_iterations=2",
)
"""Two iterations in well under a second; each environment ends an episode, so that best.pth is written."""


STAGE2 = ("task=ResDexHyperStage2", "follow_up=false", "objects=starter", "objects.names=[box,sphere]")
"""A second stage on two objects."""
STAGE1 = ("task=ResDexHyper", *STAGE2[1:])
"""A first stage on the same."""
STUDENT = (
    "task=ResDexVision",
    "follow_up=false",
    "objects=starter",
    "objects.codes=null",
    "teacher=base_box",
    "task.env.vision.numPoints=8",
    "task.env.vision.poolPoints=16",
    "train.params.network.cloud.pointUnits=[8,8]",
    "train.params.network.cloud.codeUnits=[8,8]",
    "train.params.config.num_minibatches=1",
    "train.params.config.minibatch_steps=2",
    "train.params.config.buffer_steps=8",
    "train.params.config.updates=4",
)
"""A student of the shipped base policy, which sees no shape."""


TINIER = (
    "pipeline=tiny",
    "out=made",
    "jobs=1",
    "sim.numThreads=1",
    "train.params.torch_threads=1",
    "num_envs=4",
    "task.env.episodeLength=6",
    "task.env.start.handOffset=0.0",  # in so few steps only r_lift, near the palm, tells one object from another
    "task.env.start.objectOffset=0.0",
    "task.env.start.handTilt=0.0",
    "train.params.network.mlp.units=[8]",
    "train.params.config.horizon_length=4",
    "train.params.config.mini_epochs=1",
    "train.params.config.games_to_track=4",
    "train.params.config.save_frequency=1",
    "max_iterations=3",
    "expert_episodes=2",
    "test_objects=1",
    "test_experts=false",
    "objects.count=4",
    "test.num_episodes=1",
    "task.env.vision.numPoints=8",
    "task.env.vision.poolPoints=16",
    "vision.train.params.config.updates=2",
)
"""The whole pipeline in half a minute."""


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def called(command: Callable[[List[str]], int], folder: Path, arguments: Sequence[str]) -> Outcome:
    """A command's `main` in `folder`: the exit status and what was printed. Skips the test where it wanted an engine
    that is missing (Python 3.8)."""
    out, err, before = io.StringIO(), io.StringIO(), os.getcwd()
    os.chdir(str(folder))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = command(list(arguments))
    finally:
        os.chdir(before)
    if status == 2 and SIMULATORS["mujoco"].needs in err.getvalue():
        pytest.importorskip("mujoco.batch")
    return Outcome(status, out.getvalue(), err.getvalue())


def call(folder: Path, *overrides: str) -> Outcome:
    """`python train.py *overrides` in `folder`."""
    return called(main, folder, overrides)


def train(folder: Path, *overrides: str) -> Path:
    """A tiny training that must succeed, in the experiment `run`. Returns the folder of its run."""
    outcome = call(folder, *TINY, "experiment=run", *overrides)
    assert outcome.status == 0, outcome.err
    return folder / "runs" / "run"


def assert_one_sentence(outcome: Outcome, *culprits: str) -> None:
    """Exit status 2, and one line of error that names each of `culprits`."""
    assert outcome.status == 2
    assert outcome.err.startswith("error: ") and outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1
    for culprit in culprits:
        assert culprit in outcome.err


def files(folder: Path) -> Dict[str, bytes]:
    """Content of every file below `folder`, by relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
