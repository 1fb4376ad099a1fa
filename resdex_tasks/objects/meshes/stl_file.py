"""STL, binary and text."""

import re
from typing import List, Tuple

import numpy as np

from resdex_tasks.objects.meshes.obj_file import decoded
from resdex_tasks.objects.meshes.record import LEFT_OUT, REPAIRED, Notes

HEADER, TRIANGLE = 84, 50
"""bytes, of the head with the number of triangles, and of each triangle."""
RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(content: bytes, notes: Notes) -> Tuple[np.ndarray, np.ndarray]:
    """Corners (3 F, 3) and triangles (F, 3) of an STL file.

    Raises:
        ValueError: it is neither a text nor a binary STL, or a part of it is missing.
    """
    corners = _read_text(content) if _is_text(content) else _read_binary(content, notes)
    return corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3)


def _is_text(content: bytes) -> bool:
    """Many binary files begin with "solid", too: only a text goes on with facets, and has no zero bytes."""
    start = content[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith(b"solid") and b"\0" not in content[:2048]


def _read_text(content: bytes) -> np.ndarray:
    """(F, 3, 3) corners."""
    rows: List[List[float]] = []
    text = decoded(content).lower()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words[:1] != ["vertex"]:
            continue
        try:
            x, y, z = map(float, words[1:4])
        except ValueError:
            raise ValueError(f"line {number}: '{line.strip()}' is no corner of a triangle") from None
        rows.append([x, y, z])
    if len(rows) % 3 or len(rows) != 3 * len(re.findall(r"^\s*facet\b", text, re.MULTILINE)):
        raise ValueError(f"it is cut short: its {len(rows)} corners are no whole triangles")
    corners = np.array(rows, np.float64).reshape(-1, 3, 3)
    if "endsolid" not in text and not _closed(corners):
        raise ValueError("it is cut short: it has no end, and its surface is open")
    return corners


def _read_binary(content: bytes, notes: Notes) -> np.ndarray:
    """(F, 3, 3) corners. Where the number of triangles in the head is wrong, a closed surface tells the true one."""
    if len(content) < HEADER:
        raise ValueError(f"it has {len(content)} bytes, and the head of an STL has {HEADER}")
    said = int(np.frombuffer(content, "<u4", 1, offset=80)[0])
    there, left = divmod(len(content) - HEADER, TRIANGLE)
    corners = np.frombuffer(content, RECORD, there, offset=HEADER)["corners"].astype(np.float64)
    if said == there:
        notes.add(LEFT_OUT, "{n} byte{s} after the last triangle", left)
        return corners
    if 0 < said < there and (_closed(corners[:said]) or not _closed(corners)):
        notes.add(LEFT_OUT, "{n} byte{s} after the last triangle", len(content) - HEADER - TRIANGLE * said)
        return corners[:said]
    if there and _closed(corners):
        notes.add(REPAIRED, f"the head counts {said} triangles, and the file has {there}")
        return corners
    raise ValueError(f"it is cut short, or no STL: its head says {said} triangles, and there is room for {there}")


def _closed(corners: np.ndarray) -> bool:
    """Whether every edge of triangles (F, 3, 3) has an even number of them."""
    if not np.isfinite(corners).all():
        return False
    _, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    faces = index.reshape(-1, 3)
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    return not (np.unique(edges, axis=0, return_counts=True)[1] % 2).any()
