"""The one exception that users see without a traceback, and what others say."""

import sys
from typing import Callable


class UserError(Exception):
    """Bad input: one clear sentence that names the file, key or value at fault."""


def one_line(error: BaseException) -> str:
    """What an error says, on one line, also for those that bring no words or several lines."""
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return (words or type(error).__name__).splitlines()[0]


def exit_status(work: Callable[[], object]) -> int:
    """Do the work of a command. Returns its exit status: 0, or 2 after bad input, which is one line on stderr."""
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
