"""Resumable pipeline steps: finished steps are cached, interrupted ones resume, changed ones rerun.

A step fills a folder of its own. Beside what it makes lies `step.json`: its settings, the hashes of the artifacts it
consumed, whether it is done, and the hashes of the files that later steps build on. A step is done again exactly if its
settings or those hashes change: a step whose redone inputs came out as before is left alone.
"""

import errno
import hashlib
import json
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from filelock import FileLock, Timeout

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import read_json, write_json
from resdex_tasks.utils.mappings import flat
from resdex_tasks.utils.versions import versions

FORMAT = "resdex-steps-1"
"""Goes into every fingerprint: raised when a step would make something else of the same settings."""
DISK_TAKES_NOTHING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
RECORD, MARK, LOG, LOCK = "step.json", "steps.json", "steps.log", ".lock"


@dataclass(frozen=True)
class Artifact:
    """What a finished step left."""

    name: str
    folder: Path
    fingerprint: str
    """Of the settings and inputs that it was made of."""
    files: Mapping[str, str]
    """The files that later steps may read -> SHA-256 of their content."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What is worth knowing of how it was made, such as versions; no part of the fingerprint."""

    def __truediv__(self, file: str) -> Path:
        """Path of one of its files."""
        if file not in self.files:
            raise KeyError(f"{self.name} has no file {file}")
        return self.folder / file

    @property
    def hash(self) -> str:
        """Of its content."""
        return digest(dict(self.files))


@dataclass(frozen=True)
class Step:
    """What is to be done."""

    name: str
    """Of its folder."""
    title: str
    """What it does, for the person who waits."""
    fill: Callable[[Path], None]
    """Makes the outputs in the folder it is given. It may find there what an earlier call with the same settings and
    inputs had made before it was cut, and should go on from it."""
    outputs: Sequence[str]
    """The files that it makes and later steps may read."""
    settings: Mapping[str, Any]
    """Plain values that decide the result."""
    inputs: Sequence[Artifact] = ()
    """The artifacts that decide the result, in their order."""
    about: Optional[Mapping[str, Any]] = None
    """To be kept with the artifact."""

    @property
    def consumed(self) -> List[List[str]]:
        """Its inputs as its record has them."""
        return [[artifact.name, artifact.hash] for artifact in self.inputs]

    @property
    def plain_settings(self) -> Dict[str, Any]:
        """Its settings as they are read back: tuples are lists."""
        return json.loads(json.dumps(self.settings))

    @property
    def fingerprint(self) -> str:
        return digest([FORMAT, self.plain_settings, self.consumed, list(self.outputs)])[:16]


class Workspace:
    """A folder of steps: `with Workspace(folder, kind) as workspace: a = workspace.step(...)`.

    One process at a time works in it. `steps.log` gets the time that each step took.

    Args:
        folder: made if need be.
        kind: plain values that never change in one folder, so that one kind of work does not replace another's results.

    UserError, on entering: the folder holds something else, or work of another kind, or another process is at work.
    """

    def __init__(self, folder: Path, kind: Mapping[str, Any]) -> None:
        self.folder, self.kind = folder, dict(kind)
        self.artifacts: List[Artifact] = []
        """Of the steps so far, in order."""

    def __enter__(self) -> "Workspace":
        self._check_kind()
        self._new = not self.folder.exists()
        with ExitStack() as undo:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock = FileLock(str(self.folder / LOCK))
                self._lock.acquire(timeout=0)
            except Timeout:
                raise UserError(f"another process is at work in {self.folder}; wait for it, or stop it") from None
            except OSError as error:
                raise UserError(f"cannot write {self.folder}: {error.strerror or error}") from error
            undo.callback(self._lock.release)
            if not (self.folder / MARK).exists():
                write_json(self.folder / MARK, {"format": FORMAT, "kind": self.kind})
            undo.pop_all()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._lock.release()
        if self._new and isinstance(error, UserError) and not self.artifacts:  # bad input: as if nothing had been asked
            shutil.rmtree(self.folder, ignore_errors=True)

    def _check_kind(self) -> None:
        if not self.folder.is_dir():
            return
        mark = _read_json(self.folder / MARK)
        if mark is None:
            if any(path.name != LOCK for path in self.folder.iterdir()):
                raise UserError(f"{self.folder} holds something else already; name a new folder")
        elif mark.get("format") != FORMAT:
            raise UserError(f"{self.folder} was made by another version of this program; name a new folder")
        elif mark.get("kind") != self.kind:
            theirs, ours = (", ".join(f"{k}={v}" for k, v in kind.items()) for kind in (mark["kind"], self.kind))
            raise UserError(f"{self.folder} holds the work of {theirs}, this is {ours}; name a new folder")

    def step(
        self,
        name: str,
        title: str,
        fill: Callable[[Path], None],
        outputs: Sequence[str],
        settings: Mapping[str, Any],
        inputs: Sequence[Artifact] = (),
        about: Optional[Mapping[str, Any]] = None,
    ) -> Artifact:
        """Do a step, unless it is done. The arguments are the fields of a `Step`.

        UserError: an output of the finished step was changed by someone else since.
        """
        return self.steps([Step(name, title, fill, outputs, settings, inputs, about)])[0]

    def steps(
        self, steps: Sequence[Step], together: Optional[Callable[[Sequence[Tuple[Step, Path]]], None]] = None
    ) -> List[Artifact]:
        """Do steps of which none needs another, unless they are done.

        Args:
            together: does, instead of the steps' own `fill`, all that are to be done at once: each with its folder.
        """
        finished = {step.name: self._finished(step) for step in steps}
        pending = [step for step in steps if finished[step.name] is None]
        started = time.monotonic()
        if together is not None and pending:
            opened = [(step, *self._open(step)) for step in pending]
            self._fill(lambda: together([(step, folder) for step, folder, _ in opened]), [f for _, f, _ in opened])
            for step, folder, record in opened:
                finished[step.name] = self._close(step, folder, record, started)
        for step in pending if together is None else []:
            started = time.monotonic()
            folder, record = self._open(step)
            self._fill(lambda step=step, folder=folder: step.fill(folder), [folder])  # type: ignore[misc]
            finished[step.name] = self._close(step, folder, record, started)
        return [self._add(step.name, self.folder / step.name, finished[step.name] or {}) for step in steps]

    def _finished(self, step: Step) -> Optional[Dict[str, Any]]:
        """The record of a step that need not be done."""
        folder = self.folder / step.name
        record = _read_json(folder / RECORD)
        if record is None or not record["done"] or record["fingerprint"] != step.fingerprint:
            return None
        if not all((folder / file).is_file() for file in record["files"]):
            return None
        self._check_unchanged(folder, record["files"])
        print(f"[{step.name}] done already", flush=True)
        return record

    def _open(self, step: Step) -> Tuple[Path, Dict[str, Any]]:
        """The folder of a step that is to be done, and its record."""
        folder, settings, mark = self.folder / step.name, step.plain_settings, step.fingerprint
        record = _read_json(folder / RECORD)
        why = ""
        if record is not None and record["fingerprint"] != mark:
            why, record = f": again, {_difference(record, settings, step.consumed)}", None
        elif record is not None and record["done"]:
            missing = next(file for file in record["files"] if not (folder / file).is_file())
            why, record = f": again, {missing} is gone", None
        elif record is not None:
            why = ": resumed"
        print(f"\n[{step.name}] {step.title}{why}", flush=True)
        if record is None:
            _clear(folder)
            record = {"done": False, "fingerprint": mark, "settings": settings, "inputs": step.consumed, "files": {}}
            write_json(folder / RECORD, record)
        return folder, record

    def _fill(self, work: Callable[[], None], folders: Sequence[Path]) -> None:
        """Do the work; what bad input left untouched is removed."""
        try:
            work()
        except UserError:
            for folder in folders:
                if [path.name for path in folder.iterdir()] == [RECORD]:
                    _clear(folder)
            raise
        except OSError as error:
            if error.errno not in DISK_TAKES_NOTHING:
                raise
            raise UserError(
                f"cannot write {error.filename or folders[0]}: {error.strerror}; the same command goes on from here"
            ) from error

    def _close(self, step: Step, folder: Path, record: Dict[str, Any], started: float) -> Dict[str, Any]:
        """Write down that a step is done."""
        files = {file: file_hash(folder / file) for file in step.outputs}
        record.update(done=True, files=files, about=dict(step.about or {}))
        write_json(folder / RECORD, record)
        self._log(f"{step.name} took {time.monotonic() - started:.1f} s")
        return record

    def _add(self, name: str, folder: Path, record: Mapping[str, Any]) -> Artifact:
        self.artifacts.append(Artifact(name, folder, record["fingerprint"], record["files"], record["about"]))
        return self.artifacts[-1]

    def _check_unchanged(self, folder: Path, files: Mapping[str, str]) -> None:
        for file, known in files.items():
            if file_hash(folder / file) != known:
                raise UserError(
                    f"{folder / file} was changed after its step had made it; remove the folder {folder} and it is "
                    "made again, or name a new folder for all"
                )

    def _log(self, text: str) -> None:
        with suppress(OSError), (self.folder / LOG).open("a", encoding="utf-8") as log:  # a full disk ends no work
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


def digest(content: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content."""
    out = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            out.update(block)
    return out.hexdigest()


def made_by(command: str = "") -> Dict[str, Any]:
    """`about` of a step: versions, and the command that does the same by hand."""
    return {"versions": versions(), **({"command": command} if command else {})}


def with_file_hashes(objects: Mapping[str, Any]) -> Dict[str, Any]:
    """The configuration of objects, without what makes their codes, and with hashes for the files that it names."""
    out = {key: value for key, value in objects.items() if key not in ("codes", "cache")}
    for key in ("proposals", "objectList"):
        if isinstance(out.get(key), str) and Path(out[key]).expanduser().is_file():
            out[key] = file_hash(Path(out[key]).expanduser())
    return out


def clear_all_but_record(folder: Path) -> None:
    """For a step that cannot go on from what it finds."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != RECORD:
            path.unlink()


def _clear(folder: Path) -> None:
    """Remove a step. Its record goes first: a folder without one is never taken for somebody's work half done."""
    if folder.is_dir():
        if (folder / RECORD).exists():
            (folder / RECORD).unlink()
        shutil.rmtree(folder)


def _difference(record: Mapping[str, Any], settings: Mapping[str, Any], consumed: Sequence[Sequence[str]]) -> str:
    """What changed since the record, in words."""
    before, now = flat(record["settings"]), flat(settings)
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if not keys:
        known = {tuple(row) for row in record["inputs"]}
        keys = [name for name, content in consumed if (name, content) not in known] or ["what it is made of"]
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{', '.join(keys[:3])}{more} changed"


def _read_json(path: Path) -> Optional[Dict[str, Any]]:
    """None where there is no such file. Our files appear complete or not at all."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
