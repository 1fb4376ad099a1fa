"""A curriculum's trainings: one after the other, each from the weights of the one before."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from resdex_tasks.utils.files import read_json, write_json
from resdex_tasks.utils.tables import markdown_table
from runners.pipeline.curriculum import Stage
from runners.pipeline.report import Outcome
from runners.pipeline.trainings import LAST, PolicySteps, Training
from runners.pipeline.workspace import Artifact, made_by
from runners.policies.checkpoint import Checkpoint

CURRICULUM = "curriculum.json"


def admitted(
    steps: PolicySteps, make: Callable[[], List[Stage]], settings: Mapping[str, Any], inputs: Sequence[Artifact]
) -> List[Stage]:
    """curriculum.json: the stages and their objects.

    Args:
        settings: plain values that decide them, beside the inputs.
    """

    def fill(folder: Path) -> None:
        write_json(folder / CURRICULUM, {"stages": [asdict(stage) for stage in make()]})

    title = "which objects each stage admits"
    made = steps.workspace.step("curriculum", title, fill, [CURRICULUM], settings, inputs, made_by())
    return [Stage(row["title"], tuple(row["names"])) for row in read_json(made / CURRICULUM)["stages"]]


def curriculum_lots(stages: Sequence[Stage], task: str) -> List[Tuple[str, str, int]]:
    """For `PolicySteps.plan`."""
    return [("curriculum" if i else "state", task, 1) for i in range(len(stages))]


def train_curriculum(steps: PolicySteps, stages: Sequence[Stage], task: str) -> List[Artifact]:
    """The policy of each stage. A stage ends once its condition holds, or with its iterations."""
    policies: List[Artifact] = []
    for i, stage in enumerate(stages):
        last = i == len(stages) - 1
        keys: Dict[str, Any] = {"task": task, "objects.codes": steps.objects.codes_setting}
        if not last:
            keys.update(steps.objects.only(stage.names))
            keys["train.params.config.stop_at_success"] = steps.settings.curriculum_threshold
        if policies:
            keys["weights"] = str(policies[-1] / LAST)
        title = f"the curriculum's stage {i + 1} of {len(stages)}: {stage.title} ({len(stage.names)})"
        section = "curriculum" if i else "state"
        training = Training(f"curriculum_{i + 1}", title, section, keys, policies[-1:], everything=last)
        policies += steps.train(training)
    return policies


def stage_tests(steps: PolicySteps, policies: Sequence[Artifact], name: str) -> Dict[str, Outcome]:
    """Tests of the stages' policies, the last one's under the name given."""
    tests = {}
    for i, policy in enumerate(policies):
        last = i == len(policies) - 1
        if last or steps.settings.test_experts:
            tests[name if last else f"{name}, stage {i + 1}"] = steps.test(policy)
    return tests


def stages_table(stages: Sequence[Stage], policies: Sequence[Artifact], threshold: float) -> str:
    """What each stage admitted, took and reached."""
    rows = [("stage", "objects", "steps", "success at end %", "ended by")]
    for i, (stage, policy) in enumerate(zip(stages, policies)):
        checkpoint = Checkpoint.read(policy / LAST)
        success = 100 * checkpoint.made_by.success.get("success_at_end", 0.0)
        by = "success" if (checkpoint.training or {}).get("reached") else "its iterations"
        shown = (stage.title, str(len(stage.names)), f"{checkpoint.made_by.steps:,}", f"{success:.1f}")
        rows.append((f"{i + 1}. {shown[0]}", *shown[1:], by))
    words = (
        f"Each stage starts from the weights of the one before, and ends where the running success of the exploring "
        f"policy reaches {100 * threshold:g} %, or with its iterations."
    )
    return f"{words}\n\n{markdown_table(rows)}"
