"""`key=value` arguments of a command line, in Hydra's words."""

import re
import shlex
from typing import Any, Iterator, List, Mapping, Sequence

import yaml

from resdex_tasks.utils.errors import UserError

_BARE = re.compile(r"(?!(nan|inf|true|false|null)$)([A-Za-z]|\.{0,2}/)[A-Za-z0-9_./-]*", re.IGNORECASE)
"""Strings that need no quotes, those that yaml takes for something else aside."""


class Overrides(Sequence[str]):
    """An immutable list of `key=value`; of several with one key, the last counts.

    Raises:
        UserError: an argument is of another form.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._arguments = tuple(arguments)
        for argument in self._arguments:
            if argument.find("=") < 1:
                raise UserError(f"'{argument}' is not of the form key=value")

    def __len__(self) -> int:
        return len(self._arguments)

    def __getitem__(self, index: Any) -> Any:
        return self._arguments[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arguments)

    @property
    def keys(self) -> List[str]:
        """The key of each argument, in order."""
        return [argument.split("=", 1)[0] for argument in self._arguments]

    def get(self, key: str, default: str = "") -> str:
        """The text that is given for `key`, or `default`."""
        values = [argument.split("=", 1)[1] for argument, k in zip(self._arguments, self.keys) if k == key]
        return values[-1] if values else default

    def without(self, *keys: str) -> "Overrides":
        """All but those of these keys."""
        return Overrides([argument for argument, key in zip(self._arguments, self.keys) if key not in keys])

    def having(self, values: Mapping[str, Any]) -> "Overrides":
        """These, with plain values for some keys instead of what was given for them."""
        return Overrides([*self.without(*values), *(f"{key}={hydra_value(value)}" for key, value in values.items())])

    def command(self, program: str = "python train.py") -> str:
        """The command line, quoted for a shell."""
        return " ".join([program, *map(shlex.quote, self._arguments)])


def hydra_value(value: Any) -> str:
    """A plain value as Hydra's command line reads it back."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {hydra_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(hydra_value, value)) + "]"
    if not isinstance(value, str):
        return "null" if value is None else str(value).lower()
    if _BARE.fullmatch(value) and isinstance(yaml_value(value), str):
        return value
    # a backslash is one, but before a quote it needs another
    return '"' + re.sub(r'(\\*)("|\Z)', lambda m: 2 * m[1] + (m[2] and '\\"'), value) + '"'


def yaml_value(text: str) -> Any:
    """The plain value that a text stands for; itself where it is no yaml."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
