"""`checkpoint=pretrained`: the shipped policy that fits a task."""

from typing import Any, Callable, List, Mapping

from resdex_tasks.observations import CLOUD
from resdex_tasks.utils.errors import UserError
from runners.policies.cards import trained_on
from runners.policies.checkpoint import Checkpoint, shipped_policies

PRETRAINED = "pretrained"
_SAME_OBJECTS = ("source", "names", "seed")
"""Keys of the configuration's group `objects` that say which object a base expert knows."""


def pretrained(
    task: Mapping[str, Any], objects: Mapping[str, Any], read: Callable[[str], Checkpoint] = Checkpoint.read
) -> str:
    """Name of the shipped policy that was trained on a task: a base expert on the same objects, a policy that sees a
    cloud on one of the same source.

    Args:
        task: the configuration's group `task`.
        objects: its group `objects`.

    Raises:
        UserError: there is none.
    """
    of_task: List[Checkpoint] = [c for c in map(read, shipped_policies()) if c.task["name"] == task["name"]]
    for checkpoint in of_task:
        if _fits(checkpoint, task, objects):
            return checkpoint.name
    if not of_task:
        raise UserError(f"checkpoint={PRETRAINED}: no shipped policy is of task={task['name']}")
    known = "; ".join(f"{checkpoint.name} ({trained_on(checkpoint)})" for checkpoint in of_task)
    raise UserError(
        f"checkpoint={PRETRAINED}: no shipped policy of task={task['name']} knows what is asked for: {known}"
    )


def _fits(checkpoint: Checkpoint, task: Mapping[str, Any], objects: Mapping[str, Any]) -> bool:
    layout = checkpoint.spec.observation_layout
    if CLOUD in layout:
        return bool(checkpoint.task["env"]["vision"]["source"] == task["env"]["vision"]["source"])
    if "object_code" in layout:
        return True
    return all(checkpoint.object_source.get(key) == objects.get(key) for key in _SAME_OBJECTS)
