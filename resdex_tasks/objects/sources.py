"""Where objects come from: the settings of each source, which make its set. A new source is one class and one entry."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Type, Union

from resdex_tasks.objects.dexgraspnet.source import category_of_code, listed_codes, read_dexgraspnet
from resdex_tasks.objects.meshes.record import MeshImport
from resdex_tasks.objects.meshes.sizes import DEFAULT_SIZE, UNITS
from resdex_tasks.objects.meshes.source import category_of_path, import_meshes, mesh_files
from resdex_tasks.objects.object_set import SPLITS, ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.objects.zoo import SIZES, zoo_names, zoo_objects
from resdex_tasks.objects.zoo.splits import parse_name
from resdex_tasks.utils.config_reader import bounds, read_config
from resdex_tasks.utils.errors import UserError

UNSET = "???"
"""What a mandatory key holds until it is given: Hydra's mark."""


class ListedObject(NamedTuple):
    """An object that a source has, by its name: nothing of it is made or read yet."""

    name: str
    category: str
    split: str


@dataclass(frozen=True)
class ObjectsConfig:
    """What the configuration's group `objects` says for every source."""

    source: str
    names: Optional[List[str]] = None
    """The objects to take, in this order; null takes all."""
    codes: Optional[str] = None
    """Shape codes: null (the source's own, if any), 'shipped' or the file of an encoder."""
    proposals: Optional[str] = None
    """Grasp proposals: null (the source's own), 'shipped' or a file of them."""

    def make(self) -> ObjectSet:
        """The source's objects, with its own codes and proposals.

        Raises:
            UserError: a value, or a file that it names, is at fault.
        """
        raise NotImplementedError

    def listed(self) -> List[ListedObject]:
        """Everything that the source has, whichever of it `names` takes, without making it: some may prove unusable.

        Raises:
            UserError: a value, or a file that it names, is at fault.
        """
        raise NotImplementedError

    def only(self, obj: ListedObject) -> "ObjectsConfig":
        """The settings that make one of what is `listed`, and nothing else."""
        return replace(self, names=[obj.name])


@dataclass(frozen=True)
class StarterConfig(ObjectsConfig):
    """`cfg/objects/starter.yaml`"""

    def make(self) -> ObjectSet:
        objects = starter_objects()
        return objects if self.names is None else objects.select(self.names)

    def listed(self) -> List[ListedObject]:
        return [ListedObject(obj.name, obj.category, obj.split) for obj in starter_objects()]


@dataclass(frozen=True)
class ZooConfig(ObjectsConfig):
    """`cfg/objects/zoo.yaml`"""

    split: Union[str, List[str]] = field(default="train", metadata=bounds(choices=(*SPLITS, "all"), filled=True))
    categories: Optional[List[str]] = None
    count: Optional[int] = field(default=None, metadata=bounds(at_least=1))
    seed: int = field(default=0, metadata=bounds(at_least=0))
    sizes: str = field(default="small", metadata=bounds(choices=tuple(SIZES)))

    def make(self) -> ObjectSet:
        return zoo_objects(self.split, self.categories, self.names, self.count, self.seed, self.sizes)

    def listed(self) -> List[ListedObject]:
        """Those of every split."""
        of_splits = zoo_names(self.seed, self.sizes)
        return [ListedObject(name, parse_name(name)[0], split) for split, names in of_splits.items() for name in names]

    def only(self, obj: ListedObject) -> ObjectsConfig:
        return replace(self, names=[obj.name], split=obj.split, categories=None, count=None)


@dataclass(frozen=True)
class DexGraspNetConfig(ObjectsConfig):
    """`cfg/objects/dexgraspnet.yaml`"""

    root: Optional[str] = None
    objects: Optional[List[str]] = None
    object_list: Optional[str] = None
    scales: List[float] = field(default_factory=lambda: [0.08], metadata=bounds(filled=True))
    split: str = field(default="train", metadata=bounds(choices=SPLITS))
    max_rest_height: float = field(default=0.05, metadata=bounds(above=0))
    cache: Optional[str] = None

    def make(self) -> ObjectSet:
        return read_dexgraspnet(
            _given_root(self.root, self.source),
            self.objects,
            self.object_list,
            self.scales,
            self.split,
            self.max_rest_height,
            self.cache,
            self.names,
        )

    def listed(self) -> List[ListedObject]:
        codes = listed_codes(_given_root(self.root, self.source), self.objects, self.object_list, self.scales)
        return [ListedObject(name, category_of_code(code), self.split) for name, (code, _) in codes.items()]


@dataclass(frozen=True)
class MeshesConfig(ObjectsConfig):
    """`cfg/objects/meshes.yaml`"""

    root: Optional[str] = None
    size: Optional[float] = field(default=DEFAULT_SIZE, metadata=bounds(above=0))
    unit: Union[str, float, None] = field(default=None, metadata=bounds(choices=tuple(UNITS), above=0))
    max_pieces: int = field(default=16, metadata=bounds(at_least=1))
    split: str = field(default="train", metadata=bounds(choices=SPLITS))
    cache: Optional[str] = None

    def imported(self) -> MeshImport:
        """What happened to each file of the folder."""
        root = _given_root(self.root, self.source)
        return import_meshes(root, self.size, self.unit, self.max_pieces, self.split, self.cache, self.names)

    def make(self) -> ObjectSet:
        return self.imported().objects()

    def listed(self) -> List[ListedObject]:
        files, _ = mesh_files(Path(_given_root(self.root, self.source)).expanduser())
        return [ListedObject(name, category_of_path(name), self.split) for name in files]


SOURCES: Dict[str, Type[ObjectsConfig]] = {
    "starter": StarterConfig,
    "zoo": ZooConfig,
    "dexgraspnet": DexGraspNetConfig,
    "meshes": MeshesConfig,
}
"""`objects.source` -> its settings."""


def read_objects_config(values: Mapping[str, Any]) -> ObjectsConfig:
    """The settings of a source from the configuration's group `objects`.

    Raises:
        UserError: an unknown source or key, or a value that does not fit.
    """
    source = values.get("source")
    if not isinstance(source, str) or source not in SOURCES:
        raise UserError(f"objects.source is {source!r}; the sources are {', '.join(SOURCES)}")
    config_class = SOURCES[source]
    if "root" in config_class.__dataclass_fields__:
        _given_root(values.get("root"), source)
    return read_config(config_class, values, "objects")


def _given_root(root: Optional[str], source: str) -> str:
    if root is None or root == UNSET:
        raise UserError(f"objects.root is not set: the folder of the data for the source '{source}'")
    return root
