"""Where the time goes: each moment is counted for the innermost of the wrapped calls that are running."""

import functools
import time
from typing import Any, Callable, Dict, List


class ExclusiveTimer:
    """Wraps methods and sums the time spent in each share, less what wrapped calls inside of them take.

    So the shares never overlap, and with the time in no wrapped call ('other') they add up to the elapsed time.

    Args:
        clock: seconds; time.process_time counts the processor's instead of the wall's.
        synchronize: called before the clock is read, for devices that work behind Python's back.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, synchronize: Callable[[], None] = lambda: None
    ) -> None:
        self._clock, self._synchronize = clock, synchronize
        self._running: List[str] = ["other"]
        self.seconds: Dict[str, float] = {}
        self.calls: Dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        """Start over; calls that are running go on being counted from here."""
        self._synchronize()
        self._last = self._clock()
        self.seconds, self.calls = {"other": 0.0}, {}

    def _switch(self) -> None:
        self._synchronize()
        now = self._clock()
        name = self._running[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now

    def wrap(self, owner: Any, method: str, share: str) -> None:
        """Count the time in `owner.method` (of an object or of a class) for `share`."""
        inner = getattr(owner, method)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._switch()
            self._running.append(share)
            self.calls[share] = self.calls.get(share, 0) + 1
            try:
                return inner(*args, **kwargs)
            finally:
                self._switch()
                self._running.pop()

        setattr(owner, method, timed)

    def stop(self) -> Dict[str, float]:
        """Seconds of each share since `reset`, 'other' among them."""
        self._switch()
        return dict(self.seconds)
