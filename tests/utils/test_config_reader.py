"""From yaml to settings: what does not fit is named by its place, and nothing is guessed."""

from dataclasses import dataclass
from typing import List, Optional

import pytest

from resdex_tasks.utils.config_reader import camel_case, read_config
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
        ("numThings", 2.5, "int"),
        ("numThings", "3", "int"),
        ("numThings", True, "int"),
        ("numThings", None, "int"),
        ("name", 3, "str"),
        ("enabled", 1, "bool"),
        ("enabled", "true", "bool"),
        ("gateAngle", "6", "float"),
        ("gateAngle", False, "float"),
        ("weights", 1.0, "list"),
        ("weights", "12", "list"),
        ("weights", [1.0, "2"], "float"),
        ("inner", 5, "group"),
        ("inner", None, "group"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_place_and_the_type(key, value, expected):
    text = message(changed(**{key: value}))
    assert f"task.env.{key}" in text and expected in text


def test_a_wrong_value_deep_inside_is_named_with_its_whole_place():
    text = message(changed(inner={"maxForce": "strong"}))
    assert "task.env.inner.maxForce" in text and "'strong'" in text


@pytest.mark.parametrize("values", [None, 3, "text", [1, 2]])
def test_something_that_is_no_group_is_refused(values):
    assert "task.env" in message(values)
