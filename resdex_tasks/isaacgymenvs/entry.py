"""How our tasks come into IsaacGymEnvs: their names, their configuration and their networks.

IsaacGymEnvs' configuration is composed by Hydra, which asks every plugin for more places to search: ours adds the tree
cfg/isaacgymenvs, and waits for IsaacGymEnvs' tasks to be imported, to add to their map. Neither torch nor Isaac Gym is
imported here: Isaac Gym must come before torch, and IsaacGymEnvs imports it after Hydra.
"""

import importlib.abc
import importlib.util
import sys
from types import ModuleType
from typing import Any, Optional

from hydra.core.config_search_path import ConfigSearchPath
from omegaconf import OmegaConf

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.paths import CFG_DIR
from resdex_tasks.utils.resolvers import minibatch_size
from resdex_tasks.utils.versions import check_rl_games

TASKS = ("ResDexBase", "ResDexHyper", "ResDexHyperStage2")
LAUNCHER = "resdex-isaacgymenvs"
PROVIDER = "resdex"
"""Of our entries in Hydra's search path."""
TASK_MODULE = "isaacgymenvs.tasks"
launched_as: Optional[str] = None
"""What our launcher was called, which makes our agents known to rl_games; None: it is not at work."""


def enter(search_path: ConfigSearchPath) -> None:
    """Add to a search path, and to what is imported later, if the path is IsaacGymEnvs'.

    Raises:
        UserError: rl_games is too old for our tasks.
    """
    places = [str(element.path).replace("/./", "/").rstrip("/") for element in search_path.get_path()]
    if not any(place.endswith(("isaacgymenvs/cfg", "isaacgymenvs.cfg")) for place in places):
        return
    check_rl_games()
    # the tree, and below it the files of ours that it is made of, as /cfg/...
    search_path.append(PROVIDER, f"file://{CFG_DIR / 'isaacgymenvs'}")
    search_path.append(PROVIDER, f"file://{CFG_DIR.parent}")
    OmegaConf.register_new_resolver("minibatch_size", minibatch_size, replace=True)
    OmegaConf.register_new_resolver("resdex_agent", _agent, replace=True)
    if TASK_MODULE in sys.modules:
        _enter_tasks(sys.modules[TASK_MODULE])
    elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


def _agent(name: str) -> str:
    """The name of an agent of ours, where rl_games knows it."""
    if launched_as is None:
        raise UserError(f"rl_games does not know our agent {name} here: start {LAUNCHER} instead of train.py")
    return name


def _enter_tasks(tasks: ModuleType) -> None:
    from resdex_tasks import networks  # torch, which is there by now

    networks.register()
    tasks.isaacgym_task_map.update(dict.fromkeys(TASKS, _make_vec_task))


def _make_vec_task(**arguments: Any) -> Any:
    """What IsaacGymEnvs calls for a task."""
    from resdex_tasks.isaacgymenvs.vec_task import ResDexVecTask

    return ResDexVecTask(**arguments)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Adds to IsaacGymEnvs' map of tasks as soon as the module that holds it has been executed."""

    def find_spec(self, fullname: str, path: Any = None, target: Optional[ModuleType] = None) -> Any:
        if fullname != TASK_MODULE:
            return None
        sys.meta_path.remove(self)  # its turn is over, and the search below must not come back here
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_enter(module: ModuleType) -> None:
            execute(module)
            _enter_tasks(module)

        spec.loader.exec_module = execute_and_enter  # type: ignore[method-assign]
        return spec
