"""A method from objects to report."""

from dataclasses import fields
from pathlib import Path
from typing import Mapping

from resdex_tasks.shapes.encoder_training import EncoderTraining
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_json, write_text
from runners.config import load_config
from runners.pipeline.methods import method_of
from runners.pipeline.objects import ObjectSteps
from runners.pipeline.report import pipeline_report, results
from runners.pipeline.settings import PipelineSettings
from runners.pipeline.trainings import TEST, VISION, PolicySteps
from runners.pipeline.workspace import Workspace

REPORT, RESULTS = "report.md", "results.json"
TESTED = {"vision": VISION, "test": TEST}
"""Section of the settings -> its task, in every method."""


def run(settings: PipelineSettings) -> Path:
    """Go through the method; returns the report's path.

    Raises:
        UserError: an invalid setting, or a file it names is missing or does not fit.
        TrainingStopped, KeyboardInterrupt: Ctrl-C.
    """
    method = method_of(settings.method)
    source = _check_configurations(settings, {**method.TASKS, **TESTED})
    kind = {"pipeline": settings.pipeline, "method": settings.method, "objects": source}
    with Workspace(Path(settings.out).expanduser(), kind) as workspace:
        objects = ObjectSteps(settings, workspace)
        steps = PolicySteps(objects)
        found = method.make(steps)
        text = pipeline_report(settings, found, objects.trained_on, objects.tested_on, steps.trained, workspace)
        report = workspace.folder / REPORT
        if not report.is_file() or report.read_text(encoding="utf-8") != text:
            write_json(workspace.folder / RESULTS, results(settings, found, steps.trained))  # the report comes last
            write_text(report, text)
    return report


def _check_configurations(settings: PipelineSettings, tasks: Mapping[str, str]) -> str:
    """Let train.py's keys be refused before anything is made; returns the source of the objects."""
    sources = [load_config(settings.overrides(s, {"task": task})).objects.source for s, task in tasks.items()]
    if any(rows.get("seed") == "-1" for rows in settings.sections.values()):
        raise UserError("seed is -1; a pipeline that can resume needs a seed of its own, such as seed=1")
    try:
        EncoderTraining(**settings.encoder_training)
    except TypeError as error:
        names = ", ".join(f.name for f in fields(EncoderTraining))
        raise UserError(f"encoder_training has keys that do not fit ({error}); they are {names}") from error
    return sources[-1]
