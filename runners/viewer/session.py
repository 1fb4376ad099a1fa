"""What the viewer plays: one environment and who acts in it, and what can be chosen while it runs.

There is no page here: `page.py` shows what a session says, and tells it what a person chose.
"""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional

import torch
from torch import Tensor

from resdex_tasks.factory import make_objects
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.objects.loading import Unusable
from resdex_tasks.objects.meshes.reading import SUFFIXES
from resdex_tasks.objects.meshes.sizes import DEFAULT_SIZE
from resdex_tasks.objects.sources import SOURCES, ListedObject, MeshesConfig, ObjectsConfig, ZooConfig
from resdex_tasks.sims.base import CONTROL_HZ
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.printing import one_line_of
from runners.config import RunConfig
from runners.evaluation.playing import evaluation_task
from runners.policies.checkpoint import shipped_policies
from runners.policies.policy import Policy, PolicyOutput

ZERO, RANDOM = UNTRAINED = ("zero", "random")
"""Who acts without a checkpoint: all actions 0, or uniform in [-1, 1]."""
TRIED = 20
"""So many objects may prove unusable before the first that is played."""
UPLOADED = "uploaded"
"""The source of the meshes that were handed in on the page."""


@dataclass(frozen=True)
class Choice:
    """What to look at."""

    agent: str
    """A checkpoint, by its path or as a shipped one, or one of `UNTRAINED`."""
    source: str
    """One of `Session.sources`."""
    object: ListedObject
    size: Optional[float] = DEFAULT_SIZE
    """m, the longest side of an uploaded mesh; None: its file is in metres. Of other objects it says nothing."""


@dataclass(frozen=True)
class Cast:
    """All that a choice stands for, ready to play."""

    choice: Choice
    config: RunConfig
    task: GraspTask
    act: Callable[[Mapping[str, Tensor]], PolicyOutput]
    experts: List[str]
    """Names of what the policy mixes."""


@dataclass(frozen=True)
class Reading:
    """What the last step came to."""

    seconds: float = 0.0
    """Since the episode's start."""
    goal_distance: float = 0.0
    """m"""
    success_once: bool = False
    success: bool = False
    """Now within 5 cm of the goal."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """Each term of the step's reward."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Expert -> its mixture weight; empty: the policy mixes nothing."""


@dataclass(frozen=True)
class Score:
    """The complete episodes since the choice."""

    episodes: int = 0
    once: int = 0
    at_end: int = 0
    diverged: int = 0


class Session:
    """One environment that is played for as long as somebody looks.

    Args:
        config: of the command line: task, simulator, objects and, if it names one, a checkpoint.
        agent: who acts first; default: the checkpoint, or without one `ZERO`.
        report: called with a line on each object that proved unusable before the first that is played.

    Raises:
        UserError: what the command line chose cannot be played.
    """

    def __init__(self, config: RunConfig, agent: str = "", report: Callable[[str], None] = print) -> None:
        if config.one_scene:
            raise UserError(f"sim={config.sim_name} keeps its object for good: the viewer needs sim=mujoco")
        self._given = config
        self._uploads = tempfile.TemporaryDirectory(prefix="resdex-viewer-")
        self._listed: Dict[str, List[ListedObject]] = {}
        named = config.checkpoint.name if config.checkpoint is not None else ZERO
        self.take(self._first_usable(agent or named, report))

    def close(self) -> None:
        """Delete the uploaded meshes."""
        self._uploads.cleanup()

    # What can be chosen

    def agents(self) -> List[str]:
        """Who can act: who does, the shipped policies, those of the trainings in runs_dir, and the untrained."""
        runs = sorted(Path(self._given.command.runs_dir).glob("*/nn/*.pth"))
        return list(dict.fromkeys([self.cast.choice.agent, *shipped_policies(), *map(str, runs), *UNTRAINED]))

    def sources(self) -> List[str]:
        """Where objects can come from: the command line's source, those that need no folder, the uploaded meshes."""
        uploaded = [UPLOADED] if any(Path(self._uploads.name).iterdir()) else []
        return list(dict.fromkeys([self._given.objects.source, "zoo", "starter", *uploaded]))

    def listed(self, source: str) -> List[ListedObject]:
        """The objects of one of `sources`.

        Raises:
            UserError: its folder cannot be read.
        """
        if source == UPLOADED or source not in self._listed:
            self._listed[source] = self._objects_config(self._given, source).listed()
        return self._listed[source]

    def _objects_config(self, config: RunConfig, source: str, size: Optional[float] = DEFAULT_SIZE) -> ObjectsConfig:
        """The settings of one of `sources`, with the codes that a checkpoint's task asks for."""
        codes = config.objects.codes
        if source == self._given.objects.source:
            return replace(self._given.objects, codes=codes)
        if source == UPLOADED:
            return MeshesConfig("meshes", codes=codes, root=self._uploads.name, size=size)
        return SOURCES[source](source, codes=codes)

    # Changing it. `prepare` and `upload` leave what plays alone, so that another thread can call them.

    def prepare(self, choice: Choice) -> Cast:
        """What plays after a choice: `take` it then. A checkpoint that was chosen again is read again.

        Raises:
            UserError: the checkpoint or the object cannot be used; what plays now is left as it is.
        """
        now = self.cast
        if choice.agent == now.choice.agent and choice != now.choice:
            return self._made(now.config, choice)
        if choice.agent not in UNTRAINED:
            given = self._given
            # named, as the checkpoint's task may have another source that has not the keys of this one
            objects = given.overrides.get("objects") or given.objects.source
            return self._made(given.changed({"checkpoint": choice.agent, "objects": objects}), choice)
        return self._made(now.config, choice)

    def upload(self, name: str, content: bytes, size: Optional[float] = DEFAULT_SIZE) -> Cast:
        """What plays after a mesh was handed in, by whoever acts now.

        Args:
            size: see `Choice`.

        Raises:
            UserError: it is no mesh that can be used; it is forgotten.
        """
        name = one_line_of(Path(name).name)
        if Path(name).suffix.lower() not in SUFFIXES:
            raise UserError(f"{name} is no mesh; meshes are {', '.join(SUFFIXES)}")
        path = Path(self._uploads.name) / name
        path.write_bytes(content)
        try:
            obj = next(obj for obj in self.listed(UPLOADED) if obj.name == name)
            return self.prepare(Choice(self.cast.choice.agent, UPLOADED, obj, size))
        except UserError as error:
            path.unlink()
            raise UserError(str(error).replace(str(path), name)) from error

    def _first_usable(self, agent: str, report: Callable[[str], None]) -> Cast:
        """The first object that can be played, of those that the command line chose: real sets have broken ones."""
        objects = self._given.objects
        chosen = _chosen(objects, self.listed(objects.source))[:TRIED]
        for obj in chosen[:-1]:
            try:
                return self._made(self._given, Choice(agent, objects.source, obj))
            except Unusable as error:
                report(f"left out: {error}")
        return self._made(self._given, Choice(agent, objects.source, chosen[-1]))

    def _made(self, config: RunConfig, choice: Choice) -> Cast:
        objects = make_objects(self._objects_config(config, choice.source, choice.size).only(choice.object))
        if choice.agent in UNTRAINED:
            task = evaluation_task(config, objects, 1)
            act = _still if choice.agent == ZERO else _at_random(config.command.seed)
            return Cast(choice, config, task, act, [])
        if config.checkpoint is None:
            raise UserError("agent=trained needs checkpoint=FILE, or the name of a shipped one")
        config.checkpoint.check_codes(objects)
        policy, experts = Policy.load(config.checkpoint), config.checkpoint.spec.experts
        names = [] if experts is None else list(experts.objects)
        return Cast(choice, config, evaluation_task(config, objects, 1, policy.groups), policy, names)

    # Playing

    def take(self, cast: Cast) -> None:
        """Play something else, from an episode's start."""
        self.cast, self.score = cast, Score()
        self.restart()

    def restart(self) -> None:
        """Start an episode; the one that ran counts no more."""
        task = self.cast.task
        self._obs = task.reset()
        self.reading = Reading(goal_distance=float((task.goal - task.sim.state().object[0, :3]).norm()))

    def step(self) -> None:
        """One control step. After an episode's last one the next episode begins."""
        task = self.cast.task
        action, weights = self.cast.act(self._obs)
        before = {name: float(total[0]) for name, total in task.reward_sums.items()}
        self._obs, _, done, extras = task.step(action)
        once, now = bool(extras["success_once"][0]), bool(extras["success_at_end"][0])
        self.reading = Reading(
            seconds=self.reading.seconds + 1 / CONTROL_HZ,
            goal_distance=float(extras["goal_distance"][0]),
            success_once=once,
            success=now,
            terms={name: float(total[0]) - before[name] for name, total in extras["reward_sums"].items()},
            weights={} if weights is None else dict(zip(_numbered(self.cast.experts), weights[0].tolist())),
        )
        if done[0]:
            diverged, score = bool(extras["diverged"][0]), self.score
            counts = (score.episodes + 1, score.once + once, score.at_end + now, score.diverged + diverged)
            self.score, self.reading = Score(*counts), replace(self.reading, seconds=0.0)


def _chosen(objects: ObjectsConfig, listed: List[ListedObject]) -> List[ListedObject]:
    """What the command line chose, at least one. A name that is not listed is refused when it is made."""
    if objects.names:
        of_name = {obj.name: obj for obj in listed}
        return [of_name.get(name, ListedObject(name, "", listed[0].split)) for name in objects.names]
    if isinstance(objects, ZooConfig):
        splits = [objects.split] if isinstance(objects.split, str) else objects.split
        of_splits = [obj for obj in listed if obj.split in splits or "all" in splits]
        return [obj for obj in of_splits if obj.category in (objects.categories or [obj.category])] or listed
    return listed


def _numbered(names: List[str]) -> List[str]:
    """Names of which none is there twice."""
    return [f"{i + 1} {name}" for i, name in enumerate(names)]


def _still(observations: Mapping[str, Tensor]) -> PolicyOutput:
    return PolicyOutput(torch.zeros(1, NUM_ACTIONS), None)


def _at_random(seed: int) -> Callable[[Mapping[str, Tensor]], PolicyOutput]:
    generator = torch.Generator().manual_seed(seed)
    return lambda observations: PolicyOutput(2 * torch.rand(1, NUM_ACTIONS, generator=generator) - 1, None)
