"""What this process cannot do any more, in one of its own: some engines make one simulator in a process."""

import signal
import subprocess
import sys
from typing import Sequence


class ProcessFailed(Exception):
    """It ended with this exit status, another than 0, and has said why. Of a signal it is 128 + the signal's number."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with status {status}")
        self.status = status


def run_module(module: str, arguments: Sequence[str]) -> None:
    """`python -m module arguments ...`, to its end.

    Raises:
        ProcessFailed: it ended with another status than 0.
    """
    child = subprocess.Popen([sys.executable, "-m", module, *arguments])
    # a terminal's Ctrl-C reaches the child, too, which ends in its own time; a SIGTERM is handed on
    waiting = {signal.SIGINT: lambda *_: None, signal.SIGTERM: lambda *_: child.terminate()}
    before = {number: signal.signal(number, handler) for number, handler in waiting.items()}
    try:
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if status < 0:
        status = 128 - status
        print(f"error: python -m {module} was ended by a signal: status {status}", file=sys.stderr)
    if status:
        raise ProcessFailed(status)
