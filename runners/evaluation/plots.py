"""Pictures of an evaluation: success by category, mixture weights by category; and the success curves of trainings."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_atomically
from resdex_tasks.utils.printing import one_line_of
from runners.evaluation.summary import SuccessRow, Summary

AT_END, ONCE = "#2f6f9f", "#b9d2e3"
UNSEEN = "#b3541e"
"""Colour of the names of categories that no training object has."""
DPI = 130
ROW_HEIGHT = 0.21
"""inches, of a category."""


def success_by_category(summary: Summary, path: Path) -> None:
    """Bars of success at the end (with its 95 % interval) over success once, a category each, the best on top."""
    rows = sorted(summary.categories, key=lambda row: (row.success_at_end.value, row.success_once.value))
    places = np.arange(len(rows))
    figure, axis = _rows_figure([row.name for row in rows], width=6.6)
    once, at_end = ([getattr(row, name) for row in rows] for name in ("success_once", "success_at_end"))
    for estimates, label, colour, height in ((once, "once", ONCE, 0.78), (at_end, "at the end", AT_END, 0.46)):
        axis.barh(places, [100 * estimate.value for estimate in estimates], height, color=colour, label=label)
    bars = 100 * np.array([(estimate.value, estimate.low, estimate.high) for estimate in at_end])
    # at 0 and 1 rounding may put the rate outside of its interval by 1e-14
    errors = np.stack((bars[:, 0] - bars[:, 1], bars[:, 2] - bars[:, 0])).clip(min=0)
    axis.errorbar(bars[:, 0], places, xerr=errors, fmt="none", ecolor="#222222", elinewidth=0.8)
    axis.axvline(100 * summary.all.success_at_end.value, color=AT_END, linewidth=0.8, linestyle=":", zorder=0)
    axis.set(xlim=(0, 100), xlabel="success, %  (dotted: at the end, all objects)")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    _mark_unseen(axis, rows)
    _save(figure, path)


def weights_heat_map(summary: Summary, path: Path, experts: Optional[Sequence[str]] = None) -> None:
    """The mean mixture weight of every expert, a category each; categories that lean on the same expert stand together.

    Args:
        experts: names of the experts' objects.
    """
    rows = [row for row in summary.categories if row.weights]
    if not rows:
        raise ValueError("the evaluated policy mixes no experts")
    weights = np.array([row.weights for row in rows])
    order = sorted(range(len(rows)), key=lambda i: (weights[i].argmax(), -weights[i].max()))[::-1]
    rows, weights = [rows[i] for i in order], weights[order]
    k = weights.shape[1]
    figure, axis = _rows_figure([row.name for row in rows], width=2.6 + 0.85 * k)
    signed = weights.min() < 0  # l2-normalised weights may be negative
    top = float(np.abs(weights).max())
    image = axis.imshow(
        weights, aspect="auto", origin="lower", cmap="RdBu" if signed else "Blues", vmin=-top if signed else 0, vmax=top
    )
    for y in range(len(rows)):
        for x in range(k):
            ink = "white" if abs(weights[y, x]) > 0.6 * top else "#333333"
            axis.text(x, y, f"{weights[y, x]:.2f}", ha="center", va="center", fontsize=7, color=ink)
    named = experts or [""] * k
    axis.set_xticks(range(k), [f"w{i + 1}\n{_shown(name)}".strip() for i, name in enumerate(named)], fontsize=8)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axis, label="mean mixture weight", fraction=0.06, pad=0.03, aspect=30)
    _mark_unseen(axis, rows)
    _save(figure, path)


def read_run(folder: Path) -> Dict[str, np.ndarray]:
    """Columns of a run's TensorBoard files: `steps`, `minutes` (the time between a stop and its resume left out), and
    of the exploring policy the success rates `once` and `at_end` and the `reward` of an episode, all terms together.

    Raises:
        UserError: the folder is no run's, or the run logged no success.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not (folder / "summaries").is_dir():
        raise UserError(f"{folder} is no folder of a run: it has no summaries/")
    events = EventAccumulator(str(folder / "summaries"), size_guidance={"scalars": 0})
    events.Reload()
    names = ("success/once", "success/at_end")
    if not set(names) <= set(events.Tags()["scalars"]):
        raise UserError(f"{folder} holds no success curve: no scalar success/at_end in {folder / 'summaries'}")
    rows = {name: events.Scalars(name) for name in names}
    terms = [tag for tag in events.Tags()["scalars"] if tag.startswith("reward/")]
    at_end = rows["success/at_end"]
    gaps = np.diff([e.wall_time for e in at_end], prepend=at_end[0].wall_time)
    gaps[gaps > 60 * max(np.median(gaps), 1e-3)] = 0
    out = {"steps": np.array([e.step for e in at_end]), "minutes": np.cumsum(gaps) / 60}
    out.update({name.split("/")[1]: np.array([e.value for e in rows[name]]) for name in names})
    out["reward"] = np.sum([[e.value for e in events.Scalars(tag)] for tag in terms], axis=0)
    return out


def learning_curves(runs: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Success over steps, a colour a run, each as `read_run` gives it."""
    figure = Figure(figsize=(7.2, 3.6), constrained_layout=True)
    axis = figure.subplots()
    for index, (name, run) in enumerate(runs.items()):
        colour = f"C{index}"
        axis.plot(run["steps"] / 1e6, run["at_end"], colour, label=f"{_shown(name)}, {run['minutes'][-1]:.0f} min")
        axis.plot(run["steps"] / 1e6, run["once"], colour, linestyle=":", linewidth=1)
    axis.set(xlabel="million environment steps", ylabel="success of the exploring policy", ylim=(0, 1))
    axis.legend(title="at the end (dotted: once)", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def success_by_steps(
    curves: Mapping[str, Sequence[Mapping[str, np.ndarray]]],
    points: Mapping[str, Sequence[Tuple[float, float]]],
    path: Path,
) -> None:
    """Success of several methods over all environment steps that they took so far, a colour a method.

    Args:
        curves: method -> its trainings on all objects, each `steps` and `at_end` of the exploring policy.
        points: method -> (steps, success at the end) of its deterministic policies on the training objects.
    """
    figure = Figure(figsize=(7.2, 4.0), constrained_layout=True)
    axis = figure.subplots()
    for index, name in enumerate(points):
        colour = f"C{index}"
        for curve in curves.get(name, ()):
            axis.plot(curve["steps"] / 1e6, curve["at_end"], colour, linewidth=1, alpha=0.6)
        steps, success = np.array(sorted(points[name])).reshape(-1, 2).T
        axis.plot(steps / 1e6, success, "o", color=colour, markersize=4, label=_shown(name))
    axis.set(xlabel="million environment steps of the whole method", ylabel="success at the end", ylim=(0, 1))
    axis.legend(title="dots: deterministic, training objects; lines: exploring", frameon=False, loc="upper left")
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _rows_figure(names: Sequence[str], width: float) -> Any:
    """A figure with one axis whose y places 0, 1, ... are named, high enough for all of them."""
    figure = Figure(figsize=(width, 1.1 + ROW_HEIGHT * len(names)), constrained_layout=True)
    axis = figure.subplots()
    axis.set_yticks(range(len(names)), [_shown(name) for name in names], fontsize=8)
    axis.set_ylim(-0.6, len(names) - 0.4)
    return figure, axis


def _shown(name: str) -> str:
    """A name as matplotlib writes it: between two dollars it would look for a formula."""
    return one_line_of(name).replace("$", r"\$")


def _mark_unseen(axis: Any, rows: Sequence[SuccessRow]) -> None:
    """Colour the names of unseen categories, and say so, where there are other ones beside them."""
    unseen: List[bool] = [row.splits == ["unseen_category"] for row in rows]
    if any(unseen) and not all(unseen):
        for label, new in zip(axis.get_yticklabels(), unseen):
            if new:
                label.set_color(UNSEEN)
        axis.figure.supxlabel("coloured names: unseen categories", fontsize=7, color=UNSEEN, x=1, ha="right")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda partial: figure.savefig(partial, format="png", dpi=DPI))
