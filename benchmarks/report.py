"""What every benchmark prints: the machine and a Markdown table."""

import os
import platform
import sys
from pathlib import Path
from typing import Any, Callable, Sequence

import torch

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.tables import markdown_table
from resdex_tasks.utils.versions import versions


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
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    named = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{processor_name()}, {os.cpu_count()} cores{load}{gpu}\n{named}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is the head, all columns but the first are aligned right."""
    return markdown_table(rows)
