"""The settings of cfg/ as the code reads them."""

import copy
import dataclasses
import functools
from typing import Any, Dict

import pytest
import yaml

from resdex_tasks.grasp_task import TaskConfig
from resdex_tasks.sims.base import WristLaw
from resdex_tasks.sims.mujoco_config import PhysicsConfig
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.utils.paths import CFG_DIR
from runners.config import load_config


@functools.lru_cache(maxsize=None)
def _preset_env(preset: str) -> Dict[str, Any]:
    return dict(load_config(["sim=mujoco", "num_envs=16", f"preset={preset}"]).plain["task"]["env"])


def env_settings(preset: str = "paper", **changes) -> Dict[str, Any]:
    """`task.env` of cfg/task/ResDexBase.yaml under a preset, as plain containers.

    `changes` are camelCase keys; those of `reward`, `start` and `vision` are changed one by one.
    """
    env = copy.deepcopy(_preset_env(preset))
    # tests want episodes that start at step 0 and exactly where the paper says, and small clouds, unless they say
    # otherwise
    env["start"] = dict.fromkeys(env["start"], 0.0)
    env["vision"].update(numPoints=16, poolPoints=64)
    for group in ("reward", "start", "vision"):
        env[group].update(changes.pop(group, {}))
    env.update({"staggerEpisodes": False, **changes})
    return env


def wrist_law() -> WristLaw:
    return task_config().wrist


def task_config(preset: str = "paper", **changes) -> TaskConfig:
    return read_config(TaskConfig, env_settings(preset, **changes), "task.env")


def physics(**changes) -> PhysicsConfig:
    """cfg/physics/mujoco.yaml with some fields changed; skips the test where the engine is missing (Python 3.8)."""
    pytest.importorskip("mujoco.batch")
    settings = yaml.safe_load((CFG_DIR / "physics" / "mujoco.yaml").read_text())
    return dataclasses.replace(read_config(PhysicsConfig, settings, "sim.physics"), **changes)
