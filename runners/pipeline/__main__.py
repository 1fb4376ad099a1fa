"""`python -m runners.pipeline [key=value ...]`: a whole method in one command."""

import sys
from typing import Optional, Sequence

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.overrides import Overrides
from resdex_tasks.utils.printing import printable_output
from runners.learning.monitor import TrainingStopped
from runners.pipeline.methods.resdex import run
from runners.pipeline.settings import COMMAND, read_settings

USAGE = f"""\
{COMMAND} [key=value ...]

  pipeline=default|tiny         cfg/pipeline; tiny goes through everything in minutes and learns nothing
  objects=zoo k=4 out=runs/pipeline
  encoder=shipped|FILE|train|source    threshold=0.8 tries=3    test_objects=100
  students=[mesh]               vision policies that imitate stage 2: of mesh and camera clouds; []: none
  num_envs=  seed=  max_iterations=  sim=  scale=  ...          train.py's keys, for every training and test
  base.KEY=  stage1.KEY=  stage2.KEY=  vision.KEY=  test.KEY=   the same for one kind of them

The same command resumes after a stop; changed settings redo what they touch. See docs/pipeline.md.
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, 2 after bad input, 130 after Ctrl-C."""
    printable_output()
    argv = list(sys.argv[1:] if argv is None else argv)
    if any(argument in ("-h", "--help") for argument in argv):
        print(USAGE)
        return 0
    try:
        report = run(read_settings(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (TrainingStopped, KeyboardInterrupt):
        print(f"\nstopped; the pipeline resumes with: {Overrides(argv).command(COMMAND)}")
        return 130
    print(f"\nwritten to {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
