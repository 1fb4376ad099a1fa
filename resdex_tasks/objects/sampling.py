"""Which object an environment gets at a reset, where it does not keep its own."""

from typing import Any, Dict, Mapping

import torch
from torch import Tensor

FIXED, RANDOM, FAILING = "fixed", "random", "failing"
"""`task.env.objectSampling`"""
UNIFORM = 0.5
"""Of the draws of `FAILING`, the fraction in which all objects are as likely."""
MEMORY = 0.9
"""What is left of an object's counts after a step at which episodes with it ended: policies get better."""


class FailingObjects:
    """Draws objects, those more often whose episodes fail: half of the draws are uniform; in the other half the chance
    of an object is proportional to (failures + 1) / (episodes + 2), its rate of failure seen from one of a half.

    Args:
        count: number of objects.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.episodes = torch.zeros(count, device=device)
        """(count,) with each object, the last ones counting most."""
        self.failures = torch.zeros(count, device=device)
        """(count,) likewise."""

    @property
    def chances(self) -> Tensor:
        """(count,) of each object in a draw."""
        rate = (self.failures + 1) / (self.episodes + 2)
        return UNIFORM / len(rate) + (1 - UNIFORM) * rate / rate.sum()

    def note(self, objects: Tensor, success: Tensor) -> None:
        """Count episodes that ended.

        Args:
            objects: (n,) int64, which object each was about.
            success: (n,) bool
        """
        met = objects.unique()
        for count, more in ((self.episodes, torch.ones_like(success)), (self.failures, ~success)):
            count[met] *= MEMORY
            count.index_add_(0, objects, more.to(count.dtype))

    def draw(self, number: int, generator: torch.Generator) -> Tensor:
        """(number,) int64 objects."""
        return torch.multinomial(self.chances, number, replacement=True, generator=generator)

    def get_state(self) -> Dict[str, Any]:
        """Everything needed to continue."""
        return {"episodes": self.episodes.clone(), "failures": self.failures.clone()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Inverse of `get_state`."""
        self.episodes.copy_(state["episodes"])
        self.failures.copy_(state["failures"])
