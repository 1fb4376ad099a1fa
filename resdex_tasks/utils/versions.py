"""Versions of what makes the numbers."""

import platform
from importlib import metadata
from typing import Dict

PACKAGES = ("resdex", "torch", "rl_games", "numpy", "mujoco", "mujoco-warp", "warp-lang")


def versions(*packages: str) -> Dict[str, str]:
    """The installed ones among the packages (default: `PACKAGES`), and Python's: name -> version."""
    out = {"python": platform.python_version()}
    for name in packages or PACKAGES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out
