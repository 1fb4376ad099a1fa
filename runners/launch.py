"""`python train.py key=value ...`: train, resume or evaluate a policy."""

import gc
import os
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from resdex_tasks.objects.object_set import SPLITS, ObjectSet
from resdex_tasks.objects.sources import ZooConfig
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.locks import handed_on, kept
from resdex_tasks.utils.overrides import Overrides, called_as
from resdex_tasks.utils.printing import for_a_reader, printable_output, unfailing_output
from resdex_tasks.utils.processes import ProcessFailed, run_module
from runners.config import RunConfig, load_config
from runners.config.catalogue import catalogue
from runners.evaluation.run import evaluate_checkpoint
from runners.learning.monitor import TrainingStopped
from runners.learning.train import LAST, TrainingResult, train
from runners.policies.policy import Policy
from runners.viewer.film import film

VISION = "ResDexVision"
"""The task in which a student that sees imitates the hyper-policy."""
STAGE_2 = "_stage2"
"""Ending of the name of the folder of a second stage that follows a first."""
NOT_INHERITED_KEYS = ("stage1", "weights", "checkpoint", "experiment", "experts")
"""Keys of a training that do not hold for what follows it."""
EVALUATED_OBJECTS, EVALUATED_EPISODES = 132, 500
"""At most so many objects of each split, and at least so many episodes of each, in the evaluation after a training."""

USAGE = """\
{program} [key=value ...]
{program} --list                what there is to choose from

  task=ResDexBase               what to learn (cfg/task): ResDexBase, ResDexHyper (both stages), ResDexHyperStage2,
                                ResDexVision; the rivals': ResDexState and others (--list)
  experts=[FILE,FILE]           the base experts of a hyper-policy; default: the shipped ones
  teacher=FILE                  whom ResDexVision imitates; default: hyper_stage2
  weights=FILE                  a policy to start from
  objects=starter               which objects (cfg/objects)
  num_envs=  seed=  max_iterations=  sim_device=  rl_device=  experiment=  preset=paper|official
  checkpoint=FILE               resume a training; a file, the name of a shipped policy, or pretrained
  test=True checkpoint=FILE     evaluate a policy: tables, plots and pictures of final grasps
  capture_video=True            a GIF and a PNG strip of an episode

Every key of cfg/ can be set: train.params.config.gamma=0.97, task.env.goalHeight=0.3 ...
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, 2 after bad input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE.format(program=called_as("resdex-train", "python train.py")))
        return 0
    printable_output()
    try:
        if "--list" in arguments:
            with for_a_reader():
                print(catalogue())
            return 0
        config = load_config(arguments)
        if config.notice:
            print(config.notice)
        with kept(), unfailing_output():
            if config.command.test:
                _evaluate(config)
            else:
                _train(config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ProcessFailed as failure:
        return failure.status
    except (TrainingStopped, KeyboardInterrupt):
        return 130
    return 0


def _evaluate(config: RunConfig, objects: Optional[ObjectSet] = None) -> None:
    evaluation = evaluate_checkpoint(config, objects)
    if config.command.capture_video:
        film(config, evaluation.policy, evaluation.folder, evaluation.objects)


def _train(config: RunConfig, objects: Optional[ObjectSet] = None) -> None:
    """One training, and what follows it: the second stage, then an evaluation on all splits.

    Args:
        objects: the set, where a training before it made the same.
    """
    command = config.command
    follows = command.follow_up and not command.multi_gpu
    if follows:
        _check_what_follows(config)
    result = train(config, objects)
    if command.capture_video and int(os.environ.get("RANK", "0")) == 0:
        film(config, Policy.load(config.read(result.last)), result.folder, result.objects)
    if config.task.next is not None:
        _train_next(config, result, follows)
    elif follows and (config.task.stage is not None or config.imitates):
        print(f"\nevaluation of {result.last}", flush=True)
        changes = {"test": True, "checkpoint": str(result.last), "experiment": result.folder.name}
        on_splits = _on_all_splits(config)
        following = config.changed({**on_splits, **changes}, without=NOT_INHERITED_KEYS)
        if config.one_scene:
            _run_in_a_process_of_its_own(following)
        else:
            _evaluate(following, None if on_splits else result.objects)
        if config.mixes:
            then = Overrides().having({"task": VISION, "teacher": str(result.last)})
            print(f"what follows: {then.command()}")


def _check_what_follows(config: RunConfig) -> None:
    """UserError where what follows a training by itself could not start: before the training, not after it."""
    command, name = config.command, config.command.experiment
    if config.task.next is not None:
        taken = Path(command.runs_dir) / f"{name}{STAGE_2}"
        if name and (taken / LAST).exists():
            raise UserError(
                f"{taken} holds a training: name another experiment, or stop after this stage: follow_up=false"
            )
        changes = {"task": config.task.next, "experiment": f"{name or command.task_name}{STAGE_2}"}
        config = config.changed(changes, without=NOT_INHERITED_KEYS)
    config.changed({**_on_all_splits(config), "test": True}, without=NOT_INHERITED_KEYS)


def _train_next(config: RunConfig, result: TrainingResult, follows: bool) -> None:
    """The training that follows a first stage, or how to start it."""
    changes = {
        "task": config.task.next,
        "stage1": str(result.last),
        "experiment": f"{result.folder.name}{STAGE_2}",
    }
    if not follows:
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"what follows: {Overrides().having(changes).command()} ...")
        return
    print(f"\n{config.task.next}, from {result.last}", flush=True)
    following = config.changed(changes, without=NOT_INHERITED_KEYS)
    if config.one_scene:
        _run_in_a_process_of_its_own(following)
    else:
        _train(following, result.objects if following.objects == config.objects else None)


def _run_in_a_process_of_its_own(config: RunConfig) -> None:
    """Go on where this process cannot: it has had the only simulator that its engine makes in one.

    Raises:
        ProcessFailed: it ended with another status than 0; it has said why.
    """
    gc.collect()  # this process's simulator, if it is still there, has memory that the next one needs
    handed_on()
    run_module("runners.launch", config.overrides)


def _on_all_splits(config: RunConfig) -> Dict[str, Any]:
    """The values that evaluate on what a training did not see, too, where the source has it."""
    objects = config.objects
    if not isinstance(objects, ZooConfig) or objects.split != "train" or objects.names or objects.categories:
        return {}
    splits: List[str] = list(SPLITS)
    return {
        "objects.split": splits,
        "objects.count": min(objects.count or EVALUATED_OBJECTS, EVALUATED_OBJECTS),
        "num_episodes": config.command.num_episodes or EVALUATED_EPISODES,
    }


if __name__ == "__main__":
    sys.exit(main())
