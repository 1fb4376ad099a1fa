"""Results that are dear to compute and depend on their input alone, kept in a folder of the user's.

A file there is named by a hash of everything its content depends on, appears whole or not at all, and may be deleted at
any time.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Union

import numpy as np

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import read_arrays, write_arrays

Arrays = Dict[str, np.ndarray]


CACHE_VARIABLE = "RESDEX_CACHE"
"""Environment variable: the folder for all that is cached."""


def cache_folder() -> Path:
    """`$RESDEX_CACHE`, or `resdex` in the user's cache (`$XDG_CACHE_HOME`, or `~/.cache`)."""
    named = os.environ.get(CACHE_VARIABLE)
    folder = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "resdex"
    return folder.expanduser()


class ArrayCache:
    """Dictionaries of plain arrays by key.

    Args:
        folder: where they lie; None: `<kind>` in `cache_folder`.
        kind: what they are.
    """

    def __init__(self, folder: Optional[Union[str, Path]], kind: str) -> None:
        self.folder = cache_folder() / kind if folder is None else Path(folder).expanduser()

    def load(self, key: str) -> Optional[Arrays]:
        """What was stored under `key`, or None: nothing was, or what was can no longer be read."""
        try:
            return read_arrays(self._path(key), "what is cached")
        except UserError:  # the value is computed anew
            return None

    def store(self, key: str, arrays: Arrays) -> None:
        """UserError where the folder cannot be written."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make the cache folder {self.folder}: {error.strerror}; objects.cache may name another"
            ) from error
        write_arrays(path, arrays)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"


def cache_key(parts: Iterable[Any]) -> str:
    """Hash of the bytes, or else of the text, of every part."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()
