import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from runners.evaluation.intervals import mean, rate, wilson_interval

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
@settings(max_examples=60)
def test_the_interval_is_wilsons(count):
    expected = binomtest(*count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(*count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_interval_by_hand():
    # n = 100, k = 50: (0.5 + z^2/200 -+ z sqrt(0.0025 + z^2/40000)) / (1 + z^2/100), z = 1.96
    assert wilson_interval(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    # k = 0: (0, z^2 / (n + z^2))
    assert wilson_interval(0, 10) == pytest.approx((0.0, 3.8415 / 13.8415), abs=1e-4)


@given(counts)
def test_the_interval_holds_the_rate_and_mirrors_the_failures(count):
    successes, episodes = count
    low, high = wilson_interval(successes, episodes)
    assert 0.0 <= low <= successes / episodes + 1e-12 and successes / episodes - 1e-12 <= high <= 1.0
    assert low < high
    mirrored = wilson_interval(episodes - successes, episodes)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


@given(counts, st.integers(2, 10))
def test_the_interval_narrows_with_episodes_and_rises_with_successes(count, factor):
    successes, episodes = count
    low, high = wilson_interval(successes, episodes)
    many_low, many_high = wilson_interval(successes * factor, episodes * factor)
    assert many_high - many_low < high - low
    if successes < episodes:
        more_low, more_high = wilson_interval(successes + 1, episodes)
        assert more_low > low and more_high > high


def test_a_rate_brings_its_interval():
    low, high = wilson_interval(3, 4)
    assert rate(3, 4) == {"rate": 0.75, "low": low, "high": high}


def test_a_mean_by_hand():
    # 1, 2, 3: s = 1, t(0.975, 2) = 4.3027, so 2 -+ 4.3027 / sqrt(3)
    assert mean([1.0, 2.0, 3.0]) == pytest.approx({"mean": 2.0, "low": -0.4841, "high": 4.4841}, abs=1e-4)
    assert mean([5.0]) == {"mean": 5.0, "low": None, "high": None}
    assert mean([]) is None


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=30).filter(lambda v: max(v) - min(v) > 1e-2))
@settings(max_examples=40)
def test_the_means_interval_is_students(values):
    low, high = ttest_1samp(values, 0.0).confidence_interval(0.95)
    ours = mean(values)
    assert (ours["low"], ours["high"]) == pytest.approx((low, high), rel=1e-6, abs=1e-6)
