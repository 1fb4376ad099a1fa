"""What there is to choose from: tasks, objects, simulators and shipped policies, each with one line of its own."""

import re
from pathlib import Path
from typing import List, Tuple

from resdex_tasks.sims.registry import SIMULATORS, installed
from resdex_tasks.utils.paths import CFG_DIR
from resdex_tasks.utils.tables import aligned
from runners.policies.cards import trained_on, what
from runners.policies.checkpoint import Checkpoint, shipped_policies


def catalogue() -> str:
    """All of it, as text: the first sentence of each file in cfg/, and what each policy's file says of itself."""
    parts = [(f"{group}=", _files(group)) for group in ("task", "objects", "sim")] + [("checkpoint=", _policies())]
    rows = []
    for head, lines in parts:
        rows += [(head, ""), *((f"  {name}", text) for name, text in lines), ("", "")]
    return aligned(rows).rstrip()


def _files(group: str) -> List[Tuple[str, str]]:
    rows = [(path.stem, first_sentence(path)) for path in sorted((CFG_DIR / group).glob("*.yaml"))]
    missing = [name for name in SIMULATORS if group == "sim" and not installed(name)]
    return [(name, f"{text} [not installed]" if name in missing else text) for name, text in rows]


def first_sentence(path: Path) -> str:
    """Of the comment that a file of cfg/ begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return re.split(r"\.(?: (?=[A-Z])|$)", " ".join(lines), maxsplit=1)[0]


def _policies() -> List[Tuple[str, str]]:
    rows = []
    for checkpoint in map(Checkpoint.read, shipped_policies()):
        measured = checkpoint.measured
        success = f"; at the end {measured.rows['all'].success_at_end.text(100)} %" if measured else ""
        rows.append((checkpoint.name, f"{what(checkpoint)}; {trained_on(checkpoint)}{success}"))
    return rows
