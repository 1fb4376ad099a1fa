"""report.md of a pipeline: results, settings, commands. The same artifacts give the same text.

Hashes are left to each step's `step.json`: a training that was cut and resumed ends with the same numbers, but not
with the same bytes of its file.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from resdex_tasks.utils.tables import markdown_table
from runners.evaluation import tables
from runners.evaluation.files import CURVE, GALLERY, SUCCESS, WEIGHTS
from runners.evaluation.summary import EvaluationResult, SuccessRow
from runners.pipeline.settings import PipelineSettings
from runners.pipeline.workspace import Artifact, Workspace

PICTURES = ((SUCCESS, "success by category"), (WEIGHTS, "mixture weights"), (GALLERY, "final grasps"))
SHOWN = (GALLERY, WEIGHTS)
"""Pictures of the last policy that stand in the report itself."""


@dataclass
class Outcome:
    """A test of a policy."""

    artifact: Artifact
    result: EvaluationResult


@dataclass
class Expert:
    """A base expert, and how it came to be the one of its cluster."""

    cluster: int
    cluster_size: int
    name: str
    """Name of the object that it was trained on."""
    artifact: Artifact
    success: SuccessRow
    """Of the expert, with that object."""
    reached: bool
    """The success that was asked for."""
    tried: List["Expert"] = field(default_factory=list)
    """Those of the cluster, this one among them, the nearest to the centre first."""

    @property
    def success_at_end(self) -> float:
        return self.success.success_at_end.value


def pipeline_report(
    settings: PipelineSettings,
    trained_on: Sequence[Mapping[str, str]],
    tested_on: Mapping[str, Sequence[str]],
    experts: Sequence[Expert],
    tests: Mapping[str, Outcome],
    students: Mapping[str, Outcome],
    workspace: Workspace,
) -> str:
    """The report's text.

    Args:
        trained_on: a row for each training object, with its category.
        tested_on: split -> names.
        tests: policy -> its test on every split; the last is the final policy that knows the state.
        students: vision policy -> its test, beside its teacher.
        workspace: after all steps. The report lies in its folder: links start there.
    """
    folder, artifacts = workspace.folder, workspace.artifacts
    categories = len({row["category"] for row in trained_on})
    tested = ", ".join(f"{len(names)} {split}" for split, names in tested_on.items())
    *_, (final_name, final) = tests.items()
    summary = final.result.summary
    parts = [
        f"# ResDex with k = {settings.k} experts on {len(trained_on)} objects",
        f"{len(trained_on)} training objects in {categories} categories; tested on: {tested}. Made by",
        f"```sh\n{settings.command}\n```",
        "## Success",
        f"{tables.DEFINITIONS} All policies are deterministic and meet the same starts.",
        tables.success_table({name: outcome.result for name, outcome in tests.items()}),
        *_margin(tests, final_name),
        *_vision(students),
        "## Base experts",
        _experts_table(experts),
        *_unreached(experts, settings),
        f"## {final_name}",
        "w1, w2, ...: the experts' mean mixture weights.",
        tables.rows_table([*summary.splits, summary.all], "split"),
        tables.rows_table(summary.categories, "category"),
        *(
            f"![{title}]({_link(final, file, folder)})"
            for file, title in PICTURES
            if file in SHOWN and _has(final, file)
        ),
        "## Files",
        _files_table(experts, {**tests, **students}, folder),
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


def _text(value: Any) -> str:
    return str(value).replace("|", "\\|") if value not in ("", None) else "null"


def _margin(tests: Mapping[str, Outcome], final_name: str) -> List[str]:
    """How far the final policy is above the best single expert, where the experts were tested."""
    alone = {
        name: t.result.summary.all.success_at_end.value for name, t in tests.items() if not t.result.summary.all.weights
    }
    if not alone:
        return []
    best = max(alone, key=lambda name: alone[name])
    final = tests[final_name].result.summary.all.success_at_end.value
    return [
        f"Over all test objects, {final_name} succeeds at the end in {100 * final:.1f} % of the episodes, its best "
        f"single expert ({best}) in {100 * alone[best]:.1f} %: {100 * (final - alone[best]):+.1f} points."
    ]


def _vision(students: Mapping[str, Outcome]) -> List[str]:
    """Each student beside its teacher (Table 3)."""
    parts = [
        tables.teacher_table(name, outcome.result, outcome.result.teacher)
        for name, outcome in students.items()
        if outcome.result.teacher is not None
    ]
    return ["## Vision", "On the same episodes as the teacher.", *parts] if parts else []


def _experts_table(experts: Sequence[Expert]) -> str:
    rows: List[Tuple[str, ...]] = [
        ("cluster", "object", "", "objects", "episodes", *(f"success {words} %" for words in tables.MEASURES.values()))
    ]
    for expert in experts:
        for one in expert.tried:
            chosen = "w" + str(expert.cluster + 1) if one.name == expert.name else "tried"
            measured = (str(one.success.episodes), *(tables.percent(getattr(one.success, m)) for m in tables.MEASURES))
            rows.append((str(expert.cluster + 1), one.name, chosen, str(expert.cluster_size), *measured))
    return "Each on its own object, the nearest to its cluster's centre that could be learned.\n\n" + markdown_table(
        rows, texts=3
    )


def _unreached(experts: Sequence[Expert], settings: PipelineSettings) -> List[str]:
    short = [expert for expert in experts if not expert.reached]
    return [
        f"Cluster {expert.cluster + 1}: none of the {len(expert.tried)} tried objects reaches a success at the end of "
        f"{100 * settings.threshold:g} %; the best was taken."
        for expert in short
    ]


def _has(outcome: Outcome, file: str) -> bool:
    return (outcome.artifact.folder / file).is_file()


def _link(outcome: Outcome, file: str, folder: Path) -> str:
    return (outcome.artifact.folder / file).relative_to(folder).as_posix()


def _files_table(experts: Sequence[Expert], tests: Mapping[str, Outcome], folder: Path) -> str:
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
    """The trainings; a test's command names all its objects, and is in its step.json."""
    trainings = [a.about["command"] for a in artifacts if "nn/last.pth" in a.files]
    return ["The trainings by hand:", "```sh\n" + "\n".join(trainings) + "\n```"]
