"""Isaac Gym refuses to be imported after torch: whoever is about to use it calls this before anything else."""

import importlib
import importlib.util
import sys
from typing import Sequence

ASKED_FOR = "sim=isaacgym"


def import_isaacgym_first(arguments: Sequence[str]) -> None:
    """Import Isaac Gym, if a command line asks for it, it is installed, and it is not too late."""
    if ASKED_FOR in arguments and "torch" not in sys.modules and importlib.util.find_spec("isaacgym") is not None:
        importlib.import_module("isaacgym.gymapi")
