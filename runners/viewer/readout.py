"""Numbers as the viewer's page shows them: HTML of lines and bars."""

import html
from typing import Mapping, Optional

from runners.viewer.session import Reading, Score

GOOD, BAD, PLAIN = "#468c55", "#be4b41", "#4c6a92"


def reading_html(reading: Reading, score: Score, rate: Optional[float]) -> str:
    """Time, goal and success of the running episode, and the count of those before.

    Args:
        rate: control steps per second that are reached; None: it pauses.
    """
    lines = [
        f"<b>{reading.seconds:.1f} s</b> of the episode, {'paused' if rate is None else f'{rate:.0f} steps/s'}",
        f"object to goal: <b>{100 * reading.goal_distance:.1f} cm</b>",
        f"success now {_mark(reading.success)}, once {_mark(reading.success_once)}",
        f"episodes: <b>{score.episodes}</b>, success once: <b>{score.once}</b>, at the end: <b>{score.at_end}</b>"
        + (f", diverged: {score.diverged}" if score.diverged else ""),
    ]
    return block("".join(f"<div>{line}</div>" for line in lines))


def bars_html(title: str, values: Mapping[str, float]) -> str:
    """A bar for each value, all to one scale, from the left; negative ones in another colour. '' for no values."""
    if not values:
        return ""
    longest = max(1.0, *(abs(value) for value in values.values()))
    rows = []
    for name, value in values.items():
        width = 100 * abs(value) / longest
        colour = PLAIN if value >= 0 else BAD
        rows.append(
            '<div style="display:flex;align-items:center;gap:0.4em">'
            '<span style="width:8.5em;overflow:hidden;white-space:nowrap;text-overflow:ellipsis">'
            f"{html.escape(name)}</span>"
            '<span style="flex:1;background:#8882;height:0.7em">'
            f'<span style="display:block;width:{width:.1f}%;height:100%;background:{colour}"></span></span>'
            f'<span style="width:3.6em;text-align:right">{value:+.2f}</span></div>'
        )
    return block(f"<b>{html.escape(title)}</b>" + "".join(rows))


def _mark(flag: bool) -> str:
    return f'<b style="color:{GOOD}">yes</b>' if flag else "no"


def block(inside: str) -> str:
    """A paragraph of the panel."""
    return f'<div style="padding:0.2em 1em;font-size:0.85em">{inside}</div>'
