"""UniDexGrasp++'s policy learning (Wan et al., ICCV 2023): GeoCurriculum, then rounds of specialists on clusters of
shape codes and their distillation into a generalist (GiGSL); then a student that sees and imitates the last
specialists, and such rounds with policies that see.

What its text has and this has not: its tasks are objects in a pose, ours objects.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from resdex_tasks.shapes.clusters import Cluster, cluster
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.tables import markdown_table
from runners.pipeline.alike import check_alike, spec_of
from runners.pipeline.curriculum import geo_curriculum
from runners.pipeline.report import Findings, Outcome
from runners.pipeline.settings import ALL, FAILED, SEEING, PipelineSettings
from runners.pipeline.stages import admitted, curriculum_lots, stage_tests, stages_table, train_curriculum
from runners.pipeline.trainings import LAST, TEST, VISION, PolicySteps, Training
from runners.pipeline.workspace import Artifact
from runners.policies.checkpoint import Checkpoint

SPECIALIST = "ResDexSpecialist"
TASKS = {
    "state": SPECIALIST,
    "curriculum": SPECIALIST,
    "specialist": SPECIALIST,
    "generalist": "ResDexGeneralist",
    "vision_specialist": "ResDexVisionSpecialist",
    "vision_generalist": "ResDexVisionGeneralist",
}
"""Section of the settings -> the task whose trainings read it."""


@dataclass(frozen=True)
class Line:
    """Generalists, each distilled from specialists that began as the one before it."""

    prefix: str
    """Of its sections' names."""
    name: str
    """Before those of its steps."""
    rounds: int
    """At most."""
    test_task: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    """train.py's, of all its trainings and tests."""

    @property
    def specialist(self) -> str:
        """Its section of the settings."""
        return f"{self.prefix}specialist"

    @property
    def generalist(self) -> str:
        """Its section of the settings."""
        return f"{self.prefix}generalist"

    def lots(self, rounds: int, specialists: int) -> List[Tuple[str, str, int]]:
        """For `PolicySteps.plan` and `PolicySteps.skip`."""
        return rounds * [
            (self.specialist, TASKS[self.specialist], specialists),
            (self.generalist, TASKS[self.generalist], 1),
        ]


@dataclass(frozen=True)
class Round:
    """Specialists, and the generalist that learned from them."""

    title: str
    clusters: Sequence[Cluster]
    """Of the specialists' objects."""
    specialists: Sequence[Artifact]
    teachers: Sequence[Artifact]
    """The specialists; and the generalist that they began as, where some objects are in no cluster."""
    test: Outcome
    """Of the generalist that learned from them."""


def make(steps: PolicySteps) -> Findings:
    """Go through the method (its Algorithm 3)."""
    settings, objects = steps.settings, steps.objects
    first_student = TASKS["vision_generalist"] if settings.vision_rounds else VISION
    if settings.vision_rounds and settings.students:
        _check_vision_rounds(settings)
    clusters, codes = objects.clusters(settings.specialists, "specialists"), objects.read_codes()
    sizes, seed = settings.curriculum_sizes, settings.cluster_seed
    stages = admitted(
        steps,
        lambda: geo_curriculum(codes.names, codes.codes, sizes, seed),
        {"sizes": sizes, "seed": seed},
        [objects.codes],
    )
    knows = Line("", "", settings.rounds, TEST)
    sees = [
        Line("vision_", f"vision_{source}_", settings.vision_rounds, VISION, {"task.env.vision.source": source})
        for source in settings.students
    ]
    steps.plan(
        *curriculum_lots(stages, SPECIALIST),
        *knows.lots(knows.rounds, len(clusters)),
        *steps.vision_lots(first_student),
        *(lot for line in sees for lot in line.lots(line.rounds, len(clusters))),
    )

    policies = train_curriculum(steps, stages, SPECIALIST)
    tests = stage_tests(steps, policies, "UniDexGrasp++, generalist 1")
    rounds = go_through(steps, knows, clusters, list(tests.values())[-1], steps.test)
    tests.update({f"UniDexGrasp++, generalist {i}": one.test for i, one in enumerate(rounds, 2)})
    generalist = list(tests.values())[-1].policy
    teachers = rounds[-1].teachers if rounds else [generalist]

    students = steps.students("UniDexGrasp++", teachers, generalist, first_student)
    for line, (name, test) in zip(sees, list(students.items())):
        made = go_through(steps, line, clusters, test, partial(steps.test_student, beside=generalist, keys=line.keys))
        students.update({f"{name}, round {i}": one.test for i, one in enumerate(made, 1)})
        rounds += made
    return Findings(
        title=f"UniDexGrasp++, {len(rounds)} round(s) of specialists,",
        tests=tests,
        students=students,
        notes=[
            "Policies that see learned from specialists, of the state or of their own; beside each stands the last "
            "generalist that knows the state, on the same episodes."
        ],
        sections=[
            "## Curriculum",
            stages_table(stages, policies, settings.curriculum_threshold),
            "## Specialists",
            _specialists_table(rounds),
        ],
    )


def _check_vision_rounds(settings: PipelineSettings) -> None:
    """UserError where what sees could not go on from what sees: before the first training, not after the last."""
    tasks = {"vision": TASKS["vision_generalist"], **{s: TASKS[s] for s in SEEING if s in TASKS}}
    check_alike(settings, tasks, "vision_rounds=0")
    if spec_of(settings, "vision", tasks["vision"]).network["cloud"]["objectPosition"]:
        raise UserError(
            "train.params.network.cloud.objectPosition is true; from teachers that see no more, nobody can learn where "
            "the object is: false, or vision_rounds=0"
        )


def go_through(
    steps: PolicySteps,
    line: Line,
    clusters: Sequence[Cluster],
    test: Outcome,
    test_of: Callable[[Artifact], Outcome],
) -> List[Round]:
    """The rounds of a line, until the generalist gains too little.

    Args:
        clusters: of all training objects.
        test: of the first generalist.
        test_of: tests a generalist.
    """
    made: List[Round] = []
    for number in range(1, line.rounds + 1):
        before, generalist = test, test.policy
        own = _specialists_clusters(steps, line, clusters, generalist)
        if not own:
            steps.skip(line.lots(line.rounds - number + 1, len(clusters)))
            break
        specialists = steps.train(*(_specialist(steps, line, number, i, c, generalist) for i, c in enumerate(own, 1)))
        everything = sum(group.size for group in own) == len(steps.objects.trained_on)
        teachers = [*specialists, *([] if everything else [generalist])]
        (following,) = steps.train(_distillation(steps, line, number, teachers, generalist))
        test = test_of(following)
        made.append(Round(f"{line.name.replace('_', ' ')}{number}", own, specialists, teachers, test))
        if _success(test) - _success(before) < steps.settings.saturation:
            steps.skip(line.lots(line.rounds - number, len(clusters)))
            break
    return made


def _specialists_clusters(
    steps: PolicySteps, line: Line, clusters: Sequence[Cluster], generalist: Artifact
) -> Sequence[Cluster]:
    """`clusters` themselves; or those of the objects that the generalist fails, or holds: `specialist_objects`."""
    settings = steps.settings
    if settings.specialist_objects == ALL:
        return clusters
    codes = steps.objects.read_codes()
    index = {name: i for i, name in enumerate(codes.names)}
    keys = {"task": line.test_task, **line.keys, "episodes_per_object": 1, "teacher": ""}
    title = f"which training objects {generalist.name} holds"
    played = steps.test_trained_on(f"sorted_{generalist.name}", title, generalist, codes.names, keys)
    wanted = 0.0 if settings.specialist_objects == FAILED else 1.0
    rows = played.result.summary.objects
    names = [row.name for row in rows if row.success_at_end.value == wanted]
    if not names:
        return []
    own = codes.codes[[index[name] for name in names]]
    count = min(settings.specialists, len(np.unique(own, axis=0)))
    return cluster(names, own, count, settings.cluster_seed).clusters


def _specialist(
    steps: PolicySteps, line: Line, number: int, index: int, group: Cluster, generalist: Artifact
) -> Training:
    """It begins as the generalist, and meets its cluster alone."""
    keys = {**_begun_as(steps, line, line.specialist, generalist), **steps.objects.only(sorted(group.ranking))}
    title = f"round {number}: the specialist of cluster {index} ({group.size} objects, around {group.centre})"
    name = f"{line.name}specialist_{number}_{index}"
    return Training(name, title, line.specialist, keys, [generalist], everything=False)


def _distillation(
    steps: PolicySteps, line: Line, number: int, teachers: Sequence[Artifact], generalist: Artifact
) -> Training:
    """The next generalist begins as the one before: its specialists have not gone far from it."""
    keys = _begun_as(steps, line, line.generalist, generalist)
    keys["teacher"] = [str(teacher / LAST) for teacher in teachers]
    title = f"round {number}: the specialists distilled into generalist {number + 1}"
    inputs = [*teachers, *([] if generalist in teachers else [generalist])]
    return Training(f"{line.name}generalist_{number + 1}", title, line.generalist, keys, inputs)


def _begun_as(steps: PolicySteps, line: Line, section: str, generalist: Artifact) -> Dict[str, Any]:
    codes = steps.objects.codes_setting
    return {"task": TASKS[section], "objects.codes": codes, **line.keys, "weights": str(generalist / LAST)}


def _success(test: Outcome) -> float:
    """At the end, on the training objects."""
    rows = {row.name: row for row in test.result.summary.splits}
    return rows.get("train", test.result.summary.all).success_at_end.value


def _specialists_table(rounds: Sequence[Round]) -> str:
    rows: List[Tuple[str, ...]] = [("round", "cluster around", "objects", "steps", "success at end %")]
    for one in rounds:
        for group, specialist in zip(one.clusters, one.specialists):
            made = Checkpoint.read(specialist / LAST).made_by
            success = f"{100 * made.success.get('success_at_end', 0.0):.1f}"
            rows.append((one.title, group.centre, str(group.size), f"{made.steps:,}", success))
    words = (
        "Clusters of the shape codes. Success of the exploring policies on their own objects, as their trainings ended."
    )
    return f"{words}\n\n{markdown_table(rows, texts=2)}"
