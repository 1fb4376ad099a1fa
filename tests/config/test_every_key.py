"""Every key of cfg/ can be set to every value that its type and bounds allow, and to no other."""

import copy
import dataclasses
import functools
import math
import typing
from dataclasses import dataclass
from typing import Any, Callable, List, Mapping, Tuple

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resdex_tasks.networks.hyper import MixtureConfig
from resdex_tasks.networks.point_cloud import PointCloudConfig
from resdex_tasks.objects.sources import SOURCES, read_objects_config
from resdex_tasks.sims.registry import SIMULATORS, read_sim_config
from resdex_tasks.utils.config_reader import Bounds, camel_case, read_config, shown
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import flat
from resdex_tasks.utils.overrides import hydra_value
from resdex_tasks.utils.paths import CFG_DIR
from runners.config import CommandSettings, RunConfig, TaskSettings, load_config
from runners.config.rl_games_params import PARTS, DaggerParams, check_params


@dataclass(frozen=True, repr=False)
class Group:
    """A group of keys that one settings class describes."""

    name: str
    where: str
    """Its place in the configuration; '' is the top."""
    settings: type
    chosen_by: Tuple[str, ...] = ()
    """Arguments that bring it into the configuration."""
    spelling: Callable[[str], str] = camel_case
    read: Callable[[Mapping[str, Any]], Any] = lambda plain: None
    """Checks it as `load_config` does; takes the whole configuration."""

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, repr=False)
class Key:
    """A key, and the values that it can have."""

    group: Group
    path: str
    kind: Any
    bounds: Bounds

    def __repr__(self) -> str:
        return self.path if self.path.startswith(self.group.name) else f"{self.group} {self.path}"


def _command(plain):
    keys = {field.name for field in dataclasses.fields(CommandSettings)}
    return read_config(CommandSettings, {k: v for k, v in plain.items() if k in keys}, "", spelling=str)


def _train(plain):
    check_params(plain["train"]["params"])


def _objects(plain):
    return read_objects_config(plain["objects"])


MIXTURE, CLOUD = "train.params.network.mixture", "train.params.network.cloud"
GROUPS: List[Group] = [
    Group("top", "", CommandSettings, spelling=str, read=_command),
    Group("task", "task", TaskSettings, read=lambda plain: read_config(TaskSettings, plain["task"], "task")),
    *(
        Group(f"sim={name}", "sim", entry.config, (f"sim={name}",), read=lambda plain: read_sim_config(plain["sim"]))
        for name, entry in SIMULATORS.items()
    ),
    *(
        Group(f"objects={source}", "objects", config, (f"objects={source}",), read=_objects)
        for source, config in SOURCES.items()
    ),
    *(Group(where, where, part, ("num_envs=4",), str, _train) for where, part in PARTS.items()),
    Group(MIXTURE, MIXTURE, MixtureConfig, ("task=ResDexHyper",), read=_train),
    Group(CLOUD, CLOUD, PointCloudConfig, ("task=ResDexVision",), read=_train),
    Group("train=ResDexVisionDAgger", "train.params.config", DaggerParams, ("task=ResDexVision",), str, _train),
]


def _keys(group: Group, settings_class: type, where: str) -> List[Key]:
    types, out = typing.get_type_hints(settings_class), []
    for field in dataclasses.fields(settings_class):
        path = f"{where}.{group.spelling(field.name)}".lstrip(".")
        if dataclasses.is_dataclass(types[field.name]):
            out += _keys(group, types[field.name], path)
        else:
            out.append(Key(group, path, types[field.name], field.metadata.get("bounds", Bounds())))
    return out


def members(kind) -> Tuple[Any, ...]:
    """The types of a Union, else the type alone."""
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)


def arguments_of(group: Group) -> List[str]:
    """A command line that has the group, on any machine."""
    root = ["objects.root=data"] if group.name in ("objects=dexgraspnet", "objects=meshes") else []
    sim = [] if group.where == "sim" else ["sim=mujoco"]
    return ["scale=cpu", "sim_device=cpu", *sim, *group.chosen_by, *root]


_loaded = functools.lru_cache(maxsize=None)(load_config)


def configuration(group: Group) -> RunConfig:
    return _loaded(tuple(arguments_of(group)))


KEYS = [
    key
    for group in GROUPS
    for key in _keys(group, group.settings, group.where)
    if key.path in flat(configuration(group).plain)
]
NULLABLE = [key for key in KEYS if type(None) in members(key.kind)]
SOURCE = "objects.source"
"""Its values are the groups themselves."""
SETTABLE = [key for key in KEYS if key.path != SOURCE]


def changed(key: Key, value: Any) -> Mapping[str, Any]:
    """The whole configuration as plain values, with another value for one key."""
    plain = copy.deepcopy(dict(configuration(key.group).plain))
    *groups, last = key.path.split(".")
    functools.reduce(lambda mapping, name: mapping[name], groups, plain)[last] = value
    return plain


def read_value(config: RunConfig, key: Key) -> Any:
    """What the run is told by a key, in its type."""
    if key.path.startswith("train.params."):
        path = key.path.split(".")[2:]
        return functools.reduce(lambda mapping, name: mapping[name], path, config.params)
    typed = {"": config.command, "task": config.task, "sim": config.sim, "objects": config.objects}[key.group.where]
    names = key.path.split(".")[1 if key.group.where else 0 :]
    for name in names:
        fields = {key.group.spelling(field.name): field.name for field in dataclasses.fields(typed)}
        typed = getattr(typed, fields[name])
    return typed


def fits(kind, bounds: Bounds, value) -> bool:
    """Whether a key of this type and these bounds can have a value."""
    if typing.get_origin(kind) is typing.Union:
        return any(fits(member, bounds, value) for member in typing.get_args(kind))
    if typing.get_origin(kind) is list:
        return (
            isinstance(value, list)
            and (bounds.length is None or len(value) == bounds.length)
            and not (bounds.filled and not value)
            and all(fits(typing.get_args(kind)[0], bounds, entry) for entry in value)
        )
    if kind is type(None):
        return value is None
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is str:
        return isinstance(value, str) and (not bounds.choices or value in bounds.choices)
    if not isinstance(value, int if kind is int else (int, float)) or not math.isfinite(value):
        return False
    low = -math.inf if bounds.at_least is None else bounds.at_least
    high = math.inf if bounds.at_most is None else bounds.at_most
    return low <= value <= high and (bounds.above is None or value > bounds.above)


def beyond(bounds: Bounds) -> List[Any]:
    """Numbers right outside the bounds."""
    out = [] if bounds.at_least is None else [bounds.at_least - 1]
    out += [] if bounds.above is None else [bounds.above, bounds.above - 1]
    return out + ([] if bounds.at_most is None else [bounds.at_most + 1])


def unfit(key: Key) -> List[Any]:
    """Values that a key cannot have."""
    numbers = [2.5, 7, math.nan, math.inf, *beyond(key.bounds)]
    some = [None, True, "strange", [], ["strange"], [True], *numbers, *([number] * 3 for number in numbers)]
    return [value for value in some if not fits(key.kind, key.bounds, value)]


WORDS = st.text("abz ',é\"", min_size=1, max_size=8)
SPECIAL = {
    # what goes with other keys, or with the machine: tests of its own, in test_run_config.py
    "headless": st.just(True),
    "multi_gpu": st.just(False),
    "wandb_activate": st.just(False),
    "checkpoint": st.just(""),
    "experts": st.just("shipped"),
    "objects.root": WORDS,
    "sim_device": st.just("cpu"),
    "rl_device": st.just("cpu"),
    "seed": st.integers(1, 2**32 - 1),
    "task.env.numEnvs": st.just(256),
    "train.params.config.num_actors": st.just(4),
    "train.params.config.multi_gpu": st.just(False),
    "train.params.config.num_minibatches": st.sampled_from([1, 2, 4]),
    "train.params.config.minibatch_size": st.sampled_from([1, 2, 4]),
}
"""Key -> values, where not all that its type and bounds allow go together."""


def values(kind, bounds: Bounds) -> st.SearchStrategy:
    """Everything that a key of this type and these bounds can have."""
    if typing.get_origin(kind) is typing.Union:
        return st.one_of(*(values(member, bounds) for member in typing.get_args(kind)))
    if typing.get_origin(kind) is list:
        least = bounds.length or int(bounds.filled)
        return st.lists(values(typing.get_args(kind)[0], bounds), min_size=least, max_size=bounds.length or 3)
    if kind is type(None):
        return st.none()
    if kind is bool:
        return st.booleans()
    if kind is str:
        return st.sampled_from(bounds.choices) if bounds.choices else WORDS
    low = bounds.above if bounds.at_least is None else bounds.at_least
    if kind is int:
        return st.integers(low, bounds.at_most)
    exact = st.floats(low, bounds.at_most, exclude_min=bounds.above is not None, allow_nan=False, allow_infinity=False)
    whole = st.integers(None if low is None else math.floor(low) + 1, bounds.at_most).filter(lambda n: abs(n) < 2**53)
    return exact if bounds.at_most is not None else exact | whole


@st.composite
def whole_groups(draw, group: Group):
    """A value for every key of a group at once."""
    keys = [key for key in SETTABLE if key.group == group]
    return {key: draw(SPECIAL.get(key.path, values(key.kind, key.bounds))) for key in keys}


@pytest.mark.parametrize("group", GROUPS, ids=str)
@given(data=st.data())
@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
def test_every_key_can_be_set_to_every_value_it_can_have(group, data):
    chosen = data.draw(whole_groups(group))
    config = load_config([*arguments_of(group), *(f"{k.path}={hydra_value(v)}" for k, v in chosen.items())])
    for key, value in chosen.items():
        assert read_value(config, key) == value, key.path


@pytest.mark.parametrize("key", NULLABLE, ids=str)
def test_every_key_that_can_be_null_can_be_set_to_null(key):
    arguments = [*arguments_of(key.group), f"{key.path}=null"]
    if key.path == "objects.root":
        with pytest.raises(UserError, match=r"objects\.root is not set"):
            load_config(arguments)
    else:
        assert read_value(load_config(arguments), key) is None


@pytest.mark.parametrize("key", SETTABLE, ids=str)
def test_a_value_that_a_key_cannot_have_is_refused_in_one_sentence(key):
    wrong = unfit(key)
    assert len(wrong) > 5
    for value in wrong:
        if key.path == "objects.root" and value is None:
            continue
        with pytest.raises(UserError) as caught:
            key.group.read(changed(key, value))
        sentence = str(caught.value)
        assert sentence.startswith(f"{key.path} is {shown(value)}; it must be ") and "\n" not in sentence


@given(st.data())
@settings(max_examples=10)
def test_the_command_line_gives_the_same_sentence(data):
    key = data.draw(st.sampled_from([key for key in SETTABLE if key.path != "checkpoint"]))
    any_word = key.kind is str and key.group.spelling is str  # task_name=7 and task_name=true are names, too
    value = data.draw(st.sampled_from([v for v in unfit(key) if not (any_word and isinstance(v, (int, float)))]))
    with pytest.raises(UserError) as caught:
        load_config([*arguments_of(key.group), f"{key.path}={hydra_value(value)}"])
    name = key.path.split(".")[-1]
    assert name in str(caught.value).split("; it must be ")[0] and "\n" not in str(caught.value)


@pytest.mark.parametrize("size, divides", [(1, True), (32, True), (64, True), (7, False), (128, False)])
def test_a_minibatch_divides_the_batch(size, divides):
    arguments = ["scale=cpu", "sim=mujoco", "num_envs=4", f"train.params.config.minibatch_size={size}"]
    if divides:
        assert load_config(arguments).params["config"]["minibatch_size"] == size
    else:
        with pytest.raises(UserError, match=rf"minibatch_size={size} does not divide the batch .* = 64"):
            load_config(arguments)


def written_of(source):
    """cfg/objects/<source>.yaml"""
    return yaml.safe_load((CFG_DIR / "objects" / f"{source}.yaml").read_text())


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_defaults_in_the_code_are_those_of_cfg(source):
    """Whoever names a source and nothing else, in code or on the command line, gets the same objects."""
    written = written_of(source)
    assert written.pop("codes") == "${task.codes}"  # null, unless the task's policy sees shapes
    if source == "starter":
        assert written.pop("names") == ["box"]  # a first training's object; code that names none gets all
    root = {"root": "data"} if written.get("root") == "???" else {}
    in_code = read_objects_config({"source": source, **root})
    for field in dataclasses.fields(in_code):
        key = camel_case(field.name)
        if key in written:
            assert getattr(in_code, field.name) == {**written, **root}[key], key
    assert in_code.codes is None


OTHERS = {
    "task_name",
    "sim.name",
    "train.params.seed",
    "train.params.algo.name",
    "train.params.model.name",
    "train.params.config.full_experiment_name",
    "train.params.config.env_name",
    "train.params.config.device",
    "train.params.config.device_name",
    "train.params.network.space.continuous.mu_activation",
    "train.params.network.space.continuous.sigma_activation",
    "train.params.network.experts",
}
"""Keys that choose what is built, and those that a run fills in itself: whoever builds it checks them."""


def test_no_key_of_cfg_is_left_out_here():
    walked = {key.path for key in KEYS}
    for group in GROUPS:
        assert set(flat(configuration(group).plain)) - walked <= OTHERS
        for field in _keys(group, group.settings, group.where):
            assert field.path in walked or group.where.endswith("init") or group.where.endswith("initializer")
    for source in SOURCES:
        ours = {key.path for key in KEYS if str(key.group) == f"objects={source}"}
        assert ours == {f"objects.{key}" for key in written_of(source)}
    nullable = {key.path for key in NULLABLE}
    assert "task.env.reward.moveJointGate" in nullable and "objects.size" in nullable and len(nullable) > 25
