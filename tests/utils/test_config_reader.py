"""From yaml to settings: what does not fit is named by its place, and nothing is guessed."""

import math
from dataclasses import dataclass, field
from typing import List, Optional, Union

import pytest

from resdex_tasks.utils.config_reader import bounds, camel_case, check_known, plain_values, read_config, shown
from resdex_tasks.utils.errors import UserError


@dataclass(frozen=True)
class Inner:
    max_force: float


@dataclass(frozen=True)
class Outer:
    num_things: int
    name: str
    enabled: bool
    weights: List[float]
    gate_angle: Optional[float]
    inner: Inner


GOOD = {
    "numThings": 3,
    "name": "three",
    "enabled": True,
    "weights": [1.0, 2],
    "gateAngle": None,
    "inner": {"maxForce": 60},
}


def changed(**changes):
    return {**GOOD, **changes}


def message(values):
    with pytest.raises(UserError) as caught:
        read_config(Outer, values, "task.env")
    return str(caught.value)


def test_camel_case_keys_become_fields():
    assert camel_case("max_joint_pos") == "maxJointPos"
    assert read_config(Outer, GOOD, "task.env") == Outer(3, "three", True, [1.0, 2.0], None, Inner(60.0))


def test_a_whole_number_serves_as_float():
    """`maxForce: 60` in yaml is an int; arithmetic later must not depend on how it was written."""
    out = read_config(Outer, changed(gateAngle=6), "task.env")
    assert isinstance(out.inner.max_force, float) and isinstance(out.gate_angle, float)
    assert all(isinstance(w, float) for w in out.weights)


def test_an_unknown_key_is_named_with_its_place_and_the_known_ones():
    text = message(changed(nunThings=4))
    assert "task.env.nunThings" in text and "numThings" in text


def test_an_unknown_key_of_an_inner_group_is_named_with_its_place():
    assert "task.env.inner.minForce" in message(changed(inner={"maxForce": 1.0, "minForce": 0.0}))


def test_snake_case_is_not_a_second_spelling():
    assert "task.env.num_things" in message(changed(num_things=4))


@pytest.mark.parametrize("key", sorted(GOOD))
def test_every_missing_key_is_named(key):
    """Null is a value, absence is not: also an optional setting must be written down."""
    text = message({k: v for k, v in GOOD.items() if k != key})
    assert "missing" in text and f"task.env.{key}" in text


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("numThings", 2.5, "an integer"),
        ("numThings", "3", "an integer"),
        ("numThings", True, "an integer"),
        ("numThings", None, "an integer"),
        ("name", 3, "a string"),
        ("enabled", 1, "true or false"),
        ("enabled", "true", "true or false"),
        ("gateAngle", "6", "a number or null"),
        ("gateAngle", False, "a number or null"),
        ("gateAngle", math.nan, "a number or null"),
        ("weights", 1.0, "a list of numbers"),
        ("weights", "12", "a list of numbers"),
        ("weights", [1.0, "2"], "a list of numbers"),
        ("inner", 5, "a group of settings"),
        ("inner", None, "a group of settings"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_place_and_the_type(key, value, expected):
    assert message(changed(**{key: value})) == f"task.env.{key} is {shown(value)}; it must be {expected}"


@dataclass(frozen=True)
class Bounded:
    count: int = field(metadata=bounds(at_least=1))
    share: float = field(metadata=bounds(at_least=0, at_most=1))
    force: float = field(metadata=bounds(above=0))
    angle: Optional[float] = field(metadata=bounds(above=1, at_most=2))
    cone: str = field(metadata=bounds(choices=("elliptic", "pyramidal")))
    friction: List[float] = field(metadata=bounds(length=3, at_least=0))
    terms: List[str] = field(metadata=bounds(choices=("lift", "move"), filled=True))
    threads: Union[int, str] = field(metadata=bounds(at_least=0, choices=("auto",)))
    size: float = field(default=0.1, metadata=bounds(above=0))
    scales: List[float] = field(default_factory=lambda: [0.08], metadata=bounds(filled=True))


WITHIN = {
    "count": 1,
    "share": 1,
    "force": 0.1,
    "angle": 2,
    "cone": "elliptic",
    "friction": [1, 0, 0],
    "terms": ["move"],
    "threads": "auto",
}


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("count", 0, "an integer of at least 1"),
        ("share", 1.1, "a number from 0 to 1"),
        ("share", -0.1, "a number from 0 to 1"),
        ("force", 0, "a positive number"),
        ("force", math.inf, "a positive number"),
        ("angle", 1, "a number above 1 and up to 2 or null"),
        ("angle", 2.5, "a number above 1 and up to 2 or null"),
        ("cone", "round", "elliptic or pyramidal"),
        ("cone", 1, "elliptic or pyramidal"),
        ("friction", [1.0, 0.0], "a list of 3 numbers of at least 0"),
        ("friction", [1.0, 0.0, -1.0], "a list of 3 numbers of at least 0"),
        ("terms", [], "a non-empty list of lift, move"),
        ("terms", ["lift", "pull"], "a non-empty list of lift, move"),
        ("threads", "fast", "an integer of at least 0 or auto"),
        ("threads", -1, "an integer of at least 0 or auto"),
        ("size", 0.0, "a positive number"),
        ("scales", [], "a non-empty list of numbers"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_its_place_and_the_bounds(key, value, expected):
    with pytest.raises(UserError) as caught:
        read_config(Bounded, {**WITHIN, key: value}, "task.env")
    assert str(caught.value) == f"task.env.{key} is {shown(value)}; it must be {expected}"


def test_values_at_their_bounds_are_read_and_defaults_fill_in():
    out = read_config(Bounded, WITHIN, "task.env")
    assert (out.count, out.share, out.angle, out.threads) == (1, 1.0, 2.0, "auto")
    assert (out.size, out.scales) == (0.1, [0.08])
    assert read_config(Bounded, {**WITHIN, "threads": 0, "angle": None}, "task.env").angle is None


def test_plain_values_are_read_back_as_the_same_settings():
    out = read_config(Outer, GOOD, "task.env")
    assert read_config(Outer, plain_values(out), "task.env") == out


def test_of_another_library_s_settings_only_the_known_keys_are_checked():
    check_known(Bounded, {"count": 2, "theirs": "anything"}, "train")
    with pytest.raises(UserError, match=r"train\.share is 2; it must be a number from 0 to 1"):
        check_known(Bounded, {"share": 2, "theirs": "anything"}, "train")


def test_a_wrong_value_deep_inside_is_named_with_its_whole_place():
    text = message(changed(inner={"maxForce": "strong"}))
    assert "task.env.inner.maxForce" in text and "'strong'" in text


@pytest.mark.parametrize("values", [None, 3, "text", [1, 2]])
def test_something_that_is_no_group_is_refused(values):
    assert "task.env" in message(values)
