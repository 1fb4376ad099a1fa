"""Rates and means with their 95 % intervals, as plain numbers for a JSON file."""

import math
from typing import Dict, Optional, Sequence, Tuple

import numpy as np
from scipy.stats import t as student_t

Z95 = 1.959964


def wilson_interval(successes: int, episodes: int) -> Tuple[float, float]:
    """95 % interval of a success rate (Wilson's score interval, which stays sensible at 0 and 1)."""
    z = Z95
    rate = successes / episodes
    centre = rate + z * z / (2 * episodes)
    spread = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2))
    scale = 1 + z * z / episodes
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def rate(successes: int, episodes: int) -> Dict[str, float]:
    """A success rate with its 95 % interval."""
    low, high = wilson_interval(successes, episodes)
    return {"rate": successes / episodes, "low": low, "high": high}


def mean(values: Sequence[float]) -> Optional[Dict[str, Optional[float]]]:
    """A mean with its 95 % interval (Student's t; null bounds for a single value); None of no values."""
    values = np.asarray(values, np.float64)
    n = len(values)
    if n == 0:
        return None
    if n == 1:
        return {"mean": float(values[0]), "low": None, "high": None}
    spread = float(student_t.ppf(0.975, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    centre = float(values.mean())
    return {"mean": centre, "low": centre - spread, "high": centre + spread}
