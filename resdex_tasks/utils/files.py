"""Files that appear whole or not at all, and are read without executing anything in them."""

import os
import pickle
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import torch

from resdex_tasks.utils.errors import UserError, one_line


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a neighbour of `path`, then rename it.

    Raises:
        UserError: the file cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError for a missing folder or a full disk
        raise UserError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        if partial.exists():
            partial.unlink()


def read_arrays(path: Path, what: str) -> Dict[str, np.ndarray]:
    """The arrays in an npz file. UserError: it is not readable as `what`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib and npy header each fail in their own ways
        raise UserError(f"{path} is not readable as {what}: {one_line(error)}") from error


def check_can_write(path: Path) -> None:
    """UserError where `path` cannot become a file: to be said before the work for it is done."""
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")


def read_plain(path: Path, mark: str, what: str) -> Dict[str, Any]:
    """The dict in a file of `torch.save`, onto the CPU; its "format" must be `mark`.

    Raises:
        UserError: it is not readable as plain data, or not `what`.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds more than plain data, unlike {what}; it was not opened") from error
    except Exception as error:  # whatever bytes can make torch's reader raise
        raise UserError(f"{path} is not readable as {what} (truncated, or another kind of file)") from error
    if not isinstance(state, dict) or state.get("format") != mark:
        raise UserError(f"{path} is not {what}: it lacks the mark '{mark}'")
    return state
