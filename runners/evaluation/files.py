"""The files of an evaluation: evaluation.json, evaluation.md, plots and gallery.png, each whole or absent."""

import contextlib
import importlib.util
import os
from pathlib import Path
from typing import Callable, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar

from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.files import read_json, remove_abandoned, write_json, write_text
from resdex_tasks.utils.locks import owned
from runners.evaluation.gallery import Grasp, write_gallery
from runners.evaluation.summary import EvaluationResult
from runners.evaluation.tables import evaluation_report

T = TypeVar("T")
JSON, REPORT, GALLERY = "evaluation.json", "evaluation.md", "gallery.png"
SUCCESS, WEIGHTS, CURVE = "success_by_category.png", "weights.png", "learning_curve.png"


def check_writable(folder: Path) -> None:
    """Raise UserError if nothing can be written below `folder`, which need not exist: before the work, not after it."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"cannot write {folder}: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {folder}: {existing} may not be written to")


def write(
    folder: Path,
    name: str,
    result: EvaluationResult,
    columns: Optional[Mapping[str, Sequence[Grasp]]] = None,
    run: Optional[Path] = None,
) -> List[str]:
    """Write all that there is of one evaluation.

    Args:
        name: of the policy, in tables.
        result: the content of evaluation.json.
        columns: the gallery, if any: name of a policy -> its grasps.
        run: folder of the training, if any, whose learning curve is drawn.

    Returns:
        The names of the files.
    """
    write_json(folder / JSON, result.to_json())
    images: List[Tuple[str, str]] = []
    if columns and _drawn(GALLERY, lambda: write_gallery(folder / GALLERY, columns)):
        images.append(("Final grasps", GALLERY))
    if importlib.util.find_spec("matplotlib") is None:
        print("note: no plots without matplotlib: pip install matplotlib")
    else:
        images += picture("plots", lambda: _plots(folder, name, result, run)) or []
    write_text(folder / REPORT, evaluation_report(name, result, images))
    return [JSON, REPORT, *(file for _, file in images)]


def _plots(folder: Path, name: str, result: EvaluationResult, run: Optional[Path]) -> List[Tuple[str, str]]:
    from runners.evaluation import plots  # imports matplotlib

    def success() -> None:
        plots.success_by_category(result.summary, folder / SUCCESS)

    def weights() -> None:
        plots.weights_heat_map(result.summary, folder / WEIGHTS, result.experts)

    def curve() -> None:
        assert run is not None
        plots.learning_curves({name: plots.read_run(run)}, folder / CURVE)

    wanted = [("Success by category", SUCCESS, success)]
    if result.summary.all.weights:
        wanted.append(("Mixture weights by category", WEIGHTS, weights))
    if run is not None and any((run / "summaries").glob("events.*")):
        wanted.append(("Training", CURVE, curve))
    return [(title, file) for title, file, draw in wanted if _drawn(file, draw)]


def _drawn(name: str, draw: Callable[[], None]) -> bool:
    def done() -> bool:
        draw()
        return True

    return bool(picture(name, done))


def picture(name: str, make: Callable[[], T]) -> Optional[T]:
    """What `make` returns, or None where it cannot be made, which is then said: a report never waits for a picture."""
    try:
        return make()
    except Exception as error:  # whatever fonts, names and drawing libraries come up with
        print(f"note: without {name}: {one_line(error)}")
        return None


def replaced(folder: Path) -> str:
    """What an evaluation in `folder` was of, in words; '': there is none."""
    try:
        before = read_json(folder / JSON)
    except FileNotFoundError:
        return ""
    except UserError as error:
        return str(error)
    known = before if isinstance(before, dict) else {}
    return f"{folder / JSON}: {known.get('checkpoint', 'of an unknown policy')} with seed {known.get('seed', '?')}"


@contextlib.contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Inside, `folder` is this process's own. It is made if need be, and goes again if nothing comes into it.

    Raises:
        UserError: nothing can be written there, or another process is at work in it.
    """
    check_writable(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        with owned(folder):
            remove_abandoned(folder)
            yield
    finally:
        with contextlib.suppress(OSError):  # it holds something
            for path in made:
                path.rmdir()
