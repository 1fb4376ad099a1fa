"""Choices from sequences."""

from typing import List, Sequence, TypeVar

import numpy as np

T = TypeVar("T")


def evenly(items: Sequence[T], limit: int) -> List[T]:
    """At most `limit` of the items, evenly over them, in their order."""
    count = min(limit, len(items))
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, count)]
