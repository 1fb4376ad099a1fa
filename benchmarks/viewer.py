"""How many control steps a second can the viewer play?

One environment, by the processor time that a step takes: of the session alone, and of a whole turn of its page, which
draws every step, without and with somebody who looks. The looker is another process, which takes all that is sent and
draws nothing: what drawing costs is a matter of the browser and its graphics card.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.utils.threads import simulator_first
from runners.config import load_config
from runners.viewer.__main__ import free_port
from runners.viewer.page import Page
from runners.viewer.session import Session

LOOKER = """
import sys, viser
from websockets.sync.client import connect
with connect(f"ws://localhost:{sys.argv[1]}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None) as socket:
    print("looks", flush=True)
    for _ in socket: pass
"""


def cost(step: Callable[[], None], steps: int) -> Tuple[float, float]:
    """Processor time of this process for one of `steps` calls, ms, and how many calls a second there were."""
    for _ in range(10):
        step()
    start, worked = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    return 1000 * (time.process_time() - worked) / steps, steps / (time.perf_counter() - start)


def rows_of(session: Session, steps: int) -> List[Tuple[str, ...]]:
    """The table, its head first."""
    rows = [("one control step of", "CPU time, ms", "a core's steps/s", "here, steps/s")]

    def add(what: str, step: Callable[[], None]) -> None:
        milliseconds, rate = cost(step, steps)
        rows.append((what, f"{milliseconds:.1f}", f"{1000 / milliseconds:.0f}", f"{rate:.0f}"))

    add("the session", session.step)
    page = Page(session, "localhost", free_port("localhost", 8700))
    try:
        add("its page", page.turn)
        looker = subprocess.Popen([sys.executable, "-c", LOOKER, str(page.port)], stdout=subprocess.PIPE)
        assert looker.stdout is not None
        looker.stdout.readline()
        try:
            add("the same, with somebody who looks", page.turn)
        finally:
            looker.kill()
            looker.communicate()
    finally:
        page.close()
        session.close()
    return rows


def main(argv: Optional[Sequence[str]] = None) -> List[Tuple[str, ...]]:
    """Print the table; returns its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("overrides", nargs="*", help="key=value as for the viewer, with a checkpoint")
    args = parser.parse_args(argv)
    said = machine()
    session = Session(load_config(args.overrides or ["checkpoint=hyper_stage2", "objects=zoo"]))
    with simulator_first():
        rows = rows_of(session, args.steps)
    print(f"{said}\n\n{table(rows)}")
    return rows


if __name__ == "__main__":
    run(main)
