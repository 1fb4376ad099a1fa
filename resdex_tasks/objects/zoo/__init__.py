"""The zoo: thousands of everyday shapes in dozens of categories, made from a seed, without any download.

`solids.py` has the convex building blocks; `vessels.py`, `tools.py`, `things.py` and `toys.py` draw one shape of a
category from a random generator; `instances.py` scales it and lays it to rest; `splits.py` assigns the instances to
splits.
"""

from typing import Dict, List, Optional, Sequence, Union

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.zoo.categories import CATEGORIES
from resdex_tasks.objects.zoo.instances import build_instance
from resdex_tasks.objects.zoo.splits import LARGE, in_turn, parse_name, small_name, split_names
from resdex_tasks.utils.errors import UserError

SIZES = {"small": ("",), "large": (LARGE,), "both": ("", LARGE)}
"""`objects.sizes` -> endings of the names of the instances that it has. `small`: 6 to 15 cm, as DexGraspNet's."""


def zoo_objects(
    split: Union[str, Sequence[str]] = "train",
    categories: Optional[Sequence[str]] = None,
    names: Optional[Sequence[str]] = None,
    count: Optional[int] = None,
    seed: int = 0,
    sizes: str = "small",
) -> ObjectSet:
    """The objects of one, several or all splits of the zoo that `seed` makes.

    Args:
        split: one of `SPLITS`, "all", or a list of splits.
        categories: keep only these; None keeps all.
        names: keep only these objects, in this order; None keeps all.
        count: keep the first so many, which take turns through the categories; None keeps all. Of a list of splits,
            at most so many of each.
        seed: not negative.
        sizes: one of `SIZES`. Each object has a large twin, of the same shape and split.

    Raises:
        UserError: a value does not fit; the message names its key.
    """
    splits = [split] if isinstance(split, str) else split
    split_of = {name: s for s, members in split_names(seed).items() for name in members}
    chosen: List[str] = []
    for one in splits:
        names_of = in_turn([name for name, s in split_of.items() if one in (s, "all")])
        names_of = [name + ending for name in names_of for ending in SIZES[sizes]]
        if categories is not None:
            names_of = _of_categories(names_of, categories, one)
        if names is not None:
            names_of = _named(names_of, names, one)
        if count is not None:
            if count > len(names_of) and len(splits) == 1:
                raise UserError(f"objects.count is {count}; it must be 1 to {len(names_of)}, all that were chosen")
            names_of = names_of[:count]
        chosen += names_of
    return ObjectSet(
        [build_instance(*parse_name(name), seed, split_of[small_name(name)], name.endswith(LARGE)) for name in chosen]
    )


def zoo_names(seed: int = 0, sizes: str = "small") -> Dict[str, List[str]]:
    """The names of all objects of the zoo that `seed` makes: split -> names. Nothing is made.

    Args:
        sizes: one of `SIZES`.
    """
    names = split_names(seed)
    return {split: [name + ending for name in members for ending in SIZES[sizes]] for split, members in names.items()}


def _of_categories(chosen: Sequence[str], categories: Sequence[str], split: str) -> List[str]:
    present = {parse_name(name)[0] for name in chosen}
    for category in categories:
        if category not in CATEGORIES:
            raise UserError(f"objects.categories has {category!r}; the categories are {', '.join(CATEGORIES)}")
        if category not in present:
            raise UserError(f"objects.categories has '{category}', of which the split '{split}' has no object")
    if not categories:
        raise UserError("objects.categories is empty; null keeps all categories")
    return [name for name in chosen if parse_name(name)[0] in categories]


def _named(chosen: Sequence[str], names: Sequence[str], split: str) -> List[str]:
    known = set(chosen)
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise UserError(
                f"objects.names has {name!r}, which is not among the {len(chosen)} objects chosen from the split "
                f"'{split}', such as {chosen[0]}"
            )
    return list(names)
