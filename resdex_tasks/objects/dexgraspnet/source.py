"""DexGraspNet's objects and grasps, in either of the two layouts in which they are published.

`files.py` reads the layouts. This module chooses which objects to read at which scales: from an object list of the
method, or all that the folder has.
"""

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import yaml

from resdex_tasks.objects.dexgraspnet.files import open_layout
from resdex_tasks.objects.loading import gather
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.utils.disk_cache import ArrayCache
from resdex_tasks.utils.errors import UserError, one_line

SCALES = (0.06, 0.08, 0.10, 0.12, 0.15)
"""The sizes at which the data has grasps: metres per unit of the meshes."""

LIST_KEYS = ("object_code_list", "object_code_dict")


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
    if objects is not None and object_list is not None:
        raise UserError("objects.objects and objects.objectList both say which objects to read; set one of them")
    scales = _checked_scales(scales, "objects.scales")
    layout = open_layout(Path(root).expanduser(), max_rest_height, ArrayCache(cache, "dexgraspnet"))

    scales_of: Dict[str, Sequence[float]]
    if object_list is not None:
        scales_of = read_object_list(object_list, scales)
    else:
        present = layout.codes()
        if objects is None:
            scales_of = dict.fromkeys(present, scales)
        else:
            scales_of = {_checked_code(code, "objects.objects"): scales for code in objects}
            missing = [code for code in scales_of if code not in set(present)]
            if missing:
                raise UserError(f"objects.objects has '{missing[0]}', of which {layout.grasp_root} has no grasps")
    chosen = {f"{code}@{scale:g}": (code, scale) for code, its in scales_of.items() for scale in its}
    if not chosen:
        raise UserError(f"there is no object in {layout.grasp_root if object_list is None else object_list}")
    if names is not None:
        chosen = _named(chosen, names)

    def build(name: str) -> GraspObject:
        code, scale = chosen[name]
        proposals = layout.proposals(code, scale)  # first: many objects have none
        pieces = layout.pieces(code, scale)
        return GraspObject(name, _category(code), split, pieces, proposals, layout.shape_code(code, scale))

    return gather(list(chosen), build, root, report)


def read_object_list(path: Union[str, Path], scales: Sequence[float]) -> Dict[str, Sequence[float]]:
    """Code -> scales from a yaml file of the method or of UniDexGrasp.

    Its key `object_code_list` or `object_code_dict`, at the top or below `env`, holds a list or a dictionary. The entry
    of one object is "<code>", which takes `scales`, or "<code>: [<scale>, ...]"; a code may appear again with other
    scales.

    Raises:
        UserError: the file or an entry cannot be used; the message names it.
    """
    path = Path(path).expanduser()
    try:
        # the C loader takes a tenth of the time for the thousands of lines of the real lists
        content = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the object list {path}: {one_line(error)}") from error
    entries = _entries(content)
    if not isinstance(entries, (list, dict)) or not entries:
        raise UserError(f"{path} has no {' or '.join(LIST_KEYS)} with objects in it")
    pairs: List[Tuple[Any, Any]] = []
    for entry in [entries] if isinstance(entries, dict) else entries:
        pairs += entry.items() if isinstance(entry, dict) else [(entry, None)]
    found: Dict[str, List[float]] = {}
    for code, its in pairs:
        code = _checked_code(code, f"the object list {path}")
        its = scales if its is None else _checked_scales(its, f"'{code}' in the object list {path}")
        known = found.setdefault(code, [])
        known += [scale for scale in its if scale not in known]
    return dict(found)


def _entries(content: Any) -> Any:
    if isinstance(content, dict):
        for holder in (content, content.get("env")):
            for key in LIST_KEYS:
                if isinstance(holder, dict) and holder.get(key) is not None:
                    return holder[key]
    return None


def _checked_scales(scales: Any, where: str) -> List[float]:
    if not isinstance(scales, (list, tuple)) or not scales:
        raise UserError(f"{where} is {scales!r}; it must be a list of scales such as [{SCALES[0]:g}]")
    for scale in scales:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or scale not in SCALES:
            raise UserError(f"{where} has the scale {scale!r}; the scales are {', '.join(map(str, SCALES))}")
    return list(dict.fromkeys(float(scale) for scale in scales))


def _checked_code(code: Any, where: str) -> str:
    """The code as "<group>/<object>"."""
    if isinstance(code, str):
        group, slash, obj = code.partition("/") if "/" in code else code.partition("-")
        if group and slash and obj and "/" not in obj and ".." not in (group, obj):
            return f"{group}/{obj}"
    raise UserError(f"{where} has the object {code!r}; a code is <group>/<object>, such as core/mug-8570")


def _category(code: str) -> str:
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
