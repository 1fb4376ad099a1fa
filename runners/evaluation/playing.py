"""The episodes of an evaluation: who plays, with which objects, in how many environments, in one process or several."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from torch import Tensor

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.processes import run_module
from runners.config import RunConfig
from runners.evaluation.progress import EpisodeProgress
from runners.evaluation.rollout import Episodes, play
from runners.evaluation.summary import schedule, seats
from runners.policies.checkpoint import Checkpoint
from runners.policies.policy import Policy


@dataclass(frozen=True)
class Players:
    """Who plays."""

    policy: Policy
    teacher: Optional[Checkpoint]
    """Of a student; None where there is none, or it is not at hand."""
    teachers_policy: Optional[Policy]

    def by_name(self, name: str) -> Dict[str, Policy]:
        """The policy, called `name`, and its teacher's, called as its checkpoint is."""
        out = {name: self.policy}
        if self.teacher is not None and self.teachers_policy is not None:
            out[self.teacher.name] = self.teachers_policy
        return out


@dataclass(frozen=True)
class Played:
    """E episodes, and the teacher's of the same starts."""

    index: Tensor
    """(E,) int64: the object of each."""
    episodes: Episodes
    teachers: Optional[Episodes]
    num_envs: int
    """How many ran at a time, at most."""

    def moved(self, by: int) -> "Played":
        """The same, the objects counted from `by` on."""
        return replace(self, index=self.index + by)

    def to_plain(self) -> Dict[str, Any]:
        """Plain values and tensors."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Played":
        """The inverse of `to_plain`."""
        episodes = {
            name: None if values[name] is None else Episodes(**values[name]) for name in ("episodes", "teachers")
        }
        return cls(**{**values, **episodes})

    @staticmethod
    def joined(parts: Sequence["Played"]) -> "Played":
        """All episodes of `parts`, in order."""
        theirs = [part.teachers for part in parts if part.teachers is not None]
        return Played(
            torch.cat([part.index for part in parts]),
            Episodes.joined([part.episodes for part in parts]),
            Episodes.joined(theirs) if theirs else None,
            max(part.num_envs for part in parts),
        )


def evaluation_task(
    config: RunConfig,
    objects: ObjectSet,
    num_envs: int,
    groups: Optional[Sequence[str]] = None,
    object_index: Optional[Tensor] = None,
) -> GraspTask:
    """The configured task with complete episodes from the first one on, every environment with its own object.

    Args:
        groups: the observation groups that the policies see; default: the task's own.
        object_index: see `factory.make_sim`.
    """
    env = replace(config.task.env, stagger_episodes=False, object_sampling="fixed")
    return config.make_task(objects, num_envs, groups=groups, env=env, object_index=object_index)


def players(config: RunConfig, checkpoint: Checkpoint, objects: ObjectSet) -> Players:
    """The policy of a checkpoint and, where there is one, its teacher's.

    Raises:
        UserError: one does not fit its objects or this program; `teacher=` names no checkpoint.
    """
    policy, teacher = Policy.load(checkpoint, config.command.rl_device), _teacher_of(checkpoint, config)
    for played in (checkpoint, teacher):
        if played is not None:
            played.check_codes(objects)
    return Players(policy, teacher, None if teacher is None else Policy.load(teacher, config.command.rl_device))


def play_with_progress(task: GraspTask, policy: Policy, object_index: Tensor, seed: int) -> Episodes:
    """`rollout.play`, and how far it is."""
    progress = EpisodeProgress(len(object_index), task.num_envs, task.config.episode_length)
    try:
        return play(task, policy, object_index, seed, progress.step, progress.batch_ended)
    finally:
        progress.close()


def episodes_wanted(config: RunConfig, objects: ObjectSet) -> Tensor:
    """Which object each episode of the configured evaluation is about: `summary.schedule`."""
    return schedule(objects, config.command.episodes_per_object, config.command.num_episodes)


def play_all(config: RunConfig, objects: ObjectSet, who: Players, task: Optional[GraspTask] = None) -> Played:
    """Every episode that the configuration asks for.

    Where environments keep their objects and are fewer than these, a part of the objects plays at a time, each in a
    process of its own.

    Args:
        task: the task of these objects, where another has made it: one episode in each environment.
    """
    if task is not None:
        return play_on(config, task, objects, task.sim.object_index.cpu(), who)
    if config.one_scene and len(objects) > config.command.num_envs:
        return _played_in_parts(config, objects, who)
    return play_wanted(config, objects, episodes_wanted(config, objects), who)


def play_wanted(config: RunConfig, objects: ObjectSet, index: Tensor, who: Players) -> Played:
    """The episodes `index` (E,), in as few rounds as the number of environments allows, and no more environments than
    these need; where environments keep their objects, a few episodes more."""
    most = config.command.num_envs
    rounds = -(-len(index) // most)
    num_envs, groups, seated = -(-len(index) // rounds), who.policy.groups, None
    if config.one_scene:  # one task for all that is played, its objects where they are in every round
        seating = seats(index, len(objects), most)
        index, seated, num_envs = seating.flatten(), seating[0], seating.shape[1]
        teachers_groups = () if who.teachers_policy is None else who.teachers_policy.groups
        groups = tuple(dict.fromkeys([*groups, *teachers_groups]))
    return play_on(config, evaluation_task(config, objects, num_envs, groups, seated), objects, index, who)


def play_on(config: RunConfig, task: GraspTask, objects: ObjectSet, index: Tensor, who: Players) -> Played:
    """The episodes `index` (E,) in the environments of `task`."""
    print(f"{len(index)} episodes of {len(objects)} objects, {task.num_envs} at a time", flush=True)
    episodes, theirs = play_with_progress(task, who.policy, index, config.command.seed), None
    for overflow in task.health().overflows:
        if overflow.count:
            print(f"warning: {overflow}")
    if who.teacher is not None and who.teachers_policy is not None:
        print(f"the same episodes by its teacher {who.teacher.name}", flush=True)
        if not config.one_scene:
            task = evaluation_task(config, objects, task.num_envs, who.teachers_policy.groups)
        theirs = play_with_progress(task, who.teachers_policy, index, config.command.seed)
    return Played(index, episodes, theirs, task.num_envs)


def _played_in_parts(config: RunConfig, objects: ObjectSet, who: Players) -> Played:
    """In the fewest parts of about the same size that have an environment for each of their objects."""
    count = -(-len(objects) // config.command.num_envs)
    size = -(-len(objects) // count)
    teacher = "" if who.teacher is None else who.teacher.name
    arguments = config.changed({"teacher": teacher, "seed": config.command.seed}).overrides
    assert config.checkpoint is not None  # who is its policy
    parts: List[Played] = []
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, len(objects), size):
            last, file = min(first + size, len(objects)), str(Path(folder, f"{first}.pth"))
            print(f"objects {first + 1} to {last} of {len(objects)}", flush=True)
            run_module("runners.evaluation.part", [str(first), str(last), config.checkpoint.id, file, *arguments])
            parts.append(Played.from_plain(torch.load(file, weights_only=True)))
    return Played.joined(parts)


def _teacher_of(checkpoint: Checkpoint, config: RunConfig) -> Optional[Checkpoint]:
    """The teacher of a student, or the one that `teacher=` names; None where there is none, or `teacher=` is empty.

    Raises:
        UserError: `teacher=` names no checkpoint.
    """
    learned_from, command = checkpoint.made_by.teacher, config.command
    given = bool(config.overrides.get("teacher")) or command.teacher == ""
    if not learned_from or command.teacher == "":
        return None
    if not isinstance(command.teacher, str) or (not given and learned_from.get("count", 1) > 1):
        return None  # of several teachers none plays all objects
    name = command.teacher if given else str(learned_from["name"])
    try:
        teacher = config.read(name)
    except UserError as error:
        if given:
            raise
        print(f"note: without its teacher: {error}")
        return None
    if teacher.id != learned_from["id"]:
        print(f"note: {name} is another policy than the teacher that {checkpoint.name} learned from")
    return teacher
