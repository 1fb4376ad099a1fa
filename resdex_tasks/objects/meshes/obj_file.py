"""Wavefront OBJ: the vertices and polygons of a file, and nothing else of it."""

from typing import List, Tuple

import numpy as np

from resdex_tasks.objects.meshes.polygons import triangles_of
from resdex_tasks.objects.meshes.record import LEFT_OUT, Notes

NO_SURFACE = {"l": "line{s}", "p": "point{s}", "surf": "free-form surface{s}", "curv": "curve{s}"}
"""Elements that are left out, in words."""


def decoded(content: bytes) -> str:
    """A text file's text: UTF-8 or UTF-16 where it says or shows it, else Latin-1, which takes any bytes."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_obj(content: bytes, notes: Notes) -> Tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (F, 3) of an OBJ file, polygons cut up.

    Raises:
        ValueError: a line is broken; the message names it.
    """
    vertices: List[List[float]] = []
    polygons: List[List[int]] = []
    text = decoded(content).replace("\\\r\n", " ").replace("\\\n", " ")
    if "\0" in text:
        raise ValueError("it is a binary file, not the text that an OBJ is")
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append(_vertex(words[1:4], number))
        elif words[0] in ("f", "fo"):
            polygons.append([_index(word, len(vertices), number) for word in words[1:]])
        elif words[0] in NO_SURFACE:
            notes.add(LEFT_OUT, "{n} " + NO_SURFACE[words[0]] + ", which {are} no surface")
    if not polygons and not vertices:
        raise ValueError("no line of it is a vertex or a face of an OBJ")
    if not polygons:
        notes.add(LEFT_OUT, "{n} {vertices} without a face", len(vertices))
    most = max((max(polygon, default=-1) for polygon in polygons), default=-1)
    if most >= len(vertices):
        raise ValueError(f"a face names vertex {most + 1}, and there are {len(vertices)}")
    points = np.array(vertices, np.float64).reshape(-1, 3)
    return points, triangles_of(points, polygons)


def _vertex(words: List[str], number: int) -> List[float]:
    if len(words) < 3:
        raise ValueError(f"line {number}: a vertex needs three numbers")
    try:
        return [float(word) for word in words]
    except ValueError:
        comma = "; numbers need a decimal point" if any("," in word for word in words) else ""
        raise ValueError(f"line {number}: '{' '.join(words)}' is no vertex{comma}") from None


def _index(word: str, count: int, number: int) -> int:
    """Which vertex, from 0, the corner of a face is: `word` counts from 1, or back from the last one so far."""
    try:
        index = int(word.split("/", 1)[0])
    except ValueError:
        raise ValueError(f"line {number}: '{word}' is no corner of a face") from None
    if index == 0:
        raise ValueError(f"line {number}: a face names vertex 0, and OBJ counts from 1")
    if index < -count:
        raise ValueError(f"line {number}: a face names vertex {index}, and there are {count} so far")
    return index - 1 if index > 0 else count + index
