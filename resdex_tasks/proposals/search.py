"""The search for grasp proposals.

Candidates are tried in the simulator as the task would meet them. In the first round most of them are variations of
grasps of similar objects, and the others random; in each further round they are variations of those that did best.
These trials are quick; what holds is tried again at length, both as it is and elsewhere and slightly displaced, and the
most stable are kept. No object waits for another: each begins its next round when its last has ended, so that the
environments are always full. An object's proposals depend on the object, the seed, the settings and the grasps it
begins with, not on the objects beside it.
"""

import math
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.geometry.surface import TurnedSurface
from resdex_tasks.objects.object_set import GraspObject, GraspProposals, ObjectSet
from resdex_tasks.proposals.candidates import sample_candidates, vary_candidates
from resdex_tasks.proposals.file import Found, found_for
from resdex_tasks.proposals.similar import similar_grasps
from resdex_tasks.proposals.trials import FULL_COURSE, QUICK_COURSE, Course, Outcomes, Stage, replay_trials
from resdex_tasks.sims.base import GraspSim
from resdex_tasks.utils.errors import UserError

POSITION_NOISE, ROTATION_NOISE = 0.002, np.radians(1.5)
"""m and rad, along and about each axis: by how much the hand is displaced when what held is tried again."""

MAX_STRAY, MAX_UNLIKE = np.radians(30.0), 0.1
"""The object may turn in the hand while the fingers close by the first, rad, or further where the turned surface is as
near as the second (`TurnedSurface`) to what it was: round things roll."""
STRAY_COST = 0.05
"""m of slip that a radian of it is worth when proposals are compared."""
ENOUGH = 1.25
"""Times the wanted number must hold in the rounds, before what held is tried again."""

SIMILAR_PART = 0.75
"""Part of the first round's candidates that are variations of similar objects' grasps, where there are examples."""

MakeSim = Callable[[ObjectSet, int], GraspSim]
"""A simulator with so many environments for a set."""


@dataclass(frozen=True)
class Settings:
    """How much is tried for an object."""

    candidates: int = 32
    """In the first round."""
    variations: int = 12
    """In each further round."""
    rounds: int = 24
    """Further rounds, at most: an object of which enough has held is done."""
    parents: int = 6
    """How many of those tried so far are varied, at most."""
    wanted: int = 16
    """Proposals kept, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("candidates", 2),
            ("variations", 1),
            ("rounds", 0),
            ("parents", 1),
            ("wanted", 1),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UserError(f"--{name} is {value}; it must be a whole number of at least {least}")


FAILED, SHAKY, HELD, STABLE = range(4)
"""Grades of a grasp that was tried: it did not hold; it did, but not again; it did; it did again, twice."""


def strays(surface: TurnedSurface, grasps: GraspProposals, closed: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """How far the object turned in the hand from (R, t, q) until the fingers had closed.

    Args:
        surface: of the object.
        closed: (P, 4) rotation of the hand in the object's frame when the fingers had closed.

    Returns:
        (P,) the angle, rad, and (P,) bool: whether the grasp is about the one that (R, t, q) describes, as the angle is
        at most `MAX_STRAY`, or the surface of an object that rolled is about where it was (`MAX_UNLIKE`).
    """
    turn = Rotation.from_quat(grasps.rotation) * Rotation.from_quat(closed).inv()
    stray = turn.magnitude()
    true = stray <= MAX_STRAY
    if not true.all():
        true[~true] = surface.unlike(turn[~true]) <= MAX_UNLIKE
    return stray, true


class _Tried:
    """What was tried on one object: grasps, and how they did."""

    def __init__(self, thing: GraspObject) -> None:
        self.thing = thing
        self.grasps: List[GraspProposals] = []
        self.lasted = np.zeros(0)
        self.grade = np.zeros(0, dtype=int)
        self.true = np.zeros(0, dtype=bool)
        """Those that held as (R, t, q) describes them (`strays`), whenever they held."""
        self.slip = np.zeros(0)

    @cached_property
    def surface(self) -> TurnedSurface:
        """Of the object."""
        return TurnedSurface(self.thing)

    def add(self, grasps: GraspProposals, outcomes: Outcomes, rows: slice) -> None:
        lasted, held, true, slip = self._measures(grasps, outcomes, rows)
        self.grasps.append(grasps)
        self.lasted = np.concatenate([self.lasted, lasted])
        self.grade = np.concatenate([self.grade, np.where(held, HELD, FAILED)])
        self.true = np.concatenate([self.true, true])
        self.slip = np.concatenate([self.slip, slip])

    def confirm(self, which: np.ndarray, grasps: GraspProposals, outcomes: Outcomes, rows: Sequence[slice]) -> None:
        """Grade those (rows `which` of what was tried) that were tried again, once for each of `rows`."""
        self.grade[which] = STABLE
        for part in rows:
            _, held, true, slip = self._measures(grasps, outcomes, part)
            self.grade[which] = np.where(held, self.grade[which], SHAKY)
            self.true[which] &= true | ~held
            self.slip[which] = np.where(held, np.maximum(slip, self.slip[which]), self.slip[which])

    def _measures(self, grasps: GraspProposals, outcomes: Outcomes, rows: slice) -> Tuple[np.ndarray, ...]:
        """How long grasps lasted, which held, which of these are true, how much the object moved, all (P,)."""
        fields = ("lasted", "held", "slip", "rotation")
        lasted, held, slip, closed = (getattr(outcomes, f)[rows].cpu().numpy().copy() for f in fields)
        rows = np.flatnonzero(held)
        true = np.zeros(len(held), dtype=bool)
        if len(rows):
            stray, true[rows] = strays(self.surface, grasps.take(rows), closed[rows])
            slip[rows] += STRAY_COST * stray
        return lasted, held, true, slip

    def count(self, grade: int, only_true: bool) -> int:
        return int(((self.grade == grade) & (self.true | (not only_true))).sum())

    def take(self, rows: np.ndarray) -> GraspProposals:
        """Some of the grasps."""
        return GraspProposals.joined(self.grasps).take(rows)

    def best(self, count: int, grade: Optional[int] = None, only_true: bool = False) -> np.ndarray:
        """The rows (of one grade): those that held, true ones first, by grade and slip; then those that lasted."""
        order = np.lexsort((self.slip, -self.lasted, -self.grade, ~self.true))
        which = ((self.grade == grade) | (grade is None)) & (self.true | (not only_true))
        return order[which[order]][:count]


def propose(
    make_sim: MakeSim,
    objects: ObjectSet,
    settings: Settings,
    num_envs: int = 128,
    examples: Sequence[Found] = (),
    progress: Optional[Callable[[], Any]] = None,
) -> List[Found]:
    """Proposals of each object, the most stable first; None for an object of which no grasp held.

    Args:
        examples: what was found before, of any objects, to begin with the grasps of the most similar ones.
        progress: called whenever the search for an object has ended.
    """
    sim = make_sim(objects, num_envs)
    stage = Stage(sim)
    searches = [_Search(sim, objects, i, settings, examples) for i in range(len(objects))]
    owner: List[_Search] = []  # of each trial
    for search in searches:
        owner += search.go_on(stage)
    while stage.busy:
        ended = stage.advance().tolist()
        for trial in ended:
            owner[trial].waiting -= 1
        for search in {id(owner[trial]): owner[trial] for trial in ended}.values():
            if search.waiting == 0:
                more = search.go_on(stage)
                owner += more
                if progress is not None and not more:
                    progress()
    return [search.found() for search in searches]


class _Search:
    """The search for one object's proposals: rounds of trials, each of which begins when the one before has ended."""

    def __init__(
        self, sim: GraspSim, objects: ObjectSet, index: int, settings: Settings, examples: Sequence[Found]
    ) -> None:
        self.sim, self.objects, self.index, self.settings, self.examples = sim, objects, index, settings, examples
        self.thing = objects[index]
        self.tried = _Tried(self.thing)
        self.before = sum(e.tried for e in examples if e.name == self.thing.name)
        """Candidates of earlier searches for it: another search tries others."""
        self.round = 0
        self.waiting = 0
        """Trials of the round that have not ended."""
        self.grasps: Optional[GraspProposals] = None
        """Of the round."""
        self.rows: List[slice] = []
        """Their numbers on the stage, once for each time that they are tried in the round."""
        self.again: Optional[np.ndarray] = None
        """Which of those tried are tried again in this round."""

    def go_on(self, stage: Stage) -> List["_Search"]:
        """Note what the round has brought and add the next one's trials; returns their owner, for each of them."""
        wanted, tried = self.settings.wanted, self.tried
        if self.again is not None:
            tried.confirm(self.again, self.grasps, stage.outcomes, self.rows)
        elif self.grasps is not None:
            tried.add(self.grasps, stage.outcomes, self.rows[0])
        over = self.round > self.settings.rounds
        # those in which the object rolls count when all rounds have not brought enough of the others
        only_true = not over or tried.count(HELD, only_true=True) > 0
        good, open_ = (tried.count(grade, only_true) for grade in (STABLE, HELD))
        if good >= wanted or (over and not open_):
            return []
        self.again, self.rows = None, []
        if over or good + open_ >= ENOUGH * wanted:
            self.again = tried.best(math.ceil(ENOUGH * (wanted - good)), HELD, only_true)
            self.grasps = tried.take(self.again)
            noise = {"position_noise": POSITION_NOISE, "rotation_noise": ROTATION_NOISE}
            displaced = self._add(stage, FULL_COURSE, generators=[self._generator(self.round, 1)], **noise)
            return displaced + self._add(stage, FULL_COURSE)
        rng = self._generator(self.round)
        if self.round == 0:
            self.grasps = self._first(rng)
        else:
            parents = tried.take(tried.best(self.settings.parents))
            self.grasps = vary_candidates(self.thing, parents, self.settings.variations, rng)
        self.round += 1
        return self._add(stage, QUICK_COURSE)

    def _first(self, rng: np.random.Generator) -> GraspProposals:
        """The candidates of the first round."""
        count = self.settings.candidates
        similar = similar_grasps(self.thing, self.examples, min(round(SIMILAR_PART * count), count - 1))
        if similar is None:
            return sample_candidates(self.thing, count, rng)
        adapted = vary_candidates(self.thing, similar, len(similar), rng)
        return GraspProposals.joined([adapted, sample_candidates(self.thing, count - len(similar), rng)])

    def _add(self, stage: Stage, course: Course, **replay: Any) -> List["_Search"]:
        trials = replay_trials(self.sim, self.objects, [self.grasps], [self.index], **replay)
        self.rows.append(stage.add(trials, course))
        self.waiting += len(trials)
        return len(trials) * [self]

    def found(self) -> Found:
        stable = self.tried.best(self.settings.wanted, STABLE)
        proposals = self.tried.take(stable) if len(stable) else None
        return found_for(self.thing, len(self.tried.grade), proposals, ~self.tried.true[stable])

    def _generator(self, *step: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, zlib.crc32(self.thing.name.encode()), self.before, *step])
