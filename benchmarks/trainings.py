"""Trainings and tests of `train.py` that a benchmark asks for, each in a process of its own, unless they are done."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Sequence

from resdex_tasks.utils.errors import UserError
from runners.evaluation.files import JSON
from runners.evaluation.summary import EvaluationResult

ROOT = Path(__file__).resolve().parents[1]
ONE_CORE = ("sim=mujoco", "sim.numThreads=1", "train.params.torch_threads=1")


def trained(out: Path, name: str, overrides: Sequence[str], also: Sequence[str] = ()) -> Path:
    """The latest checkpoint of a training in `out/name`, which is begun, gone on with, or done already.

    Args:
        overrides: what decides it; noted, so that another training is not taken for it.
        also: more overrides, which decide nothing.

    Raises:
        UserError: it failed, or the folder holds a training with other overrides.
    """
    last, mark, made_of = out / name / "nn" / "last.pth", out / name / "trained", "\n".join(overrides)
    if mark.exists() and mark.read_text() != made_of:
        raise UserError(f"{out / name} was trained with other settings; give another --out")
    if not mark.exists():
        resume = [f"checkpoint={last}"] if last.exists() else []
        _call(out / f"{name}.log", [*overrides, *also, *resume])
        mark.write_text(made_of)
    return last


def tested(out: Path, name: str, overrides: Sequence[str]) -> EvaluationResult:
    """The evaluation in `out/name`, which is done now, or done already.

    Raises:
        UserError: it failed.
    """
    if not (out / name / JSON).exists():
        _call(out / f"{name}.log", overrides)
    return EvaluationResult.from_json(json.loads((out / name / JSON).read_text()))


def _call(log: Path, overrides: Sequence[str]) -> None:
    with log.open("a") as file:
        status = subprocess.call([sys.executable, str(ROOT / "train.py"), *overrides], stdout=file, stderr=file)
    if status:
        raise UserError(f"python train.py {' '.join(overrides)} failed: see {log}")
