"""`resdex-isaacgymenvs key=value ...`: IsaacGymEnvs' train.py, in which rl_games knows our agents.

rl_games keeps its agents in every `Runner`, and train.py makes a fresh one, which nothing from outside reaches. So it
finds a `Runner` of ours in rl_games' place; all else is its own.
"""

import importlib
import importlib.util
import runpy
import sys
from pathlib import Path

from resdex_tasks.isaacgymenvs import entry
from resdex_tasks.utils.errors import UserError

NEEDS = (
    "resdex-isaacgymenvs needs IsaacGymEnvs, which is not on PyPI: clone github.com/isaac-sim/IsaacGymEnvs and "
    "pip install -e IsaacGymEnvs"
)


def main() -> int:
    """Command-line entry; the arguments are train.py's. Returns the exit status: 0, 2 after bad input, 130 after
    Ctrl-C."""
    try:
        script = _find_script()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    importlib.import_module("isaacgym.gymapi")  # before torch
    import rl_games.torch_runner

    from runners.isaacgymenvs.runner import ResDexRunner

    entry.launched_as = sys.argv[0]
    rl_games.torch_runner.Runner = ResDexRunner  # type: ignore[misc]
    # as a script: Hydra looks for cfg/ beside it
    runpy.run_path(str(script), run_name="__main__")
    return 0


def _find_script() -> Path:
    """IsaacGymEnvs' train.py.

    Raises:
        UserError: it, or Isaac Gym, is not installed.
    """
    spec = importlib.util.find_spec("isaacgymenvs")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(NEEDS)
    if importlib.util.find_spec("isaacgym") is None:
        from resdex_tasks.sims.registry import SIMULATORS

        raise UserError(SIMULATORS["isaacgym"].needs)
    return Path(spec.submodule_search_locations[0]) / "train.py"


if __name__ == "__main__":
    sys.exit(main())
