"""report.md of a pipeline: results, settings, commands. The same artifacts give the same text.

Hashes are left to each step's `step.json`: a training that was cut and resumed ends with the same numbers, but not
with the same bytes of its file. `results.json` beside it says where programs find the numbers.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from resdex_tasks.utils.tables import markdown_table
from runners.evaluation import tables
from runners.evaluation.files import CURVE, GALLERY, SUCCESS, WEIGHTS
from runners.evaluation.summary import EvaluationResult
from runners.pipeline.settings import PipelineSettings
from runners.pipeline.workspace import Artifact, Workspace

PICTURES = ((SUCCESS, "success by category"), (WEIGHTS, "mixture weights"), (GALLERY, "final grasps"))
SHOWN = (GALLERY, WEIGHTS)
"""Pictures of the last policy that stand in the report itself."""
LONGEST_COMMAND = 4000
"""characters that the report shows."""


@dataclass(frozen=True)
class Outcome:
    """A test of a policy."""

    artifact: Artifact
    """Of the evaluation."""
    result: EvaluationResult
    policy: Artifact
    """Of its training."""


@dataclass(frozen=True)
class Trained:
    """What a training took."""

    name: str
    """Of its step."""
    title: str
    steps: int
    """Environment steps."""
    everything: bool
    """Whether it met all training objects."""


@dataclass
class Findings:
    """What a method came to."""

    title: str
    tests: Mapping[str, Outcome]
    """Policy that knows the state -> its test on every split; the last is the method's result."""
    students: Mapping[str, Outcome]
    """Vision policy -> its test, beside a policy that knows the state."""
    notes: List[str] = field(default_factory=list)
    """Sentences under the table of success."""
    sections: List[str] = field(default_factory=list)
    """The method's own, in Markdown."""
    words: str = ""
    """What its tables' heads mean."""


def pipeline_report(
    settings: PipelineSettings,
    found: Findings,
    trained_on: Sequence[Mapping[str, str]],
    tested_on: Mapping[str, Sequence[str]],
    trained: Sequence[Trained],
    workspace: Workspace,
) -> str:
    """The report's text.

    Args:
        trained_on: a row for each training object, with its category.
        tested_on: split -> names.
        trained: the trainings in their order.
        workspace: after all steps. The report lies in its folder: links start there.
    """
    folder, artifacts = workspace.folder, workspace.artifacts
    categories = len({row["category"] for row in trained_on})
    tested = ", ".join(f"{len(names)} {split}" for split, names in tested_on.items())
    *_, (final_name, final) = found.tests.items()
    summary = final.result.summary
    parts = [
        f"# {found.title} on {len(trained_on)} objects",
        f"{len(trained_on)} training objects in {categories} categories; tested on: {tested}. Made by",
        f"```sh\n{settings.command}\n```",
        "## Success",
        f"{tables.DEFINITIONS} All policies are deterministic and meet the same starts.",
        tables.success_table({name: outcome.result for name, outcome in found.tests.items()}),
        *found.notes,
        *_vision(found.students),
        *found.sections,
        f"## {final_name}",
        *([found.words] if found.words else []),
        tables.rows_table([*summary.splits, summary.all], "split"),
        tables.rows_table(summary.categories, "category"),
        *(
            f"![{title}]({_link(final, file, folder)})"
            for file, title in PICTURES
            if file in SHOWN and _has(final, file)
        ),
        "## Environment steps",
        _steps_table(trained, settings.budget),
        "## Files",
        _files_table({**found.tests, **found.students}, folder),
        "## Settings",
        f"`pipeline={settings.pipeline}`. What stands here neither is in config.yaml beside each policy.",
        markdown_table(
            [("key", "value"), *((key, _text(value)) for key, value in settings.as_given().items())], texts=2
        ),
        "## How each part was made",
        *_versions(artifacts),
        *_commands(artifacts),
    ]
    return "\n\n".join(parts) + "\n"


def results(settings: PipelineSettings, found: Findings, trained: Sequence[Trained]) -> Dict[str, Any]:
    """The content of results.json: where the evaluations are, and what each training took."""

    def places(outcomes: Mapping[str, Outcome]) -> Dict[str, Any]:
        return {name: {"evaluation": o.artifact.name, "policy": o.policy.name} for name, o in outcomes.items()}

    return {
        "method": settings.method,
        "budget": settings.budget,
        "tests": places(found.tests),
        "students": places(found.students),
        "trained": [asdict(one) for one in trained],
    }


def _steps_table(trained: Sequence[Trained], budget: Any) -> str:
    total = sum(one.steps for one in trained)
    rows = [("training", "what", "steps"), *((one.name, one.title, f"{one.steps:,}") for one in trained)]
    words = "" if budget is None else f"Of a budget of {budget:,}, split by the trainings' configured lengths.\n\n"
    return words + markdown_table([*rows, ("**all**", "", f"**{total:,}**")], texts=2)


def _text(value: Any) -> str:
    return str(value).replace("|", "\\|") if value not in ("", None) else "null"


def _vision(students: Mapping[str, Outcome]) -> List[str]:
    """Each student beside its teacher (Table 3)."""
    parts = [
        tables.teacher_table(name, outcome.result, outcome.result.teacher)
        for name, outcome in students.items()
        if outcome.result.teacher is not None
    ]
    return ["## Vision", "On the same episodes as the teacher.", *parts] if parts else []


def _has(outcome: Outcome, file: str) -> bool:
    return (outcome.artifact.folder / file).is_file()


def _link(outcome: Outcome, file: str, folder: Path) -> str:
    return (outcome.artifact.folder / file).relative_to(folder).as_posix()


def _files_table(tests: Mapping[str, Outcome], folder: Path) -> str:
    rows = [("policy", "tables", "pictures")]
    for name, outcome in tests.items():
        pictures = [*PICTURES, (CURVE, "learning curve")]
        links = [f"[{title}]({_link(outcome, file, folder)})" for file, title in pictures if _has(outcome, file)]
        rows.append((name, f"[all]({_link(outcome, 'evaluation.md', folder)})", ", ".join(links) or tables.NONE))
    return markdown_table(rows, texts=3)


def _versions(artifacts: Sequence[Artifact]) -> List[str]:
    """Versions of what made the artifacts: one line, or one for each set of them."""
    makers: Dict[str, List[str]] = {}
    for artifact in artifacts:
        text = ", ".join(f"{name} {version}" for name, version in artifact.about["versions"].items())
        makers.setdefault(text, []).append(artifact.name)
    if len(makers) == 1:
        return [f"All made with {next(iter(makers))}."]
    return [f"Made with {text}: {', '.join(names)}." for text, names in makers.items()]


def _commands(artifacts: Sequence[Artifact]) -> List[str]:
    """The trainings; a test's command names all its objects, and is in its step.json, as is that of a training which
    names many."""
    trainings = {a.name: a.about["command"] for a in artifacts if "nn/last.pth" in a.files}
    shown = [c if len(c) <= LONGEST_COMMAND else f"# {name}: see {name}/step.json" for name, c in trainings.items()]
    return ["The trainings by hand:", "```sh\n" + "\n".join(shown) + "\n```"]
