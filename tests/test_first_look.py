"""What a newcomer tries first: the notebook, and the image."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "first_look.ipynb"
LARGEST = 400 * 2**10
"""bytes of a notebook with its pictures."""


def printed(cell):
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


@pytest.mark.slow
def test_the_notebook_runs_and_lifts_its_object():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("mujoco.batch")
    notebook = nbformat.read(NOTEBOOK, 4)
    kept = [printed(cell) for cell in notebook.cells]
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    made = [printed(cell) for cell in notebook.cells]
    assert any(text.startswith("lifted once: True - at the end: True\n") for text in made)
    numbers = re.compile(r"\d+")
    assert [numbers.sub("", text) for text in made] == [numbers.sub("", text) for text in kept]
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2


def test_the_notebook_is_small_and_was_run_from_its_beginning():
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < LARGEST
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def block(text, mark):
    """The shell's lines behind a mark of the README."""
    return re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", text, re.S)[1]


def test_the_image_installs_what_the_readme_does():
    """It was not built by this test: there is no Docker in it."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    installed = [shlex.split(rest)[3:] for name, rest in steps if name == "RUN"]
    assert all(rest.startswith("pip install --no-cache-dir ") for name, rest in steps if name == "RUN")
    readme = block((ROOT / "README.md").read_text(encoding="utf-8"), "train")
    wanted = [shlex.split(command)[2:] for command in re.findall(r"pip install [^&\n]+", readme)]
    assert [[word.replace("${EXTRAS}", "") for word in words] for words in installed] == wanted
    (entry,) = (rest for name, rest in steps if name == "ENTRYPOINT")
    assert entry == '["python", "train.py"]' and (ROOT / "train.py").is_file()
    extras = re.search(r"--build-arg EXTRAS=\[(\w+)\]", "\n".join(lines))[1]
    assert re.search(rf"^{extras} = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
