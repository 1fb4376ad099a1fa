"""The machine that numbers were measured on."""

import os
import platform
import re
from pathlib import Path

import torch


def machine() -> str:
    """This machine in words: its processor, the cores that this process may use, its first GPU."""
    try:
        name = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE)
    except OSError:
        name = None
    processor = name[1].strip() if name else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{processor}, {cores} core{'s' * (cores > 1)}{gpu}"
