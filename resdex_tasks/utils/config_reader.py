"""From yaml to the settings' dataclasses, with one clear sentence for what does not fit."""

import dataclasses
import re
import typing
from typing import Any, Mapping, Type, TypeVar

from resdex_tasks.utils.errors import UserError

T = TypeVar("T")


def camel_case(name: str) -> str:
    """snake_case -> camelCase, the spelling of IsaacGymEnvs' `env:` keys."""
    return re.sub(r"_([a-z])", lambda m: m.group(1).upper(), name)


def read_config(cls: Type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the dataclass `cls` from a mapping with camelCase keys.

    Args:
        values: exactly the fields of `cls`; fields that are dataclasses are mappings again.
        where: the mapping's place in the configuration, for messages.

    Raises:
        UserError: a key is unknown, missing, or holds a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where} must be a group of settings, not {values!r}")
    fields = {camel_case(f.name): f for f in dataclasses.fields(cls)}
    types = typing.get_type_hints(cls)
    for key in values:
        if key not in fields:
            raise UserError(f"unknown key {where}.{key}; the keys are {', '.join(sorted(fields))}")
    out = {}
    for key, field in fields.items():
        if key not in values:
            raise UserError(f"missing key {where}.{key}")
        out[field.name] = _convert(types[field.name], values[key], f"{where}.{key}")
    return cls(**out)


def _convert(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return read_config(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union:  # Optional
        return None if value is None else _convert(arguments[0], value, where)
    if origin is list:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where} must be a list, not {value!r}")
        return [_convert(arguments[0], v, where) for v in value]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
        raise UserError(f"{where} must be {kind.__name__}, not {value!r}")
    return value
