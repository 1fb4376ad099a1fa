"""A folder of the user's own meshes as objects: each is read, made solid, cut into convex pieces, laid on the table."""

import json
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from scipy.spatial import QhullError

from resdex_tasks.objects.geometry.convex import mass_centre, quick_convex_piece
from resdex_tasks.objects.loading import LOG, Unusable, attempt
from resdex_tasks.objects.meshes import cutting
from resdex_tasks.objects.meshes.cutting import Cutter, Hopeless, union_volume
from resdex_tasks.objects.meshes.reading import OTHER_FORMATS, SUFFIXES, read_triangles
from resdex_tasks.objects.meshes.record import Finding, MeshImport, MeshRecord, Notes
from resdex_tasks.objects.meshes.sizes import (
    DEFAULT_SIZE,
    SLACK,
    check_length,
    hull_about_centre,
    length_of,
    metres_of,
    rests,
)
from resdex_tasks.objects.meshes.solid import make_solid
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject
from resdex_tasks.objects.top_down import top_down_proposals
from resdex_tasks.utils.disk_cache import ArrayCache, cache_key
from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.threads import available_cores

CACHE_VERSION = "pieces 2"
HOPELESS, FINDINGS, MEASURES = "hopeless", "findings", "measures"
"""The cache's entries for why a mesh cannot be used, so that minutes are not spent on it each time; for what was found
in it; and for `_Pieces.volume` and `length`."""


class _Pieces(NamedTuple):
    """A mesh in convex pieces, with the axes of the file, and 1 long."""

    vertices: List[np.ndarray]
    """(V, 3) of each piece."""
    volume: float
    """Of the solid, what pieces share counted once."""
    length: float
    """What 1 is, in the unit of the file."""
    findings: Tuple[Finding, ...]


def import_meshes(
    root: Union[str, Path],
    size: Optional[float] = DEFAULT_SIZE,
    unit: Union[str, float, None] = None,
    max_pieces: int = 16,
    split: str = "train",
    cache: Optional[Union[str, Path]] = None,
    names: Optional[Sequence[str]] = None,
) -> MeshImport:
    """Every `SUFFIXES` mesh below a folder, with what happened to it, in the order of their paths.

    An object is named by its path below `root`, for example "mugs/red.obj". Its category is the first folder of this
    path, or else the file's name without the number at its end: "mug" for both "mug/a/model.obj" and "mug_07.stl".
    Its frame's origin is its centre of mass, and its frame's axes are the file's.

    Decompositions are cached under a hash of the file's content and of the settings, so that an interrupted run resumes
    where it stopped, and another size or unit costs nothing. As many are made at a time as there are cores.

    Args:
        root: the folder; folders to which it has links are followed.
        size: m, the longest side of the smallest box, turned in any way, around the object; None: the files are in
            metres and stay as they are.
        unit: of the files, which stay as they are: a name of `UNITS`, or metres; None: see `size`.
        max_pieces: the most convex pieces of an object.
        split: one of `SPLITS`, noted in every object.
        cache: folder for the decompositions; None: in the user's cache.
        names: keep only these objects, in this order, and read no others; None keeps all.

    Raises:
        UserError: a value cannot be used, or there is no mesh; the message names it.
    """
    metres = metres_of(unit, size)
    root = Path(root).expanduser()
    files, others = mesh_files(root)
    if names is not None:
        files = {name: files[name] for name in _checked_names(names, list(files))}
    store = ArrayCache(cache, "meshes")
    records: Dict[str, MeshRecord] = {}

    cutter = Cutter(max_pieces)

    def build(name: str) -> GraspObject:
        path, notes = files[name], Notes()
        try:
            pieces = _cached_pieces(path, cutter, metres, store, notes)
        except Unusable:
            records[name] = MeshRecord(name, notes.findings())  # may say why
            raise
        records[name] = MeshRecord(name, pieces.findings)
        return _laid(name, split, pieces, size, metres, path)

    results = attempt(list(files), build, few=1, workers=available_cores(), stop=cutter.stop)
    done = []
    for name, result in zip(files, results):
        outcome: Any = {"refusal": result} if isinstance(result, Unusable) else {"obj": result}
        done.append(replace(records[name], **outcome))
    imported = MeshImport(root, done, {} if names is not None else others)
    for line in imported.lines():
        LOG.info("%s", line)
    return imported


def mesh_files(root: Path) -> Tuple[Dict[str, Path], Dict[str, int]]:
    """Meshes below a folder by their objects' names, in the order of their paths, and how many files there are of each
    other format.

    Raises:
        UserError: there is no such folder, or no mesh in it.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    files: Dict[str, Path] = {}
    others: Counter = Counter()
    for path in sorted(_walk(root, set())):
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            files[path.relative_to(root).as_posix()] = path
        elif suffix in OTHER_FORMATS:
            others[suffix] += 1
    if not files:
        there = f"; it has {MeshImport(root, (), others).other_formats}, which are not read" if others else ""
        raise UserError(f"there is no mesh ({', '.join(s[1:] for s in SUFFIXES)}) in {root}{there}")
    return files, others


def _walk(folder: Path, seen: set) -> Iterator[Path]:
    """Files below a folder and below those to which it has links; a folder to which several ways lead is entered once,
    not through a link where it lies below `folder` itself."""
    seen.add(os.path.realpath(folder))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {one_line(error)}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if os.path.realpath(entry.path) not in seen:
                yield from _walk(Path(entry.path), seen)
        elif entry.is_file():
            yield Path(entry.path)


def _checked_names(names: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    if not names:
        raise UserError("objects.names is empty; null keeps all objects")
    for name in names:
        if name not in known:
            raise UserError(
                f"objects.names has {name!r}, which is not among the {len(known)} meshes, such as {known[0]}"
            )
    return names


def category_of_path(name: str) -> str:
    """The category of the object of this name, see `import_meshes`."""
    first, slash, _ = name.partition("/")
    if slash:
        return first
    stem = Path(name).stem
    return re.sub(r"[-_. ]*\d+$", "", stem) or stem


def _cached_pieces(path: Path, cutter: Cutter, metres: Optional[float], store: ArrayCache, notes: Notes) -> _Pieces:
    """The convex pieces of a mesh: those of an earlier run, or new ones."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable(path, "cannot be read", one_line(error)) from error
    settings = (cutter.max_pieces, cutting.MAX_VERTICES, cutting.CONCAVITY, cutting.SEARCH, cutting.SLIVER)
    key = cache_key([CACHE_VERSION, content, path.suffix.lower(), *settings])
    cached = store.load(key)
    if cached is None:
        try:
            pieces = _cut(path, content, cutter, metres, notes)
        except Hopeless as error:
            store.store(key, {HOPELESS: np.array([error.reason, error.detail])})
            raise
        except QhullError as error:
            raise Unusable(path, "has no convex hull that can be worked out", one_line(error)) from error
        findings = json.dumps([[finding.kind, finding.text] for finding in pieces.findings])
        cached = {str(i): vertices for i, vertices in enumerate(pieces.vertices)}
        cached.update({FINDINGS: np.array(findings), MEASURES: np.array([pieces.volume, pieces.length])})
        store.store(key, cached)
    if HOPELESS in cached:
        reason, detail = map(str, cached[HOPELESS])
        raise Hopeless(path, reason, detail)
    findings_read = tuple(Finding(*pair) for pair in json.loads(str(cached[FINDINGS])))
    volume, length = map(float, cached[MEASURES])
    return _Pieces([cached[str(i)] for i in range(len(cached) - 2)], volume, length, findings_read)


def _cut(path: Path, content: bytes, cutter: Cutter, metres: Optional[float], notes: Notes) -> _Pieces:
    """Read a file and cut what it encloses, if the task may have room for it."""
    with np.errstate(all="ignore"):  # what is no number is looked for, where it counts
        solid = make_solid(path, read_triangles(path, content, notes), notes)
    if metres is not None:
        corners = metres * solid.length * hull_about_centre(solid.vertices)
        check_length(length_of(corners), metres, path)
        rests(corners, path, metres, slack=SLACK)
    pieces = cutter.cut(solid, path, notes)
    volume = union_volume(pieces) if solid.volume is None else solid.volume
    return _Pieces(pieces, volume, solid.length, notes.findings())


def _laid(
    name: str, split: str, pieces: _Pieces, size: Optional[float], metres: Optional[float], path: Path
) -> GraspObject:
    """The object: pieces about their centre of mass, in metres, at rest on the table."""
    convex = [quick_convex_piece(points) for points in pieces.vertices]
    if metres is not None:
        factor = metres * pieces.length
    else:
        assert size is not None  # `metres_of`
        factor = size / length_of(np.concatenate(pieces.vertices))
    centre = mass_centre(convex)
    scaled = tuple(ConvexPiece(factor * (piece.vertices - centre), piece.faces) for piece in convex)
    vertices = np.concatenate([piece.vertices for piece in scaled])
    check_length(length_of(vertices), metres, path)
    fraction = pieces.volume / sum(piece.volume for piece in convex)
    proposals = top_down_proposals(vertices, rests(vertices, path, metres))
    return GraspObject(name, category_of_path(name), split, scaled, proposals, solid_fraction=fraction)
