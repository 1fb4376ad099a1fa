"""The triangles of a mesh file, whatever its format; or in one sentence why there are none."""

import json
import struct
import warnings
from pathlib import Path
from typing import Any, NamedTuple, Tuple

import numpy as np
import trimesh

from resdex_tasks.objects.loading import Unusable
from resdex_tasks.objects.meshes.obj_file import read_obj
from resdex_tasks.objects.meshes.ply_file import read_ply
from resdex_tasks.objects.meshes.record import NOTED, Notes
from resdex_tasks.objects.meshes.stl_file import read_stl
from resdex_tasks.utils.errors import one_line

SUFFIXES = (".obj", ".stl", ".ply", ".glb")
OTHER_FORMATS = (
    *(".3dm", ".3ds", ".3mf", ".abc", ".amf", ".blend", ".c4d", ".dae", ".dxf", ".fbx", ".gltf", ".iges", ".igs"),
    *(".ma", ".max", ".mb", ".msh", ".off", ".pcd", ".skp", ".sldprt", ".step", ".stp", ".usd", ".usda", ".usdc"),
    *(".usdz", ".vtk", ".vtp", ".wrl", ".x3d", ".x_t", ".xyz"),
)
"""Three-dimensional formats that are not read, only counted."""
DISGUISES = (
    (b"version https://git-lfs", "is a Git LFS pointer in place of the mesh: git lfs pull fetches it"),
    (b"<!doctype", "is a web page, not a mesh"),
    (b"<html", "is a web page, not a mesh"),
    (b"<?xml", "is an XML file, not a mesh"),
    (b"pk\x03\x04", "is a zip archive, not a mesh: unpack it"),
    (b"\x1f\x8b", "is compressed by gzip: unpack it"),
    (b"\x89png", "is a picture, not a mesh"),
    (b"%pdf", "is a PDF, not a mesh"),
    (b"kaydara fbx", "is an FBX file, which is not read: export it as glb"),
)
"""How files begin that are called like a mesh and are something else, in lower case."""
SINGLE_PRECISION = (".stl", ".glb")
COARSE = 1e-3
"""Steps between single-precision numbers, as a fraction of the length, that are said."""
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


class Soup(NamedTuple):
    """The triangles of a file as they stand there."""

    vertices: np.ndarray
    """(V, 3) float64, in the unit of the file; some may be no numbers."""
    faces: np.ndarray
    """(F, 3) int64, F >= 1."""


def read_triangles(path: Path, content: bytes, notes: Notes) -> Soup:
    """Read the file `path`, whose bytes are `content`.

    Raises:
        Unusable: it is not readable, or has no triangles.
    """
    if not content.strip():
        raise Unusable(path, "is empty")
    start = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, reason in DISGUISES:
        if start.startswith(mark):
            raise Unusable(path, reason)
    reader = {".obj": read_obj, ".stl": read_stl, ".ply": read_ply, ".glb": _read_glb}[path.suffix.lower()]
    try:
        vertices, faces = reader(content, notes)
    except ValueError as error:
        raise Unusable(path, "is not a readable mesh", one_line(error)) from error
    if len(faces) == 0:
        raise Unusable(path, "has no triangles", "; ".join(finding.text for finding in notes.findings()))
    if path.suffix.lower() in SINGLE_PRECISION:
        _note_coarse(vertices[np.unique(faces)], notes)
    return Soup(vertices, faces)


def _note_coarse(vertices: np.ndarray, notes: Notes) -> None:
    """Single-precision numbers lose the shape of what lies far from the origin of its coordinates."""
    finite = vertices[np.isfinite(vertices).all(axis=1)]
    if len(finite):
        length, step = np.ptp(finite, axis=0).max(), np.spacing(np.float32(np.abs(finite).max()))
        if step > COARSE * length:
            text = f"it lies so far from its file's origin that it has only {length / step:.0f} steps of a length"
            notes.add(NOTED, text)


def _read_glb(content: bytes, notes: Notes) -> Tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of all nodes of a binary glTF.

    Raises:
        ValueError: it is broken.
    """
    needed = _glb_header(content).get("extensionsRequired") or []
    for name in COMPRESSIONS:
        if name in needed:
            raise ValueError(f"its triangles are compressed ({name}): export it without compression")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = trimesh.util.wrap_as_stream(content)
            # any kind of geometry: one that has no vertices or faces has no triangles
            loaded: Any = trimesh.load(file, file_type="glb", force="mesh", process=False, skip_materials=True)
        vertices = np.array(getattr(loaded, "vertices", ()), dtype=np.float64).reshape(-1, 3)
        faces = np.array(getattr(loaded, "faces", ()), dtype=np.int64).reshape(-1, 3)
    except Exception as error:  # trimesh's reader fails in many ways
        raise ValueError(f"its glTF is broken ({type(error).__name__}: {one_line(error)})") from error
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise ValueError(f"a triangle names vertex {faces.max()} of {len(vertices)}")
    return vertices, faces


def _glb_header(content: bytes) -> Any:
    """The JSON of a binary glTF. ValueError: it has none."""
    if content[:4] != b"glTF":
        raise ValueError("it does not begin as a binary glTF does")
    if len(content) < 20:
        raise ValueError("it ends within its header")
    length, size = struct.unpack("<8xI", content[:12])[0], struct.unpack("<I", content[12:16])[0]
    if length > len(content):
        raise ValueError(f"it is cut short: its header says {length} bytes, and it has {len(content)}")
    try:
        header = json.loads(content[20 : 20 + size])
    except ValueError as error:
        raise ValueError("its header is no JSON") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header
