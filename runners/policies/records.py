"""What a policy's file says of it, typed, and checked where it is read."""

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Mapping, Optional, Union, get_args, get_origin, get_type_hints

from resdex_tasks.networks.experts import ExpertsSpec
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import fits


@dataclass(frozen=True)
class Estimate:
    """A number and the interval that holds 95 %."""

    value: float
    low: Optional[float]
    """None of a single value."""
    high: Optional[float]

    def text(self, factor: float = 1.0) -> str:
        """The number and its interval times a factor, as "94.6 [92.1, 96.3]"."""
        value = f"{factor * self.value:.1f}"
        if self.low is None or self.high is None:
            return value
        return f"{value} [{factor * self.low:.1f}, {factor * self.high:.1f}]"


@dataclass(frozen=True)
class PolicySpec:
    """What a policy is: enough to build the network that a checkpoint then fills."""

    observation: str
    """What it sees: one of `observations.VIEWS`."""
    observation_layout: Mapping[str, int]
    """The blocks of what it saw when it was trained: name -> size, in order."""
    network: Mapping[str, Any]
    """rl_games' `params.network`."""
    normalize_input: bool
    normalize_value: bool

    @property
    def observation_size(self) -> int:
        """Numbers that it sees."""
        return sum(self.observation_layout.values())

    @property
    def experts(self) -> Optional[ExpertsSpec]:
        """The frozen experts inside; None: it mixes none."""
        return ExpertsSpec.read(self.network["experts"]) if self.network.get("experts") else None


@dataclass(frozen=True)
class MadeBy:
    """How a checkpoint came to be."""

    command: str
    seed: int
    versions: Mapping[str, str]
    iterations: int = 0
    steps: int = 0
    """Environment steps."""
    minutes: float = 0.0
    """Wall time; 0: nobody noted it."""
    machine: str = ""
    """Where; '': nobody noted it."""
    success: Mapping[str, float] = field(default_factory=dict)
    """Running means of the exploring policy."""
    teacher: Mapping[str, Any] = field(default_factory=dict)
    """Of a student: the checkpoint that it imitates, as its name and `id`. Empty: it has no teacher."""


@dataclass(frozen=True)
class MeasuredRow:
    """How a policy did with the objects of a split, or with all."""

    episodes: int
    objects: int
    success_at_end: Estimate
    success_once: Estimate
    quality: Optional[Estimate]
    """D = -sum_t r_proposal (Table 5); None where no episode has one."""


@dataclass(frozen=True)
class Measured:
    """An evaluation of the deterministic policy."""

    command: str
    seed: int
    machine: str
    versions: Mapping[str, str]
    object_source: Mapping[str, Any]
    """The configuration's group `objects`."""
    rows: Mapping[str, MeasuredRow]
    """Split -> its row, and `all`."""


def read_record(cls: Any, values: Mapping[str, Any], path: str, where: str = "") -> Any:
    """An instance of a dataclass out of plain values. What a later version wrote beside its fields is left alone.

    Args:
        where: the place of the values in the file, for messages: "made_by.".

    Raises:
        UserError: a value is missing, or of another type.
    """
    types = get_type_hints(cls)
    needed = {one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING}
    known = {key: kind for key, kind in types.items() if key in values or key in needed}
    check_values(values, {key: _plain_kind(kind) for key, kind in known.items()}, path, where)
    return cls(**{key: _made(kind, values[key], path, f"{where}{key}") for key, kind in known.items()})


def check_values(values: Mapping[str, Any], types: Mapping[str, Any], path: str, where: str) -> None:
    """UserError where a value is missing, or of another type."""
    for key, kind in types.items():
        if key not in values:
            raise UserError(f"{path} is an incomplete checkpoint: it lacks '{where}{key}'")
        if not fits(values[key], kind):
            shown = repr(values[key]).splitlines()[0][:60]
            raise UserError(f"{path} is an incomplete checkpoint: its '{where}{key}' is {shown}, which cannot be one")


def _plain_kind(kind: Any) -> Any:
    """What a value of a type is before its dataclasses are made."""
    inside = get_args(kind)
    if is_dataclass(kind):
        return Mapping[str, Any]
    if get_origin(kind) is Union:
        return Union[tuple(_plain_kind(one) for one in inside)]
    return Mapping[str, Mapping[str, Any]] if inside and is_dataclass(inside[-1]) else kind


def _made(kind: Any, value: Any, path: str, where: str) -> Any:
    """A value with the dataclasses that are in it."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Union and type(None) in inside:
        return None if value is None else _made(inside[0], value, path, where)
    if is_dataclass(kind):
        return read_record(kind, value, path, f"{where}.")
    if inside and is_dataclass(inside[-1]):
        return {key: read_record(inside[-1], entry, path, f"{where}.{key}.") for key, entry in value.items()}
    return tuple(value) if origin is tuple else value
