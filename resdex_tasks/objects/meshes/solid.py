"""The outer surfaces of what a file's triangles enclose: faults repaired, every body once, and all of it said."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
import trimesh

from resdex_tasks.objects.geometry.convex import spans_volume
from resdex_tasks.objects.loading import Unusable
from resdex_tasks.objects.meshes.bodies import bodies_of, edge_use, without_fins
from resdex_tasks.objects.meshes.extra import manifold3d
from resdex_tasks.objects.meshes.reading import Soup
from resdex_tasks.objects.meshes.record import LEFT_OUT, NOTED, REPAIRED, Notes

SAME_PLACE_DIGITS = 6
"""Corners nearer than 1e-6 of the length are one."""
SMALL_HOLE = 0.05
"""A hole is closed where its area is at most this fraction of the surface; or, of any size, where it has at most
`FEW_EDGES`."""
FEW_EDGES = 4
MIN_VOLUME = 1e-9
"""Of a body, as a fraction of the cube of the length; what has less is flat."""
PROBES = 1000
FLUSH = 1e-4
"""A corner this near to a plane, as a fraction of the length, is in it."""
MOST_ONE_BY_ONE = 200
"""More bodies than this are united at once, and not told apart."""
SAME_VOLUME = 1e-4
"""Fraction of a body's volume that rounding may make of it."""


@dataclass(frozen=True)
class Solid:
    """The surface of an object, outward, in a frame with the axes of the file."""

    closed: Sequence[trimesh.Trimesh]
    """Bodies, no two of which share a volume. Together with those of `open` they are 1 long."""
    open: Sequence[trimesh.Trimesh]
    """Surfaces that enclose nothing for certain."""
    length: float
    """What 1 is, in the unit of the file."""

    @property
    def vertices(self) -> np.ndarray:
        """(V, 3) of all bodies."""
        return np.concatenate([body.vertices for body in (*self.closed, *self.open)])

    @property
    def volume(self) -> Optional[float]:
        """None where a surface is open."""
        return None if self.open else float(sum(body.volume for body in self.closed))


def make_solid(path: Path, soup: Soup, notes: Notes) -> Solid:
    """Make one surface of all triangles of a file.

    Raises:
        Unusable: they span no volume.
    """
    faces = _finite_faces(path, soup, notes)
    used, faces = np.unique(faces, return_inverse=True)
    vertices, length = _of_length_one(path, soup.vertices[used])
    mesh = trimesh.Trimesh(vertices, faces.reshape(-1, 3), process=False)
    mesh.merge_vertices(digits_vertex=SAME_PLACE_DIGITS, merge_tex=True, merge_norm=True)
    mesh.update_faces(_corners_differ(mesh.faces))
    mesh.remove_unreferenced_vertices()
    if len(mesh.faces) == 0 or not spans_volume(mesh.vertices):
        raise Unusable(path, "spans no volume", "all its triangles lie in one plane" if len(mesh.faces) else "")
    parts = [_submesh(mesh, rows) for rows in bodies_of(np.asarray(mesh.faces), notes)]
    parts = [_repaired(part, notes) for part in _parts_with_volume(parts, notes)]
    if len(parts) == 1 and not _is_closed(parts[0]) and covers_hull(parts[0]):
        parts = [trimesh.convex.convex_hull(parts[0].vertices)]
        notes.add(REPAIRED, "its triangles do not fit together, but cover their convex hull, which was taken")
    closed = [part for part in parts if _is_closed(part)]
    open_ = [part for part in parts if not _is_closed(part)]
    if len(closed) > 1:
        closed = _united(closed, notes)
    edges = sum(int((edge_use(part.faces)[1] == 1).sum()) for part in open_)
    notes.add(
        NOTED, f"its surface is open ({edges} edges with one triangle): what it encloses is not known", bool(open_)
    )
    return _again_of_length_one(Solid(closed, open_, length))


def _finite_faces(path: Path, soup: Soup, notes: Notes) -> np.ndarray:
    """The faces without those that have a corner which is no number."""
    finite = np.isfinite(soup.vertices).all(axis=1)[soup.faces].all(axis=1)
    if not finite.any():
        raise Unusable(path, "has no triangle whose corners are finite numbers")
    if not finite.all():
        text = f"{{n}} of {len(finite):,} triangles, with a corner that is no finite number"
        notes.add(LEFT_OUT, text, int((~finite).sum()))
    return soup.faces[finite]


def _of_length_one(path: Path, vertices: np.ndarray) -> Tuple[np.ndarray, float]:
    """Vertices about the middle of their box, which is 1 long; and its length in the file."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        length, middle = float((high - low).max()), low / 2 + high / 2
        scaled = (vertices - middle) / length if length else vertices
    if length == 0:
        raise Unusable(path, "spans no volume", "all its corners are at one place")
    if not np.isfinite(scaled).all():
        raise Unusable(path, "has coordinates too large to compute with", f"up to {np.abs(vertices).max():.1g}")
    return scaled, length


def _again_of_length_one(solid: Solid) -> Solid:
    """The same after parts of it have gone."""
    low, high = solid.vertices.min(axis=0), solid.vertices.max(axis=0)
    factor, middle = float((high - low).max()), (low + high) / 2

    def scaled(bodies: Sequence[trimesh.Trimesh]) -> List[trimesh.Trimesh]:
        return [trimesh.Trimesh((body.vertices - middle) / factor, body.faces, process=False) for body in bodies]

    return Solid(scaled(solid.closed), scaled(solid.open), solid.length * factor)


def _submesh(mesh: trimesh.Trimesh, rows: np.ndarray) -> trimesh.Trimesh:
    part = trimesh.Trimesh(mesh.vertices, mesh.faces[rows], process=False)
    part.remove_unreferenced_vertices()
    return part


def _corners_differ(faces: np.ndarray) -> np.ndarray:
    a, b, c = faces.T
    return (a != b) & (b != c) & (c != a)


def _parts_with_volume(parts: List[trimesh.Trimesh], notes: Notes) -> List[trimesh.Trimesh]:
    """Bodies without loose flat bits, where these are the smaller part of the surface."""
    flat = np.array([not spans_volume(part.vertices) for part in parts])
    areas = np.array([part.area for part in parts])
    if not flat.any() or areas[flat].sum() > areas[~flat].sum():
        return parts
    count = sum(len(part.faces) for part, is_flat in zip(parts, flat) if is_flat)
    notes.add(LEFT_OUT, "{n} loose triangle{s}, which {have} no volume", count)
    return [part for part, is_flat in zip(parts, flat) if not is_flat]


def _repaired(body: trimesh.Trimesh, notes: Notes) -> trimesh.Trimesh:
    """A body with its small holes closed, and all its triangles turned outwards."""
    kept = without_fins(body.faces)
    if not kept.all() and body.area_faces[kept].sum() >= body.area / 2:
        notes.add(LEFT_OUT, "{n} triangle{s} that {hang} at an edge of the surface", int((~kept).sum()))
        body.update_faces(kept)
        body.remove_unreferenced_vertices()
    before = np.array(body.faces)
    if not body.is_winding_consistent:
        trimesh.repair.fix_winding(body)
    body = _holes_closed(body, notes)
    if body.volume < 0:
        body.invert()
    if _is_closed(body):
        turned = len(before) - int(_same_turn(before, body.faces[: len(before)]).sum())
        notes.add(REPAIRED, "{n} triangle{s} faced inwards, and {were} turned", turned)
    return body


def _is_closed(body: trimesh.Trimesh) -> bool:
    """Whether triangles run along every edge as often one way as the other, and enclose a volume."""
    directed = body.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    sense = np.where(directed[:, 0] < directed[:, 1], 1, -1)
    _, edge = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True)
    return bool(body.volume > MIN_VOLUME) and not np.bincount(edge.reshape(-1), weights=sense).any()


def covers_hull(body: trimesh.Trimesh) -> bool:
    """Whether triangles cover their convex hull without a gap, as `PROBES` random points show, whatever is inside."""
    hull = trimesh.convex.convex_hull(body.vertices)
    probes, facet = trimesh.sample.sample_surface(hull, PROBES, seed=0)
    normals, corners = hull.face_normals, hull.triangles[:, 0]
    covered = np.zeros(PROBES, dtype=bool)
    for face in np.unique(facet):
        above = np.abs((body.vertices - corners[face]) @ normals[face])
        flush = body.triangles[(above[body.faces] < FLUSH).all(axis=1)]
        rows = np.flatnonzero(facet == face)
        if len(flush):
            covered[rows] = _within(probes[rows], flush, normals[face]).any(axis=1)
    return bool(covered.all())


def _within(points: np.ndarray, triangles: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """(P, F) bool: points (P, 3) that are in triangles (F, 3, 3) of the same plane, give or take `FLUSH`."""
    sides = np.cross(normal, np.roll(triangles, -1, axis=1) - triangles)
    lengths = np.linalg.norm(sides, axis=2, keepdims=True)
    sides = sides / np.maximum(lengths, 1e-300)
    at = np.einsum("psfi,fsi->pfs", points[:, None, None] - np.swapaxes(triangles, 0, 1)[None], sides)
    return (at >= -FLUSH).all(axis=2) | (at <= FLUSH).all(axis=2)


def _same_turn(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(F,) bool: triangles that run the same way round the same corners."""
    return np.logical_or.reduce([(one == np.roll(other, shift, axis=1)).all(axis=1) for shift in range(3)])


def _holes_closed(body: trimesh.Trimesh, notes: Notes) -> trimesh.Trimesh:
    """The body with its small holes closed by fans. The rim of what is flat is no hole."""
    loops = _loops(body.faces) if spans_volume(body.vertices) else []
    vertices, faces, area = list(np.asarray(body.vertices)), [np.asarray(body.faces)], float(body.area)
    for loop in loops:
        rim = body.vertices[loop]
        triangles = np.stack([rim, np.roll(rim, -1, axis=0), np.broadcast_to(rim.mean(axis=0), rim.shape)], axis=1)
        if len(loop) > FEW_EDGES and trimesh.triangles.area(triangles).sum() > SMALL_HOLE * area:
            continue
        notes.add(REPAIRED, "{n} hole{s} in the surface {were} closed")
        if len(loop) == 3:
            faces.append(np.array([loop]))
            continue
        vertices.append(rim.mean(axis=0))
        centre = len(vertices) - 1
        faces.append(np.array([[a, b, centre] for a, b in zip(loop, [*loop[1:], loop[0]])]))
    return trimesh.Trimesh(np.array(vertices), np.concatenate(faces), process=False) if len(faces) > 1 else body


def _loops(faces: np.ndarray) -> List[List[int]]:
    """Rims of a surface's holes, each in the sense in which triangles that close it run."""
    directed, count = edge_use(faces)
    following = {int(b): int(a) for a, b in directed[count == 1]}  # back along the edge
    if len(following) < int((count == 1).sum()):
        return []  # holes that touch: which rim goes on where is not told
    loops = []
    while following:
        start, at = following.popitem()
        loop = [start]
        while at != start and at in following:
            loop.append(at)
            at = following.pop(at)
        if at == start and len(loop) >= 3:
            loops.append(loop)
    return loops


def _united(bodies: Sequence[trimesh.Trimesh], notes: Notes) -> List[trimesh.Trimesh]:
    """The outer surfaces of closed bodies, each in one piece."""
    m3d = manifold3d()
    manifolds = sorted((_manifold(body) for body in bodies), key=lambda body: -body.volume())
    nested = overlapping = 0
    if len(manifolds) > MOST_ONE_BY_ONE:
        whole = m3d.Manifold.batch_boolean(manifolds, m3d.OpType.Add)
        notes.add(REPAIRED, "{n} bodies were united, so that what they share counts once", len(manifolds))
    else:
        whole = manifolds[0]
        for body in manifolds[1:]:
            sum_ = whole + body
            gained, own = sum_.volume() - whole.volume(), body.volume()
            nested += gained <= SAME_VOLUME * own
            overlapping += SAME_VOLUME * own < gained < (1 - SAME_VOLUME) * own
            whole = sum_
    notes.add(LEFT_OUT, "{n} {bodies} that {lie} inside others, or {are} there already", nested)
    notes.add(REPAIRED, "{n} {bodies} overlapped others, and {were} united with them", overlapping)
    parts = whole.decompose()
    outer = [part for part in parts if part.volume() > 0]
    notes.add(REPAIRED, "{n} hollow{s} that nothing opens to {were} filled", len(parts) - len(outer))
    return [_mesh(part) for part in outer]


def _manifold(body: trimesh.Trimesh) -> Any:
    m3d = manifold3d()
    vertices, faces = np.asarray(body.vertices, np.float64), np.asarray(body.faces, np.uint64)
    return m3d.Manifold(m3d.Mesh64(vertices, faces))


def _mesh(manifold: Any) -> trimesh.Trimesh:
    mesh = manifold.to_mesh64()
    vertices = np.asarray(mesh.vert_properties, np.float64)[:, :3]
    return trimesh.Trimesh(vertices, np.asarray(mesh.tri_verts, np.int64), process=False)
