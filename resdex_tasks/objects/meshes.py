"""A folder of the user's own meshes as objects: each is scaled, cut into convex pieces and laid on the table."""

import importlib.util
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import trimesh
from scipy.spatial import ConvexHull, QhullError

from resdex_tasks.objects.geometry.convex import few_vertices, mass_centre, quick_convex_piece, spans_volume
from resdex_tasks.objects.geometry.placements import MAX_ABOVE_FRAME, MAX_REST_HEIGHT, lying_poses
from resdex_tasks.objects.loading import Unusable, gather
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject, ObjectSet
from resdex_tasks.objects.top_down import top_down_proposals
from resdex_tasks.utils.disk_cache import ArrayCache, cache_key
from resdex_tasks.utils.errors import UserError, one_line

SUFFIXES = (".obj", ".stl", ".ply", ".glb")
MAX_VERTICES = 64
"""Vertices of a piece: the simulators' collision tests slow down with more."""
CONCAVITY = 0.05
"""CoACD's threshold, as a fraction of the size: how much of a hollow a piece may fill."""
SEARCH = {
    "resolution": 1000,
    "preprocess_resolution": 30,
    "mcts_iterations": 60,
    "mcts_nodes": 10,
    "mcts_max_depth": 2,
}
"""CoACD's search effort: a seventh of the time of its defaults, for pieces that fill no more of the hollows."""
CONVEX_FRACTION = 0.99
"""A mesh with this fraction of its hull's volume and surface is one convex piece as it is."""
SLIVER = 0.002
"""Pieces thinner than this fraction of the size are dropped: 0.2 mm of 10 cm."""
MIN_TIP_DEGREES = (11.0, 3.0, 0.0)
"""degrees by which an object can be tilted before it falls over: the first of these that some pose reaches counts. A
ball has no pose of more than a few degrees."""
MAX_POSES = 3
TIMEOUT = 600
"""s for the decomposition of one mesh."""
COACD_WORKER = Path(__file__).parent / "geometry" / "coacd_worker.py"
CACHE_VERSION = "pieces 1"
HOPELESS = "hopeless"
"""The cache's entry for why a mesh cannot be used, so that minutes are not spent on it each time."""


class Hopeless(Unusable):
    """A mesh that would fail again: the reason is cached."""


def mesh_objects(
    root: Union[str, Path],
    size: Optional[float] = 0.10,
    max_pieces: int = 16,
    split: str = "train",
    cache: Optional[Union[str, Path]] = None,
    names: Optional[Sequence[str]] = None,
    report: Callable[[str], None] = print,
) -> ObjectSet:
    """Every `SUFFIXES` mesh below a folder as an object, in the order of their paths.

    An object is named by its path below `root`, for example "mugs/red.obj". Its category is the first folder of this
    path, or else the file's name without the number at its end: "mug" for both "mug/a/model.obj" and "mug_07.stl".
    Its frame's origin is its centre of mass, and its frame's axes are the file's.

    Decompositions are cached under a hash of the file's content and of the settings, so that an interrupted run resumes
    where it stopped, and another `size` costs nothing.

    Args:
        root: the folder.
        size: m, the longest extent along an axis of the file; None: the file is in metres and stays as it is.
        max_pieces: the most convex pieces of an object.
        split: one of `SPLITS`, noted in every object.
        cache: folder for the decompositions; None: in the user's cache.
        names: keep only these objects, in this order, and read no others; None keeps all.
        report: called with a line on how many meshes were left out, and why.

    Raises:
        UserError: a file or a value cannot be used; the message names it.
    """
    files = mesh_files(root)
    if names is not None:
        files = {name: files[name] for name in _checked_names(names, list(files))}
    store = ArrayCache(cache, "meshes")

    def build(name: str) -> GraspObject:
        path = files[name]
        pieces = _sized(_unit_pieces(path, max_pieces, store), size)
        vertices = np.concatenate([piece.vertices for piece in pieces])
        return GraspObject(
            name, category_of_path(name), split, pieces, top_down_proposals(vertices, _rests(vertices, path))
        )

    return gather(list(files), build, root, report, few=1)


def mesh_files(root: Union[str, Path]) -> Dict[str, Path]:
    """Every `SUFFIXES` mesh below a folder: the object's name -> the file, in the order of their paths.

    Raises:
        UserError: there is no such folder, or none in it.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    files = {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*")) if _is_mesh(p)}
    if not files:
        raise UserError(f"there is no mesh ({', '.join(s[1:] for s in SUFFIXES)}) in {root}")
    return files


def _is_mesh(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


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
    """The category of the object of this name, see `mesh_objects`."""
    first, slash, _ = name.partition("/")
    if slash:
        return first
    stem = Path(name).stem
    return re.sub(r"[-_. ]*\d+$", "", stem) or stem


def _unit_pieces(path: Path, max_pieces: int, store: ArrayCache) -> List[np.ndarray]:
    """Vertices (V, 3) of the convex pieces of a mesh, in the unit and the frame of the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable(path, "cannot be read", one_line(error)) from error
    key = cache_key([CACHE_VERSION, content, path.suffix.lower(), max_pieces, MAX_VERTICES, CONCAVITY, SEARCH, SLIVER])
    cached = store.load(key)
    if cached is None:
        try:
            pieces = _decompose(_clean_mesh(path), path, max_pieces)
        except Hopeless as error:
            store.store(key, {HOPELESS: np.array([error.reason, error.detail])})
            raise
        except QhullError as error:
            raise Unusable(path, "has no convex hull that can be worked out", one_line(error)) from error
        cached = {str(i): vertices for i, vertices in enumerate(pieces)}
        store.store(key, cached)
    if HOPELESS in cached:
        reason, detail = map(str, cached[HOPELESS])
        raise Hopeless(path, reason, detail)
    return [cached[str(i)] for i in range(len(cached))]


def _clean_mesh(path: Path) -> trimesh.Trimesh:
    """All triangles of a file as one mesh: without those of no area or with a corner that is no number, corners at the
    same place merged, single missing triangles filled in, all of them facing outwards."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # any kind of geometry: one that has no vertices or faces fails here
            loaded: Any = trimesh.load(str(path), force="mesh", process=False, skip_materials=True)
            vertices = np.array(loaded.vertices, dtype=np.float64).reshape(-1, 3)
            faces = np.array(loaded.faces, dtype=np.int64).reshape(-1, 3)
            corners = vertices[faces]
    except Exception as error:  # every format's reader fails in its own ways
        raise Unusable(path, "is not a readable mesh", one_line(error)) from error
    if len(faces) == 0:
        raise Unusable(path, "has no triangles")
    faces = faces[np.isfinite(corners).all(axis=(1, 2))]
    if len(faces) == 0:
        raise Unusable(path, "has no triangle whose corners are finite numbers")
    used = np.unique(faces)
    mesh = trimesh.Trimesh(vertices[used], np.searchsorted(used, faces), process=True)
    mesh.update_faces(mesh.nondegenerate_faces())
    mesh.remove_unreferenced_vertices()
    if len(mesh.faces) == 0 or not spans_volume(mesh.vertices):
        raise Unusable(path, "spans no volume")
    mesh.fill_holes()
    mesh.fix_normals()
    return mesh


def _decompose(mesh: trimesh.Trimesh, path: Path, max_pieces: int) -> List[np.ndarray]:
    """Vertices of the convex pieces, at most `MAX_VERTICES` each."""
    length = mesh.extents.max()
    hull = ConvexHull(mesh.vertices)
    if mesh.volume >= CONVEX_FRACTION * hull.volume and mesh.area >= CONVEX_FRACTION * hull.area:
        found = [mesh.vertices / length]
    else:
        found = _run_coacd(mesh.vertices / length, mesh.faces, path, max_pieces)
    kept = [few_vertices(points, MAX_VERTICES) for points in found if _thickness(points) >= SLIVER]
    if not kept:
        raise Hopeless(path, f"is thinner than {SLIVER:g} of its length")
    return [length * points for points in kept]


def _run_coacd(vertices: np.ndarray, faces: np.ndarray, path: Path, max_pieces: int) -> List[np.ndarray]:
    if importlib.util.find_spec("coacd") is None:
        raise UserError(f"{path} is not convex, and cutting it up needs CoACD: pip install 'resdex[meshes]'")
    settings: Dict[str, Any] = {
        "threshold": CONCAVITY,
        "max_convex_hull": max_pieces,
        "decimate": True,
        "max_ch_vertex": MAX_VERTICES,
        "seed": 0,
        **SEARCH,
    }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "mesh.npz", Path(folder) / "pieces.npz"
        np.savez(source, vertices=vertices, faces=faces, **settings)
        try:
            subprocess.run(
                [sys.executable, str(COACD_WORKER), str(source), str(target)],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=TIMEOUT,
            )
            with np.load(target, allow_pickle=False) as pieces:
                return [pieces[str(i)] for i in range(len(pieces.files))]
        except subprocess.TimeoutExpired as error:
            raise Hopeless(path, f"took CoACD more than {TIMEOUT} s") from error
        except subprocess.CalledProcessError as error:
            message = error.stderr.decode(errors="replace").strip().splitlines()
            detail = message[-1] if message else f"exit status {error.returncode}"
            kind = Unusable if error.returncode < 0 else Hopeless  # killed: it may have had too little memory
            raise kind(path, "cannot be cut into convex pieces", detail) from error


def _thickness(points: np.ndarray) -> float:
    """Extent of the hull of points across its thinnest side; 0 for points that span no volume."""
    if not spans_volume(points):
        return 0.0
    try:
        equations = ConvexHull(points).equations
    except QhullError:
        return 0.0
    return float(-(points @ equations[:, :3].T + equations[:, 3]).min(axis=0).max(initial=-np.inf))


def _sized(points: Sequence[np.ndarray], size: Optional[float]) -> Tuple[ConvexPiece, ...]:
    """Pieces about their centre of mass, scaled to the length `size`."""
    pieces = [quick_convex_piece(p) for p in points]
    centre = mass_centre(pieces)
    length = np.ptp(np.concatenate(points), axis=0).max()
    factor = 1.0 if size is None else size / length
    return tuple(ConvexPiece(factor * (piece.vertices - centre), piece.faces) for piece in pieces)


def _rests(vertices: np.ndarray, path: Path) -> np.ndarray:
    """(P, 4) the likeliest poses at rest that the task has room for, P >= 1."""
    length = np.ptp(vertices, axis=0).max()
    for tip in MIN_TIP_DEGREES:
        poses = lying_poses(vertices / length, tip)
        fitting = [
            pose.rotation
            for pose in poses
            if length * pose.height <= MAX_REST_HEIGHT and length * (pose.top - pose.height) <= MAX_ABOVE_FRAME
        ]
        if fitting:
            return np.array(fitting[:MAX_POSES])
    raise Unusable(
        path,
        "is too large for the task in every pose at rest; objects.size sets another size",
        f"{100 * length:.3g} cm long",
    )
