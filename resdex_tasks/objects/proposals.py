"""Grasp proposals for objects that bring none: candidates to try, and the file for those that held.

A candidate has the form of a proposal: where the hand's root is in the object's frame, and joint positions to which the
fingers close. `runners/propose.py` tries them in a simulator and keeps those that hold.
"""

from typing import Dict, NamedTuple, Tuple

import numpy as np
from numpy.random import Generator
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.hand_shape import Spheres, hand_spheres, joint_ranges, lowest_point
from resdex_tasks.objects.convex import mass_centre
from resdex_tasks.objects.object_set import GraspObject, GraspProposals
from resdex_tasks.objects.rest import rest_heights
from resdex_tasks.shadow_hand import COUPLED, FINGERS, JOINTS, PALM_DOWN_QUAT

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

CLOSE_BY: Dict[str, Tuple[float, float]] = {
    "J2": (0.3, 1.2),
    "J1": (0.3, 1.2),
    "THJ3": (0.0, 0.5),
    "THJ1": (-0.6, -0.1),
    "THJ0": (-0.7, 0.0),
}
"""rad by which a hand's joints close at most: each hand draws between the two. `J2` is that of all four fingers."""

PRESHAPES_DEG: Dict[str, Dict[str, float]] = {
    "power": {"J2": 8, "J1": 22, "J0": 8, "LFJ4": 10, "THJ4": 18, "THJ3": 58, "THJ1": -2},
    "cup": {"J2": 35, "J1": 30, "J0": 15, "LFJ4": 8, "THJ4": 40, "THJ3": 55, "THJ1": 4},
    "precision": {"J2": 42, "J1": 8, "J0": 4, "LFJ4": 4, "THJ4": 45, "THJ3": 45, "THJ1": 6},
    "pinch": {"J2": 27, "J1": 26, "J0": 18, "THJ4": 40, "THJ3": 64, "THJ2": 7, "THJ1": 26},
}
"""Shapes of the hand before it closes; `J2` stands for that joint of all four fingers, joints not named are 0. All tips
of the last one are at one height when the palm looks down: it picks flat things from the table."""
JITTER_DEG, PINCH_JITTER_DEG = 7.0, 2.5
"""Standard deviation of every joint of a shape, and of `pinch`, whose tips a few degrees would part."""

PITCH_DEG = (-10.0, 80.0)
"""How far the fingers point down to the table; 0: palm down."""
ROLL_DEG = 18.0
"""Standard deviation of the turn about the fingers' direction."""
PINCH_PITCH_DEG, PINCH_ROLL_DEG = (10.0, 26.0), 4.0
"""The same of the shape `pinch`."""
ALIGNED_SHARE, HEADING_DEG = 0.75, 15.0
"""Part of the candidates whose fingers point across the object's narrow side, within this standard deviation."""
GRASP_CENTRE, GRASP_CENTRE_SPREAD = (0.005, -0.055, 0.115), (0.008, 0.014, 0.014)
"""m, point in the hand's frame that is brought to the object, and its standard deviation."""
PINCH_SHARE, PINCH_SPREAD = 0.5, 0.008
"""Part of the hands that bring the point between their fingertips to the object, and its standard deviation in m."""
CLEARANCE = 0.002
"""m between any part of the hand and the object or the table, at least."""
MAX_GAP, GAP_PART = 0.010, 0.25
"""m that a hand that would touch stays back, at most, and the same as a part of the object's height: a hand that is to
pinch a flat object has to be near the table."""
SLIDE = np.arange(0.14, -1e-9, -0.007)
"""m, the distances from its goal at which a hand on its way is looked at."""
HALVINGS = 3
"""How often the last of these steps is halved to find where it stops."""
SAME_REST = 1e-6
"""By how much the quaternions of one pose at rest may differ."""
SURFACE_POINTS = 1500
DRAWS = 16
"""Random hands, the most promising of which becomes a candidate."""
CLOSING_PARTS = np.linspace(0.0, 1.0, 11)
"""Parts of `CLOSE_BY` at which fingers are looked at for contact."""
COUPLED_PART = 0.7
"""How much a fingertip's joint bends when the joint that drives it bends by 1, before anything is touched."""
MAX_FURTHER = 0.3
"""rad, at most, by which fingers close further than to where they touch: they come under what lies on the table."""
VARIATIONS = 6
"""Random variations of a hand, the most promising of which becomes a candidate."""
VARY_DEG, VARY_METRES = 5.0, 0.006
"""Standard deviation of their rotation about each axis and of their joints, and of their position along each axis."""
VARY_OPENING, VARY_CLOSING = 0.3 + MAX_FURTHER, 0.3
"""rad before and beyond the joint positions of the hand that is varied, between which the fingers are to touch."""
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
X, Z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])


def sample_candidates(thing: GraspObject, count: int, rng: Generator) -> GraspProposals:
    """Hand poses to try on an object, in turn for each of its poses at rest.

    Each is the most promising (`_closed_on_table`) of `DRAWS` that chance makes: the palm and the fingers point to the
    object, from above or the side, the fingers mostly across its narrow side. The hand comes along that direction until
    its grasp centre is in the object or something is in its way: no part of it is in the object or below the table.
    Then the fingers close, each until it touches and by up to `MAX_FURTHER` further, and the hand comes to the table.
    """
    rests = rest_rotations(thing)
    which = np.arange(count) % len(rests)
    rotation, translation, joint_pos = np.zeros((count, 4)), np.zeros((count, 3)), np.zeros((count, len(JOINTS)))
    for i, rest in enumerate(rests[:count]):
        rows = np.flatnonzero(which == i)
        scene = _scene(thing, rest, rng)
        shapes, by, pinch = _shapes(DRAWS * len(rows), rng)
        hand, position = _placed(scene, shapes, by, pinch, rng)
        rotation[rows], translation[rows], joint_pos[rows] = _best_of(DRAWS, scene, shapes, by, hand, position, rng)
    return GraspProposals(rotation, translation, joint_pos, rests[which])


def vary_candidates(thing: GraspObject, parents: GraspProposals, count: int, rng: Generator) -> GraspProposals:
    """Hand poses to try beside those that did well: in turn for each of them, the most promising of `VARIATIONS`."""
    which = np.arange(count) % len(parents)
    rotation, translation, joint_pos = np.zeros((count, 4)), np.zeros((count, 3)), np.zeros((count, len(JOINTS)))
    closing = np.sign(CLOSING_RATES)
    lower, upper = joint_ranges().T
    rests = parents.rest_rotation[which]
    for rest in _different(rests):
        rows = np.flatnonzero(np.abs(rests - rest).max(axis=1) < SAME_REST)
        parent, drawn = np.repeat(which[rows], VARIATIONS), VARIATIONS * len(rows)
        scene = _scene(thing, rest, rng)
        hand, position = scene.from_object(parents.rotation[parent], parents.translation[parent])
        pivot = position + hand.apply(GRASP_CENTRE)
        turn = Rotation.from_rotvec(np.radians(VARY_DEG) * rng.standard_normal((drawn, 3)))
        hands = turn * hand
        positions = pivot - hands.apply(GRASP_CENTRE) + VARY_METRES * rng.standard_normal((drawn, 3))
        jitter = np.radians(VARY_DEG) * rng.standard_normal((drawn, len(JOINTS)))
        shapes = (parents.joint_pos[parent] + jitter - VARY_OPENING * closing).clip(lower, upper)
        by = (shapes + (VARY_OPENING + VARY_CLOSING) * closing).clip(lower, upper) - shapes
        best = _best_of(VARIATIONS, scene, shapes, by, hands, positions, rng)
        rotation[rows], translation[rows], joint_pos[rows] = best
    return GraspProposals(rotation, translation, joint_pos, rests)


def rest_rotations(thing: GraspObject) -> np.ndarray:
    """(P, 4) the different poses at rest of an object's proposals, in their order."""
    return _different(thing.proposals.rest_rotation)


def depth_in_table(thing: GraspObject, grasps: GraspProposals) -> np.ndarray:
    """(P,) m that the hand at (R, t, q) reaches below the table on which the object rests; negative above it."""
    rest = Rotation.from_quat(grasps.rest_rotation)
    hand = rest * Rotation.from_quat(grasps.rotation)
    lowest = lowest_point(hand.as_quat(), rest.apply(grasps.translation), grasps.joint_pos)
    vertices = np.concatenate([piece.vertices for piece in thing.pieces])
    return -lowest - rest_heights(vertices, grasps.rest_rotation)


def _different(rests: np.ndarray) -> np.ndarray:
    return rests[np.sort(np.unique(np.round(rests, 9), axis=0, return_index=True)[1])]


class _Scene(NamedTuple):
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
    centre: np.ndarray
    """(3,) m, of mass."""

    def to_object(self, hand: Rotation, position: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """R (K, 4) and t (K, 3) of hands here."""
        return (self.rest.inv() * hand).as_quat(), self.rest.inv().apply(position - self.height * Z)

    def from_object(self, rotation: np.ndarray, translation: np.ndarray) -> Tuple[Rotation, np.ndarray]:
        """Inverse of `to_object`."""
        return self.rest * Rotation.from_quat(rotation), self.rest.apply(translation) + self.height * Z


def _scene(thing: GraspObject, rest_rotation: np.ndarray, rng: Generator) -> _Scene:
    rest = Rotation.from_quat(rest_rotation)
    vertices = rest.apply(np.concatenate([piece.vertices for piece in thing.pieces]))
    height = -vertices[:, 2].min()
    up = np.array([0.0, 0.0, height])
    surface, normals = _surface_points(thing, SURFACE_POINTS, rng)
    return _Scene(
        rest,
        height,
        vertices + up,
        rest.apply(surface) + up,
        rest.apply(normals),
        rest.apply(mass_centre(thing.pieces)) + up,
    )


def _clearance(scene: _Scene, spheres: Spheres, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """(K,) m between a hand and the nearest of object and table, negative where they overlap, from the outside of the
    object only; an object that is not reached counts as infinitely far."""
    at = spheres.centres @ hand.as_matrix().transpose(0, 2, 1) + position[:, None]
    near = cKDTree(scene.surface).query(at, distance_upper_bound=spheres.radii.max())[0] - spheres.radii
    return np.minimum(near, at[..., 2] - spheres.radii).min(axis=1)


def _shapes(count: int, rng: Generator) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joint positions (K, 22) before closing, by how much (K, 22) they change in closing, rad, and which pinch (K,)."""

    def named(values, joint: str):
        return values.get(joint, values.get(joint[2:]) if joint[:2] != "TH" else None)

    shapes = np.array([[named(shape, j) or 0.0 for j in JOINTS] for shape in PRESHAPES_DEG.values()])
    which = rng.integers(len(shapes), size=count)
    pinch = which == list(PRESHAPES_DEG).index("pinch")
    jitter = np.where(pinch, PINCH_JITTER_DEG, JITTER_DEG)[:, None]
    degrees = shapes[which] + jitter * rng.standard_normal((count, len(JOINTS)))
    drawn = {key: rng.uniform(*span, count) for key, span in CLOSE_BY.items()}
    by = np.zeros((count, len(JOINTS)))
    for i, joint in enumerate(JOINTS):
        amount = named(drawn, COUPLED.get(joint, joint))
        if amount is not None:
            by[:, i] = amount * (COUPLED_PART if joint in COUPLED else 1.0)
    lower, upper = joint_ranges().T
    shapes = np.deg2rad(degrees).clip(lower, upper)
    return shapes, (shapes + by).clip(lower, upper) - shapes, pinch


def _closed(scene: _Scene, shapes, by, hand: Rotation, position) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Close every finger until it touches the object.

    Returns:
        joint positions (K, 22), how promising (K,) the grasps are: how well the pushes of the fingers and the thumb
        meet the surface, how little force and torque of them is left over, and the grip (`_grip`); and how high (K,)
        the closed hand's lowest point is above the table, m.
    """
    count, number_of = len(shapes), len(FINGERS)
    tree, matrix = cKDTree(scene.surface), hand.as_matrix()
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
            distance, nearest = tree.query(at[open_][:, own], distance_upper_bound=FAR)
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


def _grip(scene: _Scene, closed: np.ndarray, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """(K,) m, how firmly the object is between thumb and fingers: how far these would reach into it if they were told
    to close further by `PRESSED`, as the geometric mean of the thumb's way and the sum of the fingers' ways.

    A finger that slips over the object's edge reaches into nothing.
    """
    lower, upper = joint_ranges().T
    spheres = hand_spheres((closed + PRESSED * CLOSING_RATES).clip(lower, upper))
    at = spheres.centres @ hand.as_matrix().transpose(0, 2, 1) + position[:, None]
    distance, nearest = cKDTree(scene.surface).query(at, distance_upper_bound=FAR)
    nearest = np.where(np.isinf(distance), 0, nearest)
    inside = np.sum((at - scene.surface[nearest]) * scene.normals[nearest], axis=2) < 0
    reach = (spheres.radii - np.where(inside & np.isfinite(distance), -distance, distance)).clip(0.0, MAX_PRESSED)
    own = [reach[:, spheres.finger == i].max(axis=1) for i in range(len(FINGERS))]
    return np.sqrt(own[4] * np.sum(own[:4], axis=0))


def _closed_on_table(
    scene: _Scene, shapes, by, further, hand: Rotation, position
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


def _best_of(
    draws: int, scene: _Scene, shapes, by, hand: Rotation, position, rng: Generator
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R (K, 4), t (K, 3) and q (K, 22) of the most promising of every `draws` hands in turn, closed on the table."""
    further = rng.uniform(0.0, MAX_FURTHER, len(shapes))
    closed, promise, position = _closed_on_table(scene, shapes, by, further, hand, position)
    best = promise.reshape(-1, draws).argmax(axis=1) + np.arange(0, len(shapes), draws)
    rotation, translation = scene.to_object(hand[best], position[best])
    return rotation, translation, closed[best]


def _to_table(scene: _Scene, closed, hand: Rotation, position, lowest) -> np.ndarray:
    """Positions (K, 3) of closed hands, whose lowest points are `lowest` (K,) m above the table, moved up until they
    are out of it, or down to it by `MAX_LOWERED` at most, where nothing is in the way of the open hand."""
    raised = position + np.maximum(-lowest, 0.0)[:, None] * Z
    lowered = position - (lowest - CLEARANCE).clip(0.0, MAX_LOWERED)[:, None] * Z
    free = (lowest > CLEARANCE) & (_clearance_open(scene, closed, hand, lowered) >= 0.0)
    return np.where(free[:, None], lowered, raised)


def _clearance_open(scene: _Scene, closed, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """`_clearance` of the hands as a trial of them begins: open by `OPENING`, and as high as the table makes them."""
    lower, upper = joint_ranges().T
    opened = (closed - OPENING * np.sign(CLOSING_RATES)).clip(lower, upper)
    begin = position + np.maximum(CLEARANCE - _lowest(opened, hand, position), 0.0)[:, None] * Z
    return _clearance(scene, hand_spheres(opened), hand, begin)


def _lowest(joint_pos: np.ndarray, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """(K,) m of the lowest point of hands above the table."""
    centres, radii, _ = hand_spheres(joint_pos)
    return (np.einsum("kj,ksj->ks", hand.as_matrix()[:, 2], centres) + position[:, 2:] - radii).min(axis=1)


def _grasp_centres(
    width: float, shapes: np.ndarray, by: np.ndarray, rng: Generator
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (K, 3) in each hand's frame that are to come into an object of this width, m.

    Returns:
        points before the palm, points between the tips of fingers and thumb when these are as far apart as the object
        is wide, and which part of their closing (K,) that is.
    """
    count = len(shapes)
    palm = np.array(GRASP_CENTRE) + np.array(GRASP_CENTRE_SPREAD) * rng.standard_normal((count, 3))
    best, between, when = np.full(count, np.inf), palm.copy(), np.zeros(count)
    spheres = hand_spheres((shapes + CLOSING_PARTS[:, None, None] * by).reshape(-1, len(JOINTS)))
    # the last sphere of a finger is its tip's
    tips = [np.flatnonzero(spheres.finger == i)[-1] for i in range(len(FINGERS))]
    for part, at in zip(CLOSING_PARTS, spheres.centres[:, tips].reshape(len(CLOSING_PARTS), count, len(FINGERS), 3)):
        fingers, thumb = at[:, :3].mean(axis=1), at[:, 4]
        off = np.abs(np.linalg.norm(fingers - thumb, axis=1) - 2 * spheres.radii[tips[0]] - width)
        nearer = off < best
        best[nearer], between[nearer], when[nearer] = off[nearer], (fingers + thumb)[nearer] / 2, part
    return palm, between + PINCH_SPREAD * rng.standard_normal((count, 3)), when


def _placed(
    scene: _Scene, shapes: np.ndarray, by: np.ndarray, pinch: np.ndarray, rng: Generator
) -> Tuple[Rotation, np.ndarray]:
    """Rotations (K) and positions (K, 3) of hands about an object."""
    spheres, radii, _ = hand_spheres(shapes)
    vertices, surface = scene.vertices, scene.surface
    count = len(spheres)
    angles = np.radians(np.arange(0, 180, 5))
    widths = np.ptp(vertices[:, :2] @ [np.cos(angles), np.sin(angles)], axis=0)
    narrow = angles[widths.argmin()]
    heading = narrow + np.pi * rng.integers(2, size=count) + np.radians(HEADING_DEG) * rng.standard_normal(count)
    heading = np.where(rng.random(count) < ALIGNED_SHARE, heading, rng.uniform(-np.pi, np.pi, count))
    pitch = np.radians(np.where(pinch, rng.uniform(*PINCH_PITCH_DEG, count), rng.uniform(*PITCH_DEG, count)))
    roll = np.radians(np.where(pinch, PINCH_ROLL_DEG, ROLL_DEG)) * rng.standard_normal(count)
    # palm down, the fingers point along -y
    hand = (
        Rotation.from_rotvec((heading + np.pi / 2)[:, None] * Z)
        * Rotation.from_rotvec(pitch[:, None] * X)
        * Rotation.from_quat(PALM_DOWN_QUAT)
        * Rotation.from_rotvec(roll[:, None] * Z)
    )
    approach = hand.apply([0.0, -1.0, 0.0]) + rng.uniform(0.0, 1.2, (count, 1)) * hand.apply([0.0, 0.0, 1.0])
    approach[:, 2] = np.minimum(approach[:, 2], -0.2)  # never from below
    approach[pinch] = -Z
    approach /= np.linalg.norm(approach, axis=1, keepdims=True)

    low, high = vertices.min(axis=0), vertices.max(axis=0)
    part = np.clip(0.5 + 0.18 * rng.standard_normal((count, 3)), 0.0, 1.0)
    part[:, 2] = np.where(pinch, 0.0, rng.uniform(0.3, 0.9, count))  # those that pinch go down to the table
    aim = low + part * (high - low)
    palm, between, when = _grasp_centres(widths.min(), shapes, by, rng)
    goal = aim - hand.apply(np.where((pinch | (rng.random(count) < PINCH_SHARE))[:, None], between, palm))
    # tips go down as they close: where those that pinch meet the object, they have to be above the table, too
    met = hand_spheres(shapes + (pinch * when)[:, None] * by).centres
    met = np.einsum("kj,ksj->ks", hand.as_matrix()[:, 2], met)

    turned = spheres @ hand.as_matrix().transpose(0, 2, 1)
    tree = cKDTree(surface)
    free = np.ones(count, dtype=bool)
    back = np.full(count, SLIDE[0])

    def clear(rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
        at = turned[rows] + (goal[rows] - distance[:, None] * approach[rows])[:, None]
        near = tree.query(at, distance_upper_bound=radii.max() + 2 * CLEARANCE)[0] - radii
        above = np.minimum(at[..., 2], met[rows] + at[:, :1, 2] - turned[rows, :1, 2]) - radii
        return np.minimum(near, above).min(axis=1) > CLEARANCE

    for distance in SLIDE:
        rows = np.flatnonzero(free)
        free[rows] = clear(rows, np.full(len(rows), distance))
        back[free] = distance
    blocked = np.flatnonzero(~free & (back < SLIDE[0]))
    step = SLIDE[0] - SLIDE[1]
    for _ in range(HALVINGS):
        step /= 2
        nearer = back[blocked] - step
        back[blocked] = np.where(clear(blocked, nearer), nearer, back[blocked])
    back += (back > 1e-6) * rng.uniform(0.0, min(MAX_GAP, GAP_PART * high[2]), count)
    return hand, goal - back[:, None] * approach


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
