"""Success of a deterministic policy, one episode per environment, per object and over all."""

import json
import math
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import torch
from torch import Tensor

from resdex_tasks.errors import UserError
from resdex_tasks.files import write_atomically
from resdex_tasks.grasp_task import GraspTask
from runners.threads import simulator_first

Policy = Callable[[Tensor], Tensor]
"""Observation (N, num_obs) -> action (N, 24)."""


def wilson_interval(successes: int, episodes: int) -> Tuple[float, float]:
    """95 % interval of a success rate (Wilson's score interval, which stays sensible at 0 and 1)."""
    z = 1.959964
    rate = successes / episodes
    centre = rate + z * z / (2 * episodes)
    spread = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2))
    scale = 1 + z * z / episodes
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def rate(successes: int, episodes: int) -> Dict[str, float]:
    """A success rate with its 95 % interval."""
    low, high = wilson_interval(successes, episodes)
    return {"rate": successes / episodes, "low": low, "high": high}


def run_episodes(task: GraspTask, policy: Policy, on_step: Callable[[], None] = lambda: None) -> Dict[str, Tensor]:
    """One whole episode in every environment.

    Args:
        on_step: called after every step but the last, whose state is the next episode's.

    Returns:
        `latched`, `held`, `diverged` (N,) bool.
    """
    n = task.num_envs
    ended = torch.zeros(n, dtype=torch.bool, device=task.device)
    out = {name: torch.zeros(n, dtype=torch.bool, device=task.device) for name in ("latched", "held", "diverged")}
    obs = task.reset()
    while not ended.all():
        obs, _, done, extras = task.step(policy(obs))
        first = done & ~ended
        for name, values in out.items():
            values[first] = extras[name][first]
        ended |= done
        if not ended.all():
            on_step()
    out["latched"] &= ~out["diverged"]
    return out


def evaluate(task: GraspTask, policy: Policy, rounds: int) -> Dict[str, Any]:
    """Success per object, per category and over all.

    Returns:
        {"objects": [{"name", "category", "split", "episodes", "latched": {rate, low, high}, "held": ...}],
        "categories": [...], "all": {...}}: the structure of evaluation.json.
    """
    if task.config.stagger_episodes:
        raise ValueError("evaluation needs whole episodes: stagger_episodes must be off")
    index = task.sim.object_index.cpu()
    with simulator_first():
        results = [run_episodes(task, policy) for _ in range(rounds)]
    latched, held = (torch.stack([r[name] for r in results]).cpu() for name in ("latched", "held"))
    diverged = int(sum(int(r["diverged"].sum()) for r in results))

    def row(chosen: Tensor) -> Dict[str, Any]:
        episodes = int(chosen.sum()) * rounds
        return {
            "episodes": episodes,
            "latched": rate(int(latched[:, chosen].sum()), episodes),
            "held": rate(int(held[:, chosen].sum()), episodes),
        }

    objects, categories = [], []
    for i, obj in enumerate(task.objects):
        objects.append({"name": obj.name, "category": obj.category, "split": obj.split, **row(index == i)})
    for category in sorted({o.category for o in task.objects}):
        members = torch.tensor([o.category == category for o in task.objects])
        categories.append({"name": category, **row(members[index])})
    return {
        "objects": objects,
        "categories": categories,
        "all": row(torch.ones_like(index, dtype=torch.bool)),
        "diverged": diverged,
    }


def table(result: Dict[str, Any]) -> str:
    """The evaluation as a Markdown table, a row per object and one for all."""

    def percent(r: Dict[str, float]) -> str:
        return f"{100 * r['rate']:5.1f} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]"

    rows: List[Tuple[str, ...]] = [("object", "episodes", "latched % [95 %]", "held % [95 %]")]
    for entry in [*result["objects"], {"name": "all", **result["all"]}]:
        rows.append((entry["name"], str(entry["episodes"]), percent(entry["latched"]), percent(entry["held"])))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def write_json(path: Path, content: Dict[str, Any]) -> None:
    """Write the whole file or nothing; UserError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    write_atomically(path, lambda partial: partial.write_text(json.dumps(content, indent=1) + "\n"))
