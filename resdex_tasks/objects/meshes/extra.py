"""What `pip install 'resdex[meshes]'` brings, and one sentence where it is missing."""

import importlib
import importlib.util
from typing import Any

from resdex_tasks.utils.errors import UserError

INSTALL = "pip install 'resdex[meshes]'"


def manifold3d() -> Any:
    """The module.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec("manifold3d") is None:
        raise UserError(f"a mesh of several bodies, or with hollow polygons, needs manifold3d: {INSTALL}")
    return importlib.import_module("manifold3d")


def check_coacd(path: object) -> None:
    """UserError where CoACD is not installed, which the mesh in the file `path` needs."""
    if importlib.util.find_spec("coacd") is None:
        raise UserError(f"{path} is not convex, and cutting it up needs CoACD: {INSTALL}")
