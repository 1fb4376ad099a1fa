"""The search for grasp proposals.

Candidates are tried in the simulator as the task would meet them. In the first round most of them are variations of
grasps of similar objects, and the others random; in each further round they are variations of those that did best.
These trials are quick; what holds is tried again at length, both as it is and elsewhere and slightly displaced, and the
most stable are kept. No object waits for another: each begins its next round when its last has ended, so that the
environments are always full. An object's proposals depend on the object, the seed, the configuration and the grasps
that the search begins with, not on the objects beside it.
"""

import math
import zlib
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.geometry.surface import TurnedSurface
from resdex_tasks.objects.object_set import GraspObject, GraspProposals, ObjectSet
from resdex_tasks.proposals.candidates import CANDIDATE_CONFIG, CandidateConfig, sample_candidates, vary_candidates
from resdex_tasks.proposals.file import ObjectProposals, proposals_for
from resdex_tasks.proposals.similar import similar_grasps
from resdex_tasks.proposals.trials import (
    FULL_MOTION,
    QUICK_MOTION,
    Outcomes,
    TrialMotion,
    TrialScheduler,
    replay_trials,
)
from resdex_tasks.sims.base import GraspSim
from resdex_tasks.utils.errors import UserError

POSITION_NOISE, ROTATION_NOISE = 0.002, np.radians(1.5)
"""m and rad, along and about each axis: by how much the hand is displaced when what held is tried again."""

MAX_STRAY, MAX_UNLIKE = np.radians(30.0), 0.1
"""The object may turn in the hand while the fingers close by the first, rad, or further where the turned surface is as
near as the second (`TurnedSurface`) to what it was: round objects roll."""
STRAY_COST = 0.05
"""m of slip that counts like one radian of this turn when proposals are compared."""
ENOUGH = 1.25
"""How many times the wanted number must hold in the rounds before what held is tried again."""

SIMILAR_FRACTION = 0.75
"""Fraction of the first round's candidates that are variations of similar objects' grasps, where there are examples."""

MakeSim = Callable[[ObjectSet, int], GraspSim]
"""Makes a simulator for a set, with so many environments."""


@dataclass(frozen=True)
class SearchConfig:
    """How much is tried for an object."""

    candidates: int = 32
    """In the first round."""
    variations: int = 12
    """In each further round."""
    rounds: int = 24
    """Further rounds, at most: the search for an object ends when enough has held."""
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
                raise UserError(f"--{name} is {value}; it must be an integer of at least {least}")


class GraspGrade(IntEnum):
    """How well a grasp that was tried has held; higher is better."""

    FAILED = 0
    """It did not hold."""
    SHAKY = 1
    """It held, but not again."""
    HELD = 2
    """It held, and has not been tried again."""
    STABLE = 3
    """It held, and each time that it was tried again."""


def strays(surface: TurnedSurface, grasps: GraspProposals, closed: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """How far the object turned in the hand from (R, t, q) until the fingers had closed.

    Args:
        surface: the object's.
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
    """The grasps that were tried on one object, and how they did."""

    def __init__(self, obj: GraspObject) -> None:
        self.obj = obj
        self.grasps: List[GraspProposals] = []
        self.lasted = np.zeros(0)
        self.grade = np.zeros(0, dtype=int)
        self.true = np.zeros(0, dtype=bool)
        """Those that held as (R, t, q) describes them (`strays`), every time that they held."""
        self.slip = np.zeros(0)

    @cached_property
    def surface(self) -> TurnedSurface:
        """The object's."""
        return TurnedSurface(self.obj)

    def add(self, grasps: GraspProposals, outcomes: Outcomes, rows: slice) -> None:
        """Add grasps after their first trials, whose outcomes are in `rows`."""
        lasted, held, true, slip = self._measures(grasps, outcomes, rows)
        self.grasps.append(grasps)
        self.lasted = np.concatenate([self.lasted, lasted])
        self.grade = np.concatenate([self.grade, np.where(held, GraspGrade.HELD, GraspGrade.FAILED)])
        self.true = np.concatenate([self.true, true])
        self.slip = np.concatenate([self.slip, slip])

    def confirm(self, which: np.ndarray, grasps: GraspProposals, outcomes: Outcomes, rows: Sequence[slice]) -> None:
        """Grade those (rows `which` of what was tried) that were tried again, once for each of `rows`."""
        self.grade[which] = GraspGrade.STABLE
        for part in rows:
            _, held, true, slip = self._measures(grasps, outcomes, part)
            self.grade[which] = np.where(held, self.grade[which], GraspGrade.SHAKY)
            self.true[which] &= true | ~held
            self.slip[which] = np.where(held, np.maximum(slip, self.slip[which]), self.slip[which])

    def _measures(self, grasps: GraspProposals, outcomes: Outcomes, rows: slice) -> Tuple[np.ndarray, ...]:
        """How long grasps lasted, which held, which of these are true, how much the object moved, all (P,)."""
        fields = ("lasted", "held", "slip", "rotation")
        lasted, held, slip, closed = (getattr(outcomes, f)[rows].cpu().numpy().copy() for f in fields)
        kept = np.flatnonzero(held)
        true = np.zeros(len(held), dtype=bool)
        if len(kept):
            stray, true[kept] = strays(self.surface, grasps.take(kept), closed[kept])
            slip[kept] += STRAY_COST * stray
        return lasted, held, true, slip

    def count(self, grade: GraspGrade, only_true: bool) -> int:
        """How many have this grade."""
        return int(((self.grade == grade) & (self.true | (not only_true))).sum())

    def take(self, rows: np.ndarray) -> GraspProposals:
        """Some of the grasps."""
        return GraspProposals.joined(self.grasps).take(rows)

    def best(self, count: int, grade: Optional[GraspGrade] = None, only_true: bool = False) -> np.ndarray:
        """The rows (of one grade): those that held, true ones first, by grade and slip; then those that lasted."""
        order = np.lexsort((self.slip, -self.lasted, -self.grade, ~self.true))
        which = ((self.grade == grade) | (grade is None)) & (self.true | (not only_true))
        return order[which[order]][:count]


def propose(
    make_sim: MakeSim,
    objects: ObjectSet,
    config: SearchConfig,
    num_envs: int = 128,
    examples: Sequence[ObjectProposals] = (),
    progress: Optional[Callable[[], Any]] = None,
    candidates: CandidateConfig = CANDIDATE_CONFIG,
) -> List[ObjectProposals]:
    """Proposals of each object, the most stable first; none for an object of which no grasp held.

    Args:
        examples: proposals found before, for any objects: the search begins with those of the most similar ones.
        progress: called whenever the search for an object has ended.
        candidates: how candidates are drawn.
    """
    sim = make_sim(objects, num_envs)
    scheduler = TrialScheduler(sim)
    searches = [_Search(sim, objects, i, config, examples, candidates) for i in range(len(objects))]
    owner: List[_Search] = []  # of each trial
    for search in searches:
        owner += search.next_round(scheduler)
    while scheduler.busy:
        ended = scheduler.advance().tolist()
        for trial in ended:
            owner[trial].waiting -= 1
        for search in {id(owner[trial]): owner[trial] for trial in ended}.values():
            if search.waiting == 0:
                more = search.next_round(scheduler)
                owner += more
                if progress is not None and not more:
                    progress()
    return [search.result() for search in searches]


class _Search:
    """The search for one object's proposals: rounds of trials, each of which begins when the one before has ended."""

    def __init__(
        self,
        sim: GraspSim,
        objects: ObjectSet,
        index: int,
        config: SearchConfig,
        examples: Sequence[ObjectProposals],
        candidates: CandidateConfig = CANDIDATE_CONFIG,
    ) -> None:
        self.sim, self.objects, self.index = sim, objects, index
        self.config, self.examples, self.candidates = config, examples, candidates
        self.obj = objects[index]
        self.tried = _Tried(self.obj)
        self.before = sum(e.tried for e in examples if e.name == self.obj.name)
        """Candidates of earlier searches for this object: another search tries others."""
        self.round = 0
        self.waiting = 0
        """Trials of the round that have not ended."""
        self.grasps: Optional[GraspProposals] = None
        """The round's."""
        self.rows: List[slice] = []
        """Numbers of the round's trials in the scheduler, once for each time that its grasps are tried."""
        self.again: Optional[np.ndarray] = None
        """Rows of `tried` that are tried again in this round; None: its grasps are new."""

    def next_round(self, scheduler: TrialScheduler) -> List["_Search"]:
        """Record the outcomes of the round and add the next one's trials.

        Returns:
            this search, once for each of these trials; empty: the search has ended.
        """
        wanted, tried = self.config.wanted, self.tried
        if self.grasps is not None and self.again is not None:
            tried.confirm(self.again, self.grasps, scheduler.outcomes, self.rows)
        elif self.grasps is not None:
            tried.add(self.grasps, scheduler.outcomes, self.rows[0])
        over = self.round > self.config.rounds
        # those in which the object rolls count when all rounds have not brought enough of the others
        only_true = not over or tried.count(GraspGrade.HELD, only_true=True) > 0
        good, open_ = (tried.count(grade, only_true) for grade in (GraspGrade.STABLE, GraspGrade.HELD))
        if good >= wanted or (over and not open_):
            return []
        self.again, self.rows = None, []
        if over or good + open_ >= ENOUGH * wanted:
            self.again = tried.best(math.ceil(ENOUGH * (wanted - good)), GraspGrade.HELD, only_true)
            self.grasps = grasps = tried.take(self.again)
            noise = {"position_noise": POSITION_NOISE, "rotation_noise": ROTATION_NOISE}
            generators = [self._generator(self.round, 1)]
            displaced = self._add(scheduler, grasps, FULL_MOTION, generators=generators, **noise)
            return displaced + self._add(scheduler, grasps, FULL_MOTION)
        rng = self._generator(self.round)
        if self.round == 0:
            grasps = self._first(rng)
        else:
            parents = tried.take(tried.best(self.config.parents))
            grasps = vary_candidates(self.obj, parents, self.config.variations, rng, self.candidates)
        self.grasps = grasps
        self.round += 1
        return self._add(scheduler, grasps, QUICK_MOTION)

    def _first(self, rng: np.random.Generator) -> GraspProposals:
        """The candidates of the first round."""
        count = self.config.candidates
        most = min(round(SIMILAR_FRACTION * count), count - 1)
        similar = similar_grasps(self.obj, self.examples, most, self.candidates)
        if similar is None:
            return sample_candidates(self.obj, count, rng, self.candidates)
        adapted = vary_candidates(self.obj, similar, len(similar), rng, self.candidates)
        random = sample_candidates(self.obj, count - len(similar), rng, self.candidates)
        return GraspProposals.joined([adapted, random])

    def _add(
        self, scheduler: TrialScheduler, grasps: GraspProposals, motion: TrialMotion, **replay: Any
    ) -> List["_Search"]:
        closure = self.candidates.closure
        trials = replay_trials(self.sim, self.objects, [grasps], [self.index], closure=closure, **replay)
        self.rows.append(scheduler.add(trials, motion))
        self.waiting += len(trials)
        return len(trials) * [self]

    def result(self) -> ObjectProposals:
        """The stable grasps as proposals."""
        stable = self.tried.best(self.config.wanted, GraspGrade.STABLE)
        proposals = self.tried.take(stable) if len(stable) else None
        return proposals_for(self.obj, len(self.tried.grade), proposals, ~self.tried.true[stable])

    def _generator(self, *step: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, zlib.crc32(self.obj.name.encode()), self.before, *step])
