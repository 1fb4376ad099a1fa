"""How long a training took, and where: beside its checkpoints, which are the same however long they took."""

import contextlib
from pathlib import Path
from typing import Optional, Tuple

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import read_json, write_json
from resdex_tasks.utils.machine import machine

FILE = "wall_time.json"


def note(run: Path, minutes: float) -> None:
    """Write it into a training's folder; where it cannot be written, the training goes on without."""
    with contextlib.suppress(UserError):
        write_json(run / FILE, {"minutes": round(minutes, 4), "machine": machine()})


def noted(run: Optional[Path]) -> Tuple[float, str]:
    """Minutes and machine of a training's folder; (0, '') where nobody noted them."""
    try:
        found = read_json(run / FILE) if run is not None else {}
        return float(found["minutes"]), str(found["machine"])
    except (OSError, UserError, KeyError, TypeError, ValueError):
        return 0.0, ""
