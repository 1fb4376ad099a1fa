"""The files of an evaluation."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from helpers.results import grasp, result, write_run
from PIL import Image

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_json
from runners.evaluation import files, plots, tables
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


# Names of other people's objects

NAMES = [
    "core/a|b",
    "pay $5 or $6",
    "$\\frac{1}$ $x$",
    "two\nlines",
    "tab\there",
    "`code` **bold**",
    os.fsdecode(b"caf\xe9"),
    "漢字",
    "",
]


def with_names(names):
    """A result whose policy, objects, categories and experts are called so."""
    measured = result(weights=[0.25, 0.75], experts=[names[0], names[-1]])
    rows = [replace(measured.summary.categories[0], name=name) for name in names]
    objects = [replace(measured.summary.objects[0], name=name, category=name) for name in names]
    return replace(measured, summary=replace(measured.summary, categories=rows, objects=objects), checkpoint=names[0])


@pytest.mark.filterwarnings("ignore:Glyph")  # the font lacks it: a box is drawn
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_of_any_letters_costs_no_file(tmp_path, capsys, name):
    write_run(tmp_path / "run", [0.0, 1.0])
    measured = with_names([name, "mug"])
    columns = {name: [grasp(name)], "other": [grasp(name)]}
    written = files.write(tmp_path / "out", name, measured, columns, tmp_path / "run")
    assert len(written) == 6 and "note: without" not in capsys.readouterr().out
    report = (tmp_path / "out" / "evaluation.md").read_text(encoding="utf-8")
    for table in report.split("\n\n"):
        if table.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1
    assert EvaluationResult.from_json(json.loads((tmp_path / "out" / "evaluation.json").read_text())) == measured
    for table in tables.summary_tables(name, measured):
        assert table.encode("utf-8")


@pytest.mark.parametrize("picture", ["write_gallery", "success_by_category", "weights_heat_map", "learning_curves"])
def test_a_failing_picture_costs_no_report(tmp_path, monkeypatch, capsys, picture):
    def failing(*rest):
        raise ValueError("no font\nat all")

    monkeypatch.setattr(files if picture == "write_gallery" else plots, picture, failing)
    write_run(tmp_path / "run", [0.0, 1.0])
    written = files.write(
        tmp_path / "out", "ours", result(weights=[0.25, 0.75]), {"ours": [grasp("a")]}, tmp_path / "run"
    )
    assert len(written) == 5
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith("note: without ") and said.endswith(": no font\n")
    report = (tmp_path / "out" / "evaluation.md").read_text()
    assert report.count("![") == 3


def test_what_a_second_evaluation_replaces_is_named(tmp_path):
    assert files.replaced(tmp_path) == ""
    files.write(tmp_path, "ours", result())
    assert files.replaced(tmp_path) == f"{tmp_path}/evaluation.json: policy.pth with seed 7"
    (tmp_path / "evaluation.json").write_text("{")
    assert "cannot be read" in files.replaced(tmp_path)


def test_a_folder_that_nothing_came_into_goes_again(tmp_path):
    with files.own_folder(tmp_path / "runs" / "a"):
        assert (tmp_path / "runs" / "a").is_dir()
    assert list(tmp_path.iterdir()) == []
    with files.own_folder(tmp_path / "runs" / "a"):
        (tmp_path / "runs" / "a" / "file").touch()
    assert (tmp_path / "runs" / "a" / "file").exists()
