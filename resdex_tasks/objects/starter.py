"""Eleven everyday shapes, made without any download, to start with and to test with.

Each is z-up with its frame's origin at its centre of mass, and rests on the table unturned. Lengths are metres.
"""

from typing import List, Sequence, Tuple

import numpy as np
import trimesh

from resdex_tasks.objects.geometry.convex import convex_piece, mass_centre
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject, ObjectSet
from resdex_tasks.objects.top_down import top_down_proposals

UNTURNED = (0.0, 0.0, 0.0, 1.0)

Points = np.ndarray  # (N, 3): a convex piece is the hull of such points


def _box(x: float, y: float, z: float, centre: Sequence[float] = (0.0, 0.0, 0.0)) -> Points:
    return trimesh.creation.box((x, y, z)).vertices + np.array(centre)


def _cylinder(radius: float, height: float) -> Points:
    return trimesh.creation.cylinder(radius, height, sections=32).vertices


def _cone(radius: float, height: float) -> Points:
    return trimesh.creation.cone(radius, height, sections=32).vertices


def _sphere(radius: float) -> Points:
    """An icosphere: it has a vertex straight below its centre, so it rests at exactly its radius."""
    return trimesh.creation.icosphere(subdivisions=2, radius=radius).vertices


def _lying_capsule(radius: float, length: float) -> Points:
    """A capsule along x; `length` includes both caps."""
    reach = np.array([length / 2 - radius, 0.0, 0.0])
    return np.concatenate([_sphere(radius) - reach, _sphere(radius) + reach])


def _mug(radius: float = 0.035, height: float = 0.08, wall: float = 0.004, sides: int = 8) -> List[Points]:
    """A cup of `sides` wall pieces around a floor, with a handle of three bars along +x. No two pieces overlap."""
    angle = 2 * np.pi * (np.arange(sides + 1) - 0.5) / sides
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def prism(outline: np.ndarray, top: float) -> Points:
        return np.concatenate([np.insert(outline, 2, z, axis=1) for z in (0.0, top)])

    inner, outer = (radius - wall) * rim, radius * rim
    walls = [prism(np.concatenate([inner[k : k + 2], outer[k : k + 2]]), height) for k in range(sides)]
    floor = prism(inner[:-1], wall)

    bar, reach, half_grip = 0.008, 0.022, 0.02
    cup_side = outer[0, 0]
    bars = [
        _box(reach, bar, bar, (cup_side + reach / 2, 0.0, height / 2 + side * (half_grip - bar / 2)))
        for side in (1, -1)
    ]
    grip = _box(bar, bar, 2 * (half_grip - bar), (cup_side + reach - bar / 2, 0.0, height / 2))
    return [*walls, floor, *bars, grip]


def _centred(pieces: Sequence[Points]) -> Tuple[ConvexPiece, ...]:
    """The hulls of `pieces`, moved so that their common centre of mass is the origin."""
    centre = mass_centre([convex_piece(p) for p in pieces])
    return tuple(convex_piece(p - centre) for p in pieces)


def _shapes() -> List[Tuple[str, str, List[Points]]]:
    """Name, category and convex pieces of each shape."""
    return [
        ("box", "box", [_box(0.06, 0.06, 0.07)]),
        ("cube", "box", [_box(0.05, 0.05, 0.05)]),
        ("big_box", "box", [_box(0.07, 0.07, 0.08)]),
        ("flat_box", "box", [_box(0.09, 0.06, 0.03)]),
        ("long_box", "box", [_box(0.12, 0.04, 0.04)]),
        ("cylinder", "cylinder", [_cylinder(0.03, 0.08)]),
        ("can", "cylinder", [_cylinder(0.033, 0.12)]),
        ("sphere", "sphere", [_sphere(0.035)]),
        ("capsule", "capsule", [_lying_capsule(0.025, 0.09)]),
        ("cone", "cone", [_cone(0.035, 0.08)]),
        ("mug", "mug", _mug()),
    ]


def starter_objects() -> ObjectSet:
    """All shapes, each with one top-down proposal, all in the split "train"; "box" is the training default."""
    objects = []
    for name, category, points in _shapes():
        pieces = _centred(points)
        vertices = np.concatenate([p.vertices for p in pieces])
        objects.append(GraspObject(name, category, "train", pieces, top_down_proposals(vertices, [UNTURNED])))
    return ObjectSet(objects)
