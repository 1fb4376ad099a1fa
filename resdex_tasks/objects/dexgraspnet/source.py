"""DexGraspNet's objects and grasps, in either of the two layouts in which they are published.

`files.py` reads the layouts. This module chooses which objects to read at which scales: from an object list of the
method, or all that the folder has.
"""

from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Tuple, Union

from resdex_tasks.objects.dexgraspnet.files import Layout, open_layout
from resdex_tasks.objects.dexgraspnet.lists import checked_code, checked_scales, read_object_list
from resdex_tasks.objects.loading import gather
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.utils.disk_cache import ArrayCache
from resdex_tasks.utils.errors import UserError


def read_dexgraspnet(
    root: Union[str, Path],
    objects: Optional[Sequence[str]] = None,
    object_list: Optional[Union[str, Path]] = None,
    scales: Sequence[float] = (0.08,),
    split: str = "train",
    max_rest_height: float = 0.05,
    cache: Optional[Union[str, Path]] = None,
    names: Optional[Sequence[str]] = None,
    report: Callable[[str], None] = print,
) -> ObjectSet:
    """Objects with their grasps; each object at each scale is one `GraspObject`.

    A code is "<group>/<object>", for example "core/bottle-7017" ("core-bottle-7017" is the same one), in both layouts.
    At scale 0.06 its object is named "core/bottle-7017@0.06". The category is the kind in lower case, "bottle".

    Args:
        root: folder with one of the layouts.
        objects: codes of the objects to read; None: those of `object_list`, or else all that have grasps.
        object_list: a yaml file like the method's `train_set.yaml` (see `read_object_list`).
        scales: scales of every object for which the list has none, each one of `SCALES`.
        split: one of `SPLITS`, noted in every object.
        max_rest_height: m; grasps of poses in which the object's frame lies higher than this are dropped.
        cache: folder for parsed grasps; None: in the user's cache.
        names: keep only these objects, in this order, and read no others; None keeps all.
        report: called with a line on how many objects were left out (broken files, no grasp), and why.

    Raises:
        UserError: a file or a value cannot be used; the message names it.
    """
    layout = open_layout(Path(root).expanduser(), max_rest_height, ArrayCache(cache, "dexgraspnet"))
    chosen = _listed(layout, objects, object_list, scales, report)
    if names is not None:
        chosen = _named(chosen, names)

    def build(name: str) -> GraspObject:
        code, scale = chosen[name]
        proposals = layout.proposals(code, scale)  # first: many objects have none
        pieces = layout.pieces(code, scale)
        return GraspObject(name, category_of_code(code), split, pieces, proposals, layout.shape_code(code, scale))

    return gather(list(chosen), build, root, report)


def listed_codes(
    root: Union[str, Path],
    objects: Optional[Sequence[str]] = None,
    object_list: Optional[Union[str, Path]] = None,
    scales: Sequence[float] = (0.08,),
) -> Dict[str, Tuple[str, float]]:
    """What `read_dexgraspnet` would read, without reading it: the object's name -> its code and scale.

    Raises:
        UserError: a file or a value cannot be used; the message names it.
    """
    layout = open_layout(Path(root).expanduser(), 0.0, ArrayCache(None, "dexgraspnet"))  # of which no grasp is read
    return _listed(layout, objects, object_list, scales, lambda line: None)


def _listed(
    layout: Layout,
    objects: Optional[Sequence[str]],
    object_list: Optional[Union[str, Path]],
    scales: Sequence[float],
    report: Callable[[str], None],
) -> Dict[str, Tuple[str, float]]:
    if objects is not None and object_list is not None:
        raise UserError("objects.objects and objects.objectList both say which objects to read; set one of them")
    scales = checked_scales(scales, "objects.scales")
    scales_of: Dict[str, Sequence[float]]
    if object_list is not None:
        scales_of = read_object_list(object_list, scales, report)
    else:
        present = layout.codes()
        if objects is None:
            scales_of = dict.fromkeys(present, scales)
        else:
            scales_of = {checked_code(code, "objects.objects"): scales for code in objects}
            missing = [code for code in scales_of if code not in set(present)]
            if missing:
                raise UserError(f"objects.objects has '{missing[0]}', of which {layout.grasp_root} has no grasps")
    chosen = {f"{code}@{scale:g}": (code, scale) for code, its in scales_of.items() for scale in its}
    if not chosen:
        raise UserError(f"there is no object in {layout.grasp_root if object_list is None else object_list}")
    return chosen


def category_of_code(code: str) -> str:
    """The kind of object that a code names: "bottle" of "core/bottle-7017", "banana" of "ddg/gd_banana_poisson_002"."""
    kind = code.split("/")[1].split("-")[0]
    if kind.startswith("gd_"):
        kind = kind[len("gd_") :].split("_poisson")[0]
    return kind.lower()


def _named(chosen: Dict[str, Tuple[str, float]], names: Sequence[str]) -> Dict[str, Tuple[str, float]]:
    for name in names:
        if name not in chosen:
            raise UserError(
                f"objects.names has {name!r}, which is not among the {len(chosen)} objects chosen, such as "
                f"{next(iter(chosen))}"
            )
    if not names:
        raise UserError("objects.names is empty; null keeps all objects")
    return {name: chosen[name] for name in names}
