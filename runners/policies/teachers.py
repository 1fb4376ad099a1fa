"""The teachers of a student: one for everything, or each for the objects that it was trained on. Where several were,
the one that knows the fewest others: a specialist goes before the generalist that it came from."""

from typing import AbstractSet, Sequence, Union

import torch
from torch import Tensor

from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.utils.errors import UserError
from runners.policies.checkpoint import Checkpoint
from runners.policies.policy import Policy


class Teachers:
    """What the teachers would do.

    Args:
        policies: all of them see the same.
        of_object: (number of objects,) int64, which of them teaches each object.
    """

    def __init__(self, policies: Sequence[Policy], of_object: Tensor) -> None:
        self.policies = list(policies)
        self._of_object = of_object.to(policies[0].device)

    def __call__(self, states: Tensor, object_index: Tensor, clamp: bool = True) -> Tensor:
        """Actions (N, 24).

        Args:
            states: (N, size) what they see, joined.
            object_index: (N,) int64 the object that each row is about.
            clamp: see `Policy.__call__`.
        """
        if len(self.policies) == 1:
            return self.policies[0](states, clamp=clamp).action
        states = states.to(self._of_object.device)
        teacher = self._of_object[object_index.to(self._of_object.device)]
        out = torch.empty(len(states), NUM_ACTIONS, device=states.device)
        for i, policy in enumerate(self.policies):
            rows = (teacher == i).nonzero(as_tuple=True)[0]
            if len(rows):
                out[rows] = policy(states[rows], clamp=clamp).action
        return out


def load_teachers(
    checkpoints: Sequence[Checkpoint], objects: Sequence[str], device: Union[str, torch.device]
) -> Teachers:
    """The teachers of these checkpoints.

    Args:
        objects: names of the objects that will be taught.

    Raises:
        UserError: there are several, and an object was met by none of them, or by two that met as many.
    """
    owners = torch.zeros(len(objects), dtype=torch.int64)
    if len(checkpoints) > 1:
        met = [set(checkpoint.objects) for checkpoint in checkpoints]
        owners = torch.tensor([_owner(name, met) for name in objects], dtype=torch.int64)
    return Teachers([Policy.load(checkpoint, device) for checkpoint in checkpoints], owners)


def _owner(name: str, met: Sequence[AbstractSet[str]]) -> int:
    """Which teacher teaches an object: of those that met it, the one that met the fewest others."""
    by_count = sorted((len(names), i) for i, names in enumerate(met) if name in names)
    if not by_count:
        raise UserError(f"none of the {len(met)} teachers was trained on object '{name}'")
    alike = [count for count, _ in by_count].count(by_count[0][0])
    if alike > 1:
        raise UserError(
            f"{alike} of the {len(met)} teachers were trained on object '{name}' and as many others; of several "
            "teachers, the one with the fewest objects teaches each"
        )
    return by_count[0][1]
