"""Runs `python -m runners.pipeline ...` inside the test's own process, small enough for one core."""

import re
from pathlib import Path

from helpers.command_line import TINIER, called, files
from resdex_tasks.utils.files import write_json
from runners.evaluation.intervals import Estimate
from runners.evaluation.summary import EvaluationResult, SuccessRow, Summary
from runners.pipeline import trainings
from runners.pipeline.__main__ import main
from runners.pipeline.workspace import LOCK, LOG
from runners.policies.checkpoint import Checkpoint, MadeBy


class Killed(BaseException):
    """A kill: nothing may catch it."""


def pipeline(folder, *overrides, settings=TINIER):
    """The pipeline's command in `folder`."""
    return called(main, folder, [*settings, *overrides])


def done(outcome):
    """The steps that were worked on, by the header lines."""
    return [name for name, rest in re.findall(r"^\[(\S+)\] (.*)$", outcome.out, re.M) if rest != "done already"]


def products(folder):
    """All that is made but the log and the lock."""
    return {name: content for name, content in files(folder).items() if Path(name).name not in (LOG, LOCK)}


def report_of(folder):
    return (folder / "made" / "report.md").read_text(encoding="utf-8")


def replace_work(patch, success):
    """Instead of trainings and tests: files of the right kind. `success` maps an object to its expert's, at the end."""

    def train(config, objects):
        command, plain = config.command, config.plain
        sources = []
        for key in ("experts", "stage1", "weights", "teacher"):
            named = config.overrides.value(key, [])
            sources += [named] if isinstance(named, str) else named
        own = [command.experiment, command.seed, command.max_iterations, config.params["config"]["gamma"]]
        history = f"{own} of {[Checkpoint.read(source).made_by.command for source in sources]}"
        checkpoint = Checkpoint(
            spec=config.policy_spec,
            weights={},
            made_by=MadeBy(history, command.seed, {}),
            task=plain["task"],
            sim=plain["sim"],
            objects=tuple(objects.names),
            object_source=plain["objects"],
        )
        path = Path(command.runs_dir) / command.experiment / "nn" / "last.pth"
        path.parent.mkdir()
        checkpoint.write(path)

    def evaluate_checkpoint(config, objects):
        command = config.command
        rate = Estimate(success.get(objects.names[0], 1.0), 0.0, 1.0)
        rows = [SuccessRow(name, 2, 0, rate, rate, None, None) for name in ("all", "train")]
        result = EvaluationResult(
            summary=Summary(rows[0], splits=rows[1:], categories=[], objects=[]),
            checkpoint=config.checkpoint.made_by.command,
            seed=command.seed,
            num_envs=command.num_envs,
            proposal_weights=[1.0, 1.0, 1.0],
            experts=None,
            versions={},
            settings={"episodes": [command.num_episodes, command.episodes_per_object]},
        )
        write_json(Path(command.runs_dir) / command.experiment / "evaluation.json", result.to_json())

    patch.setattr(trainings, "train", train)
    patch.setattr(trainings, "evaluate_checkpoint", evaluate_checkpoint)
