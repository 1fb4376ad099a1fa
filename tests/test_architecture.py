"""The house: which rooms there are, what each may import, and what stands in them."""

import ast
from pathlib import Path
from typing import Iterator, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = (
    {"policies"},
    {"config"},
    {"evaluation"},
    {"objects", "learning", "viewer"},
    {"pipeline", "launch", "isaacgymenvs"},
)
"""Rooms of `runners`, the lowest first: each may import those below it, and none beside or above it."""
ENGINES = {"mujoco", "mujoco_warp", "warp", "isaacgym"}
ENGINE_FILES = {
    "resdex_tasks/sims/isaacgym_scene.py",
    "resdex_tasks/sims/isaacgym_sim.py",
    "resdex_tasks/sims/mujoco_common.py",
    "resdex_tasks/sims/mujoco_scene.py",
    "resdex_tasks/sims/mujoco_sim.py",
    "resdex_tasks/sims/mujoco_warp_sim.py",
    "resdex_tasks/sims/object_picture.py",
    "resdex_tasks/rendering/raycast.py",
}
ROOT_FILES = {
    "resdex_tasks/vision": {"clouds.py", "cameras.py", "config.py", "occlusion.py"},
    "resdex_tasks": {"grasp_task.py", "observations.py", "rewards.py", "factory.py"},
    "runners": {"launch.py"},
    "runners/learning": {
        "train.py",
        "agent.py",
        "ppo.py",
        "hyper_ppo.py",
        "dagger.py",
        "distillation.py",
        "vec_env.py",
        "log.py",
        "monitor.py",
        "warm_start.py",
    },
    "runners/policies": {
        "checkpoint.py",
        "records.py",
        "wall_time.py",
        "policy.py",
        "teachers.py",
        "experts.py",
        "pretrained.py",
        "cards.py",
        "hub.py",
        "onnx.py",
    },
    "runners/config": {"run_config.py", "machine.py", "rl_games_params.py", "catalogue.py"},
    "runners/pipeline": {
        "alike.py",
        "__main__.py",
        "run.py",
        "settings.py",
        "workspace.py",
        "objects.py",
        "trainings.py",
        "experts.py",
        "curriculum.py",
        "stages.py",
        "budget.py",
        "launchers.py",
        "job.py",
        "report.py",
    },
    "runners/pipeline/methods": {"resdex.py", "unidexgrasp.py", "unidexgrasp_pp.py", "ppo.py", "base.py"},
    "runners/viewer": {
        "film.py",
        "wall.py",
        "__main__.py",
        "session.py",
        "frame.py",
        "pace.py",
        "page.py",
        "scene.py",
        "readout.py",
    },
    "runners/isaacgymenvs": {"launch.py", "runner.py"},
    "resdex_tasks/isaacgymenvs": {"entry.py", "settings.py", "vec_task.py"},
    "hydra_plugins": {"resdex_searchpath.py"},
}
"""A new file in one of these rooms is a decision about the house: it is entered here."""


def modules(package: str) -> Iterator[Path]:
    return (path for path in sorted((ROOT / package).rglob("*.py")) if path.name != "coacd_worker.py")


def imports(path: Path) -> Set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(module: str) -> str:
    return module.split(".")[1]


def test_what_is_learned_knows_nothing_of_who_runs_it():
    upward = {str(p): m for p in modules("resdex_tasks") for m in imports(p) if m.split(".")[0] == "runners"}
    assert not upward


def edges() -> Set[Tuple[str, str]]:
    """(room, room that it imports) of `runners`."""
    found = set()
    for path in modules("runners"):
        own = path.relative_to(ROOT / "runners").parts[0].replace(".py", "")
        found |= {(own, room(m)) for m in imports(path) if m.startswith("runners.") and room(m) != own}
    return found


def test_no_room_imports_one_beside_or_above_it():
    floor_of = {name: level for level, names in enumerate(FLOORS) for name in names}
    found = {edge for edge in edges() if edge[0] != "__init__"}
    assert {name for edge in found for name in edge} == set(floor_of)
    assert not {edge for edge in found if floor_of[edge[0]] <= floor_of[edge[1]]}


def test_engines_are_imported_by_their_simulators_alone():
    users = {
        str(path.relative_to(ROOT))
        for package in ("resdex_tasks", "runners")
        for path in modules(package)
        if {module.split(".")[0] for module in imports(path)} & ENGINES
    }
    assert users == ENGINE_FILES


def test_the_task_knows_no_simulator():
    for name in ("grasp_task", "observations", "rewards"):
        sims = {m for m in imports(ROOT / "resdex_tasks" / f"{name}.py") if m.startswith("resdex_tasks.sims.")}
        assert all(m.startswith("resdex_tasks.sims.base") for m in sims), name


@pytest.mark.parametrize("folder", ROOT_FILES)
def test_a_room_holds_what_it_is_for(folder):
    found = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    assert found == ROOT_FILES[folder]


def test_a_file_stays_small_enough_to_be_read_in_one_sitting():
    long = {
        str(p.relative_to(ROOT)): n
        for package in ("resdex_tasks", "runners")
        for p in modules(package)
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > 420
    }
    assert not long
