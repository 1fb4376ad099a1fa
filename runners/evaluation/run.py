"""Evaluates a checkpoint: plays it, sums up, prints the tables and writes the files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from torch import Tensor

from resdex_tasks.factory import make_objects
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.observations import CLOUD, VIEWS
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.machine import machine
from resdex_tasks.utils.mappings import flat
from resdex_tasks.utils.versions import versions
from runners.config import RunConfig
from runners.evaluation import files, gallery, tables
from runners.evaluation.progress import EpisodeProgress
from runners.evaluation.rollout import Episodes, play
from runners.evaluation.summary import EvaluationResult, Summary, compare, schedule, seats, summarise
from runners.policies.checkpoint import Checkpoint
from runners.policies.policy import Policy

NOT_COMPARED = ("numEnvs", "staggerEpisodes", "objectSampling", "observation", "numThreads")
"""Settings whose difference between a training and an evaluation means nothing."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation came to, and what it was made with, for whoever goes on: a film, a gallery."""

    result: EvaluationResult
    policy: Policy
    objects: ObjectSet
    folder: Path


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


def evaluate(task: GraspTask, policy: Policy, object_index: Tensor, seed: int) -> Summary:
    """Play one complete episode for each entry of `object_index` (E,) and sum up.

    Shows a progress bar. The same seed and number of environments give the same result.
    """
    return summarise(_played(task, policy, object_index, seed), object_index, task.objects)


def _played(task: GraspTask, policy: Policy, object_index: Tensor, seed: int) -> Episodes:
    progress = EpisodeProgress(len(object_index), task.num_envs, task.config.episode_length)
    try:
        return play(task, policy, object_index, seed, progress.step, progress.batch_ended)
    finally:
        progress.close()


def evaluate_checkpoint(
    config: RunConfig, objects: Optional[ObjectSet] = None, task: Optional[GraspTask] = None
) -> Evaluation:
    """Evaluate `config.checkpoint`: print the tables and write the files (`evaluation.files`).

    Args:
        objects: the set, where it is made already; else made as the configuration says.
        task: the task of these objects, where another has made it and steps it: one episode in each environment. Else
            made as the configuration says, for as many episodes as it says.

    Raises:
        UserError: no checkpoint is named, it does not fit, the folder cannot be written, or another process is at
            work in it.
    """
    checkpoint, command = config.checkpoint, config.command
    if checkpoint is None:
        raise UserError("test=True needs checkpoint=FILE, or the name of a shipped one")
    run = checkpoint.run_folder
    name = run.name if run else (checkpoint.path or Path(checkpoint.name)).stem
    folder = Path(command.runs_dir) / (command.experiment or (name if run else f"evaluation_{name}"))
    with files.own_folder(folder):
        return _evaluate(config, checkpoint, name, folder, objects, task)


def _evaluate(
    config: RunConfig,
    checkpoint: Checkpoint,
    name: str,
    folder: Path,
    objects: Optional[ObjectSet],
    task: Optional[GraspTask],
) -> Evaluation:
    command, run = config.command, checkpoint.run_folder
    _print_differences(checkpoint, config)

    policy, teacher = Policy.load(checkpoint, command.rl_device), _teacher_of(checkpoint, config)
    objects = make_objects(config.objects) if objects is None else objects
    for played in (checkpoint, teacher):
        if played is not None:
            played.check_codes(objects)
    teachers_policy = None if teacher is None else Policy.load(teacher, command.rl_device)
    if task is None:
        task, index = _task_and_schedule(config, objects, policy, teachers_policy)
    else:
        index = task.sim.object_index.cpu()
    print(f"{len(index)} episodes of {len(objects)} objects, {task.num_envs} at a time", flush=True)
    episodes = _played(task, policy, index, command.seed)
    for overflow in task.health().overflows:
        if overflow.count:
            print(f"warning: {overflow}")
    policies, beside = {name: policy}, None
    if teacher is not None and teachers_policy is not None:
        print(f"the same episodes by its teacher {teacher.name}", flush=True)
        policies[teacher.name] = teachers_policy
        teachers_task = (
            task if config.one_scene else evaluation_task(config, objects, task.num_envs, teachers_policy.groups)
        )
        theirs = _played(teachers_task, teachers_policy, index, command.seed)
        beside = compare(teacher.name, episodes, theirs, index, objects)
    experts = checkpoint.spec.experts
    result = EvaluationResult(
        summary=summarise(episodes, index, objects),
        checkpoint=checkpoint.name,
        seed=command.seed,
        num_envs=task.num_envs,
        proposal_weights=list(task.config.reward.proposal_weights),
        experts=None if experts is None else list(experts.objects),
        versions=versions(),
        settings={key: config.plain[key] for key in ("task", "sim", "objects")},
        teacher=beside,
        policy_id=checkpoint.id,
        command=config.overrides.command(),
        machine=machine(),
    )
    print("\n" + "\n\n".join(tables.summary_tables(name, result)) + "\n")
    columns = None  # where nothing can be drawn
    if not config.one_scene:
        columns = files.picture(
            "gallery", lambda: final_grasps(config, policies, gallery.chosen_objects(objects, command.seed))
        )
    replaced = files.replaced(folder)
    if replaced:
        print(f"replaces {replaced}")
    written = files.write(folder, name, result, columns, run)
    print(f"written to {folder}/: {', '.join(written)}")
    return Evaluation(result, policy, objects, folder)


def _task_and_schedule(
    config: RunConfig, objects: ObjectSet, policy: Policy, teachers_policy: Optional[Policy]
) -> Tuple[GraspTask, Tensor]:
    """The task, and the object (E,) of each episode: in as few rounds as the number of environments allows, and no more
    environments than these need."""
    command = config.command
    index = schedule(objects, command.episodes_per_object, command.num_episodes)
    rounds = -(-len(index) // command.num_envs)
    num_envs, groups, seated = -(-len(index) // rounds), policy.groups, None
    if config.one_scene:  # one task for all that is played, its objects where they are in every round
        seating = seats(index, len(objects), command.num_envs)
        index, seated, num_envs = seating.flatten(), seating[0], seating.shape[1]
        groups = tuple(dict.fromkeys([*groups, *([] if teachers_policy is None else teachers_policy.groups)]))
    return evaluation_task(config, objects, num_envs, groups, seated), index


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


def final_grasps(
    config: RunConfig, policies: Mapping[str, Policy], objects: ObjectSet
) -> Dict[str, List[gallery.Grasp]]:
    """The columns of a gallery: the end of one episode with each object, the same starts for every policy."""
    columns = {}
    for name, policy in policies.items():
        task = evaluation_task(config, objects, len(objects), policy.groups)
        columns[name] = gallery.final_grasps(task, policy, config.command.seed)
    return columns


def _print_differences(checkpoint: Checkpoint, config: RunConfig) -> None:
    """Say where the evaluation's task and simulator differ from the training's, objects aside."""
    env, sim = checkpoint.task.get("env", {}), checkpoint.sim
    sees_points = CLOUD in VIEWS[checkpoint.spec.observation]
    for group, before, now in (("task.env", env, config.plain["task"]["env"]), ("sim", sim, config.plain["sim"])):
        trained, here = flat(before), flat(now)
        for key in sorted({*trained, *here}):
            matters = key not in NOT_COMPARED and (sees_points or not key.startswith("vision."))
            if matters and trained.get(key) != here.get(key):
                print(f"note: {group}.{key} is {here.get(key)} here; the policy was trained with {trained.get(key)}")
