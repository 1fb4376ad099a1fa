"""How the fingers of a hand close about an object on the table, by kinematics alone, and how promising that is."""

from typing import Dict, NamedTuple, Tuple

import numpy as np
from numpy.random import Generator
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import Spheres, hand_spheres, joint_ranges
from resdex_tasks.hand.shadow_hand import COUPLED, FINGERS, JOINTS
from resdex_tasks.objects.geometry.convex import mass_centre
from resdex_tasks.objects.object_set import GraspObject

CLOSING: Dict[str, float] = {
    **{f"{finger}J{j}": 0.3 for finger in ("FF", "MF", "RF", "LF") for j in (2, 1)},
    "THJ1": -1.0, "THJ0": -1.0,
}  # fmt: skip
"""Driven joint -> in which sense, and how hard compared with the thumb, it closes the hand; the others shape it. Four
fingers press against one thumb: with equal parts they push the object away."""
CLOSING_RATES = np.array([CLOSING.get(COUPLED.get(joint, joint), 0.0) for joint in JOINTS])
"""(22,) the same in the order of the joints; a coupled one has that of the joint that drives it."""
OPENING = 0.3
"""rad before q at which the joints that close the hand are when a trial begins."""
CLEARANCE = 0.002
"""m between any part of the hand and the object or the table, at least."""
SURFACE_POINTS = 1500
CLOSING_PARTS = np.linspace(0.0, 1.0, 11)
"""Parts of `CLOSE_BY` at which fingers are looked at for contact."""
MAX_FURTHER = 0.3
"""rad, at most, by which fingers close further than to where they touch: they come under what lies on the table."""
NO_RISE = 5e-4
"""m: a hand that is moved up or down by less is not closed again."""
MAX_LOWERED = 0.015
"""m by which a closed hand is lowered to the table at most, before its fingers close further, and after it."""
IN_THE_WAY = 10.0
"""Promise that an open hand loses that is in the object."""
SCRATCH = 0.005
"""m that a closed hand may reach below the table at the price of 1: fingers give way, but push the hand off."""
PRESSED = 0.27
"""rad beyond touch that the thumb is told to go where the grip is looked at: a third of what a trial tells it. The
fingers go as much less as `CLOSING` says."""
MAX_PRESSED = 0.02
"""m, the reach into the object that counts at most for a finger."""
GRIP_WORTH = 100.0
"""1/m, promise for each metre of grip (`_grip`)."""
FAR = 0.03
"""m, a distance from the object that is not told from larger ones."""
SAMPLING_GAP = 0.001
"""m, how much nearer the surface is than the nearest of its sampled points."""
Z = np.array([0.0, 0.0, 1.0])


class Scene(NamedTuple):
    """An object that rests on the table, z = 0."""

    rest: Rotation
    """From the object's frame to the table's."""
    height: float
    """m, of its frame above the table."""
    vertices: np.ndarray
    """(V, 3) m"""
    surface: np.ndarray
    """(P, 3) m, points on it."""
    normals: np.ndarray
    """(P, 3) outward, there."""
    tree: cKDTree
    """Of these points."""
    centre: np.ndarray
    """(3,) m, of mass."""

    @classmethod
    def of(cls, thing: GraspObject, rest_rotation: np.ndarray, rng: Generator) -> "Scene":
        """The object in one of its poses at rest (4,)."""
        rest = Rotation.from_quat(rest_rotation)
        vertices = rest.apply(thing.vertices)
        height = -vertices[:, 2].min()
        points, normals = _surface_points(thing, SURFACE_POINTS, rng)
        surface = rest.apply(points) + height * Z
        centre = rest.apply(mass_centre(thing.pieces)) + height * Z
        return cls(rest, height, vertices + height * Z, surface, rest.apply(normals), cKDTree(surface), centre)

    def to_object(self, hand: Rotation, position: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """R (K, 4) and t (K, 3) of hands here."""
        return (self.rest.inv() * hand).as_quat(), self.rest.inv().apply(position - self.height * Z)

    def from_object(self, rotation: np.ndarray, translation: np.ndarray) -> Tuple[Rotation, np.ndarray]:
        """Inverse of `to_object`."""
        return self.rest * Rotation.from_quat(rotation), self.rest.apply(translation) + self.height * Z


def closed_on_table(
    scene: Scene, shapes, by, further, hand: Rotation, position
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Close hands (`_closed`), bring them to the table (`_to_table`), close them again and then further, and bring them
    to the table once more, in which fingers may then be by `SCRATCH`.

    Only the closed hand is at the table: the open one may be higher (`runners/grasp_trials.py` lowers it).

    Args:
        further: (K,) rad beyond touch that the fingers close.

    Returns:
        joint positions (K, 22), promise (K,), that of the hands which touch, but for what the table and an object in
        the way of the open hand cost, and position (K, 3).
    """
    lower, upper = joint_ranges().T
    closed, promise, lowest = _closed(scene, shapes, by, hand, position)
    before, position = position, _to_table(scene, closed, hand, position, lowest)
    moved = np.flatnonzero(np.abs(position - before)[:, 2] > NO_RISE)
    if len(moved):
        closed[moved], promise[moved], _ = _closed(scene, shapes[moved], by[moved], hand[moved], position[moved])
    closed = (closed + further[:, None] * np.sign(CLOSING_RATES)).clip(lower, upper)
    lowest = _lowest(closed, hand, position)
    promise = promise - np.maximum(-lowest / SCRATCH, 0.0)
    position = _to_table(scene, closed, hand, position, np.where(lowest < 0, np.minimum(lowest + SCRATCH, 0.0), lowest))
    return closed, promise - IN_THE_WAY * (_clearance_open(scene, closed, hand, position) < 0.0), position


def _closed(scene: Scene, shapes, by, hand: Rotation, position) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Close every finger until it touches the object.

    Returns:
        joint positions (K, 22), how promising (K,) the grasps are: how well the pushes of the fingers and the thumb
        meet the surface, how little force and torque of them is left over, and the grip (`_grip`); and how high (K,)
        the closed hand's lowest point is above the table, m.
    """
    count, number_of = len(shapes), len(FINGERS)
    matrix = hand.as_matrix()
    part = np.full((count, number_of), np.nan)
    contact, push, normal = np.zeros((3, count, number_of, 3))
    last_part, last_gap, last_at = 0.0, None, None
    on_their_way = hand_spheres((shapes + CLOSING_PARTS[:, None, None] * by).reshape(-1, len(JOINTS)))
    spheres_at = on_their_way.centres.reshape(len(CLOSING_PARTS), count, -1, 3)
    for step, centres in zip(CLOSING_PARTS, spheres_at):
        at = centres @ matrix.transpose(0, 2, 1) + position[:, None]
        gap = np.full((count, number_of), np.inf)
        for i in range(number_of):
            own = np.flatnonzero(on_their_way.finger == i)
            open_ = np.flatnonzero(np.isnan(part[:, i]))
            distance, nearest = scene.tree.query(at[open_][:, own], distance_upper_bound=FAR)
            gaps = distance - on_their_way.radii[own] - SAMPLING_GAP
            first = gaps.argmin(axis=1)
            gap[open_, i] = np.minimum(gaps.min(axis=1), FAR)
            now = np.flatnonzero(gap[open_, i] < 0)
            if len(now) == 0:
                continue
            rows = open_[now]
            point, sphere = nearest[now, first[now]], own[first[now]]
            contact[rows, i], normal[rows, i] = scene.surface[point], scene.normals[point]
            if last_at is None:
                part[rows, i] = 0.0
                continue
            moved = at[rows, sphere] - last_at[rows, sphere]
            push[rows, i] = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)
            over = gap[rows, i] / (gap[rows, i] - last_gap[rows, i])  # part of the step beyond the surface
            part[rows, i] = step - over.clip(0.0, 1.0) * (step - last_part)
        last_part, last_gap, last_at = step, gap, at

    touched = ~np.isnan(part)
    fingers = touched[:, :4].sum(axis=1)
    weight = touched / np.where(np.arange(number_of) < 4, np.maximum(fingers, 1)[:, None], 1)
    met = -np.sum(push * normal, axis=2)
    force = np.einsum("kf,kfi->ki", weight, push)
    torque = np.einsum("kf,kfi->ki", weight, np.cross(contact - scene.centre, push))
    promise = (
        np.where(touched, met, 1.0).min(axis=1)
        + 0.15 * fingers
        - np.linalg.norm(force, axis=1)
        - np.linalg.norm(torque, axis=1) / 0.03
    )
    promise = np.where(touched[:, 4] & (fingers >= 2), promise, -100.0 + fingers + touched[:, 4])
    # fingers that touch nothing close as far as the others do
    mean = np.where(touched, part, 0.0).sum(axis=1) / np.maximum(touched.sum(axis=1), 1)
    part = np.where(touched, part, np.minimum(mean, 0.6)[:, None])
    own = np.array([next(i for i, f in enumerate(FINGERS) if joint.startswith(f)) for joint in JOINTS])
    closed = shapes + part[:, own] * by
    promise = promise + GRIP_WORTH * _grip(scene, closed, hand, position)
    return closed, promise, _lowest(closed, hand, position)


def _grip(scene: Scene, closed: np.ndarray, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """(K,) m, how firmly the object is between thumb and fingers: how far these would reach into it if they were told
    to close further by `PRESSED`, as the geometric mean of the thumb's way and the sum of the fingers' ways.

    A finger that slips over the object's edge reaches into nothing.
    """
    lower, upper = joint_ranges().T
    spheres = hand_spheres((closed + PRESSED * CLOSING_RATES).clip(lower, upper))
    at = spheres.centres @ hand.as_matrix().transpose(0, 2, 1) + position[:, None]
    distance, nearest = scene.tree.query(at, distance_upper_bound=FAR)
    nearest = np.where(np.isinf(distance), 0, nearest)
    inside = np.sum((at - scene.surface[nearest]) * scene.normals[nearest], axis=2) < 0
    reach = (spheres.radii - np.where(inside & np.isfinite(distance), -distance, distance)).clip(0.0, MAX_PRESSED)
    own = [reach[:, spheres.finger == i].max(axis=1) for i in range(len(FINGERS))]
    return np.sqrt(own[4] * np.sum(own[:4], axis=0))


def _to_table(scene: Scene, closed, hand: Rotation, position, lowest) -> np.ndarray:
    """Positions (K, 3) of closed hands, whose lowest points are `lowest` (K,) m above the table, moved up until they
    are out of it, or down to it by `MAX_LOWERED` at most, where nothing is in the way of the open hand."""
    raised = position + np.maximum(-lowest, 0.0)[:, None] * Z
    lowered = position - (lowest - CLEARANCE).clip(0.0, MAX_LOWERED)[:, None] * Z
    free = (lowest > CLEARANCE) & (_clearance_open(scene, closed, hand, lowered) >= 0.0)
    return np.where(free[:, None], lowered, raised)


def _clearance(scene: Scene, spheres: Spheres, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """(K,) m between a hand and the nearest of object and table, negative where they overlap, from the outside of the
    object only; an object that is not reached counts as infinitely far."""
    at = spheres.centres @ hand.as_matrix().transpose(0, 2, 1) + position[:, None]
    near = scene.tree.query(at, distance_upper_bound=spheres.radii.max())[0] - spheres.radii
    return np.minimum(near, at[..., 2] - spheres.radii).min(axis=1)


def _clearance_open(scene: Scene, closed, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """`_clearance` of the hands as a trial of them begins: open by `OPENING`, and as high as the table makes them."""
    lower, upper = joint_ranges().T
    opened = (closed - OPENING * np.sign(CLOSING_RATES)).clip(lower, upper)
    begin = position + np.maximum(CLEARANCE - _lowest(opened, hand, position), 0.0)[:, None] * Z
    return _clearance(scene, hand_spheres(opened), hand, begin)


def _lowest(joint_pos: np.ndarray, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """(K,) m of the lowest point of hands above the table."""
    centres, radii, _ = hand_spheres(joint_pos)
    return (np.einsum("kj,ksj->ks", hand.as_matrix()[:, 2], centres) + position[:, 2:] - radii).min(axis=1)


def _surface_points(thing: GraspObject, count: int, rng: Generator) -> Tuple[np.ndarray, np.ndarray]:
    """(count, 3) points on the object's pieces, evenly by area, and the outward normals there."""
    corners = np.concatenate([piece.vertices[piece.faces] for piece in thing.pieces])
    a, b, c = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(b, c)
    area = np.linalg.norm(normal, axis=1)
    face = rng.choice(len(area), size=count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    return a[face] + u * b[face] + v * c[face], normal[face] / area[face, None]
