"""Objects from thousands of files, of which some cannot be used."""

import logging
from typing import Callable, Dict, List, Sequence, TypeVar

from tqdm import tqdm

from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.utils.errors import UserError

Item = TypeVar("Item")

LOG = logging.getLogger(__name__)
"""Says every object that is left out."""

FEW = 20
"""So many objects need no progress bar."""


class Unusable(UserError):
    """Why one object cannot be used: "<subject> <reason>: <detail>". Objects with the same reason are counted as one.

    Args:
        subject: the file or object at fault.
        reason: as it may read for many objects.
        detail: what more there is to say of this one.
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
    """The objects that `build` makes of `items`, but for those for which it raises `Unusable`.

    `report` is told once how many were left out, of how many, and why; each of them is logged (`LOG`, at level INFO). A
    terminal shows a progress bar for more than `few` items.

    Raises:
        UserError: none can be used; `source` says where they came from.
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
