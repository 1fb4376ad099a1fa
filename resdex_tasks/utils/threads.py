"""Who gets the CPU's cores: the simulator's threads during a rollout, torch's during an update."""

import contextlib
import os
from typing import Iterator

import torch


@contextlib.contextmanager
def simulator_first() -> Iterator[None]:
    """One torch thread inside: beside busy simulator threads, more of them only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
