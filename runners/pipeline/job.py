"""A process that a launcher began: `python -m runners.pipeline.job`, with the job as a line of JSON on its input.

It stops after its iteration once that input ends: nobody waits for it any more.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO

from resdex_tasks.factory import make_objects
from resdex_tasks.utils.errors import UserError
from runners.config import load_config
from runners.learning.monitor import TrainingStopped
from runners.pipeline.launchers import Job
from runners.pipeline.trainings import train_or_resume


def work(job: Job, log: IO[str]) -> int:
    """Do a job; what it prints goes to `log`. Returns the exit status: 0, 2 after bad input, 130 if it was stopped."""
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            if job.target == "pipeline":
                from runners.pipeline.__main__ import main as pipeline

                return pipeline(job.arguments)
            config = load_config(job.arguments)
            folder = Path(config.command.runs_dir) / config.command.experiment
            train_or_resume(config, folder, make_objects)
        except UserError as error:
            print(f"error: {error}", flush=True)
            return 2
        except (TrainingStopped, KeyboardInterrupt):
            return 130
        return 0


def _watch() -> None:
    """Ctrl-C for this process once its input ends. Read below Python's file: its lock may not be held at the end."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def main() -> int:
    """Entry of the process."""
    content = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch, daemon=True).start()
    return work(Job(**{**content, "arguments": tuple(content["arguments"])}), sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
