"""`python train.py key=value ...`: train, resume or evaluate a policy."""

import sys
from typing import List, Optional, Sequence

from omegaconf import DictConfig

from resdex_tasks.errors import UserError
from resdex_tasks.objects.object_set import SPLITS
from runners.config import load_config
from runners.monitor import TrainingStopped
from runners.playing import test
from runners.training import train

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
    folder = train(cfg, overrides)
    if cfg.multi_gpu or not cfg.follow_up:
        return
    if cfg.task.next is not None:
        changed = ("task=", "stage1=", "checkpoint=", "experiment=", "experts=")
        kept = [o for o in overrides if not o.startswith(changed)]
        more = [f"task={cfg.task.next}", f"stage1={folder}/nn/last.pth", f"experiment={folder.name}_stage2"]
        print(f"\n{cfg.task.next}, from {folder}/nn/last.pth")
        _train(load_config([*kept, *more])[0], [*kept, *more])
    elif cfg.task.stage is not None:
        print(f"\nevaluation of {folder}/nn/last.pth")
        own = [o for o in overrides if o.split("=", 1)[0] not in ("stage1", "experts", "experiment", "checkpoint")]
        test(
            load_config([*own, *_on_all_splits(cfg), f"checkpoint={folder}/nn/last.pth", f"experiment={folder.name}"])[
                0
            ]
        )


def _on_all_splits(cfg: DictConfig) -> List[str]:
    """The overrides that evaluate on what a training did not see, too, where the source has it."""
    if cfg.objects.source != "zoo" or cfg.objects.split != "train" or cfg.objects.names is not None:
        return ["test=True"]
    count = min(cfg.objects.count or EVALUATED_OBJECTS, EVALUATED_OBJECTS)
    episodes = cfg.num_episodes or EVALUATED_EPISODES
    return ["test=True", f"objects.split=[{','.join(SPLITS)}]", f"objects.count={count}", f"num_episodes={episodes}"]


if __name__ == "__main__":
    sys.exit(main())
