"""What is printed: never the end of a long work; and names of other people's files in it."""

import contextlib
import os
import sys
from typing import Any, Iterator, TextIO


def printable_output() -> None:
    """What the terminal has no letter for is printed as its code, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def one_line_of(name: str) -> str:
    """A name as it can be shown anywhere: on one line, and bytes that are no UTF-8 as their code."""
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class _Unfailing:
    """A text stream that loses what it cannot write, instead of raising."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def for_a_reader() -> Iterator[None]:
    """Inside, who reads what is printed may have seen enough of it: `... | head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def unfailing_output() -> Iterator[None]:
    """Inside, what is printed to a full disk or a closed pipe is lost, and nothing else is."""
    out: Any = _Unfailing(sys.stdout)
    err: Any = _Unfailing(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
