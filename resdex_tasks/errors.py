"""The one exception that users see without a traceback."""


class UserError(Exception):
    """Bad input: one clear sentence that names the file, key or value at fault."""
