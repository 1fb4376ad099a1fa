"""ResDex (Sec. 4): k clusters, a base expert on the object nearest to each centre, the hyper-policy's two stages, a
student that sees."""

from runners.pipeline.experts import BASE, base_experts, base_lots, experts_table, margin, unreached, zero_shot
from runners.pipeline.report import Findings
from runners.pipeline.trainings import LAST, PolicySteps, Training

STAGE_1, STAGE_2 = "ResDexHyper", "ResDexHyperStage2"
TASKS = {"start": BASE, "base": BASE, "stage1": STAGE_1, "stage2": STAGE_2}
"""Section of the settings -> the task whose trainings read it."""


def make(steps: PolicySteps) -> Findings:
    """Go through the method."""
    objects, settings = steps.objects, steps.settings
    lots = [*base_lots(steps), ("stage1", STAGE_1, 1), ("stage2", STAGE_2, 1)]
    steps.plan(*lots, *steps.vision_lots())
    experts = base_experts(steps, objects.clusters(settings.k))

    hyper = {"objects.codes": objects.codes_setting}
    names = ", ".join(expert.name for expert in experts)
    mixed = {**hyper, "task": STAGE_1, "experts": [str(expert.artifact / LAST) for expert in experts]}
    title = f"the hyper-policy, stage 1, from the experts of {names}"
    (stage1,) = steps.train(Training("stage1", title, "stage1", mixed, [expert.artifact for expert in experts]))
    loosened = {**hyper, "task": STAGE_2, "stage1": str(stage1 / LAST)}
    title = "the hyper-policy, stage 2, from stage 1"
    (stage2,) = steps.train(Training("stage2", title, "stage2", loosened, [stage1]))

    tests = zero_shot(steps, experts) if settings.test_experts else {}
    tests["ResDex, stage 1"] = steps.test(stage1)
    tests["ResDex, stage 2"] = steps.test(stage2)
    return Findings(
        title=f"ResDex with k = {settings.k} experts",
        tests=tests,
        students=steps.students("ResDex", [stage2], stage2),
        notes=margin(tests, "ResDex, stage 2"),
        sections=["## Base experts", experts_table(experts), *unreached(experts, settings)],
        words="w1, w2, ...: the experts' mean mixture weights.",
    )
