"""ResDex, the whole method: `python -m runners.pipeline objects=zoo k=4 out=runs/my_pipeline key=value ...`.

Objects, their shape codes, k clusters, a base expert on the object nearest to each centre, the hyper-policy's two
stages, tests on every split, report.md (Sec. 4). Run again, it resumes where it was interrupted, and does again what a
changed setting touches.
"""

import hashlib
import json
import re
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

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
from resdex_tasks.utils.files import read_json, write_json, write_text
from resdex_tasks.utils.versions import versions
from runners.config import RunConfig, load_config
from runners.evaluation.run import evaluate_checkpoint
from runners.evaluation.splits import evaluation_objects
from runners.evaluation.summary import EvaluationResult, SuccessRow
from runners.learning.train import train
from runners.pipeline.report import Expert, Outcome, pipeline_report
from runners.pipeline.settings import PipelineSettings
from runners.pipeline.workspace import Artifact, Workspace, clear_all_but_record, file_hash
from runners.policies.checkpoint import CheckpointReader

TRAIN, SOURCE = "train", "source"
"""Values of `encoder`, beside a file and `shipped`."""
LAST, REPORT, ENCODER = "nn/last.pth", "report.md", "encoder/encoder.pth"
SHARED = ("task", "sim", "objects", "seed", "num_envs")
"""Parts of the configuration that decide what comes out, of a training and of a test."""
MACHINE = (
    ("sim", "numThreads"),
    ("train", "params", "torch_threads"),
    *(("train", "params", "config", key) for key in ("device", "device_name", "full_experiment_name")),
)
"""Keys in them that only say where and how fast."""


def run(settings: PipelineSettings) -> Path:
    """Go through the method; returns the report's path.

    Raises:
        UserError: an invalid setting, or a file it names is missing or does not fit.
        TrainingStopped, KeyboardInterrupt: Ctrl-C.
    """
    kind = {"pipeline": settings.pipeline, "objects": _check_configurations(settings)}
    with Workspace(Path(settings.out).expanduser(), kind) as workspace:
        method = ResDexPipeline(settings, workspace)
        experts = [method.base_expert(i, group) for i, group in enumerate(method.clusters)]
        stage1 = method.hyper_policy("stage1", "ResDexHyper", experts)
        stage2 = method.hyper_policy("stage2", "ResDexHyperStage2", experts, stage1)
        tests: Dict[str, Outcome] = {}
        if settings.test_experts:
            tests.update({f"expert of {e.name}": method.test(e.artifact, f"zero_shot_{slug(e.name)}") for e in experts})
        tests["ResDex, stage 1"] = method.test(stage1, "test_stage1")
        tests["ResDex, stage 2"] = method.test(stage2, "test_stage2")
        students = {
            f"ResDex, vision ({source} clouds)": method.test_student(method.student(source, stage2), source, stage2)
            for source in settings.students
        }
        text = pipeline_report(settings, method.trained_on, method.tested_on, experts, tests, students, workspace)
        report = workspace.folder / REPORT
        if not report.is_file() or report.read_text(encoding="utf-8") != text:
            write_text(report, text)
    return report


def _check_configurations(settings: PipelineSettings) -> str:
    """Let train.py's keys be refused before anything is made; returns the source of the objects."""
    tasks = {
        "base": "ResDexBase",
        "test": "ResDexHyperStage2",
        "stage1": "ResDexHyper",
        "stage2": "ResDexHyperStage2",
        "vision": "ResDexVision",
    }
    sources = [load_config(settings.overrides(s, {"task": task})).objects.source for s, task in tasks.items()]
    if any(rows.get("seed") == "-1" for rows in settings.sections.values()):
        raise UserError("seed is -1; a pipeline that can resume needs a seed of its own, such as seed=1")
    try:
        EncoderTraining(**settings.encoder_training)
    except TypeError as error:
        names = ", ".join(f.name for f in fields(EncoderTraining))
        raise UserError(f"encoder_training has keys that do not fit ({error}); they are {names}") from error
    return sources[-1]


class ResDexPipeline:
    """The steps of Sec. 4 in a workspace. Each is done when what it makes is first asked for."""

    def __init__(self, settings: PipelineSettings, workspace: Workspace) -> None:
        self.settings, self.workspace = settings, workspace
        self._read = CheckpointReader()
        overrides = settings.overrides("stage1", {"task": "ResDexHyper", "objects.codes": None})
        config = load_config(overrides)
        self._config, self._plain_config = config.objects, dict(config.plain["objects"])
        self._made: List[Tuple[ObjectsConfig, ObjectSet]] = []
        named = settings.encoder not in (TRAIN, SOURCE)
        self._named_encoder = read_encoder(settings.encoder) if named else None
        """Read, or refused, before anything is made."""

    # Objects, codes, clusters (Sec. 4.3)

    def _set_of(self, config: ObjectsConfig) -> ObjectSet:
        """A set of objects, made when a step needs it, once for all."""
        for known, objects in self._made:
            if known == config:
                return objects
        self._made.append((config, make_objects(config)))
        return self._made[-1][1]

    @property
    def _objects(self) -> ObjectSet:
        """The training objects, without codes."""
        return self._set_of(self._config)

    @property
    def _objects_settings(self) -> Dict[str, Any]:
        return {"objects": _with_file_hashes(self._plain_config)}

    @cached_property
    def _training_objects(self) -> Artifact:
        """objects.json: name, category, split and shape of each training object."""

        def fill(folder: Path) -> None:
            rows = [
                {"name": o.name, "category": o.category, "split": o.split, "shape": shape_hash(o)}
                for o in self._objects
            ]
            write_json(folder / "objects.json", {"objects": rows})

        title, settings = "make or read the objects", self._objects_settings
        return self.workspace.step("objects", title, fill, ["objects.json"], settings, about=_made_by())

    @cached_property
    def trained_on(self) -> List[Dict[str, str]]:
        """The rows of objects.json.

        Raises:
            UserError: there are fewer than k.
        """
        rows = read_json(self._training_objects / "objects.json")["objects"]
        if self.settings.k > len(rows):
            raise UserError(
                f"k is {self.settings.k}, but there are {len(rows)} training objects; k can be at most that"
            )
        return rows

    @cached_property
    def _test_objects(self) -> Artifact:
        """test_objects.json: names of the objects of each split that policies are tested on."""
        limit, training = self.settings.test_objects, self._training_objects

        def fill(folder: Path) -> None:
            write_json(folder / "test_objects.json", evaluation_objects(self._config, self._objects, limit))

        settings = {**self._objects_settings, "limit": limit}
        title, file = "choose objects of every split", "test_objects.json"
        return self.workspace.step("test_objects", title, fill, [file], settings, [training], _made_by())

    @cached_property
    def tested_on(self) -> Dict[str, List[str]]:
        """Split -> names of its test objects."""
        return read_json(self._test_objects / "test_objects.json")

    @cached_property
    def _codes(self) -> Artifact:
        """codes.npz: the shape codes of the training objects; with encoder=train, also the encoder."""
        inputs = [self._training_objects]
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
                    about = {"source": self._plain_config, "command": self.settings.command}
                    training = EncoderTraining(**self.settings.encoder_training)
                    train_encoder(objects, training, (folder / ENCODER).parent, about=about)
                encoder = self._named_encoder or read_encoder(str(folder / ENCODER))
                file = CodeFile(encoder.id, tuple(objects.names), shapes, cached_codes(objects, encoder))
            write_codes(folder / "codes.npz", file)

        encoder_id = name if self._named_encoder is None else self._named_encoder.id
        settings = {"encoder": encoder_id, **self.settings.encoder_training}
        outputs = ["codes.npz", ENCODER] if trains else ["codes.npz"]
        return self.workspace.step("codes", "encode the objects' shapes", fill, outputs, settings, inputs, _made_by())

    @cached_property
    def _encoder_id(self) -> str:
        """Of the encoder that made the codes, or `source`."""
        return read_codes(self._codes / "codes.npz").encoder

    @property
    def _codes_setting(self) -> Optional[str]:
        """`objects.codes` of the trainings and tests."""
        own = {TRAIN: str(self._codes.folder / ENCODER), SOURCE: None}
        return own.get(self.settings.encoder, self.settings.encoder)

    @cached_property
    def clusters(self) -> Tuple[Cluster, ...]:
        """clusters.yaml: the training objects in k clusters, each ranked by the distance to its centre."""
        settings = {"k": self.settings.k, "seed": self.settings.cluster_seed}
        _ = self.trained_on, self.tested_on  # refused, or done, before the codes
        codes_made = self._codes

        def fill(folder: Path) -> None:
            codes = read_codes(codes_made / "codes.npz")
            found = cluster(codes.names, codes.codes, encoder=codes.encoder, objects=self._plain_config, **settings)
            write_clusters(folder / "clusters.yaml", found, self.settings.command)

        title = f"K-means with k = {self.settings.k}"
        made = self.workspace.step("clusters", title, fill, ["clusters.yaml"], settings, [codes_made], _made_by())
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
            at_end = success.success_at_end.value
            tried.append(Expert(index, group.size, name, artifact, success, at_end >= threshold))
            if tried[-1].reached:
                break
            print(f"{name}: success at the end {100 * at_end:.1f} %, less than {100 * threshold:.1f} %", flush=True)
        best = max(tried, key=lambda expert: expert.success_at_end)
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
        return {f"objects.{key}": None for key in ("count", "categories") if key in self._plain_config}

    def _shape(self, name: str) -> Dict[str, str]:
        return {"shape": next(row["shape"] for row in self.trained_on if row["name"] == name)}

    def _own_success(self, expert: Artifact, name: str) -> SuccessRow:
        """The row of an evaluation: how the expert does with the object that it was trained on."""
        forced = {**self._one(name), "episodes_per_object": self.settings.expert_episodes, "num_episodes": None}
        title = f"{self.settings.expert_episodes} episodes of it with its own object"
        return self._test(f"own_{slug(name)}", title, expert, forced).result.summary.all

    # The hyper-policy (Sec. 4.2, 4.4)

    def hyper_policy(
        self, name: str, task: str, experts: Sequence[Expert], stage1: Optional[Artifact] = None
    ) -> Artifact:
        """A stage of the hyper-policy: from the experts, or from the first stage."""
        forced: Dict[str, Any] = {"task": task, "follow_up": False, "objects.codes": self._codes_setting}
        if stage1 is None:
            title = f"the hyper-policy, stage 1, from the experts of {', '.join(expert.name for expert in experts)}"
            forced["experts"] = [str(expert.artifact / LAST) for expert in experts]
            inputs = [self._codes, *(expert.artifact for expert in experts)]
        else:
            title = "the hyper-policy, stage 2, from stage 1"
            forced["stage1"] = str(stage1 / LAST)
            inputs = [self._codes, stage1]
        return self._train(name, title, name, forced, {}, inputs)

    # The vision policy (Sec. 3.2, A.2)

    def student(self, source: str, teacher: Artifact) -> Artifact:
        """A policy that sees clouds of a source and imitates the teacher."""
        forced = {**self._vision(source, teacher), "follow_up": False}
        name = f"vision_{source}"
        return self._train(
            name,
            f"the vision policy, {source} clouds, from {teacher.name}",
            "vision",
            forced,
            {},
            [self._codes, teacher],
        )

    def test_student(self, student: Artifact, source: str, teacher: Artifact) -> Outcome:
        """A student on the test objects of every split, beside its teacher."""
        return self.test(student, f"test_{student.name}", self._vision(source, teacher))

    def _vision(self, source: str, teacher: Artifact) -> Dict[str, Any]:
        return {
            "task": "ResDexVision",
            "objects.codes": self._codes_setting,
            "task.env.vision.source": source,
            "teacher": str(teacher / LAST),
        }

    # Tests

    def test(self, policy: Artifact, name: str, more: Mapping[str, Any] = MappingProxyType({})) -> Outcome:
        """A policy on the test objects of every split. All policies meet the same starts."""
        forced: Dict[str, Any] = {"task": "ResDexHyperStage2", "objects.codes": self._codes_setting, **more}
        if not any(key.startswith("objects") for key in self.settings.sections["test"]):
            names = [name for chosen in self.tested_on.values() for name in chosen]
            forced.update({"objects.names": names, **self._narrowing_off()})
            if self._config.source == "zoo":
                forced["objects.split"] = "all"
        return self._test(name, f"test of {policy.name} on every split", policy, forced, [self._test_objects])

    # What a training and a test are as steps

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
        config = load_config(overrides, self._read)
        deciding = _deciding(config.plain, (*SHARED, "train", "torch_deterministic"))
        settings = {**deciding, **more}
        if forced["task"] != "ResDexBase":  # which sees no codes
            settings["codes"] = self._encoder_id

        def fill(folder: Path) -> None:
            self._train_or_resume(folder, config)

        return self.workspace.step(name, title, fill, [LAST], settings, inputs, _made_by(overrides.command()))

    def _train_or_resume(self, folder: Path, config: RunConfig) -> None:
        last = folder / LAST
        if not last.is_file():
            clear_all_but_record(folder)
        elif self._read(last).made_by.iterations >= config.params["config"]["max_epochs"]:
            return  # cut between its last iteration and the end of the step
        else:
            config = config.changed({"checkpoint": str(last)})
        train(config, self._set_of(config.objects))

    def _test(
        self, name: str, title: str, policy: Artifact, forced: Mapping[str, Any], inputs: Sequence[Artifact] = ()
    ) -> Outcome:
        out = str(self.workspace.folder)
        own = {"test": True, "checkpoint": str(policy / LAST), "runs_dir": out, "experiment": name}
        overrides = self.settings.overrides("test", {**forced, **own})
        config = load_config(overrides, self._read)
        settings = _deciding(config.plain, (*SHARED, "episodes_per_object", "num_episodes"))

        def fill(folder: Path) -> None:
            clear_all_but_record(folder)
            evaluate_checkpoint(config, self._set_of(config.objects))

        about = _made_by(overrides.command())
        made = self.workspace.step(name, title, fill, ["evaluation.json"], settings, [policy, *inputs], about)
        return Outcome(made, EvaluationResult.from_json(read_json(made / "evaluation.json")))


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
        if isinstance(out.get(key), str) and Path(out[key]).expanduser().is_file():
            out[key] = file_hash(Path(out[key]).expanduser())
    return out


def _made_by(command: str = "") -> Dict[str, Any]:
    return {"versions": versions(), **({"command": command} if command else {})}


def slug(name: str) -> str:
    """An object's name as part of a folder's."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
    return (
        plain if plain == name and len(name) <= 60 else f"{plain[:50]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )
