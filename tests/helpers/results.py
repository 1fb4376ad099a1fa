"""Evaluation results, pictures and runs made by hand, and what a table holds."""

from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from runners.evaluation.gallery import Grasp
from runners.evaluation.intervals import Estimate, mean, success_rate
from runners.evaluation.summary import EvaluationResult, SuccessRow, Summary

Successes = Optional[Tuple[int, int]]
"""Successes at the end and once."""


def rate(successes: int, episodes: int) -> Estimate:
    """Of episodes with one object."""
    return success_rate(np.arange(episodes) < successes, np.zeros(episodes, dtype=int))


def row(name: str, at_end: int, once: int, episodes: int = 100, d: Sequence[float] = (30.0, 32.0), **more: Any):
    """A row of episodes with one object; `more` are fields of `SuccessRow`."""
    given = {"weights": None, **more}
    return SuccessRow(name, episodes, 0, rate(once, episodes), rate(at_end, episodes), mean(d, [0] * len(d)), **given)


def result(
    train: Successes = (80, 90),
    unseen_object: Successes = (70, 85),
    unseen_category: Successes = (75, 88),
    num_objects: int = 2,
    experts: Optional[List[str]] = None,
    **more: Any,
) -> EvaluationResult:
    """100 episodes on each split; `more` is what every row has."""
    given = {"train": train, "unseen_object": unseen_object, "unseen_category": unseen_category}
    summary = Summary(
        all=row("all", 225, 263, 300, **more),
        splits=[row(name, *successes, **more) for name, successes in given.items() if successes],
        categories=[row("mug", 80, 100, 200, splits=["train"], **more)],
        objects=[row(f"mug-{i}", 40, 50, category="mug", split="train", **more) for i in range(num_objects)],
    )
    return EvaluationResult(
        summary=summary,
        checkpoint="policy.pth",
        seed=7,
        num_envs=50,
        proposal_weights=[0.3, 0.02, 0.05],
        experts=experts,
        versions={"torch": "2.0"},
        settings={"task": {"name": "ResDexBase"}, "sim": {"name": "mujoco"}, "objects": {"source": "starter"}},
    )


def cells(table: str) -> List[List[str]]:
    """The cells of the rows of a Markdown table, without its rule; lines after it do not count."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert set(lines[1]) <= set("|-:")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:1] + lines[2:]]


def grasp(name: str, outcome: str = "success", opposed: bool = False) -> Grasp:
    """With a grey picture, 80 by 60."""
    return Grasp(name, outcome, opposed, np.full((60, 80, 3), 200, np.uint8))


def write_run(folder: Path, success: Sequence[float]) -> None:
    """A run's TensorBoard file: 1000 steps a minute, the same success at the end and once."""
    writer = SummaryWriter(str(folder / "summaries"))
    for i, value in enumerate(success):
        for name in ("success/at_end", "success/once"):
            writer.add_scalar(name, value, 1000 * (i + 1), walltime=60.0 * i)
    writer.close()
