"""Real time, slow motion and a machine that is too slow, by a clock of the test's own."""

import pytest

from runners.viewer.pace import LATE, Pace


class Clock:
    """Time passes only where somebody sleeps or works."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize(("speed", "rate"), [(1.0, 60), (0.1, 6), (4.0, 240)])
def test_the_speed_decides_how_many_steps_a_second_has(clock, speed, rate):
    pace = Pace(60, clock, clock.pass_)
    pace.speed = speed
    for _ in range(3 * rate):
        clock.pass_(0.001)  # the work of a step
        pace.wait()
    assert clock.now == pytest.approx(103.0)
    assert pace.rate == pytest.approx(rate, rel=0.01)


def test_a_machine_that_is_too_slow_never_waits(clock):
    pace = Pace(60, clock, clock.pass_)
    for _ in range(100):
        clock.pass_(0.05)
        pace.wait()
    assert clock.now == pytest.approx(105.0)
    assert pace.rate == pytest.approx(20, rel=0.05)


def test_what_was_late_is_not_caught_up_with(clock):
    """After a halt of ten seconds, no more than a tenth of a second is made up for."""
    pace = Pace(10, clock, clock.pass_)
    pace.wait()
    clock.pass_(10.0)
    start = clock.now
    for _ in range(11):
        pace.wait()
    assert clock.now - start == pytest.approx(1.1 - LATE, abs=0.11)


def test_there_is_no_rate_before_two_steps(clock):
    pace = Pace(60, clock, clock.pass_)
    assert pace.rate == 0
    pace.wait()
    assert pace.rate == 0
