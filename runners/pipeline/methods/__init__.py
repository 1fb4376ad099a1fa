"""Whole methods, one a file. A new one is a module with `TASKS` and `make`, and its name in `settings.METHODS`.

`make(steps)` asks for trainings and tests in their order; what is done already is not done again.
"""

from importlib import import_module
from types import ModuleType

from runners.pipeline.settings import METHODS


def method_of(name: str) -> ModuleType:
    """The module of `method=name`."""
    if name not in METHODS:
        raise ValueError(f"no method {name}")
    return import_module(f"runners.pipeline.methods.{name}")
