"""The pipeline's settings: a file of cfg/pipeline, changed by `key=value` on the command line."""

import difflib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import yaml

from resdex_tasks.sims.registry import SIMULATORS
from resdex_tasks.utils.config_reader import bounds, read_config
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.overrides import Overrides, called_as, hydra_value, read_overrides
from resdex_tasks.utils.paths import CFG_DIR
from resdex_tasks.vision.config import SOURCES
from runners.config import GROUPS
from runners.pipeline.launchers import LAUNCHERS

STARTER, SCRATCH = "starter", "scratch"
"""`base_start`: from a policy that lifts the starter's box, trained first, or from nothing; else from a checkpoint."""
COMMAND = called_as("resdex-pipeline", "python -m runners.pipeline")
_EXPERTS = ("k", "threshold", "tries", "expert_episodes", "base_start", "start", "base")
_CURRICULUM = ("curriculum_threshold", "state", "curriculum")
METHODS = {
    "resdex": (*_EXPERTS, "stage1", "stage2"),
    "unidexgrasp": (*_CURRICULUM, "curriculum_categories"),
    "unidexgrasp_pp": (
        *(*_CURRICULUM, "curriculum_sizes"), "specialists", "specialist_objects", "rounds", "vision_rounds",
        *("saturation", "specialist", "generalist", "vision_specialist", "vision_generalist"),
    ),
    "ppo": ("state",),
    "base": _EXPERTS,
}  # fmt: skip
"""Modules of `methods/` -> the settings and sections that not all methods read: those that this one does."""
SEEING = ("vision", "vision_specialist", "vision_generalist")
SECTIONS = (
    "all", "start", "base", "stage1", "stage2", "state", "curriculum", "specialist", "generalist", *SEEING, "test"
)  # fmt: skip
"""train.py's keys for every training and test, and for one kind of them: `SEEING` those of policies that see."""
ALL, FAILED, HELD = "all", "failed", "held"
GROUPED = ("encoder_training", "submitit")
"""Settings that are mappings: GROUP.KEY=VALUE."""
LAUNCHING = ("launcher", "jobs", "retries", "submitit")
"""Settings that only say who does the work: the report knows nothing of them."""
PIPELINE_KEYS = {
    "task": "every training has its own",
    "train": "every training has its own; train.params.* can be set",
    "runs_dir": "out names the folder",
    "experiment": "out names the folder",
    "checkpoint": "a step that was interrupted resumes by itself",
    "test": "",
    "follow_up": "",
    "experts": "",
    "stage1": "",
    "weights": "base_start names what the base experts begin from",
    "teacher": "",
    "multi_gpu": "train.py trains on several GPUs",
    "capture_video": "",
    "objects.codes": "encoder names what makes the codes",
}
"""Keys of train.py that the pipeline sets, and what to do instead of setting them."""


@dataclass(frozen=True)
class PipelineSettings:
    """What cfg/pipeline and the command line say. The keys are explained in cfg/pipeline/default.yaml."""

    pipeline: str
    method: str = field(metadata=bounds(choices=tuple(METHODS)))
    budget: Optional[int] = field(metadata=bounds(at_least=1))
    vision_share: Optional[float] = field(metadata=bounds(above=0, at_most=0.99))
    k: int = field(metadata=bounds(at_least=1))
    out: str
    encoder: str
    encoder_training: Dict[str, Any]
    cluster_seed: int = field(metadata=bounds(at_least=0))
    threshold: float = field(metadata=bounds(at_least=0, at_most=1))
    tries: int = field(metadata=bounds(at_least=1))
    expert_episodes: int = field(metadata=bounds(at_least=1))
    base_start: str
    test_objects: int = field(metadata=bounds(at_least=1))
    test_experts: bool
    students: List[str] = field(metadata=bounds(choices=SOURCES))
    curriculum_threshold: float = field(metadata=bounds(at_least=0, at_most=1))
    curriculum_categories: int = field(metadata=bounds(at_least=1))
    curriculum_sizes: List[int] = field(metadata=bounds(at_least=1, filled=True))
    specialists: int = field(metadata=bounds(at_least=1))
    specialist_objects: str = field(metadata=bounds(choices=(ALL, FAILED, HELD)))
    rounds: int = field(metadata=bounds(at_least=0))
    vision_rounds: int = field(metadata=bounds(at_least=0))
    saturation: float = field(metadata=bounds(at_least=0, at_most=1))
    launcher: str = field(metadata=bounds(choices=LAUNCHERS))
    jobs: Optional[int] = field(metadata=bounds(at_least=1))
    retries: int = field(metadata=bounds(at_least=0))
    submitit: Dict[str, Any]
    sections: Dict[str, Any]
    """Section -> train.py's key -> its value, in Hydra's words."""
    command: str
    """The command line that they come from, without who does the work."""

    def overrides(self, section: str, forced: Mapping[str, Any], own_objects: bool = True) -> Overrides:
        """train.py's arguments: those of `all` and of the section, but the values of `forced` before all.

        Args:
            own_objects: whether what the section says of objects counts.
        """
        values, own = dict(self.sections["all"]), self.sections[section]
        if not own_objects:
            own = {key: value for key, value in own.items() if key.split(".")[0] != "objects"}
        if own.get("objects", values["objects"]) != values["objects"]:
            values = _without_objects(values)
        values.update(own)
        values.update({key: hydra_value(value) for key, value in forced.items()})
        return Overrides([f"{key}={value}" for key, value in values.items()])  # in Hydra's words already

    def as_given(self) -> Dict[str, Any]:
        """All settings that the method reads as plain values, one level deep: for the report."""
        others = {key for keys in METHODS.values() for key in keys} - set(METHODS[self.method])
        hidden = ("sections", "command", "pipeline", "encoder_training", *LAUNCHING, *others)
        out = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}
        out.update({f"encoder_training.{key}": value for key, value in self.encoder_training.items()})
        if self.base_start != STARTER:
            others.add("start")
        for section in (section for section in SECTIONS if section not in others):
            prefix = "" if section == "all" else f"{section}."
            out.update({f"{prefix}{key}": value for key, value in self.sections[section].items()})
        return out


def read_settings(argv: Sequence[str]) -> PipelineSettings:
    """Settings of a command line.

    Raises:
        UserError: an unknown key or file of cfg/pipeline, a value that does not fit, a key that the pipeline sets.
    """
    arguments = read_overrides(argv)
    given = {key: arguments.get(key) for key in arguments.keys}
    given.pop("pipeline", None)
    name = str(arguments.value("pipeline", "default"))
    values = _preset("default")
    own = [key for key in values if key not in (*SECTIONS, *GROUPED)]
    for key, value in (_preset(name) if name != "default" else {}).items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    sections = {s: {key: hydra_value(value) for key, value in values.pop(s).items()} for s in SECTIONS}
    of_all = arguments.value("objects", sections["all"]["objects"])
    for section, rows in sections.items():
        written = rows.get("objects", sections["all"]["objects"])
        chosen = of_all if section == "all" else arguments.value(f"{section}.objects", rows.get("objects", of_all))
        if chosen != written:
            sections[section] = _without_objects(rows)
    known = _train_keys()
    defaults = dict(values)
    for key, value in given.items():
        section, _, rest = key.partition(".")
        if key in own:
            values[key] = arguments.value(key)
            if isinstance(defaults[key], str) and not isinstance(values[key], str):
                values[key] = value  # out=4711
        elif section in GROUPED and rest:
            values[section][rest] = arguments.value(key)
        else:
            section, rest = (section, rest) if section in SECTIONS and rest else ("all", key)
            _check_train_key(rest, known, own)
            sections[section][rest] = value
    results = arguments.without(*(key for key in arguments.keys if key.split(".")[0] in LAUNCHING))
    values.update(pipeline=name, sections=sections, command=results.command(COMMAND))
    settings = read_config(PipelineSettings, values, "", spelling=str)
    _check(settings)
    return settings


def _without_objects(values: Mapping[str, str]) -> Dict[str, str]:
    """What is said of one source of objects is not about another."""
    return {key: value for key, value in values.items() if not key.startswith("objects.")}


def _preset(name: str) -> Dict[str, Any]:
    path = CFG_DIR / "pipeline" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UserError(f"no pipeline '{name}': cfg/pipeline has {known}")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _train_keys() -> List[str]:
    config = yaml.safe_load((CFG_DIR / "config.yaml").read_text(encoding="utf-8"))
    return [*GROUPS, *(key for key in config if key not in ("defaults", "hydra"))]


def _check_train_key(key: str, known: Sequence[str], own: Sequence[str]) -> None:
    if key in PIPELINE_KEYS:
        instead = f"; {PIPELINE_KEYS[key]}" if PIPELINE_KEYS[key] else ""
        raise UserError(f"{key} is set by the pipeline itself{instead}")
    if key.lstrip("+").split(".")[0] not in known:
        close = difflib.get_close_matches(key, [*own, *known], 1)
        hint = f"; did you mean {close[0]}?" if close else f"; the pipeline's own are {', '.join(own)}"
        raise UserError(f"there is no key '{key}'{hint}")


def _check(settings: PipelineSettings) -> None:
    if not settings.out or Path(settings.out) == Path("."):
        raise UserError("out is empty; it names the folder of everything that is made")
    for values in settings.sections.values():
        sim = SIMULATORS.get(values.get("sim", ""))
        if sim is not None and sim.one_scene:
            raise UserError(f"sim={values['sim']} makes one scene, and the pipeline needs many: sim=mujoco")
    twice = next((name for name in settings.students if settings.students.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"students names {twice} twice")
    if settings.submitit and settings.launcher != "submitit":
        raise UserError(f"submitit is for launcher=submitit; the launcher is {settings.launcher}")
    if settings.encoder_training and settings.encoder != "train":
        raise UserError(f"encoder_training is for encoder=train; the encoder is {settings.encoder}")
