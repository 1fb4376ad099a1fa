"""Folders that one process at a time works in."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Dict, Iterator, List

from resdex_tasks.utils.errors import UserError

try:
    import fcntl
except ImportError:  # no Unix: nothing is locked
    fcntl = None  # type: ignore[assignment]

_held: Dict[Path, int] = {}
"""Folder -> the open file descriptor that holds its lock."""
_kept: List[bool] = []


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Inside, no other process that asks gets the folder, which must exist. The lock is the kernel's: nothing lies in
    the folder, and it goes with the process, however that ends.

    Raises:
        UserError: another process has it.
    """
    path = folder.resolve()
    if path in _held:
        yield
        return
    _held[path] = _locked(folder)
    try:
        yield
    finally:
        if not _kept and path in _held:
            os.close(_held.pop(path))


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Inside, what was owned once stays owned: between a training and the evaluation of it nobody comes in."""
    _kept.append(True)
    try:
        yield
    finally:
        _kept.pop()
        if not _kept:
            handed_on()


def handed_on() -> None:
    """Let go of all folders: a process that this one starts goes on in them."""
    while _held:
        os.close(_held.popitem()[1])


def _locked(folder: Path) -> int:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"cannot open {folder}: {error.strerror or error}") from error
    if fcntl is None:
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(descriptor)
            raise UserError(
                f"another process is at work in {folder}: wait for it, or name another folder with experiment=NAME"
            ) from None
        print(f"note: {folder} cannot be locked ({error.strerror}): see that no other run writes there")
    return descriptor
