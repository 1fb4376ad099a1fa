"""Builds object sets from thousands of files, of which some cannot be used."""

import logging
from typing import Callable, Dict, List, Sequence, TypeVar

from tqdm import tqdm

from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.utils.errors import UserError

Item = TypeVar("Item")

LOG = logging.getLogger(__name__)
"""Logs every object that is left out."""

FEW = 20
"""Up to this many objects, no progress bar is shown."""


class Unusable(UserError):
    """Why one object cannot be used: "<subject> <reason>: <detail>". Objects with the same reason are counted as one.

    Args:
        subject: the file or object at fault.
        reason: in words that fit many objects.
        detail: further information on this one.
    """

    def __init__(self, subject: object, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{subject} {reason}" + (f": {detail}" if detail else ""))


def gather(
    items: Sequence[Item],
    build: Callable[[Item], GraspObject],
    source: object,
    report: Callable[[str], None] = print,
    few: int = FEW,
) -> ObjectSet:
    """The objects that `build` makes of `items`; those for which it raises `Unusable` are left out.

    Each of these is logged (`LOG`, at level INFO). A terminal shows a progress bar for more than `few` items.

    Args:
        source: where the items come from, for messages.
        report: called once, if any were left out, with a line on how many, of how many, and why.

    Raises:
        UserError: none can be used.
    """
    objects: List[GraspObject] = []
    left_out: List[Unusable] = []
    # None: no bar where no terminal shows it
    for item in tqdm(items, desc="objects", unit="object", disable=len(items) <= few or None):
        try:
            objects.append(build(item))
        except Unusable as error:
            left_out.append(error)
            LOG.info("left out: %s", error)
    if not objects:
        if len(left_out) == 1:
            raise left_out[0]
        raise UserError(f"none of the {len(items)} objects in {source} can be used: {_reasons(left_out)}")
    if left_out:
        report(f"left out {len(left_out)} of the {len(items)} objects in {source}: {_reasons(left_out)}")
    return ObjectSet(objects)


def _reasons(left_out: Sequence[Unusable]) -> str:
    groups: Dict[str, List[Unusable]] = {}
    for error in left_out:
        groups.setdefault(error.reason, []).append(error)
    common_first = sorted(groups.values(), key=len, reverse=True)
    return "; ".join(f"{group[0]}" + (f" (and {len(group) - 1} more)" if group[1:] else "") for group in common_first)
