"""What every benchmark prints: the machine and a Markdown table."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, List, Sequence

import torch

from resdex_tasks.utils.errors import UserError

PACKAGES = ("torch", "mujoco", "mujoco-warp", "warp-lang", "numpy", "rl_games")


def run(main: Callable[[], Any]) -> None:
    """Run a benchmark from the command line: bad input is one sentence and status 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def processor_name() -> str:
    """The processor as the operating system calls it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Processor, cores, load and versions, in two lines. A load above 0 at the start means that others were at work."""
    versions = [f"python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor_name()}, {os.cpu_count()} cores{load}{gpu}\n{', '.join(versions)}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is the header, all columns but the first are aligned right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        return f"| {' | '.join(cells)} |"

    rule: List[str] = ["-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)]
    return "\n".join([line(rows[0]), f"|{'|'.join(rule)}|", *map(line, rows[1:])])
