"""`key=value` arguments: what goes in comes out, through Hydra, yaml and a shell."""

import shlex
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.overrides import Overrides, called_as, hydra_value, read_overrides, shell_argument, yaml_value

KEYS = st.sampled_from(["num_envs", "task", "task.env.goalHeight", "experts", "+train.params.extra"])
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="$"), max_size=12)
"""Without `$`: `${...}` is for OmegaConf to fill in."""
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = SCALARS | st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
HOSTILE = st.text(st.sampled_from("ab \\$()[]{}=,#~&'\";!|:%äß漢."), max_size=9)
"""What file names are made of somewhere."""
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


@given(HOSTILE | TEXTS)
@example("${oc.env:HOME}")
@example("a\\\\${b}\\")
def test_a_text_goes_through_hydra_and_omegaconf_and_a_shell_unchanged(text):
    (argument,) = shlex.split(shell_argument("key", text))
    composed = OmegaConf.create({"key": parsed(argument)})
    if text != "???":  # OmegaConf's word for a value that is missing
        assert OmegaConf.to_container(composed, resolve=True) == {"key": text}
    assert Overrides([argument]).value("key") == parsed(argument)
    assert list(read_overrides([argument])) == [argument]


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


# What a person types


@pytest.mark.parametrize("text", ["~/x", "/data/mäsh", "a=b", "a#b", "a&b", "a;b", "a!b", "~b", "a~b", "漢字", "a<b>"])
def test_what_hydra_has_no_rule_for_is_a_text(text):
    (argument,) = read_overrides([f"objects.root={text}"])
    assert parsed(argument) == text


@pytest.mark.parametrize("argument", ["a=[b,c]", "a={b: 1}", "a='x(y'", "a=1e3", "a=", "a=b c", "a=a\\,b", "+a.b=3"])
def test_what_hydra_reads_is_left_alone(argument):
    assert list(read_overrides([argument])) == [argument]


@pytest.mark.parametrize(
    "text",
    ["a,b", "a(b", "(ab)", "{a}", "a'b", 'a"b', "a]b", "a{b", "choice(a,b)", "[a(b]", "[a,mäsh]", "a(\nb"],
)
def test_what_is_refused_comes_with_a_line_that_works(text):
    with pytest.raises(UserError, match="cannot be read as key=value; ") as caught:
        read_overrides([f"experts={text}"])
    lines = str(caught.value).split("cannot be read as key=value; ")[1].split("; ")
    values = {}
    for line in lines:
        kind, _, shown = line.partition(": ")
        (argument,) = shlex.split(shown)
        assert list(read_overrides([argument])) == [argument]
        values[kind] = parsed(argument)
    assert values["a text"] == text
    if text == "a,b":
        assert values["a list"] == ["a", "b"]
    if text == "[a,mäsh]":
        assert values["a list"] == ["a", "mäsh"]


@pytest.mark.parametrize("argument", ["a b=3", "'a'=3", " a=3", "a =3"])
def test_a_key_that_is_none_is_named(argument):
    with pytest.raises(UserError, match="is no key"):
        read_overrides([argument])


def test_values_are_as_hydra_reads_them():
    overrides = Overrides(["a='b\\'c'", "d=[1,x]", "e=null", "f=3", "g=a(b", "f=4"])
    assert [overrides.value(key) for key in "adefgh"] == ["b'c", [1, "x"], None, 4, "a(b", ""]
    assert Overrides(["sim@here=x", "+train.params.a=1"]).keys == ["sim@here", "+train.params.a"]


@pytest.mark.parametrize(
    "script, expected",
    [
        ("/usr/bin/resdex-train", "resdex-train"),
        ("/usr/bin/resdex-pipeline", "resdex-train"),
        ("/x/train.py", "python train.py"),
    ],
)
def test_a_program_is_called_by_its_own_name(monkeypatch, script, expected):
    monkeypatch.setattr(sys, "argv", [script])
    assert called_as("resdex-train", "python train.py") == expected
    assert Overrides(["seed=1"]).command() == f"{expected} seed=1"
