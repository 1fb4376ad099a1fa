"""Plays an evaluation's episodes of a part of its objects, for the process that started this one:

    python -m runners.evaluation.part FIRST LAST FILE key=value ...

objects FIRST to LAST - 1 of the set; what they came to (`playing.Played`) goes to FILE.
"""

import sys
from typing import Sequence

import torch

from resdex_tasks.factory import make_objects
from resdex_tasks.utils.errors import UserError, exit_status
from runners.config import load_config
from runners.evaluation.playing import Played, episodes_wanted, play_wanted, players


def main(arguments: Sequence[str]) -> None:
    first, last, file, *overrides = arguments
    config = load_config(overrides)
    if config.checkpoint is None:
        raise UserError("an evaluation's part needs the evaluation's checkpoint")
    objects = make_objects(config.objects)
    index = episodes_wanted(config, objects)
    part, index = objects[int(first) : int(last)], index[(index >= int(first)) & (index < int(last))] - int(first)
    played = play_wanted(config, part, index, players(config, config.checkpoint, objects))
    torch.save(Played(played.index + int(first), played.episodes, played.teachers, played.num_envs), file)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
