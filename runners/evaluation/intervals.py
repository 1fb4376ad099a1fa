"""Rates and means with their 95 % intervals.

Episodes with one object are alike, so an interval that took them as independent would be too narrow: where there are
several objects, the intervals are bootstrapped over the objects.
"""

import math
from typing import Optional, Sequence, Tuple

import numpy as np
from scipy.stats import t as student_t

from runners.policies.records import Estimate

Z95 = 1.959964
RESAMPLES, SEED = 2000, 0
"""Of the bootstrap."""


def wilson_interval(successes: int, episodes: int) -> Tuple[float, float]:
    """95 % interval of a rate of independent successes (Wilson's score interval, which stays sensible at 0 and 1)."""
    z = Z95
    rate = successes / episodes
    centre = rate + z * z / (2 * episodes)
    spread = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2))
    scale = 1 + z * z / episodes
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def success_rate(successes: np.ndarray, objects: np.ndarray) -> Estimate:
    """Rate of successes over episodes.

    Args:
        successes: (E,) bool, E >= 1.
        objects: (E,) int, the object of each episode.

    Returns:
        The rate with Wilson's interval where all episodes are of one object, else with the interval bootstrapped over
        the objects, which is never narrower than Wilson's. Where all episodes ended alike, the bootstrap has nothing
        to draw from: the interval is then Wilson's over the objects, as if each had one episode.
    """
    low, high = wilson_interval(int(successes.sum()), len(successes))
    interval = _bootstrap(successes.astype(np.float64), objects)
    if interval is not None and successes.all() == successes.any():
        count = len(np.unique(objects))
        low, high = wilson_interval(count * int(successes[0]), count)
    elif interval is not None:
        low, high = min(low, interval[0]), max(high, interval[1])
    return Estimate(float(successes.mean()), low, high)


def mean(values: Sequence[float], objects: Sequence[int]) -> Optional[Estimate]:
    """Mean over episodes; None of no values.

    Args:
        values: (E,) numbers.
        objects: (E,) int, the object of each episode.

    Returns:
        The mean with Student's t interval where all episodes are of one object, else bootstrapped over the objects.
    """
    numbers, count = np.asarray(values, np.float64), len(values)
    if count == 0:
        return None
    centre = float(numbers.mean())
    if count == 1:
        return Estimate(centre, None, None)
    interval = _bootstrap(numbers, np.asarray(objects))
    if interval is None:
        spread = float(student_t.ppf(0.975, count - 1)) * float(numbers.std(ddof=1)) / math.sqrt(count)
        interval = centre - spread, centre + spread
    return Estimate(centre, *interval)


def _bootstrap(values: np.ndarray, objects: np.ndarray) -> Optional[Tuple[float, float]]:
    """95 % percentile interval of the mean of `values`, objects being drawn again; None of a single object."""
    _, place = np.unique(objects, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place)
    if len(counts) == 1:
        return None
    drawn = np.random.default_rng(SEED).integers(len(counts), size=(RESAMPLES, len(counts)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)
