"""The steps of any method that make no policy: objects, the test's objects, shape codes, clusters (Sec. 4.3)."""

from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.geometry.surface import shape_hash
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.sources import ObjectsConfig
from resdex_tasks.shapes.clusters import Cluster, cluster, read_clusters, write_clusters
from resdex_tasks.shapes.codes import CodeFile, cached_codes, read_codes, write_codes
from resdex_tasks.shapes.encoder import read_encoder
from resdex_tasks.shapes.encoder_training import EncoderTraining, train_encoder
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import read_json, write_json
from runners.config import load_config
from runners.evaluation.splits import evaluation_objects
from runners.pipeline.settings import PipelineSettings
from runners.pipeline.workspace import Artifact, Workspace, made_by, with_file_hashes

TRAIN, SOURCE = "train", "source"
"""Values of `encoder`, beside a file and `shipped`."""
ENCODER = "encoder/encoder.pth"


class ObjectSteps:
    """Each step is done when what it makes is first asked for."""

    def __init__(self, settings: PipelineSettings, workspace: Workspace) -> None:
        self.settings, self.workspace = settings, workspace
        config = load_config(settings.overrides("all", {"task": "ResDexHyper", "objects.codes": None}))
        self.config, self.plain_config = config.objects, dict(config.plain["objects"])
        """Of the training objects, without codes."""
        self._made: List[Tuple[ObjectsConfig, ObjectSet]] = []
        named = settings.encoder not in (TRAIN, SOURCE)
        self._named_encoder = read_encoder(settings.encoder) if named else None
        """Read, or refused, before anything is made."""

    def set_of(self, config: ObjectsConfig) -> ObjectSet:
        """A set of objects, made when a step needs it, once for all."""
        for known, objects in self._made:
            if known == config:
                return objects
        self._made.append((config, make_objects(config)))
        return self._made[-1][1]

    @property
    def _objects(self) -> ObjectSet:
        """The training objects, without codes."""
        return self.set_of(self.config)

    @property
    def _objects_settings(self) -> Dict[str, Any]:
        return {"objects": with_file_hashes(self.plain_config)}

    @cached_property
    def training(self) -> Artifact:
        """objects.json: name, category, split and shape of each training object."""

        def fill(folder: Path) -> None:
            rows = [
                {"name": o.name, "category": o.category, "split": o.split, "shape": shape_hash(o)}
                for o in self._objects
            ]
            write_json(folder / "objects.json", {"objects": rows})

        title, settings = "make or read the objects", self._objects_settings
        return self.workspace.step("objects", title, fill, ["objects.json"], settings, about=made_by())

    @cached_property
    def trained_on(self) -> List[Dict[str, str]]:
        """The rows of objects.json."""
        return read_json(self.training / "objects.json")["objects"]

    @cached_property
    def testing(self) -> Artifact:
        """test_objects.json: names of the objects of each split that policies are tested on."""
        limit, training = self.settings.test_objects, self.training

        def fill(folder: Path) -> None:
            write_json(folder / "test_objects.json", evaluation_objects(self.config, self._objects, limit))

        settings = {**self._objects_settings, "limit": limit}
        title, file = "choose objects of every split", "test_objects.json"
        return self.workspace.step("test_objects", title, fill, [file], settings, [training], made_by())

    @cached_property
    def tested_on(self) -> Dict[str, List[str]]:
        """Split -> names of its test objects."""
        return read_json(self.testing / "test_objects.json")

    @cached_property
    def codes(self) -> Artifact:
        """codes.npz: the shape codes of the training objects; with encoder=train, also the encoder."""
        inputs = [self.training]
        trains, name = self.settings.encoder == TRAIN, self.settings.encoder

        def fill(folder: Path) -> None:
            objects = self._objects
            shapes = tuple(shape_hash(o) for o in objects)
            if name == SOURCE:
                bare = next((o.name for o in objects if o.code is None), None)
                if bare is not None:
                    raise UserError(f"encoder=source, but object '{bare}' has no code; encoder=shipped gives it one")
                codes = np.stack([o.code for o in objects if o.code is not None])
                file = CodeFile(SOURCE, tuple(objects.names), shapes, codes)
            else:
                if trains:
                    about = {"source": self.plain_config, "command": self.settings.command}
                    training = EncoderTraining(**self.settings.encoder_training)
                    train_encoder(objects, training, (folder / ENCODER).parent, about=about)
                encoder = self._named_encoder or read_encoder(str(folder / ENCODER))
                file = CodeFile(encoder.id, tuple(objects.names), shapes, cached_codes(objects, encoder))
            write_codes(folder / "codes.npz", file)

        encoder_id = name if self._named_encoder is None else self._named_encoder.id
        settings = {"encoder": encoder_id, **self.settings.encoder_training}
        outputs = ["codes.npz", ENCODER] if trains else ["codes.npz"]
        return self.workspace.step("codes", "encode the objects' shapes", fill, outputs, settings, inputs, made_by())

    @cached_property
    def encoder_id(self) -> str:
        """Of the encoder that made the codes, or `source`."""
        return self.read_codes().encoder

    def read_codes(self) -> CodeFile:
        """The shape codes of the training objects."""
        return read_codes(self.codes / "codes.npz")

    @property
    def codes_setting(self) -> Optional[str]:
        """`objects.codes` of the trainings and tests."""
        own = {TRAIN: str(self.codes.folder / ENCODER), SOURCE: None}
        return own.get(self.settings.encoder, self.settings.encoder)

    def clusters(self, k: int, key: str = "k") -> Tuple[Cluster, ...]:
        """clusters.yaml: the training objects in k clusters of their codes, each ranked by the distance to its centre.

        Args:
            key: the setting that says k.

        Raises:
            UserError: there are fewer objects than k.
        """
        if k > len(self.trained_on):
            count = len(self.trained_on)
            raise UserError(f"{key} is {k}, but there are {count} training objects; {key} can be at most that")
        settings = {"k": k, "seed": self.settings.cluster_seed}
        _ = self.tested_on  # done before the codes
        codes_made = self.codes

        def fill(folder: Path) -> None:
            codes = read_codes(codes_made / "codes.npz")
            found = cluster(codes.names, codes.codes, encoder=codes.encoder, objects=self.plain_config, **settings)
            write_clusters(folder / "clusters.yaml", found, self.settings.command)

        title = f"K-means with k = {k}"
        made = self.workspace.step("clusters", title, fill, ["clusters.yaml"], settings, [codes_made], made_by())
        return read_clusters(made / "clusters.yaml").clusters

    def only(self, names: Sequence[str]) -> Dict[str, Any]:
        """train.py's keys of these objects alone, whatever else narrows the set."""
        narrowing = {f"objects.{key}": None for key in ("count", "categories") if key in self.plain_config}
        return {"objects.names": list(names), **narrowing}

    def shape_of(self, name: str) -> str:
        """The hash of a training object's shape."""
        return next(row["shape"] for row in self.trained_on if row["name"] == name)
