"""The files of an evaluation: evaluation.json, evaluation.md, plots and gallery.png, each whole or absent."""

import importlib.util
import os
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_json, write_text
from runners.evaluation.gallery import Grasp, write_gallery
from runners.evaluation.summary import EvaluationResult
from runners.evaluation.tables import evaluation_report

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
    if columns:
        write_gallery(folder / GALLERY, columns)
        images.append(("Final grasps", GALLERY))
    if importlib.util.find_spec("matplotlib") is None:
        print("note: no plots without matplotlib: pip install matplotlib")
    else:
        images += _plots(folder, name, result, run)
    write_text(folder / REPORT, evaluation_report(name, result, images))
    return [JSON, REPORT, *(file for _, file in images)]


def _plots(folder: Path, name: str, result: EvaluationResult, run: Optional[Path]) -> List[Tuple[str, str]]:
    from runners.evaluation import plots  # imports matplotlib

    plots.success_by_category(result.summary, folder / SUCCESS)
    images = [("Success by category", SUCCESS)]
    if result.summary.all.weights:
        plots.weights_heat_map(result.summary, folder / WEIGHTS, result.experts)
        images.append(("Mixture weights by category", WEIGHTS))
    if run is not None and any((run / "summaries").glob("events.*")):
        try:
            curve = plots.read_run(run)
        except UserError as error:  # a training that was cut before its first episodes ended
            print(f"note: no learning curve: {error}")
        else:
            plots.learning_curves({name: curve}, folder / CURVE)
            images.append(("Training", CURVE))
    return images
