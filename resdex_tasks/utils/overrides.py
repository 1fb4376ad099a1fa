"""`key=value` arguments of a command line, in Hydra's words: whatever becomes one is quoted here, and nowhere else."""

import functools
import re
import shlex
import sys
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional, Sequence

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from resdex_tasks.utils.errors import UserError

_BARE = re.compile(r"(?!(nan|inf|true|false|null)$)([A-Za-z]|\.{0,2}/)[A-Za-z0-9_./-]*", re.IGNORECASE)
"""Strings that need no quotes, those that yaml takes for something else aside."""
_STRUCTURE = re.compile(r"""[][(){},"'\\$\x00-\x1f\x7f]""")
"""What Hydra may have been meant to take apart: a value with one of these that it cannot read is not quoted for it."""


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
        return [_key(argument) for argument in self._arguments]

    def get(self, key: str, default: str = "") -> str:
        """The text that is given for `key`, in Hydra's words, or `default`."""
        values = [argument.split("=", 1)[1] for argument, k in zip(self._arguments, self.keys) if k == key]
        return values[-1] if values else default

    def value(self, key: str, default: Any = "") -> Any:
        """The value that is given for `key`, as Hydra reads it, or `default`."""
        values = [argument for argument, k in zip(self._arguments, self.keys) if k == key]
        override = _parsed(values[-1]) if values else None
        if override is None or override.is_sweep_override():
            return self.get(key, default)
        return override.value()

    def without(self, *keys: str) -> "Overrides":
        """All but those of these keys."""
        return Overrides([argument for argument, key in zip(self._arguments, self.keys) if key not in keys])

    def having(self, values: Mapping[str, Any]) -> "Overrides":
        """These, with plain values for some keys instead of what was given for them."""
        return Overrides([*self.without(*values), *(assignment(key, value) for key, value in values.items())])

    def command(self, program: str = "") -> str:
        """The command line, quoted for a shell.

        Args:
            program: what is called; default: train.py.
        """
        return " ".join([program or called_as("resdex-train", "python train.py"), *map(shlex.quote, self._arguments)])


def read_overrides(arguments: Sequence[str]) -> Overrides:
    """What a person typed, so that Hydra reads it. Values that it has no rule for, such as `~/x`, `a=b` or `mäsh`, are
    quoted; those that might be meant in several ways are not.

    Raises:
        UserError: one of them is not `key=value`, or Hydra cannot read it; it says what works instead.
    """
    return Overrides([_readable(argument) for argument in Overrides(arguments)])


def assignment(key: str, value: Any) -> str:
    """`key=value` of a plain value."""
    return f"{key}={hydra_value(value)}"


def shell_argument(key: str, value: Any) -> str:
    """`key=value` of a plain value, quoted for a shell: for what is printed."""
    return shlex.quote(assignment(key, value))


def hydra_value(value: Any) -> str:
    """A plain value as Hydra's command line reads it back, and OmegaConf after it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {hydra_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(hydra_value, value)) + "]"
    if not isinstance(value, str):
        return "null" if value is None else str(value).lower()
    if _BARE.fullmatch(value) and isinstance(yaml_value(value), str):
        return value
    if "${" in value:  # else OmegaConf would fill it in
        value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    # a backslash is one, but before a quote it needs another
    return '"' + re.sub(r'(\\*)("|\Z)', lambda m: 2 * m[1] + (m[2] and '\\"'), value) + '"'


def yaml_value(text: str) -> Any:
    """The plain value that a text stands for; itself where it is no yaml."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def called_as(installed: str, module: str) -> str:
    """How a program of ours is called here: by the name that pip installs, where this one was, else as a module."""
    return installed if Path(sys.argv[0]).name.startswith("resdex-") else module


@functools.lru_cache(maxsize=4096)
def _parsed(argument: str) -> Optional[Override]:
    """What Hydra makes of it; None: nothing."""
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


def _key(argument: str) -> str:
    override = _parsed(argument)
    return argument.split("=", 1)[0] if override is None else override.get_key_element()


def _readable(argument: str) -> str:
    override = _parsed(argument)
    if override is not None and not override.is_sweep_override():
        return argument
    key, text = argument.split("=", 1)
    quoted = assignment(key, text)
    if _parsed(quoted) is None:
        raise UserError(f"'{argument}' cannot be read as key=value: '{key}' is no key")
    if not _STRUCTURE.search(text):
        return quoted
    raise UserError(f"'{argument}' cannot be read as key=value; {works_instead(key, text)}")


def works_instead(key: str, text: str) -> str:
    """How to write what was perhaps meant by a value that cannot be taken, for a message."""
    bracketed = text.startswith("[") and text.endswith("]")
    entries = [entry.strip() for entry in (text[1:-1] if bracketed else text).split(",")]
    as_list = f"a list: {shell_argument(key, entries)}" if bracketed or len(entries) > 1 else ""
    as_text = f"a text: {shell_argument(key, text)}"
    return "; ".join(filter(None, (as_list, as_text) if bracketed else (as_text, as_list)))
