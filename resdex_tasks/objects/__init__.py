"""Sets of objects to grasp, chosen by the group `objects` of the configuration."""

from typing import Any, Callable, Dict, Mapping, Tuple

from resdex_tasks.errors import UserError
from resdex_tasks.objects.codes import cached_codes, with_codes
from resdex_tasks.objects.dexgraspnet import read_dexgraspnet
from resdex_tasks.objects.encoder import read_encoder
from resdex_tasks.objects.meshes import mesh_objects
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.proposals_file import with_proposals
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.objects.zoo import zoo_objects
from resdex_tasks.paths import SHIPPED

SOURCES: Dict[str, Tuple[Callable[..., ObjectSet], Dict[str, str]]] = {
    "starter": (starter_objects, {}),
    "dexgraspnet": (
        read_dexgraspnet,
        {
            **{key: key for key in ("root", "scales", "split", "cache", "names")},
            "objects": "object_codes",
            "objectList": "object_list",
            "maxRestHeight": "max_rest_height",
        },
    ),
    "meshes": (
        mesh_objects,
        {**{key: key for key in ("root", "size", "split", "cache", "names")}, "maxPieces": "max_pieces"},
    ),
    "zoo": (zoo_objects, {key: key for key in ("split", "categories", "count", "names", "seed")}),
}
"""Source -> its reader, and the reader's argument for each configuration key."""

LIST_KEYS = ("names", "objects", "categories", "scales")
PATH_KEYS = ("objectList", "cache")
UNSET = (None, "???")
"""What a mandatory key holds until it is given: `???` is Hydra's mark."""


def make_objects(cfg: Mapping[str, Any]) -> ObjectSet:
    """The object set that `cfg` (the configuration's group `objects`) describes.

    `source` is one of `SOURCES`; `names` lists the objects to take, in this order, and null takes all; `codes` is the
    encoder that gives every object its shape code (null, 'shipped' or a file), `proposals` the grasp proposals
    for them (likewise). The other keys are those of the source. UserError names a key or value at fault.
    """
    source = cfg.get("source")
    if source not in SOURCES:
        raise UserError(f"objects.source is '{source}'; the sources are {', '.join(SOURCES)}")
    reader, arguments = SOURCES[source]
    known = ["source", *dict.fromkeys(["names", *arguments, "codes", "proposals"])]
    for key in cfg:
        if key not in known:
            raise UserError(f"there is no objects.{key} for the source '{source}'; its keys are {', '.join(known)}")
    for key in LIST_KEYS:
        if cfg.get(key) is not None and not isinstance(cfg[key], (list, tuple)):
            raise UserError(f"objects.{key} is {cfg[key]!r}; it must be a list or null: objects.{key}=[...]")
        entries = {"scales": ((int, float), "numbers")}.get(key, (str, "text"))
        for entry in cfg.get(key) or ():
            if not isinstance(entry, entries[0]) or isinstance(entry, bool):
                raise UserError(f"objects.{key} has {entry!r}; its entries must be {entries[1]}")
    for key in PATH_KEYS:
        if cfg.get(key) is not None and not isinstance(cfg[key], str):
            raise UserError(f"objects.{key} is {cfg[key]!r}; it must be a path or null")
    if "root" in arguments and cfg.get("root") in UNSET:
        raise UserError(f"objects.root is not set: the folder of the data for the source '{source}'")
    if "root" in arguments and not isinstance(cfg["root"], str):
        raise UserError(f"objects.root is {cfg['root']!r}; it must be a folder")
    objects = reader(**{arguments[key]: value for key, value in cfg.items() if key in arguments})
    names = cfg.get("names")
    if names is not None and "names" not in arguments:  # a source that takes the names builds no other object
        objects = objects.select(names)
    return _with_codes_of(cfg.get("codes"), _with_proposals_of(cfg.get("proposals"), objects))


def _with_proposals_of(file: Any, objects: ObjectSet) -> ObjectSet:
    """The objects with the grasp proposals of the configured file; null leaves them their own."""
    if file is None:
        return objects
    if not isinstance(file, str):
        raise UserError(f"objects.proposals is {file!r}; it must be null, '{SHIPPED}' or a file")
    return with_proposals(objects, file)


def _with_codes_of(encoder: Any, objects: ObjectSet) -> ObjectSet:
    """The objects with the codes that the configured encoder gives them; null leaves them without."""
    if encoder is None:
        return objects
    if not isinstance(encoder, str):
        raise UserError(f"objects.codes is {encoder!r}; it must be null, '{SHIPPED}' or the file of an encoder")
    loaded = read_encoder(encoder)
    return with_codes(objects, cached_codes(objects, loaded))
