"""Chooses the evaluation objects of each split."""

from typing import Dict, List, Set

from resdex_tasks.objects.object_set import SPLITS, ObjectSet
from resdex_tasks.objects.sources import ObjectsConfig, ZooConfig
from resdex_tasks.objects.zoo import parse_name, split_names
from resdex_tasks.utils.sequences import evenly

_, UNSEEN_OBJECT, UNSEEN_CATEGORY = SPLITS


def evaluation_objects(config: ObjectsConfig, trained: ObjectSet, limit: int) -> Dict[str, List[str]]:
    """At most `limit` objects of each split: split -> names.

    Those of `trained` stand for what was seen. The zoo adds unseen objects of the categories among them, and objects of
    unseen categories; the other sources have no unseen objects of their own.

    Args:
        config: what `trained` was made of.
    """
    out = {split: evenly([o.name for o in trained if o.split == split], limit) for split in SPLITS}
    if isinstance(config, ZooConfig):
        seen = {o.category for o in trained}
        for split in (UNSEEN_OBJECT, UNSEEN_CATEGORY):
            if not out[split]:
                out[split] = _unseen(config.seed, split, seen, limit)
    return {split: names for split, names in out.items() if names}


def _unseen(seed: int, split: str, seen: Set[str], limit: int) -> List[str]:
    """The zoo's names of an unseen split, in turn through the categories. Nothing is built."""
    wanted = split == UNSEEN_OBJECT
    return [name for name in split_names(seed)[split] if (parse_name(name)[0] in seen) == wanted][:limit]
