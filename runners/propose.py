"""The command of `runners.objects` that finds grasp proposals for a set of objects.

Candidates are tried in the simulator as the task would meet them. In the first round most of them are variations of
grasps of similar objects, of the batches before or of a file, and the others random; in each further round they are
variations of those that did best. These trials are quick; what holds is tried again at length, both as it is and
elsewhere and slightly displaced, and the most stable are kept. No object waits for another: each begins its next round
when its last has ended, so that the environments are always full. An object's proposals depend on the object, the seed,
the settings and the grasps it begins with, not on the objects beside it in its batch. The file is written after every
batch; run again, the command goes on with the objects that are missing.
"""

import argparse
import hashlib
import math
import zlib
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from resdex_tasks.config import read_config
from resdex_tasks.errors import UserError
from resdex_tasks.files import check_can_write
from resdex_tasks.make import SIMS, SimRequest
from resdex_tasks.objects import make_objects
from resdex_tasks.objects.candidates import sample_candidates, vary_candidates
from resdex_tasks.objects.object_set import GraspObject, GraspProposals, ObjectSet
from resdex_tasks.objects.proposals_file import SHIPPED_PROPOSALS, Found, found_for, read_found, write_found
from resdex_tasks.objects.similar import similar_grasps
from resdex_tasks.objects.surface import TurnedSurface
from resdex_tasks.paths import SHIPPED
from resdex_tasks.sims.base import GraspSim, WristLaw
from runners.grasp_trials import FULL_COURSE, QUICK_COURSE, Course, Outcomes, Stage, replay_trials

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

WITHOUT_EFFECT = ("numThreads",)
"""Of the simulator's settings, those on which no trial depends."""

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


def run(
    path: Path,
    make_sim: MakeSim,
    objects: ObjectSet,
    settings: Settings,
    num_envs: int = 128,
    batch: int = 44,
    sim: Optional[Mapping[str, Any]] = None,
    search: Optional[Mapping[str, Any]] = None,
    quiet: Optional[bool] = None,
    like: Optional[Path] = None,
    at_least: int = 0,
) -> List[Found]:
    """Fill the file `path` with proposals of all objects, batch by batch; objects that are in it already are kept.

    Args:
        at_least: objects that are in it with fewer proposals are searched again, with more examples than before, and
            keep what both searches found.
        like: a file of proposals, to begin with those of similar objects.
        sim: the configuration of simulator and hand; one file is of one simulation.
        search: what else is noted in the file about this search.
        quiet: whether no progress is shown; None: where no terminal shows it.

    UserError: the file was made with other settings, or from objects of the same name and another shape.
    """
    examples: List[Found] = []
    settings_said: Dict[str, Any] = asdict(settings)
    if like is not None:
        if like.resolve() == path.resolve():
            raise UserError(f"--like and --out are both {path}; what it has already is begun with anyway")
        examples = list(read_found(like)[0].values())
        settings_said["like"] = hashlib.sha256(like.read_bytes()).hexdigest()[:12]
    settings_said.update(_flat(sim or {}, "sim."))
    searches = [dict(search or {})]
    found: Dict[str, Found] = {}
    if path.exists():
        found, made_before = read_found(path)
        _check_settings(path, made_before.get("settings", {}), settings_said)
        searches = [*made_before.get("searches", []), *searches]
        for thing in objects:
            if thing.name in found:
                found[thing.name].check(thing, path)
    missing = [thing for thing in objects if thing.name not in found or found[thing.name].count < at_least]
    bar = tqdm(total=len(objects), initial=len(objects) - len(missing), unit="object", disable=quiet)
    for start in range(0, len(missing), batch):
        part = ObjectSet(missing[start : start + batch])
        for f in propose(make_sim, part, settings, num_envs, [*examples, *found.values()], bar.update):
            before = found.get(f.name)
            found[f.name] = f if before is None else before.joined(f, settings.wanted)
        write_found(path, list(found.values()), {"settings": settings_said, "searches": searches})
        if bar.disable and not quiet:
            print(f"{len(objects) - len(missing) + min(start + batch, len(missing))} of {len(objects)} objects")
    bar.close()
    return [found[thing.name] for thing in objects]


def _flat(values: Mapping[str, Any], before: str) -> Dict[str, Any]:
    """Nested settings by their dotted names."""
    flat = {}
    for key, value in values.items():
        flat.update(_flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value})
    return flat


def _check_settings(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError where a file was made with other settings, or in another simulation."""
    for key in sorted({*then, *now}):
        if then.get(key) == now.get(key):
            continue
        if key == "like":
            raise UserError(f"{path} was begun with another file of --like, or with none; give another file")
        raise UserError(
            f"{path} was made with {key}={then.get(key)}, not {now.get(key)}; "
            "give another file, or the settings it was made with"
        )


def simulator(cfg: Mapping[str, Any]) -> MakeSim:
    """How the configured simulator is built for a set of objects."""

    def make(objects: ObjectSet, num_envs: int) -> GraspSim:
        settings = dict(cfg["sim"])
        law = read_config(WristLaw, cfg["task"]["env"]["wrist"], "task.env.wrist")
        index = torch.arange(num_envs) % len(objects)
        return SIMS[settings.pop("name")](SimRequest(objects, index, settings, law, cfg["sim_device"]))

    return make


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="file to fill, .npz; what is in it already is kept")
    for name, default in asdict(Settings()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    again = "search again for objects that the file has with fewer proposals: there are more examples by now"
    parser.add_argument("--at_least", type=int, default=0, metavar="N", help=again)
    like = "begin with the grasps that this file of proposals, or 'shipped', has for objects of a similar size"
    parser.add_argument("--like", metavar="FILE", help=like)
    parser.add_argument("--num_envs", type=int, default=128)
    parser.add_argument("--batch", type=int, default=44, help="objects in one scene, written together")


def command(args: argparse.Namespace) -> None:
    """The command `propose` of `runners.objects`; `args.config` is the whole configuration."""
    settings = Settings(**{name: getattr(args, name) for name in asdict(Settings())})
    for name in ("num_envs", "batch"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} is {getattr(args, name)}; it must be at least 1")
    if not 0 <= args.at_least <= settings.wanted:
        raise UserError(f"--at_least is {args.at_least}; it must be 0 to {settings.wanted}, which --wanted keeps")
    check_can_write(args.out)
    cfg = args.config
    objects = make_objects({**cfg["objects"], "proposals": None})  # which has all its poses at rest
    sim = {key: value for key, value in cfg["sim"].items() if key not in WITHOUT_EFFECT}
    sim["wrist"] = cfg["task"]["env"]["wrist"]
    search = {
        "objects": cfg["objects"],
        "batch": args.batch,
        "at_least": args.at_least,
        "versions": {p: metadata.version(p) for p in ("mujoco", "numpy", "torch")},
    }
    torch.set_num_threads(1)  # the simulator has the cores
    like = SHIPPED_PROPOSALS if args.like == SHIPPED else args.like and Path(args.like).expanduser()
    found = run(
        args.out,
        simulator(cfg),
        objects,
        settings,
        args.num_envs,
        args.batch,
        sim,
        search,
        like=like,
        at_least=args.at_least,
    )
    counts = np.array([f.count for f in found])
    print(f"{len(found)} objects, {counts.sum()} proposals; {100 * np.mean(counts >= 8):.1f} % have 8 or more")
    without = [f.name for f in found if f.proposals is None]
    if without:
        print(f"{len(without)} without any, which keep the overhead proposal: {', '.join(without)}")
