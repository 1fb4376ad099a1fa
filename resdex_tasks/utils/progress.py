"""How far long work is: a bar on a terminal, elsewhere a line now and then."""

import sys
import time
from typing import Optional

from tqdm import tqdm

LINE_INTERVAL = 30.0
"""s between two lines where the output is no terminal and shows no bar."""


class Progress:
    """Counts what is done.

    Args:
        total: how many there are.
        what: their name, in the plural.
        done: how many were done before.
        quiet: show nothing; None: show it.
    """

    def __init__(self, total: int, what: str, done: int = 0, quiet: Optional[bool] = None) -> None:
        self.total, self.what, self.done, self._before, self._quiet = total, what, done, done, quiet
        self._bar = tqdm(total=total, initial=done, unit=f" {what}", disable=quiet or not sys.stderr.isatty())
        self._started = self._last = time.perf_counter()

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        self._bar.update()
        now = time.perf_counter()
        if self._bar.disable and not self._quiet and now - self._last > LINE_INTERVAL and self.done < self.total:
            self._last = now
            left = (now - self._started) / (self.done - self._before) * (self.total - self.done)
            print(f"{self.done} of {self.total} {self.what}, {left / 60:.0f} min left", flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
