"""A wall of films: one episode with each of several objects, side by side in one GIF.

```sh
python -m runners.viewer.wall --out wall.gif checkpoint=hyper_stage2 "objects.names=[mug-0003,pear-0024]"
```
"""

import argparse
import sys
from pathlib import Path
from typing import List, Optional, Sequence

import numpy as np
import torch

from resdex_tasks.factory import make_objects
from resdex_tasks.rendering import images
from resdex_tasks.sims.base import CONTROL_HZ
from resdex_tasks.utils.errors import UserError, exit_status
from resdex_tasks.utils.files import check_can_write
from resdex_tasks.utils.overrides import Overrides
from runners.config import RunConfig, load_config
from runners.evaluation.playing import evaluation_task
from runners.evaluation.rollout import run_episodes
from runners.policies.policy import Policy
from runners.viewer.film import STEPS_PER_FRAME

SIZE = 200
"""pixels of a film, each way."""


def film_wall(config: RunConfig, path: Path, columns: int, last_step: int) -> List[str]:
    """Film one episode with each of the configured objects; returns the outcomes.

    Args:
        columns: films in a row.
        last_step: control step after which the films end.

    Raises:
        UserError: no checkpoint is named, or the file cannot be written.
    """
    if config.checkpoint is None:
        raise UserError("a film needs checkpoint=FILE, or the name of a shipped one")
    policy, objects = Policy.load(config.checkpoint), make_objects(config.objects)
    config.checkpoint.check_codes(objects)
    task = evaluation_task(config, objects, len(objects), policy.groups)
    frames: List[np.ndarray] = []

    def on_step() -> None:
        step = int(task.progress[0])
        if step % STEPS_PER_FRAME == 0 and step <= last_step:
            films = [task.sim.render(i, SIZE, SIZE, points=task.seen_points(i)) for i in range(len(objects))]
            frames.append(images.tile(films, columns))

    episodes = run_episodes(
        task, policy, on_step=on_step, object_index=torch.arange(len(objects)), seed=config.command.seed
    )
    images.write_gif(path, frames, fps=CONTROL_HZ / STEPS_PER_FRAME)
    return [f"{obj.name}: {episodes.outcome(i)}" for i, obj in enumerate(objects)]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, or 2 after bad input."""
    parser = argparse.ArgumentParser(prog="python -m runners.viewer.wall", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help=".gif")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--steps", type=int, default=160, help="control steps that are shown")
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    args = parser.parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    check_can_write(args.out)
    config = load_config(Overrides(args.overrides).having({"test": True}))
    outcomes = film_wall(config, args.out, args.columns, args.steps)
    print(f"written to {args.out}: {', '.join(outcomes)}")


if __name__ == "__main__":
    sys.exit(main())
