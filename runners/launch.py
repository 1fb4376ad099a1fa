"""`python train.py key=value ...`: train, resume or evaluate a policy."""

import os
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from omegaconf import DictConfig

from resdex_tasks.objects.object_set import SPLITS
from resdex_tasks.utils.errors import UserError
from runners.config import load_config
from runners.evaluation.run import test
from runners.learning.monitor import TrainingStopped
from runners.learning.train import train

STAGE_2 = "_stage2"
"""Ending of the name of the folder of a second stage that follows a first."""
OWN = ("stage1", "checkpoint", "experiment", "experts")
"""Keys of a training that do not hold for what follows it."""
EVALUATED_OBJECTS, EVALUATED_EPISODES = 132, 500
"""At most so many objects of each split, and at least so many episodes of each, in the evaluation after a training."""

USAGE = """\
python train.py [key=value ...]

  task=ResDexBase               what to learn (cfg/task): ResDexBase, ResDexHyper (both stages), ResDexHyperStage2
  experts=[FILE,FILE]           the base experts of a hyper-policy; default: the shipped ones
  objects=starter               which objects (cfg/objects)
  num_envs=  seed=  max_iterations=  sim_device=  rl_device=  experiment=  preset=paper|official
  checkpoint=FILE               resume a training
  test=True checkpoint=FILE     evaluate a policy: tables, plots and pictures of final grasps
  capture_video=True            a GIF and a PNG strip of an episode

Every key of cfg/ can be set: train.params.config.gamma=0.97, task.env.goalHeight=0.3 ...
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, 2 after bad input, 130 after Ctrl-C."""
    overrides = list(sys.argv[1:] if argv is None else argv)
    if any(o in ("-h", "--help") for o in overrides):
        print(USAGE)
        return 0
    try:
        cfg, said = load_config(overrides)
        if said:
            print(said)
        if cfg.test:
            test(cfg)
        else:
            _train(cfg, overrides)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (TrainingStopped, KeyboardInterrupt):
        return 130
    return 0


def _train(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """One training, and what follows it: the second stage, then an evaluation on all splits."""
    follows = cfg.follow_up and not cfg.multi_gpu
    if follows and cfg.task.next is not None and cfg.experiment:
        taken = Path(cfg.runs_dir) / f"{cfg.experiment}{STAGE_2}"
        if (taken / "nn" / "last.pth").exists():
            raise UserError(
                f"{taken} holds a training: name another experiment, or stop after this stage: follow_up=false"
            )
    folder = train(cfg, overrides)
    last = f"{folder}/nn/last.pth"
    if cfg.task.next is not None:
        kept = _without(overrides, "task", *OWN)
        more = [f"task={cfg.task.next}", f"stage1={last}", f"experiment={folder.name}{STAGE_2}"]
        if not follows:
            if int(os.environ.get("RANK", "0")) == 0:
                print(f"what follows: train.py {' '.join(more)} ...")
            return
        print(f"\n{cfg.task.next}, from {last}")
        _train(load_config([*kept, *more])[0], [*kept, *more])
    elif follows and cfg.task.stage is not None:
        print(f"\nevaluation of {last}")
        more = [*_on_all_splits(cfg), f"checkpoint={last}", f"experiment={folder.name}"]
        test(load_config([*_without(overrides, *OWN), *more])[0])


def _without(overrides: Sequence[str], *keys: str) -> List[str]:
    return [o for o in overrides if o.split("=", 1)[0] not in keys]


def _on_all_splits(cfg: DictConfig) -> List[str]:
    """The overrides that evaluate on what a training did not see, too, where the source has it."""
    objects = cfg.objects
    if objects.source != "zoo" or objects.split != "train" or objects.names or objects.categories:
        return ["test=True"]
    count = min(objects.count or EVALUATED_OBJECTS, EVALUATED_OBJECTS)
    episodes = cfg.num_episodes or EVALUATED_EPISODES
    return ["test=True", f"objects.split=[{','.join(SPLITS)}]", f"objects.count={count}", f"num_episodes={episodes}"]


if __name__ == "__main__":
    sys.exit(main())
