"""UniDexGrasp's policy learning (Xu et al., CVPR 2023): an object curriculum with the goal-conditioned reward, then a
student that sees.

What its text has and this has not: its networks see a point cloud of the object, ours its shape code; and it trains the
cloud's encoder on the side (joint classification of categories).
"""

from runners.pipeline.curriculum import object_curriculum
from runners.pipeline.report import Findings
from runners.pipeline.stages import admitted, curriculum_lots, stage_tests, stages_table, train_curriculum
from runners.pipeline.trainings import PolicySteps

STATE = "ResDexState"
TASKS = {"state": STATE, "curriculum": STATE}
"""Section of the settings -> the task whose trainings read it."""


def make(steps: PolicySteps) -> Findings:
    """Go through the method."""
    settings, objects = steps.settings, steps.objects
    drawn = {"categories": settings.curriculum_categories, "seed": settings.cluster_seed}
    stages = admitted(steps, lambda: object_curriculum(objects.trained_on, **drawn), drawn, [objects.training])
    steps.plan(*curriculum_lots(stages, STATE), *steps.vision_lots())
    policies = train_curriculum(steps, stages, STATE)
    return Findings(
        title=f"UniDexGrasp, an object curriculum of {len(stages)} stages,",
        tests=stage_tests(steps, policies, "UniDexGrasp"),
        students=steps.students("UniDexGrasp", [policies[-1]], policies[-1]),
        sections=["## Curriculum", stages_table(stages, policies, settings.curriculum_threshold)],
    )
