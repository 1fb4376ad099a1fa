"""report.md of a pipeline: what came out, of what, how to make it again. The same artifacts give the same text.

Hashes are left to each stage's `stage.json`: a training that was cut and resumed ends with the same numbers, but not
with the same bytes of its file.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from runners.evaluation import tables as report
from runners.evaluation.files import CURVE, GALLERY, SUCCESS, WEIGHTS
from runners.pipeline.settings import Settings
from runners.pipeline.workspace import Artifact, Workspace

PICTURES = ((SUCCESS, "success by category"), (WEIGHTS, "mixture weights"), (GALLERY, "final grasps"))
SHOWN = (GALLERY, WEIGHTS)
"""Pictures of the last policy that stand in the report itself."""


@dataclass
class Outcome:
    """A test of a policy."""

    artifact: Artifact
    result: Mapping[str, Any]
    """The content of evaluation.json."""


@dataclass
class Expert:
    """A base expert, and how it came to be the one of its cluster."""

    cluster: int
    cluster_size: int
    name: str
    """Of the object that it was trained on."""
    artifact: Artifact
    success: Mapping[str, Any]
    """The row of an evaluation, with that object."""
    reached: bool
    """The success that was asked for."""
    tried: List["Expert"] = field(default_factory=list)
    """Those of the cluster, this one among them, the nearest to the centre first."""

    @property
    def held(self) -> float:
        return self.success["held"]["rate"]


def pipeline_report(
    settings: Settings,
    trained_on: Sequence[Mapping[str, str]],
    tested_on: Mapping[str, Sequence[str]],
    experts: Sequence[Expert],
    tests: Mapping[str, Outcome],
    workspace: Workspace,
) -> str:
    """The report's text.

    Args:
        trained_on: a row for each training object, with its category.
        tested_on: split -> names.
        tests: policy -> its test on every split; the last is the final policy.
        workspace: after all stages. The report lies in its folder: links start there.
    """
    folder, artifacts = workspace.folder, workspace.artifacts
    categories = len({row["category"] for row in trained_on})
    tested = ", ".join(f"{len(names)} {split}" for split, names in tested_on.items())
    *_, (final_name, final) = tests.items()
    parts = [
        f"# ResDex with k = {settings.k} experts on {len(trained_on)} objects",
        f"{len(trained_on)} training objects in {categories} categories; tested on: {tested}. Made by",
        f"```sh\n{settings.command}\n```",
        "## Success",
        "*Held*: within 5 cm of the goal at the last step. *Latched*: at any step, the official protocol. All policies "
        "are deterministic and meet the same starts; Wilson's 95 % interval.",
        report.success_table({name: outcome.result for name, outcome in tests.items()}),
        *_margin(tests, final_name),
        "## Base experts",
        _experts_table(experts, settings),
        *_unreached(experts, settings),
        f"## {final_name}",
        "D = -sum of r_proposal over an episode, lower is better. w1, w2, ...: the experts' mean mixture weights.",
        report.rows_table([*final.result["splits"], final.result["all"]], "split"),
        report.rows_table(final.result["categories"], "category"),
        *(
            f"![{title}]({_link(final, file, folder)})"
            for file, title in PICTURES
            if file in SHOWN and _has(final, file)
        ),
        "## Files",
        _files_table(experts, tests, folder),
        "## Settings",
        f"`pipeline={settings.pipeline}`. What stands here neither is in config.yaml beside each policy.",
        report.layout(
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
    alone = {name: t.result["all"]["held"]["rate"] for name, t in tests.items() if not t.result["all"]["weights"]}
    if not alone:
        return []
    best = max(alone, key=lambda name: alone[name])
    final = tests[final_name].result["all"]["held"]["rate"]
    return [
        f"Over all test objects, {final_name} holds {100 * final:.1f} %, its best single expert ({best}) "
        f"{100 * alone[best]:.1f} %: {100 * (final - alone[best]):+.1f} points."
    ]


def _experts_table(experts: Sequence[Expert], settings: Settings) -> str:
    rows: List[Tuple[str, ...]] = [
        ("cluster", "object", "", "objects", "episodes", "held % [95 %]", "latched % [95 %]")
    ]
    for expert in experts:
        for one in expert.tried:
            chosen = "w" + str(expert.cluster + 1) if one.name == expert.name else "tried"
            measured = (str(one.success["episodes"]), *(report.percent(one.success[m]) for m in report.MEASURES))
            rows.append((str(expert.cluster + 1), one.name, chosen, str(expert.cluster_size), *measured))
    return "Each on its own object, the nearest to its cluster's centre that could be learned.\n\n" + report.layout(
        rows, texts=3
    )


def _unreached(experts: Sequence[Expert], settings: Settings) -> List[str]:
    short = [expert for expert in experts if not expert.reached]
    return [
        f"Cluster {expert.cluster + 1}: none of the {len(expert.tried)} tried objects is held in "
        f"{100 * settings.threshold:g} % of the episodes; the best was taken."
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
        rows.append((name, f"[all]({_link(outcome, 'evaluation.md', folder)})", ", ".join(links) or report.NONE))
    return report.layout(rows, texts=3)


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
    """The trainings; a test's command names all its objects, and is in its stage.json."""
    trainings = [a.about["command"] for a in artifacts if "nn/last.pth" in a.files]
    return ["The trainings by hand:", "```sh\n" + "\n".join(trainings) + "\n```"]
