"""Grasp candidates: hands about an object on the table, to be tried in a simulator (`runners/grasp_search.py`).

A candidate has the form of a proposal: where the hand's root is in the object's frame, and joint positions to which the
fingers close.
"""

from typing import Dict, Tuple

import numpy as np
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import hand_spheres, joint_ranges, lowest_point
from resdex_tasks.hand.shadow_hand import COUPLED, FINGERS, JOINTS, PALM_DOWN_QUAT
from resdex_tasks.objects.geometry.stable_poses import rest_heights
from resdex_tasks.objects.object_set import GraspObject, GraspProposals
from resdex_tasks.proposals.closure import (
    CLEARANCE,
    CLOSING_PARTS,
    CLOSING_RATES,
    MAX_FURTHER,
    Scene,
    Z,
    closed_on_table,
)

CLOSE_BY: Dict[str, Tuple[float, float]] = {
    "J2": (0.3, 1.2),
    "J1": (0.3, 1.2),
    "THJ3": (0.0, 0.5),
    "THJ1": (-0.6, -0.1),
    "THJ0": (-0.7, 0.0),
}
"""rad by which a hand's joints close at most: each hand draws between the two. `J2` is that of all four fingers."""
COUPLED_PART = 0.7
"""How much a fingertip's joint bends when the joint that drives it bends by 1, before anything is touched."""
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
MAX_GAP, GAP_PART = 0.010, 0.25
"""m that a hand that would touch stays back, at most, and the same as a part of the object's height: a hand that is to
pinch a flat object has to be near the table."""
SLIDE = np.arange(0.14, -1e-9, -0.007)
"""m, the distances from its goal at which a hand on its way is looked at."""
HALVINGS = 3
"""How often the last of these steps is halved to find where it stops."""
SAME_REST = 1e-6
"""By how much the quaternions of one pose at rest may differ."""
DRAWS = 16
"""Random hands, the most promising of which becomes a candidate."""
VARIATIONS = 6
"""Random variations of a hand, the most promising of which becomes a candidate."""
VARY_DEG, VARY_METRES = 5.0, 0.006
"""Standard deviation of their rotation about each axis and of their joints, and of their position along each axis."""
VARY_OPENING, VARY_CLOSING = 0.3 + MAX_FURTHER, 0.3
"""rad before and beyond the joint positions of the hand that is varied, between which the fingers are to touch."""
X = np.array([1.0, 0.0, 0.0])


def sample_candidates(thing: GraspObject, count: int, rng: Generator) -> GraspProposals:
    """Hand poses to try on an object, in turn for each of its poses at rest.

    Each is the most promising (`closed_on_table`) of `DRAWS` that chance makes: the palm and the fingers point to the
    object, from above or the side, the fingers mostly across its narrow side. The hand comes along that direction until
    its grasp centre is in the object or something is in its way: no part of it is in the object or below the table.
    Then the fingers close, each until it touches and by up to `MAX_FURTHER` further, and the hand comes to the table.
    """
    rests = rest_rotations(thing)
    which = np.arange(count) % len(rests)
    rotation, translation, joint_pos = np.zeros((count, 4)), np.zeros((count, 3)), np.zeros((count, len(JOINTS)))
    for i, rest in enumerate(rests[:count]):
        rows = np.flatnonzero(which == i)
        scene = Scene.of(thing, rest, rng)
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
        scene = Scene.of(thing, rest, rng)
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
    vertices = thing.vertices
    return -lowest - rest_heights(vertices, grasps.rest_rotation)


def _different(rests: np.ndarray) -> np.ndarray:
    return rests[np.sort(np.unique(np.round(rests, 9), axis=0, return_index=True)[1])]


def _best_of(
    draws: int, scene: Scene, shapes, by, hand: Rotation, position, rng: Generator
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R (K, 4), t (K, 3) and q (K, 22) of the most promising of every `draws` hands in turn, closed on the table."""
    further = rng.uniform(0.0, MAX_FURTHER, len(shapes))
    closed, promise, position = closed_on_table(scene, shapes, by, further, hand, position)
    best = promise.reshape(-1, draws).argmax(axis=1) + np.arange(0, len(shapes), draws)
    rotation, translation = scene.to_object(hand[best], position[best])
    return rotation, translation, closed[best]


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
    scene: Scene, shapes: np.ndarray, by: np.ndarray, pinch: np.ndarray, rng: Generator
) -> Tuple[Rotation, np.ndarray]:
    """Rotations (K) and positions (K, 3) of hands about an object."""
    spheres, radii, _ = hand_spheres(shapes)
    vertices = scene.vertices
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
    free = np.ones(count, dtype=bool)
    back = np.full(count, SLIDE[0])

    def clear(rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
        at = turned[rows] + (goal[rows] - distance[:, None] * approach[rows])[:, None]
        near = scene.tree.query(at, distance_upper_bound=radii.max() + 2 * CLEARANCE)[0] - radii
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
