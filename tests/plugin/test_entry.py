"""How our tasks come into IsaacGymEnvs, as far as it can be seen without IsaacGymEnvs."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import runners
from resdex_tasks.isaacgymenvs import entry, settings
from resdex_tasks.isaacgymenvs.settings import own_groups, read_settings
from resdex_tasks.utils import versions
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import flat
from runners.config import load_config
from runners.isaacgymenvs import launch

ROOT = Path(__file__).resolve().parents[2]
PRIMARY = """
task_name: ${task.name}
experiment: ''
num_envs: ''
seed: 42
max_iterations: ''
physics_engine: physx
pipeline: gpu
sim_device: cuda:0
rl_device: cuda:0
num_threads: 4
solver_type: 1
num_subscenes: 4
test: False
checkpoint: ''
multi_gpu: False
defaults:
  - task: ???
  - train: ${task}PPO
  - _self_
"""
"""The keys of IsaacGymEnvs' own configuration that a task refers to."""
RESOLVERS = {
    "eq": lambda a, b: a.lower() == b.lower(),
    "contains": lambda part, whole: part.lower() in whole.lower(),
    "if": lambda condition, a, b: a if condition else b,
    "resolve_default": lambda default, value: default if value == "" else value,
}
"""IsaacGymEnvs'."""


@pytest.fixture()
def composed(tmp_path):
    """Composes what IsaacGymEnvs would, in a folder of its name."""
    folder = tmp_path / "isaacgymenvs" / "cfg"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(PRIMARY)
    for name, resolver in RESOLVERS.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)

    def compose_and_resolve(*overrides):
        with initialize_config_dir(str(folder), version_base="1.1"):
            return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)

    yield compose_and_resolve
    OmegaConf.clear_resolvers()


@pytest.fixture()
def with_launcher(monkeypatch):
    monkeypatch.setattr(entry, "launched_as", entry.LAUNCHER)


@pytest.mark.parametrize("task", entry.TASKS)
def test_a_task_is_there_what_it_is_here(composed, with_launcher, task):
    cfg = composed(f"task={task}", "num_envs=5000")
    fixed = ["task.env.objectSampling=fixed", "sim_device=cpu", "rl_device=cpu"]
    here = load_config([f"task={task}", "sim=isaacgym", "scale=paper", "num_envs=5000", *fixed]).plain
    own = own_groups(cfg["task"])
    assert own["sim"] == here["sim"] and own["objects"] == here["objects"] and own["task"] == here["task"]
    theirs, ours = flat(cfg["train"]["params"]), flat(here["train"]["params"])
    different = {key for key in ours if theirs[key] != ours[key]}
    assert different <= {
        "algo.name",
        *(f"config.{key}" for key in ("full_experiment_name", "env_name", "device", "device_name", "print_stats")),
    }
    assert theirs["config.name"] == task and theirs["config.max_epochs"] == here["task"]["maxIterations"]


def test_the_engine_is_told_what_our_own_path_tells_it(composed):
    sim = composed("task=ResDexBase", "task.physics.substeps=4", "task.physics.restOffset=0.001", "num_threads=2")
    sim = sim["task"]["sim"]
    assert sim["dt"] == 1 / 60 and sim["substeps"] == 4 and sim["use_gpu_pipeline"] and sim["physx"]["use_gpu"]
    assert sim["physx"]["rest_offset"] == 0.001 and sim["physx"]["num_threads"] == 2
    assert sim["physx"]["num_position_iterations"] == 8 and sim["physx"]["contact_collection"] == 1


def test_values_are_typed_and_objects_are_exchanged(composed):
    cfg = composed("task=ResDexBase", "num_envs=6", "cfg/objects@task.objects=zoo", "task.objects.count=3")["task"]
    read = read_settings({**cfg, "rank": 2})
    assert read.env.num_envs == 6 and len(read.objects.make()) == 3 and read.seed == 44
    cfg["env"].update(numObservations=153, numActions=24, controlFrequencyInv=1)  # as VecTask leaves it
    assert read_settings(cfg).env == read.env
    with pytest.raises(UserError, match=r"task\.env\.controlFrequencyInv must be 1"):
        read_settings({**cfg, "env": {**cfg["env"], settings.CONTROL_STEPS: 2}})
    with pytest.raises(UserError, match=r"task\.env\.goalHeight is -1"):
        read_settings({**cfg, "env": {**cfg["env"], "goalHeight": -1}})


def test_our_agents_need_the_launcher(composed):
    assert composed("task=ResDexBase")["train"]["params"]["algo"]["name"] == "a2c_continuous"
    with pytest.raises(Exception, match=f"agent resdex_hyper_ppo here: start {entry.LAUNCHER} instead"):
        composed("task=ResDexHyper")


def test_episodes_of_a_test_are_complete(composed):
    assert composed("task=ResDexBase")["task"]["env"]["staggerEpisodes"]
    assert not composed("task=ResDexBase", "test=True")["task"]["env"]["staggerEpisodes"]


def test_other_configurations_are_left_alone(tmp_path):
    (tmp_path / "config.yaml").write_text("defaults: [task: ResDexBase]")
    with initialize_config_dir(str(tmp_path), version_base="1.1"), pytest.raises(Exception, match="task/ResDexBase"):
        compose("config")


ORDER = """
import sys
from hydra import compose, initialize_config_dir
with initialize_config_dir(sys.argv[1] + "/isaacgymenvs/cfg", version_base="1.1"):
    compose("config", ["task=ResDexBase"])
assert "torch" not in sys.modules, "torch before Isaac Gym"
from isaacgymenvs.tasks import isaacgym_task_map
print(*isaacgym_task_map)
isaacgym_task_map.clear()
with initialize_config_dir(sys.argv[1] + "/isaacgymenvs/cfg", version_base="1.1"):
    print(*isaacgym_task_map)
"""


def test_tasks_are_entered_after_and_torch_is_not_imported_before(tmp_path):
    """Isaac Gym comes before torch, and IsaacGymEnvs imports it after Hydra."""
    (tmp_path / "isaacgymenvs" / "cfg").mkdir(parents=True)
    (tmp_path / "isaacgymenvs" / "cfg" / "config.yaml").write_text(PRIMARY)
    (tmp_path / "isaacgymenvs" / "tasks").mkdir()
    (tmp_path / "isaacgymenvs" / "tasks" / "__init__.py").write_text("isaacgym_task_map = {'Ant': None}")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    command = [sys.executable, "-c", ORDER, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, again = done.stdout.splitlines()
    assert first.split() == ["Ant", *entry.TASKS]
    assert again.split() == list(entry.TASKS)  # at once, where IsaacGymEnvs has been imported before


@pytest.mark.parametrize("found, refused", [("1.6.1", True), ("1.6.5", False), ("1.7.0", False), ("1.6.10", False)])
def test_an_rl_games_that_is_too_old_is_one_sentence(monkeypatch, found, refused):
    monkeypatch.setattr(versions.metadata, "version", lambda name: found)
    if not refused:
        versions.check_rl_games()
        return
    with pytest.raises(UserError, match=r"rl_games 1\.6\.1 is installed, .* pip install rl_games==1\.6\.5"):
        versions.check_rl_games()
    with pytest.raises(ImportError, match=r"rl_games 1\.6\.1 is installed"):
        importlib.reload(runners)


@pytest.mark.parametrize("missing, sentence", [("isaacgymenvs", "not on PyPI"), ("isaacgym", "Isaac Gym Preview 4")])
def test_the_launcher_says_what_it_needs(monkeypatch, capsys, missing, sentence):
    class Found:
        submodule_search_locations = ("somewhere",)

    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None if name == missing else Found)
    assert launch.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and sentence in error


UNASKED = """
import sys
import resdex_tasks.isaacgymenvs.entry, runners.isaacgymenvs.launch, runners.launch
from runners.config import load_config
load_config(["sim=mujoco", "num_envs=4"])
assert not [name for name in sys.modules if name.startswith(("isaacgym", "isaacgymenvs"))]
"""


def test_nothing_of_isaac_gym_is_imported_unless_it_is_asked_for():
    double = ROOT / "tests" / "helpers" / "isaacgym_double"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(double)])}
    done = subprocess.run([sys.executable, "-c", UNASKED], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
