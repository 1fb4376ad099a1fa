"""One budget of environment steps for all trainings of a method.

Each training gets as much of it as its configured length is of the method's: the papers' proportions at `scale=paper`,
others by `SECTION.max_iterations=`. What a training leaves (a curriculum's stage that ends early) is for those after
it.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import List, Optional, Sequence, Union

from resdex_tasks.utils.errors import UserError


@dataclass(frozen=True)
class Lot:
    """Trainings of one kind that begin at the same time."""

    section: str
    """Of the settings that they read."""
    count: int
    per_iteration: int
    """Environment steps of an iteration."""
    iterations: Union[int, Fraction]
    """Of each of them, as configured: what matters is how they compare with those of others."""

    @property
    def steps(self) -> Union[int, Fraction]:
        """Environment steps of all of them, as configured."""
        return self.count * self.iterations * self.per_iteration


class Budget:
    """What is left of it, and for what.

    Args:
        total: environment steps.
        lots: all trainings of the method, in their order.

    Raises:
        UserError: it leaves a training less than an iteration.
    """

    def __init__(self, total: int, lots: Sequence[Lot]) -> None:
        self.total, self.spent = total, 0
        self._lots = list(lots)
        left = total
        for i in range(len(lots)):
            shares = _shares(left, lots[i:])
            left -= sum(shares) * lots[i].per_iteration

    def open(self, section: str) -> List[int]:
        """The next lot, which is of this section, begins: the iterations of each of its trainings."""
        lots = list(self._lots)
        self.skip(section)
        return _shares(self.total - self.spent, lots)

    def spend(self, steps: int) -> None:
        """A training took so many environment steps."""
        self.spent += steps

    def skip(self, section: str) -> None:
        """The next lot, which is of this section, is not needed: its steps are for those after it."""
        if self._lots[0].section != section:
            raise ValueError(f"the next trainings are those of {self._lots[0].section}, not of {section}")
        self._lots.pop(0)


def with_share(lots: Sequence[Lot], sections: Sequence[str], share: Optional[float]) -> List[Lot]:
    """The lots, with the lengths of some sections' changed so that these are this share of all; None: as they are."""
    others = sum(lot.steps for lot in lots if lot.section not in sections)
    own = sum(lot.steps for lot in lots if lot.section in sections)
    if share is None or not own or not others:
        return list(lots)
    factor = Fraction(share).limit_denominator(1000)
    factor = factor / (1 - factor) * others / own
    return [replace(lot, iterations=lot.iterations * factor) if lot.section in sections else lot for lot in lots]


def _shares(left: int, lots: Sequence[Lot]) -> List[int]:
    """Iterations of each training of the first lot, of what is left for all lots."""
    lot, planned = lots[0], sum(lot.steps for lot in lots)
    ends = [int(left * lot.steps * (i + 1) // (lot.count * planned * lot.per_iteration)) for i in range(lot.count)]
    shares = [end - begin for begin, end in zip([0, *ends], ends)]
    if min(shares) < 1:
        raise UserError(
            f"budget: {left:,} steps leave the {lot.count} training(s) of '{lot.section}' less than an iteration of "
            f"{lot.per_iteration:,} steps each"
        )
    return shares
