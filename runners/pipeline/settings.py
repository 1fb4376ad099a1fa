"""The pipeline's settings: a file of cfg/pipeline, changed by `key=value` on the command line."""

import difflib
import json
import re
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import yaml

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.paths import CFG_DIR
from runners.config import GROUPS

SECTIONS = ("all", "base", "stage1", "stage2", "test")
"""train.py's keys for every training and test, and for one kind of them."""
OURS = {
    "task": "every stage has its own",
    "train": "every stage has its own; train.params.* can be set",
    "runs_dir": "out names the folder",
    "experiment": "out names the folder",
    "checkpoint": "a stage that was cut goes on by itself",
    "test": "",
    "follow_up": "",
    "experts": "",
    "stage1": "",
    "multi_gpu": "train.py trains on several GPUs",
    "capture_video": "",
    "objects.codes": "encoder names what makes the codes",
}
"""Keys of train.py that the pipeline sets, and what to do instead of setting them."""


@dataclass(frozen=True)
class Settings:
    """What cfg/pipeline and the command line say. The keys are explained in cfg/pipeline/default.yaml."""

    pipeline: str
    k: int
    out: str
    encoder: str
    encoder_training: Dict[str, Any]
    cluster_seed: int
    threshold: float
    tries: int
    expert_episodes: int
    test_objects: int
    test_experts: bool
    sections: Mapping[str, Mapping[str, str]]
    """Section -> train.py's key -> its value, in Hydra's words."""
    command: str
    """The command line that they come from."""

    def overrides(self, section: str, forced: Mapping[str, Any]) -> List[str]:
        """train.py's arguments: those of `all` and of the section, but the values of `forced` before all."""
        values: Dict[str, str] = {}
        for name in ("all", section):
            values.update(self.sections[name])
        values.update({key: hydra_value(value) for key, value in forced.items()})
        return [f"{key}={value}" for key, value in values.items()]

    def as_given(self) -> Dict[str, Any]:
        """All settings as plain values, one level deep: for the report."""
        hidden = ("sections", "command", "pipeline", "encoder_training")
        out = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}
        out.update({f"encoder_training.{key}": value for key, value in self.encoder_training.items()})
        for section in SECTIONS:
            prefix = "" if section == "all" else f"{section}."
            out.update({f"{prefix}{key}": value for key, value in self.sections[section].items()})
        return out


def hydra_value(value: Any) -> str:
    """A plain value as Hydra's command line reads it back."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z./][A-Za-z0-9_./-]*", value) and isinstance(_yaml(value), str):
        return value
    return json.dumps(value, ensure_ascii=False)


def read_settings(argv: Sequence[str]) -> Settings:
    """Settings of a command line.

    UserError: an unknown key or file of cfg/pipeline, a value that does not fit, a key that the pipeline sets.
    """
    given: Dict[str, str] = {}
    for argument in argv:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise UserError(f"'{argument}' is not of the form key=value")
        given[key] = value
    name = given.pop("pipeline", "default")
    values = _preset("default")
    own = [key for key in values if key not in (*SECTIONS, "encoder_training")]
    for key, value in (_preset(name) if name != "default" else {}).items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    sections = {s: {key: hydra_value(value) for key, value in values.pop(s).items()} for s in SECTIONS}
    if given.get("objects", sections["all"]["objects"]) != sections["all"]["objects"]:
        # what the file says of its own source is not about another
        sections = {s: {k: v for k, v in rows.items() if not k.startswith("objects.")} for s, rows in sections.items()}
    known = _train_keys()
    for key, value in given.items():
        section, _, rest = key.partition(".")
        if key in own:
            values[key] = _parsed(key, value, values[key])
        elif section == "encoder_training" and rest:
            values[section][rest] = _yaml(value)
        else:
            section, rest = (section, rest) if section in SECTIONS and rest else ("all", key)
            _check_train_key(rest, known, own)
            sections[section][rest] = value
    command = shlex.join(["python", "-m", "runners.pipeline", *argv])
    settings = Settings(pipeline=name, sections=sections, command=command, **values)
    _check(settings)
    return settings


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
    if key in OURS:
        instead = f"; {OURS[key]}" if OURS[key] else ""
        raise UserError(f"{key} is set by the pipeline itself{instead}")
    if key.lstrip("+").split(".")[0] not in known:
        close = difflib.get_close_matches(key, [*own, *known], 1)
        hint = f"; did you mean {close[0]}?" if close else f"; the pipeline's own are {', '.join(own)}"
        raise UserError(f"there is no key '{key}'{hint}")


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _parsed(key: str, text: str, default: Any) -> Any:
    value = _yaml(text)
    kinds: Tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
    if isinstance(default, str):
        value = text.strip("'\"")
    if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(default, bool)):
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(default)]
        raise UserError(f"{key} is {text!r}; it must be {words}")
    return value


def _check(settings: Settings) -> None:
    for key in ("k", "tries", "expert_episodes", "test_objects"):
        if getattr(settings, key) < 1:
            raise UserError(f"{key} is {getattr(settings, key)}; it must be at least 1")
    if settings.cluster_seed < 0:
        raise UserError(f"cluster_seed is {settings.cluster_seed}; it must be at least 0")
    if not 0 <= settings.threshold <= 1:
        raise UserError(f"threshold is {settings.threshold}; it is a success rate, from 0 to 1")
    if not settings.out or Path(settings.out) == Path("."):
        raise UserError("out is empty; it names the folder of everything that is made")
    if settings.encoder_training and settings.encoder != "train":
        raise UserError(f"encoder_training is for encoder=train; the encoder is {settings.encoder}")
