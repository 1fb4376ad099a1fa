"""What every benchmark prints: the machine and a Markdown table."""

import os
import sys
from typing import Any, Callable, Sequence

from resdex_tasks.utils.errors import exit_status
from resdex_tasks.utils.machine import machine as this_machine
from resdex_tasks.utils.tables import markdown_table
from resdex_tasks.utils.versions import versions


def run(main: Callable[[], Any]) -> None:
    """Run a benchmark from the command line: bad input is one sentence and status 2."""
    status = exit_status(main)
    if status:
        sys.exit(status)


def machine() -> str:
    """Processor, cores, GPU, load and versions, in two lines. A load above 0 at the start: others were at work."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    named = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{this_machine()}{load}\n{named}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is the head, all columns but the first are aligned right."""
    return markdown_table(rows)
