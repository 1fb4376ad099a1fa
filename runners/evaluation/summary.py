"""Evaluation of any policy on any objects: success, grasp quality and mixture weights, per object, category and split.

*Latched*: within 5 cm of the goal at some step, the official protocol. *Held*: within 5 cm at the last step, the
headline.
"""

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.object_set import SPLITS, GraspObject
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_atomically
from runners.evaluation.intervals import mean, rate
from runners.evaluation.progress import EpisodeProgress
from runners.evaluation.rollout import Episodes, Policy, play

Result = Dict[str, Any]
"""What `evaluate` returns: the core of evaluation.json."""


def schedule(objects: Sequence[GraspObject], per_object: int, per_split: Optional[int] = None) -> Tensor:
    """Which object each episode is about: (E,) int64. Every object of a split has the same number of episodes.

    Args:
        per_object: episodes of each object.
        per_split: if given, instead: at least so many episodes of each split, spread evenly over its objects, each of
            which has one at least.
    """
    counts = torch.full((len(objects),), per_object)
    if per_split is not None:
        splits = [obj.split for obj in objects]
        counts = torch.tensor([-(-per_split // splits.count(split)) for split in splits])
    # in turns, so that what is known half-way is about all objects
    return torch.cat([(counts > turn).nonzero()[:, 0] for turn in range(int(counts.max()))])


def evaluate(task: GraspTask, policy: Policy, object_index: Tensor, seed: int) -> Result:
    """Play one whole episode for each entry of `object_index` (E,) and sum up.

    Shows a progress bar. The same seed and number of environments give the same result.
    """
    progress = EpisodeProgress(len(object_index), task.num_envs, task.config.episode_length)
    try:
        episodes = play(task, policy, object_index, seed, progress.step, progress.batch_ended)
    finally:
        progress.close()
    return {
        "proposal_weights": list(task.config.reward.proposal_weights),
        **summarise(episodes, object_index, task.objects),
    }


def summarise(episodes: Episodes, object_index: Tensor, objects: Sequence[GraspObject]) -> Result:
    """What the episodes come to.

    Returns:
        {"all": row, "splits": [row], "categories": [row], "objects": [row]}; a row is {"name", "episodes", "diverged",
        "latched", "held": {"rate", "low", "high"}, "D": {"mean", "low", "high"}, "weights": [w_1 .. w_k]}, and an
        object's has its "category" and "split", a category's its "splits". The intervals hold 95 % (Wilson; Student's
        t) and take episodes as independent. D = -sum_t r_proposal (Table 5; see `Episodes.quality`) and the mean
        weights are over the episodes that did not diverge; null where there are none, or no experts.
    """

    def row(name: str, chosen: Tensor, **more: Any) -> Dict[str, Any]:
        count, sound = int(chosen.sum()), chosen & ~episodes.diverged
        weights = None
        if episodes.weights is not None and sound.any():
            weights = episodes.weights[sound].double().mean(dim=0).tolist()
        return {
            "name": name,
            **more,
            "episodes": count,
            "diverged": int((chosen & episodes.diverged).sum()),
            "latched": rate(int(episodes.latched[chosen].sum()), count),
            "held": rate(int(episodes.held[chosen].sum()), count),
            "D": mean(episodes.quality[sound].double().tolist()),
            "weights": weights,
        }

    def rows(key: str, names: Sequence[str]) -> List[Dict[str, Any]]:
        out = []
        for name in names:
            members = torch.tensor([getattr(obj, key) == name for obj in objects])
            found = {objects[i].split for i in members.nonzero()[:, 0].tolist()}
            more = {"splits": [s for s in SPLITS if s in found]} if key == "category" else {}
            chosen = members[object_index]
            if chosen.any():
                out.append(row(name, chosen, **more))
        return out

    per_object = [(obj, object_index == i) for i, obj in enumerate(objects)]
    return {
        "all": row("all", torch.ones_like(object_index, dtype=torch.bool)),
        "splits": rows("split", SPLITS),
        "categories": rows("category", sorted({obj.category for obj in objects})),
        "objects": [
            row(obj.name, chosen, category=obj.category, split=obj.split) for obj, chosen in per_object if chosen.any()
        ],
    }


def write_json(path: Path, content: Dict[str, Any]) -> None:
    """Write the whole file or nothing; UserError where it cannot be written."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write the whole file or nothing; UserError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
