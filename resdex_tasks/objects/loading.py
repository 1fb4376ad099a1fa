"""Builds object sets from thousands of files, of which some cannot be used."""

import logging
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Callable, Dict, List, Sequence, TypeVar, Union

from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.progress import Progress

Item = TypeVar("Item")
Built = TypeVar("Built")

LOG = logging.getLogger(__name__)
"""Logs every object that is left out."""

FEW = 20
"""Up to this many objects, no progress is shown."""


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


def attempt(
    items: Sequence[Item],
    build: Callable[[Item], Built],
    few: int = FEW,
    workers: int = 1,
    stop: Callable[[], None] = lambda: None,
) -> List[Union[Built, Unusable]]:
    """What `build` makes of each of `items`, in their order, or the `Unusable` that it raised for it.

    Progress is shown for more than `few` items.

    Args:
        workers: threads that build at a time.
        stop: called after any other error, so that the other threads may end early.
    """
    progress = Progress(len(items), "objects", quiet=len(items) <= few)

    def result(item: Item) -> Union[Built, Unusable]:
        try:
            return build(item)
        except Unusable as error:
            return error

    with ThreadPoolExecutor(workers) as threads:
        waiting = [threads.submit(result, item) for item in items]
        try:
            for one in as_completed(waiting):
                one.result()
                progress.advance()
            return [one.result() for one in waiting]
        except BaseException:
            for one in waiting:
                one.cancel()
            stop()
            raise
        finally:
            progress.close()


def usable(results: Sequence[Union[Built, Unusable]], source: object, report: Callable[[str], None]) -> List[Built]:
    """Those results of `attempt` that are none of `Unusable`.

    Args:
        source: where they come from, for messages.
        report: called once, if any cannot be used, with a line on how many, of how many, and why.

    Raises:
        UserError: none can be used.
    """
    good = [result for result in results if not isinstance(result, Unusable)]
    left_out = [result for result in results if isinstance(result, Unusable)]
    if not good:
        if len(left_out) == 1:
            raise left_out[0]
        raise UserError(f"none of the {len(results)} objects in {source} can be used: {_reasons(left_out)}")
    if left_out:
        report(f"left out {len(left_out)} of the {len(results)} objects in {source}: {_reasons(left_out)}")
    return good


def gather(
    items: Sequence[Item],
    build: Callable[[Item], GraspObject],
    source: object,
    report: Callable[[str], None] = print,
) -> ObjectSet:
    """The objects that `build` makes of `items`; those for which it raises `Unusable` are left out.

    Each of these is logged (`LOG`, at level INFO).

    Args:
        source: where the items come from, for messages.
        report: called once, if any were left out, with a line on how many, of how many, and why.

    Raises:
        UserError: none can be used.
    """
    results = attempt(items, build)
    for result in results:
        if isinstance(result, Unusable):
            LOG.info("left out: %s", result)
    return ObjectSet(usable(results, source, report))


def _reasons(left_out: Sequence[Unusable]) -> str:
    groups: Dict[str, List[Unusable]] = {}
    for error in left_out:
        groups.setdefault(error.reason, []).append(error)
    common_first = sorted(groups.values(), key=len, reverse=True)
    return "; ".join(f"{group[0]}" + (f" (and {len(group) - 1} more)" if group[1:] else "") for group in common_first)
