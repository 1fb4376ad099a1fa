"""The zoo's splits: which instance belongs to which, and a file that lists them.

python -m runners.objects splits --out zoo_1.yaml objects=zoo objects.seed=1
"""

import zlib
from collections import Counter
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Tuple

import numpy as np
import yaml

from resdex_tasks.objects.object_set import SPLITS
from resdex_tasks.objects.zoo.categories import SEEN, UNSEEN
from resdex_tasks.utils.files import write_atomically

SIZES = {"train": 3200, "unseen_object": 141, "unseen_category": 100}
"""Objects in each split, as in the paper."""
SPLITS_FILE = Path(__file__).with_name("splits.yaml")
"""The splits of seed 0."""


LARGE = "-large"
"""Ending of the name of a large instance."""


def instance_name(category: str, index: int, large: bool = False) -> str:
    return f"{category}-{index:04d}{LARGE if large else ''}"


def small_name(name: str) -> str:
    """Of an instance, or of the one whose large twin it is."""
    return name[: -len(LARGE)] if name.endswith(LARGE) else name


def parse_name(name: str) -> Tuple[str, int]:
    """Category and index of an instance, large or not."""
    category, _, index = small_name(name).rpartition("-")
    return category, int(index)


def split_names(seed: int) -> Dict[str, List[str]]:
    """Split -> names of its instances, `in_turn`.

    All categories have the same number of instances, or one more. The seed chooses which instances of a category are
    held out.
    """
    in_training = _shares(SIZES["train"], SEEN)
    held_out = _shares(SIZES["unseen_object"], SEEN)
    train: Dict[str, Iterable[int]] = {}
    unseen: Dict[str, Iterable[int]] = {}
    for category in sorted(SEEN):
        rng = np.random.default_rng([seed, zlib.crc32(b"split"), zlib.crc32(category.encode())])
        order = rng.permutation(in_training[category] + held_out[category])
        unseen[category] = np.sort(order[: held_out[category]])
        train[category] = np.sort(order[held_out[category] :])
    shares = _shares(SIZES["unseen_category"], UNSEEN)
    reserved: Dict[str, Iterable[int]] = {category: range(count) for category, count in shares.items()}
    return {split: in_turn(_names(indices)) for split, indices in zip(SPLITS, (train, unseen, reserved))}


def in_turn(names: Sequence[str]) -> List[str]:
    """The names reordered: the first of every category, then the second of every category, and so on.

    So the beginning of the list is as diverse as all of it.
    """
    turn: Dict[str, int] = Counter()
    ranked = []
    for name in names:
        category, index = parse_name(name)
        ranked.append((turn[category], category, index, name))
        turn[category] += 1
    return [name for *_, name in sorted(ranked)]


def write_splits(path: Path, seed: int) -> None:
    """List the splits of a seed in a YAML file.

    Raises:
        UserError: it cannot be written.
    """
    text = yaml.safe_dump(split_names(seed), default_flow_style=None, sort_keys=False, width=120)
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _shares(total: int, categories: Iterable[str]) -> Dict[str, int]:
    """How many of `total` instances each category has; the first ones have one more where they do not divide evenly."""
    names = sorted(categories)
    each, over = divmod(total, len(names))
    return {name: each + (i < over) for i, name in enumerate(names)}


def _names(indices: Dict[str, Iterable[int]]) -> List[str]:
    return [instance_name(category, index) for category, row in indices.items() for index in row]
