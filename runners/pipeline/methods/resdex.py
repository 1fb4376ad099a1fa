"""The whole method in one command: `python -m runners.pipeline objects=zoo k=4 out=runs/my_pipeline key=value ...`.

Objects, their shape codes, k clusters, a base expert on the object nearest to each centre, the hyper-policy's two
stages, tests on every split, report.md (Sec. 4). Run again, it goes on where it was cut, and does anew what a changed
setting touches.
"""

import hashlib
import json
import re
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from omegaconf import DictConfig

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.geometry.surface import shape_hash
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.shapes.clusters import Cluster, cluster, read_clusters, write_clusters
from resdex_tasks.shapes.codes import CodeFile, cached_codes, read_codes, write_codes
from resdex_tasks.shapes.encoder import read_encoder
from resdex_tasks.shapes.encoder_training import EncoderTraining, train_encoder
from resdex_tasks.utils.errors import UserError
from runners.config import load_config, plain
from runners.evaluation.run import test
from runners.evaluation.splits import test_objects
from runners.evaluation.summary import write_json, write_text
from runners.learning.monitor import TrainingStopped
from runners.learning.train import train
from runners.pipeline.report import Expert, Outcome, pipeline_report
from runners.pipeline.settings import Settings, read_settings
from runners.pipeline.workspace import Artifact, Workspace, clear_all_but_record, file_hash
from runners.policies import checkpoint as checkpoints

TRAIN, SOURCE = "train", "source"
"""Values of `encoder`, beside a file and `shipped`."""
LAST, REPORT = "nn/last.pth", "report.md"
SHARED = ("task", "sim", "objects", "seed", "num_envs")
"""Parts of the configuration that decide what comes out, of a training and of a test."""
MACHINE = (
    ("sim", "numThreads"),
    ("train", "params", "torch_threads"),
    *(("train", "params", "config", key) for key in ("device", "device_name", "full_experiment_name")),
)
"""Keys in them that only say where and how fast."""
USAGE = """\
python -m runners.pipeline [key=value ...]

  pipeline=default|tiny         cfg/pipeline; tiny goes through everything in minutes and learns nothing
  objects=zoo k=4 out=runs/pipeline
  encoder=shipped|FILE|train|source    threshold=0.8 tries=3    test_objects=100
  num_envs=  seed=  max_iterations=  sim=  scale=  ...          train.py's keys, for every training and test
  base.KEY=  stage1.KEY=  stage2.KEY=  test.KEY=                the same for one kind of them

The same command goes on after a stop; changed settings redo what they touch. See docs/pipeline.md.
"""


def run(settings: Settings) -> Path:
    """Go through the method; returns the report's path.

    UserError: the settings, or what they name, do not do. TrainingStopped, KeyboardInterrupt: Ctrl-C.
    """
    kind = {"pipeline": settings.pipeline, "objects": _check_configurations(settings)}
    encoder = None if settings.encoder in (TRAIN, SOURCE) else read_encoder(settings.encoder).id
    with Workspace(Path(settings.out), kind) as workspace:
        method = Method(settings, workspace, encoder)
        method.gather_objects()
        method.encode()
        experts = [method.base_expert(i, group) for i, group in enumerate(method.clusters())]
        stage1 = method.hyper_policy("stage1", "ResDexHyper", experts)
        stage2 = method.hyper_policy("stage2", "ResDexHyperStage2", experts, stage1)
        tests: Dict[str, Outcome] = {}
        if settings.test_experts:
            tests.update({f"expert of {e.name}": method.test(e.artifact, f"zero_shot_{slug(e.name)}") for e in experts})
        tests["ResDex, stage 1"] = method.test(stage1, "test_stage1")
        tests["ResDex, stage 2"] = method.test(stage2, "test_stage2")
        text = pipeline_report(settings, method.trained_on, method.tested_on, experts, tests, workspace)
        report = workspace.folder / REPORT
        if not report.is_file() or report.read_text(encoding="utf-8") != text:
            write_text(report, text)
    return report


def _check_configurations(settings: Settings) -> str:
    """Let train.py's keys be refused before anything is made; returns the source of the objects."""
    tasks = {"base": "ResDexBase", "test": "ResDexHyperStage2", "stage1": "ResDexHyper", "stage2": "ResDexHyperStage2"}
    for section, task in tasks.items():
        config = plain(load_config(settings.overrides(section, {"task": task}))[0])
    if any(rows.get("seed") == "-1" for rows in settings.sections.values()):
        raise UserError("seed is -1; a pipeline that can go on needs a seed of its own, such as seed=1")
    try:
        EncoderTraining(**settings.encoder_training)
    except TypeError as error:
        names = ", ".join(f.name for f in fields(EncoderTraining))
        raise UserError(f"encoder_training has keys that do not fit ({error}); they are {names}") from error
    return config["objects"]["source"]


class Method:
    """The stages of Sec. 4 in a workspace.

    Args:
        encoder: the id of the encoder of shape codes; None where one is trained, or the objects bring their own.
    """

    def __init__(self, settings: Settings, workspace: Workspace, encoder: Optional[str]) -> None:
        self.settings, self.workspace, self._encoder = settings, workspace, encoder
        overrides = settings.overrides("stage1", {"task": "ResDexHyper", "objects.codes": None})
        self._config = plain(load_config(overrides)[0])["objects"]
        self._set: Optional[ObjectSet] = None

    # Objects, codes, clusters (Sec. 4.3)

    def gather_objects(self) -> None:
        """objects.json: the training objects; test_objects.json: those of each split that policies are tested on."""

        def fill(folder: Path) -> None:
            rows = [
                {"name": o.name, "category": o.category, "split": o.split, "shape": shape_hash(o)}
                for o in self._objects()
            ]
            write_json(folder / "objects.json", {"objects": rows})

        def fill_test(folder: Path) -> None:
            write_json(folder / "test_objects.json", test_objects(self._config, self._objects(), limit))

        settings, limit = {"objects": _with_file_hashes(self._config)}, self.settings.test_objects
        gathered = self.workspace.stage(
            "objects", "make or read the objects", fill, ["objects.json"], settings, about=_made_by()
        )
        self._gathered, self.trained_on = gathered, _read(gathered / "objects.json")["objects"]
        if self.settings.k > len(self.trained_on):
            count = len(self.trained_on)
            raise UserError(f"k is {self.settings.k}, but there are {count} training objects; k can be at most that")
        self._to_test = self.workspace.stage(
            "test_objects",
            "choose objects of every split",
            fill_test,
            ["test_objects.json"],
            {**settings, "limit": limit},
            [gathered],
            _made_by(),
        )
        self.tested_on = _read(self._to_test / "test_objects.json")

    def _objects(self) -> ObjectSet:
        if self._set is None:
            self._set = make_objects(self._config)
        return self._set

    def encode(self) -> None:
        """codes.npz: the shape codes of the training objects; with encoder=train, also the encoder."""
        trains, encoder_file = self.settings.encoder == TRAIN, "encoder/encoder.pth"

        def fill(folder: Path) -> None:
            objects = self._objects()
            shapes = tuple(shape_hash(o) for o in objects)
            if self.settings.encoder == SOURCE:
                bare = next((o.name for o in objects if o.code is None), None)
                if bare is not None:
                    raise UserError(f"encoder=source, but object '{bare}' has no code; encoder=shipped gives it one")
                file = CodeFile(SOURCE, tuple(objects.names), shapes, np.stack([o.code for o in objects]))
            else:
                if trains:
                    about = {"source": self._config, "command": self.settings.command}
                    training = EncoderTraining(**self.settings.encoder_training)
                    train_encoder(objects, training, (folder / encoder_file).parent, about=about)
                encoder = read_encoder(str(folder / encoder_file) if trains else self.settings.encoder)
                file = CodeFile(encoder.id, tuple(objects.names), shapes, cached_codes(objects, encoder))
            write_codes(folder / "codes.npz", file)

        settings = {"encoder": self._encoder or self.settings.encoder, **self.settings.encoder_training}
        outputs = ["codes.npz", encoder_file] if trains else ["codes.npz"]
        self._codes = self.workspace.stage(
            "codes", "encode the objects' shapes", fill, outputs, settings, [self._gathered], _made_by()
        )
        self._encoder = read_codes(self._codes / "codes.npz").encoder
        own = {TRAIN: str(self._codes.folder / encoder_file), SOURCE: None}
        self._codes_value = own.get(self.settings.encoder, self.settings.encoder)

    def clusters(self) -> Tuple[Cluster, ...]:
        """clusters.yaml: the training objects in k clusters, each ranked by the distance to its centre."""
        settings = {"k": self.settings.k, "seed": self.settings.cluster_seed}

        def fill(folder: Path) -> None:
            codes = read_codes(self._codes / "codes.npz")
            found = cluster(codes.names, codes.codes, encoder=codes.encoder, objects=self._config, **settings)
            write_clusters(folder / "clusters.yaml", found, self.settings.command)

        title = f"K-means with k = {self.settings.k}"
        made = self.workspace.stage("clusters", title, fill, ["clusters.yaml"], settings, [self._codes], _made_by())
        return read_clusters(made / "clusters.yaml").clusters

    # Base experts (Sec. 4.1, 4.3)

    def base_expert(self, index: int, group: Cluster) -> Expert:
        """The expert of a cluster: of the object nearest to its centre that can be learned, else of the best tried."""
        tried: List[Expert] = []
        threshold = self.settings.threshold
        for name in group.ranking[: self.settings.tries]:
            what = f"cluster {index + 1} of {self.settings.k}: the base expert of {name}"
            artifact = self._train(f"expert_{slug(name)}", what, "base", self._one(name), self._shape(name))
            success = self._own_success(artifact, name)
            held = success["held"]["rate"]
            tried.append(Expert(index, group.size, name, artifact, success, held >= threshold))
            if tried[-1].reached:
                break
            print(
                f"{name} is held in {100 * held:.1f} % of the episodes, less than {100 * threshold:.1f} %", flush=True
            )
        best = max(tried, key=lambda expert: expert.held)
        if not best.reached:
            print(
                f"no object of cluster {index + 1} reached it; its expert is the best one, of {best.name}", flush=True
            )
        best.tried = tried
        return best

    def _one(self, name: str) -> Dict[str, Any]:
        """Keys of the one object of this name."""
        return {"task": "ResDexBase", "objects.names": [name], **self._narrowing_off()}

    def _narrowing_off(self) -> Dict[str, Any]:
        """Keys that would pass over objects which are named."""
        return {f"objects.{key}": None for key in ("count", "categories") if key in self._config}

    def _shape(self, name: str) -> Dict[str, str]:
        return {"shape": next(row["shape"] for row in self.trained_on if row["name"] == name)}

    def _own_success(self, expert: Artifact, name: str) -> Mapping[str, Any]:
        """The row of an evaluation: how the expert does with the object that it was trained on."""
        forced = {**self._one(name), "episodes_per_object": self.settings.expert_episodes, "num_episodes": None}
        title = f"{self.settings.expert_episodes} episodes of it with its own object"
        return self._test(f"own_{slug(name)}", title, expert, forced).result["all"]

    # The hyper-policy (Sec. 4.2, 4.4)

    def hyper_policy(
        self, name: str, task: str, experts: Sequence[Expert], stage1: Optional[Artifact] = None
    ) -> Artifact:
        """A stage of the hyper-policy: from the experts, or from the first stage."""
        forced: Dict[str, Any] = {"task": task, "follow_up": False, "objects.codes": self._codes_value}
        if stage1 is None:
            title = f"the hyper-policy, stage 1, from the experts of {', '.join(expert.name for expert in experts)}"
            forced["experts"] = [str(expert.artifact / LAST) for expert in experts]
            inputs = [self._codes, *(expert.artifact for expert in experts)]
        else:
            title = "the hyper-policy, stage 2, from stage 1"
            forced["stage1"] = str(stage1 / LAST)
            inputs = [self._codes, stage1]
        return self._train(name, title, name, forced, {}, inputs)

    # Tests

    def test(self, policy: Artifact, name: str) -> Outcome:
        """A policy on the test objects of every split. All policies meet the same starts."""
        forced: Dict[str, Any] = {"task": "ResDexHyperStage2", "objects.codes": self._codes_value}
        if not any(key.startswith("objects") for key in self.settings.sections["test"]):
            names = [name for chosen in self.tested_on.values() for name in chosen]
            forced.update({"objects.names": names, **self._narrowing_off()})
            if self._config["source"] == "zoo":
                forced["objects.split"] = "all"
        return self._test(name, f"test of {policy.name} on every split", policy, forced, [self._to_test])

    # What a training and a test are as stages

    def _train(
        self,
        name: str,
        title: str,
        section: str,
        forced: Mapping[str, Any],
        more: Mapping[str, Any],
        inputs: Sequence[Artifact] = (),
    ) -> Artifact:
        out = str(self.workspace.folder)
        overrides = self.settings.overrides(section, {**forced, "runs_dir": out, "experiment": name})
        config = load_config(overrides)[0]
        settings = {
            **_deciding(plain(config), (*SHARED, "train", "torch_deterministic")),
            "codes": self._encoder,
            **more,
        }
        if forced["task"] == "ResDexBase":
            del settings["codes"]  # it sees none
        about = _made_by(["python", "train.py", *overrides])
        return self.workspace.stage(
            name, title, lambda folder: _train_or_go_on(folder, config, overrides), [LAST], settings, inputs, about
        )

    def _test(
        self, name: str, title: str, policy: Artifact, forced: Mapping[str, Any], inputs: Sequence[Artifact] = ()
    ) -> Outcome:
        out = str(self.workspace.folder)
        own = {"test": True, "checkpoint": str(policy / LAST), "runs_dir": out, "experiment": name}
        overrides = self.settings.overrides("test", {**forced, **own})
        config = load_config(overrides)[0]
        settings = _deciding(plain(config), (*SHARED, "episodes_per_object", "num_episodes"))

        def fill(folder: Path) -> None:
            clear_all_but_record(folder)
            test(config)

        about = _made_by(["python", "train.py", *overrides])
        made = self.workspace.stage(name, title, fill, ["evaluation.json"], settings, [policy, *inputs], about)
        return Outcome(made, _read(made / "evaluation.json"))


def _deciding(config: Mapping[str, Any], keys: Sequence[str]) -> Dict[str, Any]:
    """The part of a configuration that decides what comes out of it, with the content of files for their names."""
    out = json.loads(json.dumps({key: config[key] for key in keys}))
    for *path, last in MACHINE:
        inside = out
        for key in path:
            inside = inside.get(key, {})
        inside.pop(last, None)
    out["objects"] = _with_file_hashes(out["objects"])
    return out


def _with_file_hashes(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The configuration of objects, without what makes their codes, and with hashes for the files that it names."""
    out = {key: value for key, value in config.items() if key not in ("codes", "cache")}
    for key in ("proposals", "objectList"):
        if isinstance(out.get(key), str) and Path(out[key]).is_file():
            out[key] = file_hash(Path(out[key]))
    return out


def _train_or_go_on(folder: Path, config: DictConfig, overrides: Sequence[str]) -> None:
    last = folder / LAST
    if not last.is_file():
        clear_all_but_record(folder)
    elif checkpoints.read_checkpoint(str(last))["epoch"] >= config.train.params.config.max_epochs:
        return  # cut between its last iteration and the end of the stage
    else:
        config.checkpoint = str(last)
    train(config, overrides)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _made_by(command: Sequence[str] = ()) -> Dict[str, Any]:
    return {"versions": checkpoints.versions(), **({"command": shlex.join(command)} if command else {})}


def slug(name: str) -> str:
    """An object's name as part of a folder's."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
    return (
        plain if plain == name and len(name) <= 60 else f"{plain[:50]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, 2 after bad input, 130 after Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if any(argument in ("-h", "--help") for argument in argv):
        print(USAGE)
        return 0
    command = shlex.join(["python", "-m", "runners.pipeline", *argv])
    try:
        report = run(read_settings(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (TrainingStopped, KeyboardInterrupt):
        print(f"\nstopped; the whole pipeline goes on with: {command}")
        return 130
    print(f"\nwritten to {report}")
    return 0
