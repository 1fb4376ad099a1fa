"""The curves of a training, for TensorBoard and Weights & Biases. They never stop it."""

import contextlib
import errno
import itertools
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar

from resdex_tasks.utils.errors import UserError, one_line
from runners.config import RunConfig

FLUSH_INTERVAL = 20.0
"""s: so often what was logged goes to the disk."""
LARGEST_BACKLOG = 4 * 2**20
"""bytes that wait for a disk that takes none; what comes after them is lost."""
_NUMBERS = itertools.count()
"""Of this process's files."""
COPIES = ("/iter", "/time")
"""Endings of the names under which rl_games logs a curve again by iteration and by seconds, which begin anew at a
resume: TensorBoard shows every curve by time."""


class TrainingLog:
    """A TensorBoard event file that is written without a thread or a queue: nothing here blocks or raises. Where the
    disk takes nothing, it says so once, keeps what it has and tries again.

    Stands where rl_games makes a `tensorboardX.SummaryWriter`.
    """

    def __init__(self, folder: str) -> None:
        # files are read in the order of their names, so a clock that was set back may not decide it
        number = max([time.time_ns() // 10**6, *(begun + 1 for begun in _begun(Path(folder)))])
        place = f"{number}.{os.getpid()}.{next(_NUMBERS):06d}.{socket.gethostname()}"
        name = f"events.out.tfevents.{place}"
        self.path = Path(folder) / name
        self._waiting: List[bytes] = []
        self._size, self._written, self._flushed = 0, 0, time.monotonic()
        self._said = False
        self.mirror: Optional[Callable[[Dict[str, float]], object]] = None
        """Gets the points of every iteration, too: name -> value, and `global_step`."""
        self._mirrored: Dict[str, float] = {}
        self._add(Event(file_version="brain.Event:2"))

    def add_scalar(self, name: str, value: Any, step: Optional[int] = None, walltime: Optional[float] = None) -> None:
        """One point of a curve."""
        if name.endswith(COPIES):
            return
        self._add(Event(summary=scalar(name, float(value)), step=int(step or 0)), walltime)
        if self.mirror is not None:
            self._mirrored[name] = float(value)
        if time.monotonic() - self._flushed > FLUSH_INTERVAL:
            self.flush()

    def start_at(self, step: int) -> None:
        """A resumed training goes on from `step`: what its folder holds of later ones is no longer shown."""
        self._add(Event(session_log=SessionLog(status=SessionLog.START), step=step))

    def end_iteration(self, step: int) -> None:
        """Hand what was logged since the last call to the mirror."""
        if self.mirror is None:
            return
        try:
            self.mirror({**self._mirrored, "global_step": step})
        except Exception as error:  # whatever a service on the network may raise
            self.mirror = None
            print(f"warning: {one_line(error)}; the training goes on, its curves are in {self.path.parent} alone")
        self._mirrored = {}

    def flush(self) -> None:
        """Hand to the disk what waits."""
        self._flushed = time.monotonic()
        try:
            self._write()
        except OSError as error:
            if not self._said:
                self._said = True
                print(f"warning: cannot write {self.path}: {one_line(error)}; the training goes on without its curves")

    close = flush

    def _add(self, event: Event, walltime: Optional[float] = None) -> None:
        event.wall_time = time.time() if walltime is None else walltime
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        record = length + _checksum(length) + content + _checksum(content)
        if self._size + len(record) <= LARGEST_BACKLOG:
            self._waiting.append(record)
            self._size += len(record)

    def _write(self) -> None:
        """Append what waits behind what is whole: of a write that failed half-way, the file may hold a piece."""
        content = b"".join(self._waiting)
        if not content:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "r+b" if self._written else "wb", buffering=0) as file:
            file.seek(self._written)
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._written += len(content)
        self._waiting, self._size = [], 0


def _begun(folder: Path) -> List[int]:
    """When the files of a folder were begun, by their names: ms."""
    parts = [path.name.split(".") for path in folder.glob("events.out.tfevents.*")]
    return [int(name[3]) for name in parts if name[3].isdigit()]


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(content))


@contextlib.contextmanager
def wandb_run(config: RunConfig, folder: Path) -> Iterator[Callable[[Dict[str, float]], object]]:
    """A run at Weights & Biases, for as long as the training: what takes the points of an iteration.

    Raises:
        UserError: it cannot be started; mostly nobody is logged in.
    """
    import wandb

    try:
        run = wandb.init(
            project=config.command.wandb_project,
            entity=config.command.wandb_entity or None,
            group=config.command.wandb_group or None,
            name=folder.name,
            dir=str(folder),
            config=dict(config.plain),
        )
        run.define_metric("*", step_metric="global_step")
    except Exception as error:  # its own classes, the network's
        raise UserError(
            f"wandb_activate=True: {one_line(error)}; log in with `wandb login`, or set WANDB_MODE=offline"
        ) from error
    status = 1
    try:
        yield run.log
        status = 0
    finally:
        with contextlib.suppress(Exception):  # the training is done whatever becomes of its curves there
            run.finish(exit_code=status)
