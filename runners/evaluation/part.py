"""Plays an evaluation's episodes of a part of its objects, for the process that started this one:

    python -m runners.evaluation.part FIRST LAST POLICY_ID FILE key=value ...

objects FIRST to LAST - 1 of the set, if the checkpoint is still that policy; what they came to goes to FILE.
"""

import sys
from typing import Sequence

import torch

from resdex_tasks.factory import make_objects
from resdex_tasks.utils.errors import UserError, exit_status
from resdex_tasks.utils.printing import printable_output, unfailing_output
from runners.config import load_config
from runners.evaluation.playing import episodes_wanted, play_wanted, players


def main(arguments: Sequence[str]) -> None:
    first, last, policy_id, file, *overrides = arguments
    config = load_config(overrides)
    if config.checkpoint is None or config.checkpoint.id != policy_id:
        raise UserError(f"{config.command.checkpoint} is another policy than when the evaluation began")
    objects = make_objects(config.objects)
    index = episodes_wanted(config, objects)
    part, index = objects[int(first) : int(last)], index[(index >= int(first)) & (index < int(last))] - int(first)
    played = play_wanted(config, part, index, players(config, config.checkpoint, objects))
    torch.save(played.moved(int(first)).to_plain(), file)


if __name__ == "__main__":
    printable_output()
    try:
        with unfailing_output():
            sys.exit(exit_status(lambda: main(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
