"""Intervals of rates and means, against scipy's and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, ttest_1samp

from runners.evaluation.intervals import Estimate, mean, success_rate, wilson_interval

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
mixed_counts = st.integers(2, 40).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n)))
"""Of which some are successes and some are not."""


def first(successes, episodes):
    """(episodes,) bool: successes come first."""
    return np.arange(episodes) < successes


# Wilson's score interval


@given(counts)
@settings(max_examples=60)
def test_wilson_interval_equals_scipys(count):
    expected = binomtest(*count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(*count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_wilson_interval_by_hand():
    # n = 100, k = 50: (0.5 + z^2/200 -+ z sqrt(0.0025 + z^2/40000)) / (1 + z^2/100), z = 1.96
    assert wilson_interval(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    # k = 0: (0, z^2 / (n + z^2))
    assert wilson_interval(0, 10) == pytest.approx((0.0, 3.8415 / 13.8415), abs=1e-4)


@given(counts)
def test_wilson_interval_contains_the_rate_and_is_symmetric_in_failures(count):
    successes, episodes = count
    low, high = wilson_interval(successes, episodes)
    assert 0.0 <= low <= successes / episodes + 1e-12 and successes / episodes - 1e-12 <= high <= 1.0
    assert low < high
    mirrored = wilson_interval(episodes - successes, episodes)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


@given(counts, st.integers(2, 10))
def test_wilson_interval_narrows_with_episodes_and_rises_with_successes(count, factor):
    successes, episodes = count
    low, high = wilson_interval(successes, episodes)
    many_low, many_high = wilson_interval(successes * factor, episodes * factor)
    assert many_high - many_low < high - low
    if successes < episodes:
        more_low, more_high = wilson_interval(successes + 1, episodes)
        assert more_low > low and more_high > high


# One object


def test_success_rate_of_one_object_has_wilsons_interval():
    assert success_rate(np.array([True, False, True, True]), np.full(4, 7)) == Estimate(0.75, *wilson_interval(3, 4))


def test_mean_of_one_object_by_hand():
    # 1, 2, 3: s = 1, t(0.975, 2) = 4.3027, so 2 -+ 4.3027 / sqrt(3)
    estimate = mean([1.0, 2.0, 3.0], [5, 5, 5])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2.0, -0.4841, 4.4841), abs=1e-4)
    assert mean([5.0], [0]) == Estimate(5.0, None, None)
    assert mean([], []) is None


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=30).filter(lambda v: max(v) - min(v) > 1e-2))
@settings(max_examples=40)
def test_mean_of_one_object_has_students_t_interval(values):
    low, high = ttest_1samp(values, 0.0).confidence_interval(0.95)
    ours = mean(values, [0] * len(values))
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


# Bootstrap over objects


@given(mixed_counts)
def test_bootstrap_of_one_episode_per_object_is_close_to_the_binomial_interval(count):
    successes, objects = count
    outcomes = first(successes, objects)
    # a resample of n objects has Binomial(n, rate) successes; percentiles of 2000 resamples are an object off at most
    exact = binom.ppf([0.025, 0.975], objects, successes / objects)
    bootstrapped = mean(outcomes.astype(float), np.arange(objects))
    assert [objects * bootstrapped.low, objects * bootstrapped.high] == pytest.approx(exact, abs=1.01)
    rate = success_rate(outcomes, np.arange(objects))
    assert (objects * rate.low, objects * rate.high) == pytest.approx(
        [objects * bound for bound in wilson_interval(successes, objects)], abs=2
    )


@given(mixed_counts, st.integers(2, 20))
def test_identical_episodes_of_an_object_do_not_narrow_the_interval(count, repeats):
    successes, objects = count
    outcomes, index = first(successes, objects), np.arange(objects)
    many, many_index = np.repeat(outcomes, repeats), np.repeat(index, repeats)

    single, repeated = mean(outcomes.astype(float), index), mean(many.astype(float), many_index)
    assert (repeated.value, repeated.low, repeated.high) == pytest.approx((single.value, single.low, single.high))

    rate, wilson = success_rate(many, many_index), wilson_interval(successes * repeats, objects * repeats)
    assert rate.low <= single.low + 1e-12 and rate.high >= single.high - 1e-12
    assert rate.high - rate.low > wilson[1] - wilson[0]


episodes = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=60).map(
    lambda rows: (np.array([success for success, _ in rows]), np.array([obj for _, obj in rows]))
)


@given(episodes)
def test_success_rate_is_never_narrower_than_wilsons_interval(sample):
    successes, objects = sample
    estimate, wilson = success_rate(successes, objects), wilson_interval(int(successes.sum()), len(successes))
    assert estimate.value == successes.mean()
    assert 0.0 <= estimate.low <= wilson[0] + 1e-12 and wilson[1] - 1e-12 <= estimate.high <= 1.0


@given(episodes)
def test_intervals_are_reproducible_and_blind_to_the_numbering_of_objects(sample):
    successes, objects = sample
    assert success_rate(successes, objects) == success_rate(successes.copy(), 10 * objects + 3)
    assert mean(successes.astype(float), objects) == mean(successes.astype(float), 10 * objects + 3)


def test_mean_of_several_objects_is_bootstrapped_over_them():
    # two objects: a resample is (0, 0), (10, 10) or one of each, a quarter, a quarter and a half of the time
    assert mean([0.0, 0.0, 10.0, 10.0], [0, 0, 1, 1]) == Estimate(5.0, 0.0, 10.0)
    # episodes weigh the same, whatever object they are of
    assert mean([0.0, 0.0, 0.0, 8.0], [0, 0, 0, 1]).value == 2.0


def test_where_every_episode_ends_alike_each_object_counts_once():
    """1,000 successes of ten objects are not a thousand independent ones: Wilson's interval of 10 out of 10."""
    objects = np.repeat(np.arange(10), 100)
    for outcome in (True, False):
        estimate = success_rate(np.full(1000, outcome), objects)
        assert (estimate.low, estimate.high) == wilson_interval(10 * outcome, 10)
