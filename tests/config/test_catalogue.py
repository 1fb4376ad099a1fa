"""`python train.py --list`: everything there is, from the files that make it so."""

import pytest
from helpers.command_line import call

from resdex_tasks.objects.sources import SOURCES
from resdex_tasks.sims import registry
from resdex_tasks.utils.paths import CFG_DIR
from runners.config import choices
from runners.config.catalogue import catalogue, first_sentence
from runners.policies.checkpoint import shipped_policies


def lines_of(text):
    """Head -> name -> its line."""
    parts = [part.splitlines() for part in text.split("\n\n")]
    return {lines[0]: dict(line.split(maxsplit=1) for line in lines[1:]) for lines in parts}


def test_everything_is_listed_with_a_line_of_its_own(tmp_path):
    outcome = call(tmp_path, "--list")
    assert outcome.status == 0 and outcome.err == ""
    listed = lines_of(outcome.out.rstrip())
    assert set(listed["task="]) == set(choices("task"))
    assert set(listed["objects="]) == set(SOURCES)
    assert set(listed["sim="]) == {*registry.SIMULATORS, "auto"}
    assert set(listed["checkpoint="]) == set(shipped_policies())
    assert all(len(text) > 15 for lines in listed.values() for text in lines.values())
    assert "at the end" in listed["checkpoint="]["hyper_stage2"]


def test_a_simulator_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setattr("runners.config.catalogue.installed", lambda name: name != "mujoco")
    listed = lines_of(catalogue())["sim="]
    assert listed["mujoco"].endswith("[not installed]") and not listed["auto"].endswith("[not installed]")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("# One thing. Another.\nkey: 1\n", "One thing"),
        (
            "# Of the paper (Sec. 4.1), which\n# goes on. And on.\nkey: 1  # no\n",
            "Of the paper (Sec. 4.1), which goes on",
        ),
        ("key: 1\n# later\n", ""),
    ],
)
def test_a_files_line_is_the_first_sentence_of_its_head(tmp_path, text, expected):
    (tmp_path / "x.yaml").write_text(text)
    assert first_sentence(tmp_path / "x.yaml") == expected


def test_every_choice_begins_with_a_sentence():
    for group in ("task", "objects", "sim"):
        assert all(first_sentence(path) for path in (CFG_DIR / group).glob("*.yaml"))
