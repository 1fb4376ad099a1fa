"""Typed settings: from plain mappings to frozen dataclasses, with one wording for every value that does not fit.

A settings class is a dataclass whose fields may have `bounds`:

    @dataclass(frozen=True)
    class WristLaw:
        max_force: float = field(metadata=bounds(above=0))

    read_config(WristLaw, {"maxForce": -1}, "task.env.wrist")
    # UserError: task.env.wrist.maxForce is -1; it must be a positive number
"""

import dataclasses
import math
import re
import typing
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Type, TypeVar

from resdex_tasks.utils.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_BOUNDS = "bounds"
_PLURAL = {int: "integers", float: "numbers", str: "strings", bool: "switches"}


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a value may be, beyond its type. For lists, the bounds of every entry, and how many there are."""

    at_least: Optional[float] = None
    above: Optional[float] = None
    at_most: Optional[float] = None
    choices: Tuple[str, ...] = ()
    """Of a string."""
    length: Optional[int] = None
    """Entries of a list."""
    filled: bool = False
    """A list needs at least one entry."""

    def allow(self, value: Any) -> bool:
        """Whether a value, whose type is right, is within the bounds."""
        if isinstance(value, list):
            if (self.length is not None and len(value) != self.length) or (self.filled and not value):
                return False
            return all(self.allow(entry) for entry in value)
        if self.choices and isinstance(value, str):
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return True
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
        )


def bounds(**values: Any) -> Dict[str, Bounds]:
    """Metadata of a field: the fields of `Bounds`."""
    return {_BOUNDS: Bounds(**values)}


def camel_case(name: str) -> str:
    """snake_case -> camelCase, the spelling of IsaacGymEnvs' `env:` keys."""
    return re.sub(r"_([a-z])", lambda m: m.group(1).upper(), name)


def read_config(cls: Type[T], values: Mapping[str, Any], where: str, spelling: Callable[[str], str] = camel_case) -> T:
    """Build the settings class `cls` from a mapping.

    Args:
        values: the fields of `cls`; fields that are settings classes are mappings again.
        where: the mapping's place in the configuration, for messages; '' is the top.
        spelling: field name -> key.

    Raises:
        UserError: a key is unknown, is missing although its field has no default, or holds a value that does not fit.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where} is {shown(values)}; it must be a group of settings")
    prefix = f"{where}." if where else ""
    keys = {spelling(f.name): f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in keys:
            raise UserError(f"unknown key {prefix}{key}; the keys are {', '.join(sorted(keys))}")
    types, read = typing.get_type_hints(cls), {}
    for key, field in keys.items():
        if key in values:
            read[field.name] = _convert(types[field.name], values[key], prefix + key, _bounds(field), spelling)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"missing key {prefix}{key}")
    return cls(**read)


def check_known(cls: Type["DataclassInstance"], values: Mapping[str, Any], where: str) -> None:
    """Check the keys of a mapping that `cls` knows (as they are spelt there), and leave all others alone.

    For settings that belong to a library: it knows more keys than we do.

    Raises:
        UserError: a known key holds a value that does not fit.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where} is {shown(values)}; it must be a group of settings")
    types = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name in values:
            _convert(types[field.name], values[field.name], f"{where}.{field.name}", _bounds(field), str)


def shown(value: Any) -> str:
    """A value as it is written in yaml and on the command line."""
    words = {True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return "null" if value is None else words[value]
    return repr(value)


def expected(kind: Any, limits: Bounds) -> str:
    """What a value of this type and these bounds must be, to complete "it must be"."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union:
        return " or ".join(dict.fromkeys(expected(a, limits) for a in arguments))
    if kind is type(None):
        return "null"
    if origin in (list, tuple):
        count = f"{limits.length} " if limits.length else ""
        entries = ", ".join(limits.choices) if limits.choices else _range(_PLURAL.get(arguments[0], "entries"), limits)
        return f"a {'non-empty ' if limits.filled else ''}list of {count}{entries}"
    if origin is dict:
        return "a group of settings"
    if kind is str and limits.choices:
        return _either(limits.choices)
    if kind is bool:
        return "true or false"
    if kind is str:
        return "a string"
    return _range("an integer" if kind is int else "a number", limits)


def _range(noun: str, limits: Bounds) -> str:
    if limits.above == 0 and limits.at_most is None:
        return noun.replace("a number", "a positive number").replace("numbers", "positive numbers")
    if limits.above is not None:
        return f"{noun} above {limits.above:g}" + ("" if limits.at_most is None else f" and up to {limits.at_most:g}")
    if limits.at_least is not None and limits.at_most is not None:
        return f"{noun} from {limits.at_least:g} to {limits.at_most:g}"
    if limits.at_least is not None:
        return f"{noun} of at least {limits.at_least:g}"
    return noun if limits.at_most is None else f"{noun} of at most {limits.at_most:g}"


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _bounds(field: Any) -> Bounds:
    return field.metadata.get(_BOUNDS, Bounds())


def _convert(kind: Any, value: Any, where: str, limits: Bounds, spelling: Callable[[str], str]) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return read_config(kind, value, where, spelling)
    fits, converted = _fit(kind, value)
    if not fits or not limits.allow(converted):
        raise UserError(f"{where} is {shown(value)}; it must be {expected(kind, limits)}")
    return converted


def _fit(kind: Any, value: Any) -> Tuple[bool, Any]:
    """Whether a value is of a type, and the value as that type: an integer serves as a float, a tuple as a list."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True, value
    if origin is typing.Union:
        fits = [_fit(a, value) for a in arguments]
        return next((fit for fit in fits if fit[0]), (False, value))
    if origin is list:
        if not isinstance(value, (list, tuple)):
            return False, value
        entries = [_fit(arguments[0], entry) for entry in value]
        return all(fit for fit, _ in entries), [entry for _, entry in entries]
    if origin is dict:
        return isinstance(value, Mapping), dict(value) if isinstance(value, Mapping) else value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return True, float(value)
    return isinstance(value, bool) == (kind is bool) and isinstance(value, kind), value


def plain_values(config: Any, spelling: Callable[[str], str] = camel_case) -> Dict[str, Any]:
    """A settings object as a mapping that `read_config` reads back."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {spelling(f.name): plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return value

    return plain(config)
