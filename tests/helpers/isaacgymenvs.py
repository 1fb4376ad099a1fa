"""The real IsaacGymEnvs, unmodified, in processes of its own, on the double of Isaac Gym."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOUBLE = ROOT / "tests" / "helpers" / "isaacgym_double"
CHECKOUT = "RESDEX_ISAACGYMENVS"
"""Environment variable that names a checkout of it, where it is not installed."""
OTHERS_PACKAGES = {"pysdf": "class SDF: pass", "urdfpy": "class URDF: pass"}
"""What its other tasks import, and what stands in for each where it is not installed; ours need none of them."""


class IsaacGymEnvs:
    """Runs its programs in a folder.

    Args:
        package: its folder `isaacgymenvs`.
        folder: where to run.
    """

    def __init__(self, package: Path, folder: Path) -> None:
        self.package, self.folder = package, folder
        stand_ins = folder / "stand_ins"
        stand_ins.mkdir()
        for name, text in OTHERS_PACKAGES.items():
            if importlib.util.find_spec(name) is None:
                (stand_ins / f"{name}.py").write_text(text)
        self._env = {k: v for k, v in os.environ.items() if k != "ISAACGYM_DOUBLE_ANY_ORDER"}
        self._env["PYTHONPATH"] = os.pathsep.join(map(str, [ROOT, package.parent, DOUBLE, stand_ins]))

    def train(self, *overrides: str) -> str:
        """Its own train.py; what it printed."""
        return self._run([str(self.package / "train.py"), *overrides])

    def launch(self, *overrides: str) -> str:
        """Our launcher; what it printed."""
        return self._run(["-m", "runners.isaacgymenvs.launch", *overrides])

    def script(self, text: str) -> str:
        """A program; what it printed."""
        return self._run(["-c", text])

    def _run(self, arguments: List[str]) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=str(self.folder),
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def find_isaacgymenvs() -> Path:
    """The package's folder; skips the test where it, or what it needs, is not there."""
    pytest.importorskip("mujoco", minversion="3.17")
    named = os.environ.get(CHECKOUT)
    if named:
        package = Path(named).resolve() / "isaacgymenvs"
        assert (package / "train.py").is_file(), f"{CHECKOUT}={named} holds no isaacgymenvs/train.py"
    else:
        spec = importlib.util.find_spec("isaacgymenvs")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip(f"IsaacGymEnvs is not installed; {CHECKOUT} may name a checkout of it")
        package = Path(spec.submodule_search_locations[0])
    for needed in ("gym", "termcolor", "warp"):
        pytest.importorskip(needed, reason=f"IsaacGymEnvs needs {needed}")
    return package
