"""How the fingers of a hand close about an object on the table, by kinematics alone, and a score of the grasp."""

from dataclasses import dataclass
from typing import Dict, NamedTuple, Optional, Tuple

import numpy as np
from numpy.random import Generator
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import Spheres, hand_spheres, joint_ranges
from resdex_tasks.hand.shadow_hand import COUPLED, FINGERS, JOINTS
from resdex_tasks.objects.geometry.convex import mass_centre
from resdex_tasks.objects.object_set import GraspObject

_SENSE: Dict[str, float] = {
    **{f"{finger}J{j}": 1.0 for finger in ("FF", "MF", "RF", "LF") for j in (2, 1)},
    "THJ1": -1.0, "THJ0": -1.0,
}  # fmt: skip
CLOSING_SENSE = np.array([_SENSE.get(COUPLED.get(joint, joint), 0.0) for joint in JOINTS])
"""(22,) 1 or -1: the sense in which a joint closes the hand; 0: it only shapes it. A coupled joint has the sense of the
joint that drives it."""
THUMB = FINGERS.index("TH")
"""Also the number of the other fingers, which come before it."""
FINGER_OF_JOINT = np.array([next(i for i, f in enumerate(FINGERS) if joint.startswith(f)) for joint in JOINTS])
"""(22,) index in `FINGERS`."""
TINY = 1e-9
"""Keeps a direction of length zero finite."""
Z = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class ClosureConfig:
    """How hands close, and what a grasp scores."""

    finger_rate: float = 0.3
    """How hard a finger's joints press, as a fraction of how hard the thumb's do. Four fingers press against one thumb:
    at equal rates they push the object away."""
    opening: float = 0.3
    """rad before q at which the joints that close the hand are when a trial begins."""
    clearance: float = 0.002
    """m, least distance of any part of an open hand from the object and the table."""
    surface_points: int = 1500
    """Points sampled on an object's surface."""
    closing_steps: int = 11
    """Evenly spaced moments of closing, both ends included, at which fingers are checked for contact."""
    max_further: float = 0.3
    """rad, the most by which fingers close beyond first contact: so they get under what lies on the table."""
    min_move: float = 5e-4
    """m: a hand that is moved up or down by less is not closed again."""
    max_lowered: float = 0.015
    """m, the most by which a closed hand is lowered to the table, before its fingers close further, and after it."""
    far: float = 0.03
    """m, the distance from the object beyond which the search for the nearest surface point stops."""
    sampling_gap: float = 0.001
    """m by which the surface is nearer than the nearest of its sampled points."""
    max_free_fraction: float = 0.6
    """Fraction of its closing by which a finger that touches nothing closes at most."""

    finger_score: float = 0.15
    """Score of each finger, the thumb aside, that touches the object."""
    torque_arm: float = 0.03
    """m: a torque costs as much as a force at this distance from the centre of mass."""
    min_fingers: int = 2
    """Fingers that have to touch, besides the thumb, for a hand to count as a grasp."""
    no_grasp_score: float = -100.0
    """Score of a hand that is no grasp, below that of every grasp; each finger that touches adds 1."""
    blocked_cost: float = 10.0
    """Score that a hand loses which is in the object while it is open."""
    scratch_depth: float = 0.005
    """m that a closed hand may reach below the table at the cost of 1: fingers give way, but push the hand off."""
    table_passes: int = 3
    """How often a hand whose fingers touch is brought up to the table."""
    pressed: float = 0.27
    """rad beyond contact that the thumb is commanded where the grip is measured: a third of what a trial commands. The
    fingers' share of it is `finger_rate`."""
    max_pressed: float = 0.02
    """m, the reach of a finger into the object beyond which more does not count."""
    grip_score: float = 100.0
    """1/m, score of each metre of grip (`_grip`)."""

    @property
    def rates(self) -> np.ndarray:
        """(22,) how hard a joint closes the hand compared with the thumb's, signed by its sense."""
        return CLOSING_SENSE * np.where(FINGER_OF_JOINT == THUMB, 1.0, self.finger_rate)

    @property
    def closing_fractions(self) -> np.ndarray:
        """(closing_steps,) from 0, open, to 1, closed as far as the hand would without an object."""
        return np.linspace(0.0, 1.0, self.closing_steps)


CLOSURE_CONFIG = ClosureConfig()


class Scene(NamedTuple):
    """An object that rests on the table, z = 0."""

    rest: Rotation
    """From the object's frame to the table's."""
    height: float
    """m, of the object's frame above the table."""
    vertices: np.ndarray
    """(V, 3) m"""
    surface: np.ndarray
    """(P, 3) m, points on the object's surface."""
    normals: np.ndarray
    """(P, 3) outward unit normals at these points."""
    tree: cKDTree
    """For the nearest of these points."""
    centre: np.ndarray
    """(3,) m, centre of mass."""

    @classmethod
    def of(
        cls, obj: GraspObject, rest_rotation: np.ndarray, rng: Generator, config: ClosureConfig = CLOSURE_CONFIG
    ) -> "Scene":
        """The object in one of its poses at rest (4,)."""
        rest = Rotation.from_quat(rest_rotation)
        vertices = rest.apply(obj.vertices)
        height = -vertices[:, 2].min()
        points, normals = _surface_points(obj, config.surface_points, rng)
        surface = rest.apply(points) + height * Z
        centre = rest.apply(mass_centre(obj.pieces)) + height * Z
        return cls(rest, height, vertices + height * Z, surface, rest.apply(normals), cKDTree(surface), centre)

    def to_object(self, hand: Rotation, position: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """R (K, 4) and t (K, 3) of hands in this scene."""
        return (self.rest.inv() * hand).as_quat(), self.rest.inv().apply(position - self.height * Z)

    def from_object(self, rotation: np.ndarray, translation: np.ndarray) -> Tuple[Rotation, np.ndarray]:
        """Inverse of `to_object`."""
        return self.rest * Rotation.from_quat(rotation), self.rest.apply(translation) + self.height * Z


def closed_on_table(
    scene: Scene,
    shapes: np.ndarray,
    by: np.ndarray,
    further: np.ndarray,
    hand: Rotation,
    position: np.ndarray,
    config: ClosureConfig = CLOSURE_CONFIG,
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Close hands to first contact, bring them to the table, close them again from there and then further, and bring
    them to the table once more, which fingers may then overlap by `scratch_depth`.

    Only the closed hand is at the table: the open one may be higher (`trials.py` lowers it).

    Args:
        shapes: (K, 22) joint positions of the open hands, rad.
        by: (K, 22) rad by which they change as the hands close.
        further: (K,) rad beyond contact that the fingers close.
        hand: rotations of K hand roots in the scene.
        position: (K, 3) m of the hand roots in the scene.

    Returns:
        joint positions (K, 22) of the hands closed further, rad; score (K,) at first contact, less the costs of the
        table and of an object in the way of the open hand; and position (K, 3), m.
    """
    lower, upper = joint_ranges().T
    closed, score, lowest = _closed(scene, shapes, by, hand, position, config)
    before, position = position, _to_table(scene, closed, hand, position, lowest, config)
    moved = np.flatnonzero(np.abs(position - before)[:, 2] > config.min_move)
    if len(moved):
        closed[moved], score[moved], _ = _closed(scene, shapes[moved], by[moved], hand[moved], position[moved], config)
    squeezed = (closed + further[:, None] * CLOSING_SENSE).clip(lower, upper)
    lowest = _lowest(squeezed, hand, position)
    score = score - np.maximum(-lowest / config.scratch_depth, 0.0)
    allowed = np.where(lowest < 0, np.minimum(lowest + config.scratch_depth, 0.0), lowest)
    position = _to_table(scene, closed, hand, position, allowed, config)
    blocked = _clearance_open(scene, closed, hand, position, config) < 0.0
    return squeezed, score - config.blocked_cost * blocked, position


def touching_on_table(
    scene: Scene, squeezed: np.ndarray, hand: Rotation, position: np.ndarray, config: ClosureConfig
) -> Tuple[np.ndarray, np.ndarray]:
    """Joint positions (K, 22), rad, at which every finger touches the object, and positions (K, 3) of the hands, m,
    raised where these fingers, which are straighter, would be in the table by more than `scratch_depth`.

    Args:
        squeezed: (K, 22) rad, of the hands that `closed_on_table` returns: a finger that touches nothing before is as
            far closed as these.
    """
    for _ in range(config.table_passes):  # higher up, fingers touch elsewhere
        touching = _closed_to_contact(scene, squeezed, hand, position, config)
        deeper = np.maximum(-_lowest(touching, hand, position) - config.scratch_depth, 0.0)
        position = position + deeper[:, None] * Z
    return _closed_to_contact(scene, squeezed, hand, position, config), position


def _closed_to_contact(
    scene: Scene, squeezed: np.ndarray, hand: Rotation, position: np.ndarray, config: ClosureConfig
) -> np.ndarray:
    lower, upper = joint_ranges().T
    opened = (squeezed - (config.opening + config.max_further) * CLOSING_SENSE).clip(lower, upper)
    by = squeezed - opened
    fraction = _first_contacts(scene, opened, by, hand, position, config).fraction
    return opened + np.where(np.isnan(fraction), 1.0, fraction)[:, FINGER_OF_JOINT] * by


class _Contacts(NamedTuple):
    """Where each of the five fingers of K hands first touches the object. Fingers that touch nothing have NaN as
    `fraction` and zeros elsewhere."""

    fraction: np.ndarray
    """(K, 5) of its closing at which the finger touches."""
    point: np.ndarray
    """(K, 5, 3) m, on the surface."""
    normal: np.ndarray
    """(K, 5, 3) outward unit normal there."""
    push: np.ndarray
    """(K, 5, 3) unit direction in which the finger moves; zero where it touches before it has moved."""


def _closed(
    scene: Scene, shapes: np.ndarray, by: np.ndarray, hand: Rotation, position: np.ndarray, config: ClosureConfig
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Close every finger until it touches the object; the arguments are those of `closed_on_table`.

    Returns:
        joint positions (K, 22), rad; score (K,): how well the pushes of the fingers and the thumb meet the surface, how
        many fingers touch, how little force and torque of them is left over, and the grip (`_grip`); and the height
        (K,) of the closed hand's lowest point above the table, m.
    """
    fraction, point, normal, push = _first_contacts(scene, shapes, by, hand, position, config)
    touched = ~np.isnan(fraction)
    fingers = touched[:, :THUMB].sum(axis=1)
    # the thumb weighs as much as all fingers together, as if every grasp were a balanced squeeze between the two
    weight = touched / np.where(np.arange(len(FINGERS)) < THUMB, np.maximum(fingers, 1)[:, None], 1)
    # 1: the finger pushes straight into the surface; below 0 it would have come from the inside
    met = -np.sum(push * normal, axis=2)
    force = np.einsum("kf,kfi->ki", weight, push)
    torque = np.einsum("kf,kfi->ki", weight, np.cross(point - scene.centre, push))
    # the worst contact counts, not the mean: a grasp is as good as its weakest finger
    score = (
        np.where(touched, met, 1.0).min(axis=1)
        + config.finger_score * fingers
        - np.linalg.norm(force, axis=1)
        - np.linalg.norm(torque, axis=1) / config.torque_arm
    )
    grasps = touched[:, THUMB] & (fingers >= config.min_fingers)
    # what is no grasp is still ranked, as all draws of a candidate may be like that
    score = np.where(grasps, score, config.no_grasp_score + fingers + touched[:, THUMB])
    # a finger that touches nothing closes as far as the others do on average, but never to a fist
    mean = np.where(touched, fraction, 0.0).sum(axis=1) / np.maximum(touched.sum(axis=1), 1)
    fraction = np.where(touched, fraction, np.minimum(mean, config.max_free_fraction)[:, None])
    closed = shapes + fraction[:, FINGER_OF_JOINT] * by
    score = score + config.grip_score * _grip(scene, closed, hand, position, config)
    return closed, score, _lowest(closed, hand, position)


def _first_contacts(
    scene: Scene, shapes: np.ndarray, by: np.ndarray, hand: Rotation, position: np.ndarray, config: ClosureConfig
) -> _Contacts:
    """Follow every finger through the steps of its closing until one of its spheres is in the object."""
    count, num_fingers = len(shapes), len(FINGERS)
    matrix = hand.as_matrix()
    fraction = np.full((count, num_fingers), np.nan)
    point, push, normal = np.zeros((3, count, num_fingers, 3))
    last: Optional[Tuple[float, np.ndarray, np.ndarray]] = None
    steps = config.closing_fractions
    # all steps in one call: the kinematics of many hands cost hardly more than those of one
    on_their_way = hand_spheres((shapes + steps[:, None, None] * by).reshape(-1, len(JOINTS)))
    spheres_at = on_their_way.centres.reshape(len(steps), count, -1, 3)
    for step, centres in zip(steps, spheres_at):
        at = centres @ matrix.transpose(0, 2, 1) + position[:, None]
        gap = np.full((count, num_fingers), np.inf)
        for i in range(num_fingers):
            own = np.flatnonzero(on_their_way.finger == i)
            open_ = np.flatnonzero(np.isnan(fraction[:, i]))
            distance, nearest = scene.tree.query(at[open_][:, own], distance_upper_bound=config.far)
            gaps = distance - on_their_way.radii[own] - config.sampling_gap
            first = gaps.argmin(axis=1)
            gap[open_, i] = np.minimum(gaps.min(axis=1), config.far)  # finite, as the next step interpolates from it
            now = np.flatnonzero(gap[open_, i] < 0)
            if len(now) == 0:
                continue
            rows = open_[now]
            found, sphere = nearest[now, first[now]], own[first[now]]
            point[rows, i], normal[rows, i] = scene.surface[found], scene.normals[found]
            if last is None:  # the open hand touches: there is no motion to take a push from
                fraction[rows, i] = 0.0
                continue
            last_step, last_gap, last_at = last
            moved = at[rows, sphere] - last_at[rows, sphere]
            push[rows, i] = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), TINY)
            # the gap is nearly linear within a step, so its zero says when in the step the finger touched
            beyond = gap[rows, i] / (gap[rows, i] - last_gap[rows, i])
            fraction[rows, i] = step - beyond.clip(0.0, 1.0) * (step - last_step)
        last = step, gap, at
    return _Contacts(fraction, point, normal, push)


def _grip(scene: Scene, closed: np.ndarray, hand: Rotation, position: np.ndarray, config: ClosureConfig) -> np.ndarray:
    """(K,) m, how firmly the object is between thumb and fingers: how far these would reach into it if they were
    commanded to close further by `pressed`, as the geometric mean of the thumb's reach and the sum of the fingers'.

    A finger that slips over the object's edge reaches into nothing.
    """
    lower, upper = joint_ranges().T
    spheres = hand_spheres((closed + config.pressed * config.rates).clip(lower, upper))
    at = spheres.centres @ hand.as_matrix().transpose(0, 2, 1) + position[:, None]
    distance, nearest = scene.tree.query(at, distance_upper_bound=config.far)
    nearest = np.where(np.isinf(distance), 0, nearest)
    inside = np.sum((at - scene.surface[nearest]) * scene.normals[nearest], axis=2) < 0
    signed = np.where(inside & np.isfinite(distance), -distance, distance)
    reach = (spheres.radii - signed).clip(0.0, config.max_pressed)
    own = [reach[:, spheres.finger == i].max(axis=1) for i in range(len(FINGERS))]
    return np.sqrt(own[THUMB] * np.sum(own[:THUMB], axis=0))


def _to_table(
    scene: Scene,
    closed: np.ndarray,
    hand: Rotation,
    position: np.ndarray,
    lowest: np.ndarray,
    config: ClosureConfig,
) -> np.ndarray:
    """Positions (K, 3) of closed hands, whose lowest points are `lowest` (K,) m above the table, moved up until they
    are out of it, or down to it by `max_lowered` at most, where nothing is in the way of the open hand."""
    raised = position + np.maximum(-lowest, 0.0)[:, None] * Z
    lowered = position - (lowest - config.clearance).clip(0.0, config.max_lowered)[:, None] * Z
    free = (lowest > config.clearance) & (_clearance_open(scene, closed, hand, lowered, config) >= 0.0)
    return np.where(free[:, None], lowered, raised)


def _clearance(scene: Scene, spheres: Spheres, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """(K,) m between a hand and the nearest of object and table, negative where they overlap, from the outside of the
    object only; an object that is not reached counts as infinitely far."""
    at = spheres.centres @ hand.as_matrix().transpose(0, 2, 1) + position[:, None]
    near = scene.tree.query(at, distance_upper_bound=spheres.radii.max())[0] - spheres.radii
    return np.minimum(near, at[..., 2] - spheres.radii).min(axis=1)


def _clearance_open(
    scene: Scene, closed: np.ndarray, hand: Rotation, position: np.ndarray, config: ClosureConfig
) -> np.ndarray:
    """`_clearance` of the hands as a trial of them begins: open by `opening`, and as high as the table makes them."""
    lower, upper = joint_ranges().T
    opened = (closed - config.opening * CLOSING_SENSE).clip(lower, upper)
    begin = position + np.maximum(config.clearance - _lowest(opened, hand, position), 0.0)[:, None] * Z
    return _clearance(scene, hand_spheres(opened), hand, begin)


def _lowest(joint_pos: np.ndarray, hand: Rotation, position: np.ndarray) -> np.ndarray:
    """(K,) m of the lowest point of hands above the table."""
    centres, radii, _ = hand_spheres(joint_pos)
    return (np.einsum("kj,ksj->ks", hand.as_matrix()[:, 2], centres) + position[:, 2:] - radii).min(axis=1)


def _surface_points(obj: GraspObject, count: int, rng: Generator) -> Tuple[np.ndarray, np.ndarray]:
    """(count, 3) points on the object's pieces, evenly by area, and the outward normals there.

    Unlike `objects.geometry.surface.surface_points`, faces that one piece hides of another count, too.
    """
    corners = np.concatenate([piece.vertices[piece.faces] for piece in obj.pieces])
    a, b, c = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(b, c)
    area = np.linalg.norm(normal, axis=1)
    face = rng.choice(len(area), size=count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    return a[face] + u * b[face] + v * c[face], normal[face] / area[face, None]
