"""`key=value` arguments: what goes in comes out, through Hydra, yaml and a shell."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.overrides import Overrides, hydra_value, yaml_value

KEYS = st.sampled_from(["num_envs", "task", "task.env.goalHeight", "experts", "+train.params.extra"])
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="$"), max_size=12)
"""Without `$`: `${...}` is for OmegaConf to fill in."""
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = SCALARS | st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
ARGUMENTS = st.lists(st.builds("{}={}".format, KEYS, TEXTS), max_size=6).map(Overrides)


def parsed(argument):
    """What Hydra makes of it."""
    return OverridesParser.create().parse_override(argument).value()


@given(VALUES)
@example("nan")
@example("tRUE")
@example(".1e5")
@example("runs\\new\\table")
@example('ends in a quote and a backslash"\\')
@example("two\nlines")
def test_hydra_reads_back_every_plain_value(value):
    back = parsed(f"key={hydra_value(value)}")
    assert back == value and type(back) is type(value)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,7}", fullmatch=True), SCALARS, max_size=3))
def test_hydra_reads_back_a_group_of_values(values):
    assert parsed(f"key={hydra_value(values)}") == values


@pytest.mark.parametrize("name", ["base_box", "runs/a/nn/last.pth", "/tmp/x.pth", "./x.pth", "../x.pth", "cpu", "None"])
def test_names_and_paths_need_no_quotes(name):
    assert hydra_value(name) == name


@pytest.mark.parametrize("text, value", [("3", 3), ("null", None), ("[a, b]", ["a", "b"]), ("a: b: c", "a: b: c")])
def test_a_text_is_the_plain_value_that_it_stands_for(text, value):
    assert yaml_value(text) == value


@given(ARGUMENTS, KEYS, VALUES)
def test_having_a_value_replaces_all_that_was_given_for_its_key(overrides, key, value):
    changed = overrides.having({key: value})
    assert changed.keys.count(key) == 1
    assert parsed(f"key={changed.get(key)}") == value
    assert list(changed.without(key)) == list(overrides.without(key))


@given(ARGUMENTS, KEYS)
def test_without_a_key_nothing_is_given_for_it_and_the_others_keep_their_order(overrides, key):
    kept = overrides.without(key)
    assert key not in kept.keys and kept.get(key, "nothing") == "nothing"
    assert list(kept) == [argument for argument in overrides if argument.split("=")[0] != key]
    assert list(overrides.without()) == list(overrides)


@given(ARGUMENTS, KEYS, TEXTS)
def test_of_several_with_one_key_the_last_counts(overrides, key, text):
    assert Overrides([*overrides, f"{key}={text}"]).get(key) == text


@given(ARGUMENTS)
def test_a_shell_takes_the_command_line_apart_into_the_same_arguments(overrides):
    assert shlex.split(overrides.command()) == ["python", "train.py", *overrides]
    assert shlex.split(overrides.command("resdex-train")) == ["resdex-train", *overrides]


def test_changed_arguments_are_new_ones():
    given_first = Overrides(["num_envs=4", "seed=1"])
    assert list(given_first.having({"seed": 2})) == ["num_envs=4", "seed=2"]
    assert list(given_first.without("seed")) == ["num_envs=4"]
    assert list(given_first) == ["num_envs=4", "seed=1"] and len(given_first) == 2 and given_first[1] == "seed=1"


@pytest.mark.parametrize("argument", ["experiment", "", "=3"])
def test_an_argument_of_another_form_is_named(argument):
    with pytest.raises(UserError, match=f"'{argument}' is not of the form key=value"):
        Overrides(["seed=1", argument])
