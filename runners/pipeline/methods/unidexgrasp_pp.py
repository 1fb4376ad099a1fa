"""UniDexGrasp++'s policy learning (Wan et al., ICCV 2023): GeoCurriculum, then rounds of specialists on clusters of
shape codes and their distillation into a generalist (GiGSL), then a student that sees and imitates the last
specialists.

What its text has and this has not: its tasks are objects in a pose, ours objects; and it goes on with rounds of
specialists that see.
"""

from typing import List, Sequence, Tuple

from resdex_tasks.shapes.clusters import Cluster
from resdex_tasks.utils.tables import markdown_table
from runners.pipeline.curriculum import geo_curriculum
from runners.pipeline.report import Findings, Outcome
from runners.pipeline.stages import admitted, curriculum_lots, stage_tests, stages_table, train_curriculum
from runners.pipeline.trainings import LAST, PolicySteps, Training
from runners.pipeline.workspace import Artifact
from runners.policies.checkpoint import Checkpoint

SPECIALIST, GENERALIST = "ResDexSpecialist", "ResDexGeneralist"
TASKS = {"state": SPECIALIST, "curriculum": SPECIALIST, "specialist": SPECIALIST, "generalist": GENERALIST}
"""Section of the settings -> the task whose trainings read it."""


def make(steps: PolicySteps) -> Findings:
    """Go through the method (its Algorithm 3)."""
    settings, objects = steps.settings, steps.objects
    clusters, codes = objects.clusters(settings.specialists, "specialists"), objects.read_codes()
    sizes, seed = settings.curriculum_sizes, settings.cluster_seed
    stages = admitted(
        steps,
        lambda: geo_curriculum(codes.names, codes.codes, sizes, seed),
        {"sizes": sizes, "seed": seed},
        [objects.codes],
    )
    a_round = [("specialist", SPECIALIST, len(clusters)), ("generalist", GENERALIST, 1)]
    steps.plan(*curriculum_lots(stages, SPECIALIST), *settings.rounds * a_round, *steps.vision_lots)

    policies = train_curriculum(steps, stages, SPECIALIST)
    tests = stage_tests(steps, policies, "UniDexGrasp++, generalist 1")
    generalist, teachers = policies[-1], [policies[-1]]
    rounds: List[List[Artifact]] = []
    for number in range(1, settings.rounds + 1):
        teachers = steps.train(*(_specialist(steps, number, i, c, generalist) for i, c in enumerate(clusters)))
        (generalist,) = steps.train(_distillation(steps, number, teachers, generalist))
        rounds.append(teachers)
        before = _success(list(tests.values())[-1])
        tests[f"UniDexGrasp++, generalist {number + 1}"] = steps.test(generalist, f"test_{generalist.name}")
        if _success(list(tests.values())[-1]) - before < settings.saturation:
            steps.skip((settings.rounds - number) * a_round)
            break
    return Findings(
        title=f"UniDexGrasp++, {len(rounds)} round(s) of {len(clusters)} specialists,",
        tests=tests,
        students=steps.students("UniDexGrasp++", teachers, generalist),
        notes=["The vision policies learned from the last specialists; beside them stands the last generalist."],
        sections=[
            "## Curriculum",
            stages_table(stages, policies, settings.curriculum_threshold),
            "## Specialists",
            _specialists_table(clusters, rounds),
        ],
    )


def _specialist(steps: PolicySteps, number: int, index: int, group: Cluster, generalist: Artifact) -> Training:
    """It begins as the generalist, and meets its cluster alone."""
    keys = {
        "task": SPECIALIST,
        "objects.codes": steps.objects.codes_setting,
        "weights": str(generalist / LAST),
        **steps.objects.only(sorted(group.ranking)),
    }
    title = f"round {number}: the specialist of cluster {index + 1} ({group.size} objects, around {group.centre})"
    return Training(f"specialist_{number}_{index + 1}", title, "specialist", keys, [generalist], everything=False)


def _distillation(steps: PolicySteps, number: int, specialists: Sequence[Artifact], generalist: Artifact) -> Training:
    """The next generalist begins as the one before: its specialists have not gone far from it."""
    keys = {
        "task": GENERALIST,
        "objects.codes": steps.objects.codes_setting,
        "weights": str(generalist / LAST),
        "teacher": [str(specialist / LAST) for specialist in specialists],
    }
    title = f"round {number}: the specialists distilled into generalist {number + 1}"
    inputs = [*specialists, generalist]
    return Training(f"generalist_{number + 1}", title, "generalist", keys, inputs)


def _success(test: Outcome) -> float:
    """At the end, on the training objects."""
    rows = {row.name: row for row in test.result.summary.splits}
    return rows.get("train", test.result.summary.all).success_at_end.value


def _specialists_table(clusters: Sequence[Cluster], rounds: Sequence[Sequence[Artifact]]) -> str:
    rows: List[Tuple[str, ...]] = [("round", "cluster around", "objects", "steps", "success at end %")]
    for number, specialists in enumerate(rounds, 1):
        for group, specialist in zip(clusters, specialists):
            made = Checkpoint.read(specialist / LAST).made_by
            success = f"{100 * made.success.get('success_at_end', 0.0):.1f}"
            rows.append((str(number), group.centre, str(group.size), f"{made.steps:,}", success))
    words = (
        "Clusters of the shape codes. Success of the exploring policies on their own objects, as their trainings ended."
    )
    return f"{words}\n\n{markdown_table(rows, texts=2)}"
