"""Plain multi-task PPO: one network, all objects from the first step on, no experts and no curriculum."""

from runners.pipeline.report import Findings
from runners.pipeline.trainings import PolicySteps, Training

STATE = "ResDexState"
TASKS = {"state": STATE}
"""Section of the settings -> the task whose trainings read it."""


def make(steps: PolicySteps) -> Findings:
    """Go through the method."""
    steps.plan(("state", STATE, 1), *steps.vision_lots())
    keys = {"task": STATE, "objects.codes": steps.objects.codes_setting}
    (policy,) = steps.train(Training("state", "PPO on all objects", "state", keys))
    tests = {"PPO": steps.test(policy)}
    return Findings("Plain multi-task PPO", tests, steps.students("PPO", [policy], policy))
