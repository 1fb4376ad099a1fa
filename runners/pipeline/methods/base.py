"""ResDex's base experts alone, each zero-shot on all objects: what Figure 2 compares."""

from runners.pipeline.experts import BASE, base_experts, base_lots, experts_table, unreached, zero_shot
from runners.pipeline.report import Findings
from runners.pipeline.trainings import PolicySteps

TASKS = {"start": BASE, "base": BASE}
"""Section of the settings -> the task whose trainings read it."""


def make(steps: PolicySteps) -> Findings:
    """Go through the method."""
    settings = steps.settings
    steps.plan(*base_lots(steps))
    experts = base_experts(steps, steps.objects.clusters(settings.k))
    return Findings(
        title=f"{settings.k} base experts",
        tests=zero_shot(steps, experts),
        students={},
        sections=["## Base experts", experts_table(experts), *unreached(experts, settings)],
    )
