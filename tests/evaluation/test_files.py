"""The files of an evaluation."""

import json

import numpy as np
import pytest
from helpers.results import grasp, result, write_run
from PIL import Image

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_json
from runners.evaluation import files
from runners.evaluation.summary import EvaluationResult


def test_all_files_of_a_mixture_are_written(tmp_path):
    write_run(tmp_path / "run", [0.0, 1.0])
    measured = result(weights=[0.25, 0.75])
    names = files.write(tmp_path / "out", "ours", measured, {"ours": [grasp("a")]}, tmp_path / "run")
    pictures = {"gallery.png", "success_by_category.png", "weights.png", "learning_curve.png"}
    assert (
        set(names) == {p.name for p in (tmp_path / "out").iterdir()} == {"evaluation.json", "evaluation.md", *pictures}
    )
    assert EvaluationResult.from_json(json.loads((tmp_path / "out" / "evaluation.json").read_text())) == measured
    for name in pictures:
        image = np.asarray(Image.open(tmp_path / "out" / name).convert("RGB"))
        assert image.std() > 1  # there is something on it
    assert all(f"({name})" in (tmp_path / "out" / "evaluation.md").read_text() for name in pictures)


def test_json_is_written_complete_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "evaluation.json"
    content = result().to_json()
    write_json(path, content)
    for unwritable in (object(), float("nan")):
        with pytest.raises((TypeError, ValueError)):
            write_json(path, {"all": unwritable})
    assert json.loads(path.read_text()) == content
    assert [p.name for p in path.parent.iterdir()] == ["evaluation.json"]


def test_unwritable_folder_is_rejected_before_the_work(tmp_path):
    files.check_writable(tmp_path / "new" / "deep")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file"):
        files.check_writable(tmp_path / "file" / "new")
