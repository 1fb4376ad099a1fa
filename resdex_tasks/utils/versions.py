"""Versions of what makes the numbers."""

import platform
import re
from importlib import metadata
from typing import Dict

from resdex_tasks.utils.errors import UserError

PACKAGES = ("resdex", "torch", "rl_games", "numpy", "mujoco", "mujoco-warp", "warp-lang")
OLDEST_RL_GAMES = (1, 6, 5)
"""Before it: no gym_compat, no init_current_rewards, another value_bootstrap by default."""


def versions(*packages: str) -> Dict[str, str]:
    """The installed ones among the packages (default: `PACKAGES`), and Python's: name -> version."""
    out = {"python": platform.python_version()}
    for name in packages or PACKAGES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def check_rl_games() -> None:
    """Refuse an rl_games that lacks what our agents and environments build on.

    Raises:
        UserError: it is older than `OLDEST_RL_GAMES`.
    """
    found = versions("rl_games").get("rl_games", "")
    if found and [int(number) for number in re.findall(r"\d+", found)[:3]] < list(OLDEST_RL_GAMES):
        wanted = ".".join(map(str, OLDEST_RL_GAMES))
        raise UserError(f"rl_games {found} is installed, and ResDex needs {wanted}: pip install rl_games=={wanted}")
