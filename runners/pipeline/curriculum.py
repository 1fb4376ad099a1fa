"""Which objects a curriculum admits, stage by stage, each stage with those before it."""

from dataclasses import dataclass
from typing import List, Mapping, Sequence, Tuple

import numpy as np

from resdex_tasks.shapes.clusters import Cluster, cluster
from resdex_tasks.utils.errors import UserError


@dataclass(frozen=True)
class Stage:
    """Objects that are trained on together."""

    title: str
    names: Tuple[str, ...]


def object_curriculum(rows: Sequence[Mapping[str, str]], categories: int, seed: int) -> List[Stage]:
    """UniDexGrasp's (Sec. 3.3.1 and supplement B): one object, its category, some representative categories, all.

    Args:
        rows: name and category of each object.
        categories: how many representative ones. They are drawn, as is the one object of the first of them.
        seed: of the draw.
    """
    names = sorted({row["category"] for row in rows})
    random = np.random.default_rng(seed)
    drawn = [names[i] for i in random.permutation(len(names))[:categories]]
    members = [[row["name"] for row in rows if row["category"] in drawn[:n]] for n in (1, len(drawn))]
    first = members[0][int(random.integers(len(members[0])))]
    stages = [
        Stage("one object", (first,)),
        Stage(f"its category, {drawn[0]}", tuple(members[0])),
        Stage(f"the categories {', '.join(drawn)}", tuple(members[1])),
        Stage("all objects", tuple(row["name"] for row in rows)),
    ]
    return _growing(stages)


def geo_curriculum(names: Sequence[str], codes: np.ndarray, sizes: Sequence[int], seed: int) -> List[Stage]:
    """UniDexGrasp++'s (Algorithm 2): the object nearest to the centre of all codes; then, level by level, each cluster
    is split into sub-clusters, and the object nearest to each one's centre joins; at last all objects.

    Args:
        codes: (N, 64) of the N names.
        sizes: objects at each level but the last, rising; a level that would hold all objects is left out.
        seed: of K-means.

    Raises:
        UserError: the sizes do not rise.
    """
    if any(after <= before for before, after in zip(sizes, sizes[1:])):
        raise UserError(f"curriculum_sizes is {list(sizes)}; each stage needs more objects than the one before it")
    index = {name: i for i, name in enumerate(names)}
    levels: List[Cluster] = list(cluster(names, codes, 1, seed).clusters)
    admitted: List[str] = []
    stages = []
    for size in sizes:
        if size >= len(names):
            break
        parts = max(1, round(size / len(levels)))
        levels = [part for whole in levels for part in _split(whole, codes, index, parts, seed)]
        admitted += [part.centre for part in levels if part.centre not in admitted]
        stages.append(Stage(f"the {len(admitted)} most central objects", tuple(admitted)))
    return _growing([*stages, Stage("all objects", tuple(names))])


def _split(whole: Cluster, codes: np.ndarray, index: Mapping[str, int], parts: int, seed: int) -> Sequence[Cluster]:
    """A cluster in so many parts, or in as many as it has different codes."""
    members = list(whole.ranking)
    own = codes[[index[name] for name in members]]
    return cluster(members, own, min(parts, len(np.unique(own, axis=0))), seed).clusters


def _growing(stages: Sequence[Stage]) -> List[Stage]:
    """Without the stages that admit nothing new."""
    return [s for i, s in enumerate(stages) if not i or len(s.names) > len(stages[i - 1].names)]
