"""Evaluates a checkpoint: plays it, sums up, prints the tables and writes the files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional

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
from runners.evaluation.playing import evaluation_task, play_all, play_with_progress, players
from runners.evaluation.summary import EvaluationResult, Summary, compare, summarise
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


def evaluate(task: GraspTask, policy: Policy, object_index: Tensor, seed: int) -> Summary:
    """Play one complete episode for each entry of `object_index` (E,) and sum up.

    Shows a progress bar. The same seed and number of environments give the same result.
    """
    return summarise(play_with_progress(task, policy, object_index, seed), object_index, task.objects)


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

    objects = make_objects(config.objects) if objects is None else objects
    who = players(config, checkpoint, objects)
    played = play_all(config, objects, who, task)
    beside = None
    if who.teacher is not None and played.teachers is not None:
        beside = compare(who.teacher.name, played.episodes, played.teachers, played.index, objects)
    experts = checkpoint.spec.experts
    result = EvaluationResult(
        summary=summarise(played.episodes, played.index, objects),
        checkpoint=checkpoint.name,
        seed=command.seed,
        num_envs=played.num_envs,
        proposal_weights=list(config.task.env.reward.proposal_weights),
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
            "gallery", lambda: final_grasps(config, who.by_name(name), gallery.chosen_objects(objects, command.seed))
        )
    replaced = files.replaced(folder)
    if replaced:
        print(f"replaces {replaced}")
    written = files.write(folder, name, result, columns, run)
    print(f"written to {folder}/: {', '.join(written)}")
    return Evaluation(result, who.policy, objects, folder)


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
    sees_points = CLOUD in VIEWS.get(checkpoint.spec.observation, ())
    for group, before, now in (("task.env", env, config.plain["task"]["env"]), ("sim", sim, config.plain["sim"])):
        trained, here = flat(before), flat(now)
        for key in sorted({*trained, *here}):
            matters = key not in NOT_COMPARED and (sees_points or not key.startswith("vision."))
            if matters and trained.get(key) != here.get(key):
                print(f"note: {group}.{key} is {here.get(key)} here; the policy was trained with {trained.get(key)}")
