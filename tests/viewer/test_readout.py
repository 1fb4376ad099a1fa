"""The numbers on the page."""

import re

from runners.viewer.readout import bars_html, reading_html
from runners.viewer.session import Reading, Score


def widths(page: str):
    """Lengths of the bars, percent."""
    return [float(width) for width in re.findall(r"width:([\d.]+)%;height", page)]


def test_bars_are_to_one_scale():
    assert widths(bars_html("reward", {"a": 0.5, "b": -0.25, "c": 0.0})) == [50, 25, 0]
    assert widths(bars_html("reward", {"a": -4.0, "b": 1.0})) == [100, 25]
    assert bars_html("mixture weights", {}) == ""


def test_names_are_no_html():
    page = bars_html("reward", {"<script>alert(1)</script>": 1.0})
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_both_successes_are_told_apart():
    reading = Reading(seconds=1.5, goal_distance=0.123, success_once=True, success=False)
    text = re.sub(r"<[^>]*>", "", reading_html(reading, Score(4, 3, 2, 0), 59.7))
    assert "1.5 s of the episode, 60 steps/s" in text and "12.3 cm" in text
    assert "success now no, once yes" in text
    assert "episodes: 4, success once: 3, at the end: 2" in text and "diverged" not in text
    assert "paused" in reading_html(reading, Score(), None)
    assert "diverged: 1" in reading_html(reading, Score(4, 3, 2, 1), None)
