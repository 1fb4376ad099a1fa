"""The one exception that users see without a traceback, and what others say."""


class UserError(Exception):
    """Bad input: one clear sentence that names the file, key or value at fault."""


def one_line(error: BaseException) -> str:
    """What an error says, on one line, also for those that bring no words or several lines."""
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return (words or type(error).__name__).splitlines()[0]
