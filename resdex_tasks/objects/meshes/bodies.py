"""Which triangles of a surface belong to one body, where bodies share corners, edges or whole triangles."""

from collections import deque
from typing import List, Tuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from resdex_tasks.objects.meshes.record import REPAIRED, Notes

EDGES = [[0, 1], [1, 2], [2, 0]]


def edge_use(faces: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The different edges (E, 2) of triangles (F, 3), each as its first triangle runs along it, and how many triangles
    (E,) each has."""
    directed = faces[:, EDGES].reshape(-1, 2)
    _, first, count = np.unique(np.sort(directed, axis=1), axis=0, return_index=True, return_counts=True)
    return directed[first], count


def bodies_of(faces: np.ndarray, notes: Notes) -> List[np.ndarray]:
    """Rows of the triangles (F, 3) of each body, in the file's order.

    Triangles that hang together by edges are one body, unless some that follow one another are closed by themselves:
    files write one body after the other. Copies of a triangle are left out, and so are walls between bodies.
    """
    out = []
    edge = _edge_numbers(faces)
    owner = np.repeat(np.arange(len(faces)), 3)
    incidence = coo_matrix(
        (np.ones(len(owner)), (owner, edge.reshape(-1) + len(faces))), shape=2 * (len(faces) + edge.max() + 1,)
    )
    part = connected_components(incidence, directed=False)[1][: len(faces)]
    order = np.argsort(part, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
        rows = rows[_once(faces[rows], notes)]
        out += [rows[closed] for closed in _closed_runs(edge[rows])]
    return out


def _edge_numbers(faces: np.ndarray) -> np.ndarray:
    """(F, 3) number of each edge, the same for all triangles that have it."""
    edges = np.sort(faces[:, EDGES].reshape(-1, 2), axis=1)
    return np.unique(edges, axis=0, return_inverse=True)[1].reshape(-1, 3)


def _once(faces: np.ndarray, notes: Notes) -> np.ndarray:
    """Rows of the triangles that stay where several have the same corners.

    Of two with opposite senses both are a wall between two bodies, if the rest is closed; or else one is the back of
    the other. Of two with one sense the second is a copy; or both are a wall between bodies that face against each
    other, if only then the rest is closed.
    """
    corners = np.sort(faces, axis=1)
    _, first, group, count = np.unique(corners, axis=0, return_index=True, return_inverse=True, return_counts=True)
    if (count == 1).all():
        return np.arange(len(faces))
    sense = np.where(_is_even(np.argsort(faces, axis=1)), 1, -1)
    balance = np.bincount(group.reshape(-1), weights=sense)
    for stays in (balance != 0, count % 2 == 1):
        kept = np.sort(first[stays])
        if len(kept) and _is_even_everywhere(faces[kept]):
            walls = int(count[~stays].sum())
            notes.add(REPAIRED, "{n} triangle{s} between touching bodies {were} taken out", walls)
            notes.add(REPAIRED, "{n} triangle{s} {were} there more than once", int((count[stays] - 1).sum()))
            return kept
    notes.add(REPAIRED, "{n} triangle{s} {were} there more than once", int((count - 1).sum()))
    return np.sort(first)


def _is_even(permutations: np.ndarray) -> np.ndarray:
    """(N,) bool: permutations (N, 3) of three that are a rotation."""
    return (permutations[:, 1] - permutations[:, 0]) % 3 == 1


def _is_even_everywhere(faces: np.ndarray) -> bool:
    return not (edge_use(faces)[1] % 2).any()


def _closed_runs(edge: np.ndarray) -> List[np.ndarray]:
    """Rows of triangles, given by their edges (F, 3), cut wherever every edge so far has an even number of them."""
    open_: set = set()
    start, runs = 0, []
    for i, row in enumerate(edge.tolist()):
        open_.symmetric_difference_update(row)
        if not open_:
            runs.append(np.arange(start, i + 1))
            start = i + 1
    return runs if start == len(edge) else [np.arange(len(edge))]


def without_fins(faces: np.ndarray) -> np.ndarray:
    """(F,) bool: the triangles that are left when all go that hang free at an edge, one after the other.

    All stay where no edge has more than two triangles: what hangs there is the surface itself.
    """
    kept = np.ones(len(faces), dtype=bool)
    edge = _edge_numbers(faces)
    count = np.bincount(edge.reshape(-1))
    if count.max() <= 2 or count.min() >= 2:
        return kept
    users: List[List[int]] = [[] for _ in count]
    for i, row in enumerate(edge.tolist()):
        for e in row:
            users[e].append(i)
    free = deque(np.flatnonzero((count[edge] == 1).any(axis=1)).tolist())
    while free:
        face = free.popleft()
        if not kept[face]:
            continue
        kept[face] = False
        for e in edge[face]:
            count[e] -= 1
            if count[e] == 1:
                free += [i for i in users[e] if kept[i]]
    return kept
