"""Sets of objects to grasp, chosen by the group `objects` of the configuration."""

from typing import Any, Callable, Dict, Mapping, Tuple

from resdex_tasks.errors import UserError
from resdex_tasks.objects.dexgraspnet import read_unidexgrasp
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.proposals_file import with_proposals
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.objects.zoo import zoo_objects

SOURCES: Dict[str, Tuple[Callable[..., ObjectSet], Dict[str, str]]] = {
    "starter": (starter_objects, {}),
    "unidexgrasp": (
        read_unidexgrasp,
        {"root": "root", "objects": "object_codes", "scale": "scale", "maxRestHeight": "max_rest_height"},
    ),
    "zoo": (zoo_objects, {key: key for key in ("split", "categories", "count", "names", "seed")}),
}
"""Source -> its reader, and the reader's argument for each configuration key."""

LIST_KEYS = ("names", "objects", "categories")
UNSET = (None, "???")
"""What a mandatory key holds until it is given: `???` is Hydra's mark."""


def make_objects(cfg: Mapping[str, Any]) -> ObjectSet:
    """The object set that `cfg` (the configuration's group `objects`) describes.

    `source` is one of `SOURCES`; `names` lists the objects to take, in this order, and null takes all. The other keys
    are those of the source. `proposals` is a file of grasp proposals for them, or null. UserError names a key or value
    at fault.
    """
    source = cfg.get("source")
    if source not in SOURCES:
        raise UserError(f"objects.source is '{source}'; the sources are {', '.join(SOURCES)}")
    reader, arguments = SOURCES[source]
    known = ["source", *dict.fromkeys(["names", *arguments, "proposals"])]
    for key in cfg:
        if key not in known:
            raise UserError(f"there is no objects.{key} for the source '{source}'; its keys are {', '.join(known)}")
    for key in LIST_KEYS:
        if cfg.get(key) is not None and not isinstance(cfg[key], (list, tuple)):
            raise UserError(f"objects.{key} is {cfg[key]!r}; it must be a list or null: objects.{key}=[...]")
    if "root" in arguments and cfg.get("root") in UNSET:
        raise UserError(f"objects.root is not set: the folder of the data for the source '{source}'")
    if "root" in arguments and not isinstance(cfg["root"], str):
        raise UserError(f"objects.root is {cfg['root']!r}; it must be a folder")
    objects = reader(**{arguments[key]: value for key, value in cfg.items() if key in arguments})
    names = cfg.get("names")
    if names is not None and "names" not in arguments:  # a source that takes the names builds no other object
        objects = objects.select(names)
    proposals = cfg.get("proposals")
    if proposals is None:
        return objects
    if not isinstance(proposals, str):
        raise UserError(f"objects.proposals is {proposals!r}; it must be a file or null")
    return with_proposals(objects, proposals)
