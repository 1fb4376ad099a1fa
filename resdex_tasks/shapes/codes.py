"""Shape codes of object sets, and the files that hold them with their encoder's id and the shapes' hashes."""

import dataclasses
import sys
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple, Union

import numpy as np
from tqdm import tqdm

from resdex_tasks.objects.geometry.surface import shape_hash
from resdex_tasks.objects.object_set import CODE_SIZE, ObjectSet
from resdex_tasks.shapes.encoder import ObjectEncoder
from resdex_tasks.utils.disk_cache import cache_folder
from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.files import read_arrays, write_arrays

FORMAT = "resdex-codes-1"
FEW = 200
"""Fewer objects than this are encoded within about a second, so no progress is shown."""


@dataclasses.dataclass(frozen=True)
class CodeFile:
    """The content of a file of codes."""

    encoder: str
    """The id of the encoder."""
    names: Tuple[str, ...]
    shapes: Tuple[str, ...]
    """`shape_hash` of each object: which shape of that name was encoded."""
    codes: np.ndarray
    """(N, 64) float32."""

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(self.shapes) != count or self.codes.shape != (count, CODE_SIZE) or not np.isfinite(self.codes).all():
            raise ValueError(f"{count} names need as many shapes, and codes of {CODE_SIZE} finite numbers")


def encode(objects: ObjectSet, encoder: ObjectEncoder, known: Optional[CodeFile] = None) -> CodeFile:
    """The codes of the objects, in their order; those of shapes that `known` holds are taken from there.

    Raises:
        UserError: `known` is of another encoder.
    """
    if known is not None and known.encoder != encoder.id:
        raise UserError(f"these codes are of encoder {known.encoder}, not of {encoder.id}")
    by_shape: Dict[str, np.ndarray] = {} if known is None else dict(zip(known.shapes, known.codes))
    shapes = [shape_hash(obj) for obj in objects]
    missing = {shape: obj for shape, obj in zip(shapes, objects) if shape not in by_shape}
    hidden = len(missing) < FEW or not sys.stderr.isatty()
    for shape, obj in tqdm(missing.items(), desc="shape codes", unit="object", leave=False, disable=hidden):
        by_shape[shape] = encoder.encode(obj)
    codes = np.stack([by_shape[shape] for shape in shapes])
    return CodeFile(encoder.id, tuple(objects.names), tuple(shapes), codes)


def with_codes(objects: ObjectSet, codes: Union[np.ndarray, Sequence[np.ndarray]], encoder: str) -> ObjectSet:
    """The same objects carrying the codes (N, 64) of the encoder with this id, in their order."""
    if len(codes) != len(objects):
        raise ValueError(f"{len(codes)} codes for {len(objects)} objects")
    return ObjectSet([dataclasses.replace(obj, code=np.asarray(code)) for obj, code in zip(objects, codes)], encoder)


def write_codes(path: Path, file: CodeFile) -> None:
    """Write a file of codes (npz).

    Raises:
        UserError: it cannot be written.
    """
    arrays = {
        "format": np.array(FORMAT),
        "encoder": np.array(file.encoder),
        "names": np.array(file.names, dtype=np.str_),
        "shapes": np.array(file.shapes, dtype=np.str_),
        "codes": file.codes.astype(np.float32),
    }
    write_arrays(path, arrays, compressed=True)


def read_codes(path: Path, encoder: Optional[str] = None) -> CodeFile:
    """Read a file of codes, without executing anything in it.

    Args:
        encoder: the id that its encoder must have; None: any.

    Raises:
        UserError: it is missing, is no such file, or is of another encoder.
    """
    if not path.is_file():
        raise UserError(f"no file of codes {path}")
    arrays = read_arrays(path, "a file of codes")
    try:
        if str(arrays["format"]) != FORMAT:
            raise ValueError(f"it lacks the mark '{FORMAT}'")
        names, shapes = (tuple(str(v) for v in arrays[key]) for key in ("names", "shapes"))
        file = CodeFile(str(arrays["encoder"]), names, shapes, arrays["codes"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not readable as a file of codes: {one_line(error)}") from error
    if encoder is not None and file.encoder != encoder:
        raise UserError(f"{path} holds codes of encoder {file.encoder}, not of {encoder}; give another file")
    return file


def add_codes(path: Path, objects: ObjectSet, encoder: ObjectEncoder) -> CodeFile:
    """Write the codes of the objects to a file, which keeps its codes of objects with other names.

    Raises:
        UserError: it cannot be written, or holds something else, or codes of another encoder, in which case nothing is
            computed.
    """
    known = read_codes(path, encoder.id) if path.is_file() else None
    file = _from_cache(objects, encoder)
    if known is not None:
        names = set(objects.names)
        others = [i for i, name in enumerate(known.names) if name not in names]
        file = _joined(known, others, file, range(len(objects)))
    write_codes(path, file)
    return file


def cache_file(encoder: ObjectEncoder) -> Path:
    """Where codes of this encoder are kept between runs."""
    return cache_folder() / f"codes_{encoder.id}.npz"


def cached_codes(objects: ObjectSet, encoder: ObjectEncoder) -> np.ndarray:
    """(N, 64) float32 codes. Those of shapes in `cache_file` are read from there; the others are computed and added.

    A damaged cache is replaced, and one that cannot be written is not used; either prints a line.
    """
    return _from_cache(objects, encoder).codes


def _from_cache(objects: ObjectSet, encoder: ObjectEncoder) -> CodeFile:
    """The codes of the objects, see `cached_codes`."""
    path = cache_file(encoder)
    known = None
    if path.is_file():
        try:
            known = read_codes(path, encoder.id)
        except UserError as error:
            print(f"shape codes are computed again: {error}")
    file = encode(objects, encoder, known)
    if known is None or not set(file.shapes) <= set(known.shapes):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_codes(path, file if known is None else _union(known, file))
        except (UserError, OSError) as error:
            print(f"shape codes are not kept for the next time: {error}")
    return file


def _union(known: CodeFile, file: CodeFile) -> CodeFile:
    """Every shape of both files, once."""
    have = set(known.shapes)
    return _joined(known, range(len(known.names)), file, [i for i, s in enumerate(file.shapes) if s not in have])


def _joined(one: CodeFile, rows: Sequence[int], two: CodeFile, more: Sequence[int]) -> CodeFile:
    """The given rows of two files, one after the other."""
    return CodeFile(
        one.encoder,
        (*(one.names[i] for i in rows), *(two.names[i] for i in more)),
        (*(one.shapes[i] for i in rows), *(two.shapes[i] for i in more)),
        np.concatenate([one.codes[list(rows)], two.codes[list(more)]]),
    )
