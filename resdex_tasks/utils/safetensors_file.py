"""Plain values and weights as a .safetensors file: the weights are its tensors, the rest is text in its head."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any, Dict, Mapping

from torch import Tensor

from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.files import check_can_be_written, checked, write_atomically

SUFFIX = ".safetensors"


def write_safetensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write a dict of plain values: "format", and under "weights" tensors by name. Tuples are read back as lists.

    Raises:
        UserError: the package is missing, the file cannot be written, or a weight is not finite.
    """
    _check_package(path)
    from safetensors.torch import save_file

    check_can_be_written(path, state)
    weights: Dict[str, Tensor] = {name: value.contiguous().clone() for name, value in state["weights"].items()}
    text = json.dumps({key: value for key, value in state.items() if key != "weights"})
    about = {"format": state["format"], "about": text, "sha256": _checksum(text, weights)}
    write_atomically(path, lambda partial: save_file(weights, str(partial), about))


def read_safetensors(path: Path, mark: str, what: str, *older: str) -> Dict[str, Any]:
    """The dict in a file of `write_safetensors`. Arguments: those of `files.read_plain`.

    Raises:
        UserError: the package is missing, or what `read_plain` says.
    """
    _check_package(path)
    from safetensors import safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            about, names = file.metadata() or {}, file.keys()
            weights = {name: file.get_tensor(name) for name in names}
        state = json.loads(about.get("about", "{}"))
    except Exception as error:  # its own class, and whatever json makes of strange text
        raise UserError(f"{path} is not readable as {what}: {one_line(error)}") from error
    if isinstance(state, dict):
        state["weights"] = weights
    state = checked(path, state, mark, what, older)
    if about.get("sha256") != _checksum(about["about"], weights):
        raise UserError(f"{path} is damaged: its checksum is another")
    return state


def _checksum(text: str, weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}".encode())
        digest.update(weights[name].numpy().tobytes())
    return digest.hexdigest()


def _check_package(path: Path) -> None:
    if importlib.util.find_spec("safetensors") is None:
        raise UserError(f"{path}: this needs the package safetensors: pip install 'resdex[hub]'")
