"""PLY, binary and text: the vertices and polygons of a file, and nothing else of it."""

from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from resdex_tasks.objects.meshes.polygons import triangles_of
from resdex_tasks.objects.meshes.record import LEFT_OUT, Notes

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
"""Names of numbers -> numpy's."""
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CORNERS = ("vertex_indices", "vertex_index")


@dataclass
class _Element:
    name: str
    count: int
    order: List[Tuple[str, Optional[str], str]] = field(default_factory=list)
    """(property, type of a list's length or None, type) in the file's order."""


def read_ply(content: bytes, notes: Notes) -> Tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (F, 3) of a PLY file, polygons cut up.

    Raises:
        ValueError: it is broken, or a part of it is missing.
    """
    order, elements, body = _header(content)
    reader: Any = _TextReader(body) if order == "" else _BinaryReader(body, order)
    points, polygons, strips = np.zeros((0, 3)), [], 0
    for element in elements:
        try:
            columns = reader.read(element)
        except (IndexError, EOFError):
            raise ValueError(
                f"it is cut short: it says {element.count} of {element.name}, and they end before"
            ) from None
        if element.name == "vertex":
            missing = [axis for axis in "xyz" if axis not in columns]
            if missing:
                raise ValueError(f"its vertices have no {missing[0]}")
            points = np.stack([np.asarray(columns[axis], np.float64) for axis in "xyz"], axis=1)
        elif element.name == "face":
            name = next((name for name in CORNERS if name in columns), None)
            if name is None and element.count:
                raise ValueError("its faces name no vertices")
            polygons = [[int(i) for i in row] for row in columns[name]] if name else []
        elif element.name == "tristrips" and element.count:
            strips = element.count
            notes.add(LEFT_OUT, "strips of triangles (tristrips), which are not read")
    for polygon in polygons:
        if polygon and not (min(polygon) >= 0 and max(polygon) < len(points)):
            raise ValueError(f"a face names vertex {max(polygon)}, and there are {len(points)}, counted from 0")
    if not polygons and not strips:
        notes.add(LEFT_OUT, "{n} {vertices} without a face", len(points))
    return points, triangles_of(points, polygons)


def _header(content: bytes) -> Tuple[str, List[_Element], bytes]:
    """Byte order ('': text), elements, and the bytes after the header."""
    if content[:3].lower() != b"ply":
        raise ValueError("it does not begin as a PLY does")
    end = content.find(b"end_header")
    if end < 0:
        raise ValueError("its header has no end")
    after = content[end + len(b"end_header") :]
    body = after[2:] if after[:2] == b"\r\n" else after[1:]
    order: Optional[str] = None
    elements: List[_Element] = []
    for line in content[:end].decode("latin-1").splitlines():
        words = line.split()
        try:
            if words[:1] == ["format"]:
                order = FORMATS[words[1]]
            elif words[:1] == ["element"]:
                elements.append(_Element(words[1], int(words[2])))
                if elements[-1].count < 0:
                    raise ValueError
            elif words[:2] == ["property", "list"]:
                elements[-1].order.append((words[4], TYPES[words[2]], TYPES[words[3]]))
            elif words[:1] == ["property"]:
                elements[-1].order.append((words[2], None, TYPES[words[1]]))
        except (KeyError, IndexError, ValueError):
            raise ValueError(f"its header has the line '{line.strip()[:60]}'") from None
    if order is None:
        raise ValueError("its header names no format")
    return order, elements, body


class _TextReader:
    def __init__(self, body: bytes) -> None:
        self._words: Iterator[str] = iter(body.decode("latin-1").split())

    def _next(self) -> float:
        word = next(self._words, None)
        if word is None:
            raise EOFError
        try:
            return float(word)
        except ValueError:
            raise ValueError(f"'{word[:40]}' is no number") from None

    def read(self, element: _Element) -> Dict[str, List[Any]]:
        """The element's columns."""
        columns: Dict[str, List[Any]] = {name: [] for name, _, _ in element.order}
        for _ in range(element.count if columns else 0):
            for name, length, _ in element.order:
                columns[name].append(
                    self._next() if length is None else [self._next() for _ in range(_length(self._next()))]
                )
        return columns


class _BinaryReader:
    def __init__(self, body: bytes, order: str) -> None:
        self._body, self._order, self._at = body, order, 0

    def read(self, element: _Element) -> Dict[str, Any]:
        """The element's columns."""
        rows = self._equal_rows(element)
        if rows is not None:
            return {name: rows[name] for name, _, _ in element.order}
        columns: Dict[str, List[Any]] = {name: [] for name, _, _ in element.order}
        for _ in range(element.count if columns else 0):
            for name, length, kind in element.order:
                if length is None:
                    columns[name].append(self._take(kind, 1)[0])
                else:
                    columns[name].append(self._take(kind, _length(self._take(length, 1)[0])))
        return columns

    def _take(self, kind: str, count: int) -> np.ndarray:
        dtype = np.dtype(self._order + kind)
        if self._at + count * dtype.itemsize > len(self._body):
            raise EOFError
        out = np.frombuffer(self._body, dtype, count, offset=self._at)
        self._at += count * dtype.itemsize
        return out

    def _equal_rows(self, element: _Element) -> Optional[np.ndarray]:
        """All rows at once, where each of its lists is as long in every row as in the first; else None."""
        if not element.count or not element.order:
            return None
        start, lengths = self._at, {}
        fields: List[Any] = []
        for name, length, kind in element.order:
            if length is None:
                fields.append((name, self._order + kind))
                self._take(kind, 1)
            else:
                lengths[name] = _length(self._take(length, 1)[0])
                fields += [(f"length of {name}", self._order + length), (name, self._order + kind, (lengths[name],))]
                self._take(kind, lengths[name])
        self._at = start
        try:
            dtype = np.dtype(fields)
        except ValueError:
            raise ValueError(f"its header names a property of {element.name} twice") from None
        if dtype.itemsize * element.count > len(self._body) - start:
            if lengths:
                return None  # the rows may be shorter than the first
            raise EOFError
        rows = np.frombuffer(self._body, dtype, element.count, offset=start)
        if any((rows[f"length of {name}"] != length).any() for name, length in lengths.items()):
            return None
        self._at += dtype.itemsize * element.count
        return rows


def _length(value: float) -> int:
    if not 0 <= value < 1e6:
        raise ValueError(f"it has a list of {value:g} numbers")
    return int(value)
