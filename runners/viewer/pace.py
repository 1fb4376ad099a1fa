"""Keeps time: as many control steps in a second as a speed asks for, or as many as the machine can."""

import time
from collections import deque
from typing import Callable, Deque

LATE = 0.1
"""s: what is later than this is given up, not caught up with."""
WINDOW = 1.0
"""s over which `Pace.rate` is measured."""


class Pace:
    """Waits between steps.

    Args:
        rate: steps per second at speed 1.
        clock, sleep: as `time.monotonic` and `time.sleep`, s.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self.speed = 1.0
        """Times real time."""
        self._due = clock()
        self._past: Deque[float] = deque()

    def wait(self) -> None:
        """Wait until the next step is due."""
        self._due = max(self._due + 1 / (self._rate * self.speed), self._clock() - LATE)
        ahead = self._due - self._clock()
        if ahead > 0:
            self._sleep(ahead)
        now = self._clock()
        self._past.append(now)
        while self._past[0] < now - WINDOW:
            self._past.popleft()

    @property
    def rate(self) -> float:
        """Steps per second, lately; 0 before there were two."""
        if len(self._past) < 2:
            return 0.0
        return (len(self._past) - 1) / max(self._past[-1] - self._past[0], 1e-9)
