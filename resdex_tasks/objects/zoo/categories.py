"""The categories of the zoo, and which of them training never sees."""

from typing import Callable, Dict

from numpy.random import Generator

from resdex_tasks.objects.zoo import things, tools, toys, vessels
from resdex_tasks.objects.zoo.solids import Shape

SEEN: Dict[str, Callable[[Generator], Shape]] = {**vessels.SEEN, **tools.SEEN, **things.SEEN, **toys.SEEN}
UNSEEN: Dict[str, Callable[[Generator], Shape]] = {**vessels.UNSEEN, **tools.UNSEEN, **things.UNSEEN, **toys.UNSEEN}
"""Reserved for the split "unseen_category", whatever the seed."""

CATEGORIES: Dict[str, Callable[[Generator], Shape]] = dict(sorted({**SEEN, **UNSEEN}.items()))
"""Name -> the function that draws one shape. Each is built as it naturally stands or lies, with z up."""
