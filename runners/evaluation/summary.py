"""What episodes come to: success, grasp quality and mixture weights, per object, category and split."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from torch import Tensor

from resdex_tasks.objects.object_set import SPLITS, GraspObject
from runners.evaluation.intervals import Estimate, mean, success_rate
from runners.evaluation.rollout import Episodes


@dataclass(frozen=True)
class SuccessRow:
    """Episodes of an object, of a category, of a split, or of all."""

    name: str
    episodes: int
    diverged: int
    """Episodes in which the physics broke down: failures."""
    success_once: Estimate
    success_at_end: Estimate
    quality: Optional[Estimate]
    """D = -sum_t r_proposal (Table 5; see `Episodes.quality`), of the episodes that did not diverge."""
    weights: Optional[List[float]]
    """[w_1 .. w_k] the mean mixture weights of these episodes; None where the policy mixes nothing."""
    category: str = ""
    """Of an object."""
    split: str = ""
    """Of an object."""
    splits: List[str] = field(default_factory=list)
    """Of a category's objects."""
    opposed: Optional[Estimate] = None
    """Of the episodes that succeeded at the end: the object was held between thumb and finger (`hand.opposition`)."""


@dataclass(frozen=True)
class Summary:
    """Episodes summed up four ways."""

    all: SuccessRow
    splits: List[SuccessRow]
    categories: List[SuccessRow]
    objects: List[SuccessRow]


@dataclass(frozen=True)
class GapRow:
    """A student and its teacher on the same episodes of a split, or of all."""

    name: str
    episodes: int
    teacher_once: Estimate
    teacher_at_end: Estimate
    gap_once: Estimate
    """Student minus teacher."""
    gap_at_end: Estimate


@dataclass(frozen=True)
class TeacherResult:
    """What a student's teacher makes of the student's episodes (Table 3)."""

    checkpoint: str
    splits: List[GapRow]
    all: GapRow


@dataclass(frozen=True)
class EvaluationResult:
    """The content of evaluation.json."""

    summary: Summary
    checkpoint: str
    seed: int
    num_envs: int
    proposal_weights: List[float]
    """Of D: of position (m), rotation (rad) and joints (rad)."""
    experts: Optional[List[str]]
    """The object of each expert that the policy mixes."""
    versions: Dict[str, str]
    settings: Dict[str, Any]
    """The configuration's groups task, sim and objects."""
    teacher: Optional[TeacherResult] = None
    """Of a student whose teacher was at hand."""
    policy_id: str = ""
    """`Checkpoint.id` of the policy."""
    command: str = ""
    """The command line."""
    machine: str = ""

    def to_json(self) -> Dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "EvaluationResult":
        """The inverse of `to_json`."""
        summary = content["summary"]
        rows = {key: [_row(row) for row in summary[key]] for key in ("splits", "categories", "objects")}
        own = {f.name: content[f.name] for f in fields(cls) if f.name not in ("summary", "teacher", *_LATER)}
        own.update({name: content[name] for name in _LATER if name in content})
        teacher = content.get("teacher")
        if teacher is not None:
            splits = [_gap_row(row) for row in teacher["splits"]]
            teacher = TeacherResult(teacher["checkpoint"], splits, _gap_row(teacher["all"]))
        return cls(summary=Summary(all=_row(summary["all"]), **rows), teacher=teacher, **own)


_LATER = ("policy_id", "command", "machine")
"""What files of earlier versions lack."""


def _row(values: Mapping[str, Any]) -> SuccessRow:
    names = ("success_once", "success_at_end", "quality", "opposed")
    estimates = {key: Estimate(**values[key]) for key in names if values.get(key)}
    return SuccessRow(**{**values, **estimates})


def _gap_row(values: Mapping[str, Any]) -> GapRow:
    estimates = {key: Estimate(**value) for key, value in values.items() if isinstance(value, dict)}
    return GapRow(**{**values, **estimates})


def schedule(objects: Sequence[GraspObject], per_object: int, per_split: Optional[int] = None) -> Tensor:
    """Which object each episode of an evaluation is about: (E,) int64 index into `objects`, taking turns.

    Args:
        per_object: episodes of each object.
        per_split: if given, instead: at least so many episodes of each split, spread evenly over its objects, each of
            which has one at least.
    """
    counts = torch.full((len(objects),), per_object)
    if per_split is not None:
        splits = [obj.split for obj in objects]
        counts = torch.tensor([-(-per_split // splits.count(split)) for split in splits])
    return _in_turns(counts)


def _in_turns(counts: Tensor) -> Tensor:
    """Each object as often as its count says, in turns, so that what is known half-way is about all objects."""
    return torch.cat([(counts > turn).nonzero()[:, 0] for turn in range(int(counts.max()))])


def seats(index: Tensor, num_objects: int, most: int) -> Tensor:
    """Environments that keep their objects, and play the episodes of `schedule` in the fewest rounds.

    Args:
        index: (E,) int64, as `schedule` gives it; every object is in it.
        most: environments.

    Returns:
        (R, N) int64: in each of R rounds the same N <= `most` objects, each at least as often in all as in `index`.

    Raises:
        ValueError: there are more objects than environments.
    """
    if num_objects > most:
        raise ValueError(f"{most} environments that keep their objects cannot hold {num_objects}")
    counts, rounds = torch.bincount(index, minlength=num_objects), -(-len(index) // most)
    while int((-(-counts // rounds)).sum()) > most:
        rounds += 1
    return _in_turns(-(-counts // rounds)).expand(rounds, -1)


def summarise(episodes: Episodes, object_index: Tensor, objects: Sequence[GraspObject]) -> Summary:
    """Sum up episodes.

    The intervals hold 95 % and are over objects (`intervals`).

    Args:
        object_index: (E,) int64, the object of each episode.
    """

    def row(name: str, chosen: Tensor, **more: Any) -> SuccessRow:
        count, sound = int(chosen.sum()), chosen & ~episodes.diverged
        held = chosen & episodes.success_at_end
        weights = None
        if episodes.weights is not None and sound.any():
            weights = episodes.weights[sound].double().mean(dim=0).tolist()
        return SuccessRow(
            name=name,
            episodes=count,
            diverged=int((chosen & episodes.diverged).sum()),
            success_once=success_rate(episodes.success_once[chosen].numpy(), object_index[chosen].numpy()),
            success_at_end=success_rate(episodes.success_at_end[chosen].numpy(), object_index[chosen].numpy()),
            quality=mean(episodes.quality[sound].double().tolist(), object_index[sound].tolist()),
            weights=weights,
            opposed=mean(episodes.opposed[held].double().tolist(), object_index[held].tolist()),
            **more,
        )

    def rows(key: str, names: Sequence[str]) -> List[SuccessRow]:
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
    return Summary(
        all=row("all", torch.ones_like(object_index, dtype=torch.bool)),
        splits=rows("split", SPLITS),
        categories=rows("category", sorted({obj.category for obj in objects})),
        objects=[
            row(obj.name, chosen, category=obj.category, split=obj.split) for obj, chosen in per_object if chosen.any()
        ],
    )


def compare(
    name: str, student: Episodes, teacher: Episodes, object_index: Tensor, objects: Sequence[GraspObject]
) -> TeacherResult:
    """A student beside the teacher `name`: the same episodes, played by both.

    Args:
        object_index: (E,) int64, the object of each episode.
    """

    def row(title: str, chosen: Tensor) -> GapRow:
        index = object_index[chosen].numpy()
        estimates = {}
        for measure in ("once", "at_end"):
            ours, theirs = (getattr(e, f"success_{measure}")[chosen].numpy() for e in (student, teacher))
            estimates[f"teacher_{measure}"] = success_rate(theirs, index)
            gap = mean((ours.astype(float) - theirs.astype(float)).tolist(), index.tolist())
            assert gap is not None  # every row has episodes
            estimates[f"gap_{measure}"] = gap
        return GapRow(name=title, episodes=int(chosen.sum()), **estimates)

    every = torch.ones_like(object_index, dtype=torch.bool)
    members = {split: torch.tensor([obj.split == split for obj in objects])[object_index] for split in SPLITS}
    splits = [row(split, chosen) for split, chosen in members.items() if chosen.any()]
    return TeacherResult(name, splits, row("all", every))
