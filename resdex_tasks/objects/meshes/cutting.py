"""Cuts a surface into convex pieces with CoACD, several at a time, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, List, Sequence, Set

import numpy as np
import trimesh
from scipy.spatial import ConvexHull, QhullError

from resdex_tasks.objects.geometry.convex import few_vertices, spans_volume
from resdex_tasks.objects.loading import Unusable
from resdex_tasks.objects.meshes.extra import check_coacd, manifold3d
from resdex_tasks.objects.meshes.record import LEFT_OUT, NOTED, Notes
from resdex_tasks.objects.meshes.solid import Solid

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
"""A closed surface with this fraction of its hull's volume and surface is one convex piece as it is."""
SLIVER = 0.002
"""Pieces thinner than this fraction of the size are dropped: 0.2 mm of 10 cm."""
TOUCHING = 0.01
"""Pieces touch where they are nearer than this fraction of the size."""
TIMEOUT = 600
"""s for the decomposition of one mesh."""
COACD_WORKER = Path(__file__).parent / "coacd_worker.py"


class Hopeless(Unusable):
    """A mesh that would fail again: the reason is cached."""


class Cutter:
    """Runs CoACD from any number of threads.

    Args:
        max_pieces: the most convex pieces of an object.
    """

    def __init__(self, max_pieces: int) -> None:
        self.max_pieces = max_pieces
        self._running: Set[subprocess.Popen] = set()
        self._lock, self._stopped = threading.Lock(), False

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()

    def cut(self, solid: Solid, path: Path, notes: Notes) -> List[np.ndarray]:
        """Vertices (V, 3) of the convex pieces, at most `MAX_VERTICES` each, in the frame of the solid.

        Raises:
            Unusable: it cannot be cut, or nothing is left.
        """
        convex: List[trimesh.Trimesh] = []
        others = list(solid.open)
        for body in solid.closed:
            (convex if _is_convex(body) else others).append(body)
        if len(convex) + bool(others) > self.max_pieces:
            convex, others = [], [*convex, *others]
        found = [np.asarray(body.vertices) for body in convex]
        if others:
            found += self._coacd(others, self.max_pieces - len(convex), path)
        kept = [few_vertices(points, MAX_VERTICES) for points in found if _thickness(points) >= SLIVER]
        if not kept:
            raise Hopeless(path, f"is thinner than {SLIVER:g} of its length")
        notes.add(LEFT_OUT, "{n} piece{s} thinner than " + f"{SLIVER:g} of the length", len(found) - len(kept))
        apart = parts_apart(kept)
        text = f"it has {apart} parts that do not touch, and counts as one rigid object"
        notes.add(NOTED, text, apart > 1)
        return kept

    def _coacd(self, bodies: Sequence[trimesh.Trimesh], max_pieces: int, path: Path) -> List[np.ndarray]:
        """Vertices of the pieces of what is not convex."""
        check_coacd(path)
        mesh: Any = trimesh.util.concatenate(bodies)
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
            np.savez(source, vertices=mesh.vertices, faces=mesh.faces, **settings)
            self._run(path, [sys.executable, str(COACD_WORKER), str(source), str(target)])
            with np.load(target, allow_pickle=False) as pieces:
                return [pieces[str(i)] for i in range(len(pieces.files))]

    def _run(self, path: Path, command: List[str]) -> None:
        """Run a worker to its end."""
        with self._lock:
            if self._stopped:
                raise Unusable(path, "was not cut: the import was stopped")
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # a worker for each core runs already
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
            self._running.add(process)
        try:
            _, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise Hopeless(path, f"took CoACD more than {TIMEOUT} s") from error
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode:
            message = errors.decode(errors="replace").strip().splitlines()
            detail = message[-1] if message else f"exit status {process.returncode}"
            kind = Unusable if process.returncode < 0 else Hopeless  # killed: it may have had too little memory
            raise kind(path, "cannot be cut into convex pieces", detail)


def _is_convex(body: trimesh.Trimesh) -> bool:
    hull = ConvexHull(body.vertices)
    return bool(body.volume >= CONVEX_FRACTION * hull.volume and body.area >= CONVEX_FRACTION * hull.area)


def parts_apart(pieces: List[np.ndarray]) -> int:
    """Into how many parts convex pieces of an object of length 1, given by their vertices (V, 3), fall that do not
    touch."""
    if len(pieces) == 1:
        return 1
    hulls = [manifold3d().Manifold.hull_points(points) for points in pieces]
    part = list(range(len(hulls)))
    for i, one in enumerate(hulls):
        for j in range(i):
            if part[i] != part[j] and one.min_gap(hulls[j], 2 * TOUCHING) < TOUCHING:
                part = [part[j] if p == part[i] else p for p in part]
    return len(set(part))


def union_volume(pieces: List[np.ndarray]) -> float:
    """Volume of the union of convex pieces, given by their vertices (V, 3)."""
    if len(pieces) == 1:
        return float(ConvexHull(pieces[0]).volume)
    m3d = manifold3d()
    hulls = [m3d.Manifold.hull_points(points) for points in pieces]
    return float(m3d.Manifold.batch_boolean(hulls, m3d.OpType.Add).volume())


def _thickness(points: np.ndarray) -> float:
    """Extent of the hull of points across its thinnest side; 0 for points that span no volume."""
    if not spans_volume(points):
        return 0.0
    try:
        equations = ConvexHull(points).equations
    except QhullError:
        return 0.0
    return float(-(points @ equations[:, :3].T + equations[:, 3]).min(axis=0).max(initial=-np.inf))
