"""Grasp candidates: hands about an object on the table, to be tried in a simulator (`search.py`).

A candidate has the form of a proposal: where the hand's root is in the object's frame, and joint positions to which the
fingers close.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Tuple

import numpy as np
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import hand_spheres, joint_ranges, lowest_point
from resdex_tasks.hand.shadow_hand import COUPLED, FINGERS, JOINTS, PALM_DOWN_QUAT
from resdex_tasks.objects.geometry.placements import HEADINGS, widths
from resdex_tasks.objects.geometry.stable_poses import rest_heights
from resdex_tasks.objects.object_set import GraspObject, GraspProposals
from resdex_tasks.proposals.closure import (
    CLOSING_SENSE,
    CLOSURE_CONFIG,
    THUMB,
    ClosureConfig,
    Scene,
    Z,
    closed_on_table,
    touching_on_table,
)

X = np.array([1.0, 0.0, 0.0])
PALM_DIRECTION, FINGER_DIRECTION = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])
"""In the hand's frame: where the palm looks, and where the fingers point."""
OPPOSED = slice(0, 3)
"""Of `FINGERS`, those that meet the thumb in a pinch: first, middle and ring finger."""
PINCH = "pinch"
"""The shape of `CandidateConfig.preshapes_deg` that picks flat objects from the table."""
SAME_REST = 1e-6
"""By how much the quaternions of one pose at rest may differ."""
SAME_PLACE = 1e-6
"""m: a hand that stops nearer to its goal than this has reached it."""


def _close_by() -> Dict[str, Tuple[float, float]]:
    return {
        "J2": (0.3, 1.2),
        "J1": (0.3, 1.2),
        "THJ3": (0.0, 0.5),
        "THJ1": (-0.6, -0.1),
        "THJ0": (-0.7, 0.0),
    }


def _preshapes() -> Dict[str, Dict[str, float]]:
    return {
        "power": {"J2": 8, "J1": 22, "J0": 8, "LFJ4": 10, "THJ4": 18, "THJ3": 58, "THJ1": -2},
        "cup": {"J2": 35, "J1": 30, "J0": 15, "LFJ4": 8, "THJ4": 40, "THJ3": 55, "THJ1": 4},
        "precision": {"J2": 42, "J1": 8, "J0": 4, "LFJ4": 4, "THJ4": 45, "THJ3": 45, "THJ1": 6},
        PINCH: {"J2": 27, "J1": 26, "J0": 18, "THJ4": 40, "THJ3": 64, "THJ2": 7, "THJ1": 26},
    }


@dataclass(frozen=True)
class CandidateConfig:
    """How candidates are drawn. Ranges are (least, greatest) of a uniform draw."""

    draws: int = 16
    """Random hands, the one with the best score of which becomes a candidate."""

    preshapes_deg: Mapping[str, Mapping[str, float]] = field(default_factory=_preshapes)
    """degrees: shapes of the hand before it closes; `J2` stands for that joint of all four fingers, joints not named
    are 0. All tips of `pinch` are at one height when the palm looks down."""
    jitter_deg: float = 7.0
    """degrees, standard deviation of every joint of a shape."""
    pinch_jitter_deg: float = 2.5
    """The same for `pinch`, whose tips a few degrees would part."""
    close_by: Mapping[str, Tuple[float, float]] = field(default_factory=_close_by)
    """rad, range by which joints close at most, drawn once for each hand. `J2` stands for that joint of all four
    fingers."""
    coupled_fraction: float = 0.7
    """rad by which a fingertip's joint bends for each radian of the joint that drives it, before anything is
    touched."""

    aligned_fraction: float = 0.75
    """Fraction of the candidates whose fingers point across the object's narrow side; the others point anywhere."""
    heading_deg: float = 15.0
    """degrees, standard deviation of their direction from it."""
    pitch_deg: Tuple[float, float] = (-10.0, 80.0)
    """degrees, range by which the fingers point down to the table; 0: palm down."""
    pinch_pitch_deg: Tuple[float, float] = (10.0, 26.0)
    """The same for `pinch`."""
    roll_deg: float = 18.0
    """degrees, standard deviation of the turn about the fingers' direction."""
    pinch_roll_deg: float = 4.0
    """The same for `pinch`."""

    approach_lean: Tuple[float, float] = (0.0, 1.2)
    """Range of how much the hand's way to the object leans from where its palm looks to where its fingers point:
    tangent of the angle. A hand that pinches comes straight down."""
    approach_descent: float = 0.2
    """Least fall of this way, as a fraction of the length that it has along where the palm looks: a hand never comes
    from below."""
    aim_spread: float = 0.18
    """Standard deviation of the point aimed at from the middle of the object's bounding box, horizontally, as a
    fraction of the box's sides."""
    aim_height: Tuple[float, float] = (0.3, 0.9)
    """Range of the height of this point, as a fraction of the box's height. A hand that pinches aims at the table."""
    grasp_centre: Tuple[float, float, float] = (0.005, -0.055, 0.115)
    """m, point before the palm, in the hand's frame, that is brought to the point aimed at."""
    grasp_centre_spread: Tuple[float, float, float] = (0.008, 0.014, 0.014)
    """m, its standard deviation along each axis."""
    between_tips_fraction: float = 0.5
    """Fraction of the hands that bring the point between their fingertips there instead; all that pinch do."""
    between_tips_spread: float = 0.008
    """m, standard deviation of that point along each axis."""

    slide: float = 0.14
    """m from its goal at which a hand begins its way."""
    slide_step: float = 0.007
    """m between the places at which a hand on its way is checked for collisions."""
    slide_halvings: int = 3
    """How often the last of these steps is halved to find where the hand stops."""
    max_gap: float = 0.010
    """m, the most by which a hand keeps away from what stops it, beyond `ClosureConfig.clearance`."""
    max_gap_fraction: float = 0.25
    """The same as a fraction of the object's height: a hand that is to pinch a flat object has to be near the table."""

    variations: int = 6
    """Random variations of a hand, the one with the best score of which becomes a candidate."""
    vary_deg: float = 5.0
    """degrees, standard deviation of their rotation about each axis, and of their joints."""
    vary_position: float = 0.006
    """m, standard deviation of their position along each axis."""
    vary_opening: float = 0.3
    """rad by which a variation opens before it closes again, beyond `ClosureConfig.max_further`, by which the hand that
    is varied may have closed beyond contact."""
    vary_closing: float = 0.3
    """rad beyond the joint positions of the hand that is varied at which a variation stops closing."""

    closure: ClosureConfig = CLOSURE_CONFIG
    """How hands close."""

    @property
    def distances(self) -> np.ndarray:
        """m from its goal, falling to 0: where a hand on its way is checked."""
        return np.arange(self.slide, -1e-9, -self.slide_step)  # just below 0, so that 0 is included


CANDIDATE_CONFIG = CandidateConfig()


def sample_candidates(
    obj: GraspObject, count: int, rng: Generator, config: CandidateConfig = CANDIDATE_CONFIG
) -> GraspProposals:
    """Hand poses to try on an object, in turn for each of its poses at rest.

    Each has the best score (`closed_on_table`) of `draws` random ones: the palm and the fingers point to the object,
    from above or the side, the fingers mostly across its narrow side. The hand comes along that direction until its
    grasp centre is in the object or something is in its way: no part of it is in the object or below the table. Then
    the fingers close, each until it touches, and the hand comes to where it is at the table when they have closed by up
    to `max_further` further, which is the grasp's squeeze.
    """
    rests = rest_rotations(obj)
    which = np.arange(count) % len(rests)
    rotation, translation, joint_pos = np.zeros((count, 4)), np.zeros((count, 3)), np.zeros((count, len(JOINTS)))
    squeeze = np.zeros(count)
    for i, rest in enumerate(rests[:count]):
        rows = np.flatnonzero(which == i)
        scene = Scene.of(obj, rest, rng, config.closure)
        shapes, by, pinch = _shapes(config.draws * len(rows), rng, config)
        hand, position = _placed(scene, shapes, by, pinch, rng, config)
        best = _best_of(config.draws, scene, shapes, by, hand, position, rng, config.closure)
        rotation[rows], translation[rows], joint_pos[rows], squeeze[rows] = best
    return GraspProposals(rotation, translation, joint_pos, rests[which], squeeze)


def vary_candidates(
    obj: GraspObject,
    parents: GraspProposals,
    count: int,
    rng: Generator,
    config: CandidateConfig = CANDIDATE_CONFIG,
) -> GraspProposals:
    """Hand poses to try beside those that did well: in turn for each, the best by score of `variations` random ones."""
    which = np.arange(count) % len(parents)
    rotation, translation, joint_pos = np.zeros((count, 4)), np.zeros((count, 3)), np.zeros((count, len(JOINTS)))
    squeeze = np.zeros(count)
    lower, upper = joint_ranges().T
    opening = config.vary_opening + config.closure.max_further
    rests = parents.rest_rotation[which]
    for rest in _different(rests):
        rows = np.flatnonzero(np.abs(rests - rest).max(axis=1) < SAME_REST)
        parent, drawn = np.repeat(which[rows], config.variations), config.variations * len(rows)
        scene = Scene.of(obj, rest, rng, config.closure)
        hand, position = scene.from_object(parents.rotation[parent], parents.translation[parent])
        # turned about the grasp centre, so that the hand stays about the same part of the object
        pivot = position + hand.apply(config.grasp_centre)
        turn = Rotation.from_rotvec(np.radians(config.vary_deg) * rng.standard_normal((drawn, 3)))
        hands = turn * hand
        positions = pivot - hands.apply(config.grasp_centre) + config.vary_position * rng.standard_normal((drawn, 3))
        jitter = np.radians(config.vary_deg) * rng.standard_normal((drawn, len(JOINTS)))
        shapes = (parents.joint_pos[parent] + jitter - opening * CLOSING_SENSE).clip(lower, upper)
        by = (shapes + (opening + config.vary_closing) * CLOSING_SENSE).clip(lower, upper) - shapes
        best = _best_of(config.variations, scene, shapes, by, hands, positions, rng, config.closure)
        rotation[rows], translation[rows], joint_pos[rows], squeeze[rows] = best
    return GraspProposals(rotation, translation, joint_pos, rests, squeeze)


def rest_rotations(obj: GraspObject) -> np.ndarray:
    """(P, 4) the different poses at rest of an object's proposals, in their order."""
    return _different(obj.proposals.rest_rotation)


def depth_in_table(obj: GraspObject, grasps: GraspProposals) -> np.ndarray:
    """(P,) m that the hand at (R, t, q) reaches below the table on which the object rests; negative above it."""
    rest = Rotation.from_quat(grasps.rest_rotation)
    hand = rest * Rotation.from_quat(grasps.rotation)
    lowest = lowest_point(hand.as_quat(), rest.apply(grasps.translation), grasps.joint_pos)
    return -lowest - rest_heights(obj.vertices, grasps.rest_rotation)


def _different(rests: np.ndarray) -> np.ndarray:
    return rests[np.sort(np.unique(np.round(rests, 9), axis=0, return_index=True)[1])]


def _best_of(
    draws: int,
    scene: Scene,
    shapes: np.ndarray,
    by: np.ndarray,
    hand: Rotation,
    position: np.ndarray,
    rng: Generator,
    config: ClosureConfig,
) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """R (K, 4), t (K, 3), q (K, 22) and squeeze (K,) of the best by score of every `draws` hands in turn, closed on the
    table until they touch."""
    further = rng.uniform(0.0, config.max_further, len(shapes))
    squeezed, score, position = closed_on_table(scene, shapes, by, further, hand, position, config)
    best = score.reshape(-1, draws).argmax(axis=1) + np.arange(0, len(shapes), draws)
    hand, position = hand[best], position[best]
    touching, position = touching_on_table(scene, squeezed[best], hand, position, config)
    rotation, translation = scene.to_object(hand, position)
    return rotation, translation, touching, further[best]


def _shapes(count: int, rng: Generator, config: CandidateConfig) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joint positions (K, 22) before closing, by how much (K, 22) they change in closing, rad, and which pinch (K,)."""

    def named(values: Mapping[str, Any], joint: str) -> Any:
        return values.get(joint, values.get(joint[2:]) if joint[:2] != "TH" else None)

    shapes = np.array([[named(shape, j) or 0.0 for j in JOINTS] for shape in config.preshapes_deg.values()])
    which = rng.integers(len(shapes), size=count)
    pinch = which == list(config.preshapes_deg).index(PINCH)
    jitter = np.where(pinch, config.pinch_jitter_deg, config.jitter_deg)[:, None]
    degrees = shapes[which] + jitter * rng.standard_normal((count, len(JOINTS)))
    drawn = {key: rng.uniform(*span, count) for key, span in config.close_by.items()}
    by = np.zeros((count, len(JOINTS)))
    for i, joint in enumerate(JOINTS):
        amount = named(drawn, COUPLED.get(joint, joint))
        if amount is not None:
            by[:, i] = amount * (config.coupled_fraction if joint in COUPLED else 1.0)
    lower, upper = joint_ranges().T
    shapes = np.deg2rad(degrees).clip(lower, upper)
    return shapes, (shapes + by).clip(lower, upper) - shapes, pinch


def _grasp_centres(
    width: float, shapes: np.ndarray, by: np.ndarray, rng: Generator, config: CandidateConfig
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (K, 3) in each hand's frame that are to come into an object of this width, m.

    Returns:
        points before the palm, points between the tips of fingers and thumb when these are as far apart as the object
        is wide, and the fraction of their closing (K,) at which that is.
    """
    count, fractions = len(shapes), config.closure.closing_fractions
    spread = np.array(config.grasp_centre_spread)
    palm = np.array(config.grasp_centre) + spread * rng.standard_normal((count, 3))
    best, between, when = np.full(count, np.inf), palm.copy(), np.zeros(count)
    spheres = hand_spheres((shapes + fractions[:, None, None] * by).reshape(-1, len(JOINTS)))
    # the last sphere of a finger is its tip's
    tips = [np.flatnonzero(spheres.finger == i)[-1] for i in range(len(FINGERS))]
    for fraction, at in zip(fractions, spheres.centres[:, tips].reshape(len(fractions), count, len(FINGERS), 3)):
        fingers, thumb = at[:, OPPOSED].mean(axis=1), at[:, THUMB]
        off = np.abs(np.linalg.norm(fingers - thumb, axis=1) - 2 * spheres.radii[tips[0]] - width)
        nearer = off < best
        best[nearer], between[nearer], when[nearer] = off[nearer], (fingers + thumb)[nearer] / 2, fraction
    return palm, between + config.between_tips_spread * rng.standard_normal((count, 3)), when


def _placed(
    scene: Scene, shapes: np.ndarray, by: np.ndarray, pinch: np.ndarray, rng: Generator, config: CandidateConfig
) -> Tuple[Rotation, np.ndarray]:
    """Put open hands about an object: turn each to it, and let it come until something is in its way.

    Args:
        shapes: (K, 22) joint positions of the open hands, rad.
        by: (K, 22) rad by which they change as the hands close.
        pinch: (K,) bool, which of the hands pinch.

    Returns:
        rotations of K hand roots and their positions (K, 3), m, in the scene.
    """
    count = len(shapes)
    hand = _rotations(scene, pinch, rng, config)
    lean = rng.uniform(*config.approach_lean, (count, 1))
    approach = hand.apply(PALM_DIRECTION) + lean * hand.apply(FINGER_DIRECTION)
    approach[:, 2] = np.minimum(approach[:, 2], -config.approach_descent)  # the table leaves no way from below
    approach[pinch] = -Z  # a flat object can be reached from above alone
    approach /= np.linalg.norm(approach, axis=1, keepdims=True)
    goal, heights_closing = _goals(scene, hand, shapes, by, pinch, rng, config)
    back = _distances_back(scene, hand, shapes, goal, approach, heights_closing, config)
    # chance decides how near a hand stays that something stopped: the best gap depends on what its fingers will meet
    max_gap = min(config.max_gap, config.max_gap_fraction * scene.vertices[:, 2].max())
    back += (back > SAME_PLACE) * rng.uniform(0.0, max_gap, count)
    return hand, goal - back[:, None] * approach


def _rotations(scene: Scene, pinch: np.ndarray, rng: Generator, config: CandidateConfig) -> Rotation:
    """Rotations of K hands that look at the object, from above or the side."""
    count = len(pinch)
    narrow = HEADINGS[widths(scene.vertices).argmin()]
    half_turn = np.pi * rng.integers(2, size=count)  # the narrow side has no front: either sense will do
    heading = narrow + half_turn + np.radians(config.heading_deg) * rng.standard_normal(count)
    heading = np.where(rng.random(count) < config.aligned_fraction, heading, rng.uniform(-np.pi, np.pi, count))
    pitch_deg = np.where(pinch, rng.uniform(*config.pinch_pitch_deg, count), rng.uniform(*config.pitch_deg, count))
    roll = np.radians(np.where(pinch, config.pinch_roll_deg, config.roll_deg)) * rng.standard_normal(count)
    # palm down, the fingers point along -y: a quarter turn takes them to heading 0
    return (
        Rotation.from_rotvec((heading + np.pi / 2)[:, None] * Z)
        * Rotation.from_rotvec(np.radians(pitch_deg)[:, None] * X)
        * Rotation.from_quat(PALM_DOWN_QUAT)
        * Rotation.from_rotvec(roll[:, None] * Z)
    )


def _goals(
    scene: Scene,
    hand: Rotation,
    shapes: np.ndarray,
    by: np.ndarray,
    pinch: np.ndarray,
    rng: Generator,
    config: CandidateConfig,
) -> Tuple[np.ndarray, np.ndarray]:
    """Where hands would be if nothing were in their way.

    Returns:
        positions (K, 3), m, and heights (K, S), m, of each hand's spheres over its root at the moment of its closing
        at which a hand that pinches meets the object; those of the open hand for the others.
    """
    count = len(shapes)
    low, high = scene.vertices.min(axis=0), scene.vertices.max(axis=0)
    part = np.clip(0.5 + config.aim_spread * rng.standard_normal((count, 3)), 0.0, 1.0)  # 0.5: the middle of the box
    part[:, 2] = np.where(pinch, 0.0, rng.uniform(*config.aim_height, count))
    aim = low + part * (high - low)
    palm, between, when = _grasp_centres(widths(scene.vertices).min(), shapes, by, rng, config)
    between_tips = pinch | (rng.random(count) < config.between_tips_fraction)
    goal = aim - hand.apply(np.where(between_tips[:, None], between, palm))
    # tips sink as they close: where those that pinch meet the object, they have to be above the table, too
    closing = hand_spheres(shapes + (pinch * when)[:, None] * by).centres
    return goal, np.einsum("kj,ksj->ks", hand.as_matrix()[:, 2], closing)


def _distances_back(
    scene: Scene,
    hand: Rotation,
    shapes: np.ndarray,
    goal: np.ndarray,
    approach: np.ndarray,
    heights_closing: np.ndarray,
    config: CandidateConfig,
) -> np.ndarray:
    """(K,) m from its goal at which each hand is stopped on its way there; 0: nothing is in its way.

    Args:
        approach: (K, 3) unit direction in which a hand comes to its goal (K, 3).
        heights_closing: see `_goals`.
    """
    spheres, radii, _ = hand_spheres(shapes)
    turned = spheres @ hand.as_matrix().transpose(0, 2, 1)
    clearance, distances = config.closure.clearance, config.distances

    def clear(rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Whether hands `rows` (N,) touch neither object nor table at distances (N,) from their goals."""
        at = turned[rows] + (goal[rows] - distance[:, None] * approach[rows])[:, None]
        # what is farther than the bound is infinitely far to the tree, which spares it most of the search
        near = scene.tree.query(at, distance_upper_bound=radii.max() + 2 * clearance)[0] - radii
        closing = heights_closing[rows] + at[:, :1, 2] - turned[rows, :1, 2]  # the last two differ by the root's height
        above = np.minimum(at[..., 2], closing) - radii
        return np.minimum(near, above).min(axis=1) > clearance

    # first in steps from outside: at its goal, a hand is mostly in the object
    free = np.ones(len(shapes), dtype=bool)
    back = np.full(len(shapes), distances[0])
    for distance in distances:
        rows = np.flatnonzero(free)
        free[rows] = clear(rows, np.full(len(rows), distance))
        back[free] = distance
    # then more finely, for those that came closer before they were stopped
    blocked = np.flatnonzero(~free & (back < distances[0]))
    step = distances[0] - distances[1]
    for _ in range(config.slide_halvings):
        step /= 2
        nearer = back[blocked] - step
        back[blocked] = np.where(clear(blocked, nearer), nearer, back[blocked])
    return back
