"""Convex solids from which the zoo's shapes are put together.

A solid is an array of points (N, 3) that stands for its convex hull; a shape is a list of them. The unit of length is
free, as a finished shape is scaled. Round solids have flat sides, so that they do not roll for ever, with
a side (not an edge) towards each of +-x, +-y where the number of sides is a multiple of four.
"""

from itertools import product
from typing import List, Sequence, Tuple, Union

import numpy as np

Points = np.ndarray
Shape = List[Points]
Vector = Union[np.ndarray, Sequence[float]]
Rows = Union[np.ndarray, Sequence[Vector]]
"""Points, one a row."""

MAX_POINTS = 64
"""Points of one solid: engines that collide convex meshes get slower with every corner."""
_CORNERS = np.array(list(product((-0.5, 0.5), repeat=3)))


def box(x: float, y: float, z: float, centre: Vector = (0.0, 0.0, 0.0)) -> Points:
    """A box with these sides."""
    return _CORNERS * (x, y, z) + np.asarray(centre)


def prism(outline: Rows, low: float, high: float, top: Union[float, Vector] = 1.0) -> Points:
    """`outline` (N, 2) in the xy plane, raised from `low` to `high`, where it is `top` times as large (in x and y)."""
    corners = np.asarray(outline, dtype=np.float64)
    return np.concatenate([np.insert(corners, 2, low, axis=1), np.insert(corners * top, 2, high, axis=1)])


def slab(x: float, y: float, z: float, corner: float, centre: Vector = (0.0, 0.0, 0.0)) -> Points:
    """A box that lies on the xy plane at `centre`, its four upright edges cut off, `corner` from each."""
    quarter = np.array([(x / 2, y / 2 - corner), (x / 2 - corner, y / 2)])
    outline = np.concatenate([quarter, quarter * (-1, 1), quarter * (-1, -1), quarter * (1, -1)])
    return prism(outline, 0.0, z) + np.asarray(centre)


def halves(points: Points) -> Shape:
    """The two halves of a solid that is symmetric about x = 0.

    A large flat solid lies more quietly as two: engines find few contacts between one convex piece and a plane.
    """
    cut = points * (0.0, 1.0, 1.0)  # of a symmetric solid, what lies in the plane
    return [np.concatenate([points[side * points[:, 0] > 0], cut]) for side in (1, -1)]


def rectangle(x: float, y: float) -> np.ndarray:
    """(4, 2) corners."""
    return _CORNERS[::2, :2] * (x, y)


def polygon(radius: float, sides: int) -> np.ndarray:
    """(sides, 2) corners of a regular polygon."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def lathe(profile: Sequence[Tuple[float, float]], sides: int = 12) -> Shape:
    """The solid that (radius, height) pairs, rising, sweep about the z axis, cut wherever the profile bends inwards."""
    rings = np.asarray(profile, dtype=np.float64)
    step = np.diff(rings, axis=0)
    outwards = step[:-1, 0] * step[1:, 1] - step[:-1, 1] * step[1:, 0] >= -1e-9
    runs, run = [], [0, 1]
    for k, bulges in enumerate(outwards):
        if not bulges or (len(run) + 1) * sides > MAX_POINTS:
            runs.append(run)
            run = [k + 1]
        run.append(k + 2)
    runs.append(run)
    solids = []
    for run in runs:
        if np.ptp(rings[run, 1]) > 0:  # else a step of the profile that bounds no volume
            corners = [np.insert(polygon(r, sides if r > 0 else 1), 2, z, axis=1) for r, z in rings[run]]
            solids.append(np.concatenate(corners))
    return solids


def shell(profile: Sequence[Tuple[float, float]], wall: float, segments: int = 8, floor: bool = True) -> Shape:
    """A hollow vessel: `segments` wall pieces around a floor, which touch but do not overlap.

    The outside is the solid of revolution of `profile`, (radius, height) pairs that rise and bulge outwards; the inside
    runs straight from the lowest to the highest. `wall` is the thickness of wall and floor.
    """
    (low_radius, low), (_, high) = profile[0], profile[-1]
    angle = 2 * np.pi * (np.arange(2 * segments + 1) - 1) / (2 * segments)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    walls = []
    for k in range(segments):
        outside, inside = circle[2 * k : 2 * k + 3], circle[2 * k : 2 * k + 3 : 2]
        rings = [np.insert(r * outside, 2, z, axis=1) for r, z in profile]
        rings += [np.insert((r - wall) * inside, 2, z, axis=1) for r, z in (profile[0], profile[-1])]
        walls.append(np.concatenate(rings))
    if not floor:
        return walls
    # the inside leans outwards as it rises; a floor that widens with it meets the walls without a gap
    lean = (profile[-1][0] - low_radius) / (high - low)
    widened = (low_radius - wall + lean * wall) / (low_radius - wall)
    return [*walls, prism((low_radius - wall) * circle[:-1:2], low, low + wall, widened)]


def blob(
    x: float, y: float, z: float, centre: Vector = (0.0, 0.0, 0.0), squareness: float = 2.0, levels: int = 5
) -> Points:
    """An ellipsoid with these diameters and flat poles; a squareness beyond 2 makes it a rounded box."""
    sides = 12 if levels <= 5 else 8
    latitude = np.radians(np.linspace(-68, 68, levels))
    upright = _superellipse(latitude, squareness) / (1.0, np.sin(np.radians(68)) ** (2 / squareness))
    outline = _superellipse(2 * np.pi * (np.arange(sides) + 0.5) / sides, squareness)
    rings = [np.insert(outline * r, 2, h, axis=1) for r, h in upright]
    return np.concatenate(rings) * np.array([x, y, z]) / 2 + np.asarray(centre)


def _superellipse(angle: np.ndarray, exponent: float) -> np.ndarray:
    """(N, 2) points of |x|^e + |y|^e = 1."""
    point = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.sign(point) * np.abs(point) ** (2 / exponent)


def sweep(
    path: Rows,
    radius: Union[float, Vector],
    normal: Vector,
    sides: int = 8,
    flatten: float = 1.0,
    closed: bool = False,
) -> Shape:
    """A bent bar along `path` (K, 3), one piece a section, mitred so that neighbours share a face.

    The path lies in the plane with this unit normal, along which the bar's half thickness is `flatten` times `radius`
    (one number, or K). Closed: the last point is joined to the first.
    """
    points, upright = np.asarray(path, dtype=np.float64), np.asarray(normal, dtype=np.float64)
    count = len(points)
    radii = np.broadcast_to(radius, count)
    if closed:
        sections = _unit(np.roll(points, -1, axis=0) - points)
        tangent = _unit(sections + np.roll(sections, 1, axis=0))
    else:
        sections = _unit(np.diff(points, axis=0))
        tangent = _unit(np.concatenate([sections[:1], sections[:-1] + sections[1:], sections[-1:]]))
    before = sections if closed else sections[[0, *range(len(sections))]]
    mitre = 1 / np.sum(tangent * before, axis=1, keepdims=True)  # a section cut aslant is wider than the bar
    side = mitre * np.cross(upright, tangent)
    profile = polygon(1.0 / np.cos(np.pi / sides), sides)  # flat sides at the radius
    rings = points[:, None] + radii[:, None, None] * (
        profile[None, :, :1] * side[:, None] + flatten * profile[None, :, 1:] * upright
    )
    pairs = [(k, (k + 1) % count) for k in range(count if closed else count - 1)]
    return [np.concatenate([rings[a], rings[b]]) for a, b in pairs]


def arc(radius: float, start: float, end: float, count: int) -> np.ndarray:
    """(count, 2) points on a circle about the origin, from one angle to the other, degrees."""
    angle = np.radians(np.linspace(start, end, count))
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def in_plane(points: np.ndarray, plane: str, at: float = 0.0) -> np.ndarray:
    """(N, 3) from (N, 2) in the plane "xy" or "xz", whose third coordinate is `at`."""
    return np.insert(points, {"xy": 2, "xz": 1}[plane], at, axis=1)


def moved(shape: Shape, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Shape:
    """The shape at another place."""
    return [points + np.array([x, y, z]) for points in shape]


def stretched(shape: Shape, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Shape:
    """The shape with its coordinates multiplied."""
    return [points * np.array([x, y, z]) for points in shape]


def laid(shape: Shape) -> Shape:
    """The shape turned about y by 90 degrees, so that what stood along +z lies along +x."""
    return [points @ np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]) for points in shape]


def turned(shape: Shape, degrees: float) -> Shape:
    """The shape turned about z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [points @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) for points in shape]


def tilted(shape: Shape, degrees: float) -> Shape:
    """The shape turned about y; positive raises what lies along +x."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [points @ np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]) for points in shape]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
