"""Nested plain data."""

import collections.abc
import typing
from typing import Any, Dict, Mapping


def flat(settings: Mapping[str, Any], prefix: str = "") -> Dict[str, Any]:
    """Nested settings as one dict with dotted keys."""
    out: Dict[str, Any] = {}
    for key, value in settings.items():
        out.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return out


def fits(value: Any, kind: Any) -> bool:
    """Whether a value that was read from a file is of a type, in all its entries. A list serves as a tuple of any
    length, an integer as a float."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin is typing.Union:
        return any(fits(value, one) for one in arguments)
    if origin is collections.abc.Mapping:
        if not isinstance(value, Mapping):
            return False
        return all(fits(key, arguments[0]) and fits(entry, arguments[1]) for key, entry in value.items())
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(fits(entry, arguments[0]) for entry in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
