"""Files that appear whole or not at all, and are read without executing anything in them."""

import contextlib
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Sequence

import numpy as np
import torch

from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.tensors import not_finite


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
        with contextlib.suppress(OSError):  # it is there only after an error, which is what counts
            partial.unlink()


def remove_abandoned(folder: Path) -> None:
    """Remove what `write_atomically` left half-written in a folder when its process was killed."""
    for partial in folder.glob(".*.part") if folder.is_dir() else ():
        number = partial.name.split(".")[-2]
        if number.isdigit() and not _alive(int(number)):
            with contextlib.suppress(OSError):
                partial.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's; where processes cannot be asked, none is taken for dead
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write the complete file, and its folder, or nothing. Bytes of names that are no UTF-8 become their code.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    write_atomically(path, lambda partial: partial.write_bytes(text.encode("utf-8", "backslashreplace")))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """`write_text` of plain values."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The plain values in a file.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is not readable as json.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}") from error


def read_arrays(path: Path, what: str) -> Dict[str, np.ndarray]:
    """The arrays in an npz file. UserError: it is not readable as `what`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib and npy header each fail in their own ways
        raise UserError(f"{path} is not readable as {what}: {one_line(error)}") from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], compressed: bool = False) -> None:
    """Write an npz file, completely or not at all.

    Raises:
        UserError: it cannot be written.
    """
    named: Dict[str, Any] = dict(arrays)  # numpy's stubs would check the arrays as its switch `allow_pickle`

    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # given a path, numpy would append its own suffix
            (np.savez_compressed if compressed else np.savez)(file, **named)

    write_atomically(path, write)


def check_can_write(path: Path) -> None:
    """UserError where `path` cannot become a file: to be said before the work for it is done."""
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")


def write_plain(path: Path, state: Mapping[str, Any]) -> None:
    """Write a dict of plain values and tensors with `torch.save`; equal dicts give equal files.

    Raises:
        UserError: it cannot be written, or something in its "weights" is not finite; nothing is left behind.
    """
    check_can_be_written(path, state)

    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # given a path, torch would write the partial file's name into the file
            torch.save(state, file)

    write_atomically(path, write)


def read_plain(path: Path, mark: str, what: str, *older: str) -> Dict[str, Any]:
    """The dict in a file of `write_plain`, onto the CPU; its "format" must be `mark`.

    Args:
        what: what the file should be, for messages.
        older: marks of formats that earlier versions wrote.

    Raises:
        UserError: it is not readable as plain data, not `what`, or damaged: a checksum is another, or something in
            its "weights" is not finite.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch's own reader does not look at the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise UserError(f"{path} is damaged: the checksum of its part {Path(damaged).name} is another")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds more than plain data, unlike {what}; it was not opened") from error
    except Exception as error:  # whatever bytes can make torch's reader raise
        raise UserError(f"{path} is not readable as {what} (truncated, or another kind of file)") from error
    return checked(path, state, mark, what, older)


def checked(path: Path, state: Any, mark: str, what: str, older: Sequence[str]) -> Dict[str, Any]:
    """What was read of a file, if it is what `read_plain` says."""
    if isinstance(state, dict) and state.get("format") in older:
        raise UserError(f"{path} was written by an earlier version (format {state['format']}); this one reads {mark}")
    if not isinstance(state, dict) or state.get("format") != mark:
        raise UserError(f"{path} is not {what}: it lacks the mark '{mark}'")
    broken = not_finite(_tensors(state.get("weights")))
    if broken:
        raise UserError(f"{path} is damaged: its weight {broken} holds nan or infinity")
    return state


def check_can_be_written(path: Path, state: Mapping[str, Any]) -> None:
    """UserError where something in the "weights" is not finite."""
    broken = not_finite(_tensors(state.get("weights")))
    if broken:
        raise UserError(f"{path} is not written: its weight {broken} holds nan or infinity")


def _tensors(values: Any) -> Dict[str, torch.Tensor]:
    pairs = values.items() if isinstance(values, Mapping) else ()
    return {str(name): value for name, value in pairs if isinstance(value, torch.Tensor)}
