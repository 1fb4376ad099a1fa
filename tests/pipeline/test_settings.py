"""The pipeline's settings: cfg/pipeline and the command line."""

import re

import pytest
import yaml

from resdex_tasks.utils.paths import CFG_DIR
from runners.config import load_config
from runners.pipeline.experts import slug
from runners.pipeline.methods import method_of
from runners.pipeline.run import TESTED
from runners.pipeline.settings import GROUPED, METHODS, SECTIONS, read_settings

TASKS = {**TESTED, **{section: task for name in METHODS for section, task in method_of(name).TASKS.items()}}


def test_command_line_overrides_the_file_and_a_section_overrides_all():
    settings = read_settings(["pipeline=tiny", "num_envs=8", "base.num_envs=4", "all.seed=3", "k=3"])
    assert settings.k == 3 and settings.threshold == 0.0 and settings.tries == 3
    assert "num_envs=4" in settings.overrides("base", {}) and "num_envs=8" in settings.overrides("stage1", {})
    assert "seed=3" in settings.overrides("test", {}) and "seed=1" in settings.overrides("test", {"seed": 1})


@pytest.mark.parametrize("name", sorted(path.stem for path in (CFG_DIR / "pipeline").glob("*.yaml")))
def test_every_preset_composes(name):
    values = yaml.safe_load((CFG_DIR / "pipeline" / f"{name}.yaml").read_text())
    settings = read_settings([f"pipeline={name}"])
    for section, task in TASKS.items():
        source = load_config(settings.overrides(section, {"task": task})).objects.source
        assert source == ("starter" if section == "start" else "zoo")
    assert {key for key in values if isinstance(values[key], dict)} <= {*SECTIONS, *GROUPED}
    assert settings.students == ["mesh"]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_shows_the_settings_that_it_reads(name):
    shown = read_settings([f"method={name}", "base.seed=1", "state.seed=1", "stage2.seed=1"]).as_given()
    tasks = method_of(name).TASKS
    assert {section for section in ("base", "state", "stage2") if f"{section}.seed" in shown} == {
        section for section in ("base", "state", "stage2") if section in tasks
    }
    assert ("k" in shown) == (name in ("resdex", "base")) and ("rounds" in shown) == (name == "unidexgrasp_pp")
    assert set(tasks) <= set(METHODS[name]) and "jobs" not in shown


def test_folder_names_of_objects_are_unique():
    names = ["jar-0070", "core/mug@0.08", "core_mug_0.08", "a" * 90, "a" * 91, "../x"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names) and slugs[0] == "jar-0070"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,60}", slug) for slug in slugs)
