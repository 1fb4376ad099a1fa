"""A policy's file: read once, without executing anything in it, and written complete or not at all.

    python -m runners.policies.checkpoint runs/NAME/nn/last.pth checkpoints/NAME.pth     # the part that plays
    python -m runners.policies.checkpoint hyper_stage2 hyper_stage2.safetensors

The file is a dict of plain values: "format", and the fields of `Checkpoint` but for its name.
"""

import argparse
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from resdex_tasks.objects.object_set import SOURCE_ENCODER, ObjectSet
from resdex_tasks.observations import CLOUD, VIEWS, layout
from resdex_tasks.shapes.encoder import SHIPPED_ENCODER
from resdex_tasks.utils.errors import UserError, exit_status
from resdex_tasks.utils.files import read_plain, write_plain
from resdex_tasks.utils.mappings import flat
from resdex_tasks.utils.paths import CHECKPOINT_DIR
from resdex_tasks.utils.safetensors_file import SUFFIX, read_safetensors, write_safetensors
from resdex_tasks.utils.tensors import fingerprint
from runners.policies import wall_time
from runners.policies.records import MadeBy, Measured, PolicySpec, check_values, read_record

FORMAT = "resdex-policy-2"
INITIAL = (
    "network.mixture.weightStd",
    "network.mixture.residualStd",
    "network.space.continuous.mu_init.",
    "network.space.continuous.sigma_init.",
    "network.mlp.initializer.",
)
"""Settings that only say how weights begin: a checkpoint's are there already."""


@dataclass(frozen=True)
class Checkpoint:
    """A policy, how it was made and, of a training, all that resuming it needs. Tensors are on the CPU."""

    spec: PolicySpec
    weights: Mapping[str, Tensor]
    """State of the rl_games model that `spec` describes."""
    made_by: MadeBy
    task: Mapping[str, Any]
    """The configuration's group `task` of the training."""
    sim: Mapping[str, Any]
    """Its group `sim`."""
    objects: Tuple[str, ...]
    """Names of the objects that it was trained on."""
    object_source: Mapping[str, Any]
    """Its group `objects`."""
    encoder: str = ""
    """Id of what made the shape codes that its policy, or its teacher, saw (`ObjectSet.encoder`); '': it saw none, or
    nobody wrote it down."""
    training: Optional[Mapping[str, Any]] = None
    """The agent's state beside the weights (optimizer, random numbers, environments); None: the part that plays."""
    measured: Optional[Measured] = None
    """How good it was found to be (`runners.evaluation.record`); None: nobody noted it."""
    name: str = ""
    """What the file was called by whoever named it, for messages; '' where it was never a file."""
    path: Optional[Path] = None

    @classmethod
    def read(cls, name: Union[str, Path]) -> "Checkpoint":
        """Read a file, named by its path or as a shipped one.

        Raises:
            UserError: there is no such file, it is broken, or it is not one of ours.
        """
        path = find_checkpoint(str(name))
        read = read_safetensors if path.suffix == SUFFIX else read_plain
        state = read(path, FORMAT, "a policy's checkpoint", "resdex-1")
        own = read_record(cls, {key: value for key, value in state.items() if key not in _NAMES}, str(path))
        check_values(state, {"training": Optional[Mapping[str, Any]]}, str(path), "")
        check_values(own.task, {"name": str, "env": Mapping[str, Any]}, str(path), "task.")
        if own.made_by.teacher:
            check_values(own.made_by.teacher, {"name": str, "id": str}, str(path), "made_by.teacher.")
        return replace(own, name=str(name), path=path)

    def write(self, path: Path) -> None:
        """Write the complete file or nothing: what its name ends with says how, .pth or .safetensors.

        Raises:
            UserError: it cannot be written, or is a training's, which no .safetensors file can hold.
        """
        state = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NAMES}
        state.update(format=FORMAT, spec=asdict(self.spec), made_by=asdict(self.made_by))
        state["measured"] = None if self.measured is None else asdict(self.measured)
        if path.suffix == SUFFIX and self.training is not None:
            raise UserError(f"{path} is not written: a {SUFFIX} file holds the part of a checkpoint that plays alone")
        (write_safetensors if path.suffix == SUFFIX else write_plain)(path, _plain(state))

    @property
    def policy_only(self) -> "Checkpoint":
        """Without what only a training needs."""
        return replace(self, training=None)

    @property
    def run_folder(self) -> Optional[Path]:
        """The folder of the training that wrote the file (`runs/NAME/nn/last.pth`), or None."""
        return self.path.parent.parent if self.path is not None and self.path.parent.name == "nn" else None

    @property
    def id(self) -> str:
        """Twelve digits that change with its weights."""
        return fingerprint(*(part for name in sorted(self.weights) for part in (name, self.weights[name])))

    def check_sees(self, view: str) -> None:
        """Check that its policy sees `view`, laid out as it is here. Of a cloud, any number of points will do.

        Raises:
            UserError: it does not.
        """
        if self.spec.observation != view:
            raise UserError(f"{self.name} holds a '{self.spec.observation}' policy; this run needs '{view}'")
        if view not in VIEWS:
            raise UserError(f"{self.name} holds a '{view}' policy; policies here see {', '.join(VIEWS)}")
        theirs = self.spec.observation_layout
        ours = layout(view, theirs.get(CLOUD, 0) // 3)
        if list(ours.items()) != list(theirs.items()):
            raise UserError(f"{self.name} sees {', '.join(theirs)}; here a '{view}' policy sees {', '.join(ours)}")

    def check_codes(self, objects: ObjectSet) -> None:
        """Check that the objects' codes are of the encoder whose codes its policy knows.

        Raises:
            UserError: they are of another, to which the policy is blind.
        """
        if objects.encoder == SOURCE_ENCODER and all(obj.code is None for obj in objects):
            return  # there are none, which the task refuses
        if "object_code" in self.spec.observation_layout and self.encoder and objects.encoder != self.encoder:
            raise UserError(
                f"{self.name} knows the shape codes of encoder {self.encoder}; these objects' are of "
                f"{objects.encoder}: objects.codes names the encoder"
            )

    def check_fits(self, spec: PolicySpec) -> None:
        """Check that its weights can go into a network built as `spec` says.

        Raises:
            UserError: its observation, network or normalisation is another.
        """
        self.check_sees(spec.observation)
        different = first_difference(self.spec, spec)
        if different is not None:
            key, theirs, ours = different
            raise UserError(f"{self.name} was trained with {key}={theirs}, this run has {key}={ours}")


def first_difference(theirs: PolicySpec, ours: PolicySpec) -> Optional[Tuple[str, Any, Any]]:
    """A key, and its value in each, because of which the weights of the one cannot go into the network of the other;
    None: they can."""
    one, two = (flat({key: v for key, v in asdict(s).items() if key in _COMPARED}) for s in (theirs, ours))
    for key in sorted({*one, *two}):
        if one.get(key) != two.get(key) and not key.startswith(INITIAL):
            return key, one.get(key), two.get(key)
    return None


_NAMES = ("name", "path")
"""Fields of a checkpoint that are no part of its file."""
_COMPARED = ("network", "normalize_input", "normalize_value")


class CheckpointReader:
    """Reads checkpoints, each file once: what it read, it remembers for as long as the file stays the same."""

    def __init__(self) -> None:
        self._read: Dict[Tuple[Path, int, int], Checkpoint] = {}

    def __call__(self, name: Union[str, Path]) -> Checkpoint:
        """See `Checkpoint.read`."""
        path = find_checkpoint(str(name)).resolve()
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size)
        if key not in self._read:
            self._read[key] = Checkpoint.read(name)
        return replace(self._read[key], name=str(name))


def find_checkpoint(name: str) -> Path:
    """A checkpoint by path, or by the name of a shipped one (checkpoints/<name>.pth).

    Raises:
        UserError: there is none.
    """
    given = Path(name).expanduser()
    for path in (given, CHECKPOINT_DIR / name, CHECKPOINT_DIR / f"{name}.pth"):
        if path.is_file():
            return path
    if given.is_dir():
        inside = [
            str(path)
            for pattern in ("nn/*.pth", "*.pth", f"*{SUFFIX}", "*/nn/last.pth")
            for path in sorted(given.glob(pattern))
        ]
        more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
        # here, as Hydra comes with it, and a policy that plays needs none
        from resdex_tasks.utils.overrides import shell_argument

        holds = shell_argument("checkpoint", inside[0]) if len(inside) == 1 else f"{', '.join(inside[:3])}{more}"
        raise UserError(f"{name} is a folder, not a checkpoint" + (f"; it holds {holds}" if inside else ""))
    raise UserError(f"no checkpoint {name}; the shipped ones are {', '.join(shipped_policies()) or 'none'}")


def shipped_policies() -> List[str]:
    """Names of the policies in checkpoints/."""
    return sorted(path.stem for path in CHECKPOINT_DIR.glob("*.pth") if path.name != SHIPPED_ENCODER.name)


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays make a file that torch only opens by unpickling: turn them into plain ones."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v) for v in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value


def export(source: str, target: str, minutes: float = 0.0, machine: str = "") -> None:
    """Write the part of a training checkpoint that plays, as `checkpoints/` ships it (.pth), or as .safetensors.

    Args:
        minutes, machine: the training's, where its folder does not say them.

    Raises:
        UserError: `source` cannot be read, or `target` not be written.
    """
    path = Path(target)
    if path.suffix not in (".pth", SUFFIX) or not path.parent.is_dir():
        raise UserError(f"{target} must be a .pth or {SUFFIX} file in a folder that exists")
    checkpoint = Checkpoint.read(source).policy_only
    noted = wall_time.noted(checkpoint.run_folder)
    made_by = checkpoint.made_by
    if minutes or noted[0]:
        made_by = replace(made_by, minutes=minutes or noted[0], machine=machine or noted[1])
    replace(checkpoint, made_by=made_by).write(path)
    print(f"written to {target}, {path.stat().st_size / 2**20:.1f} MiB")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, or 2 after bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m runners.policies.checkpoint", description="Write the part that plays."
    )
    parser.add_argument("source", help="a checkpoint: runs/NAME/nn/last.pth")
    parser.add_argument("target", help=f"NAME.pth or NAME{SUFFIX}")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="wall time of the training, where its folder says none"
    )
    parser.add_argument("--machine", default="", help="and where")
    args = parser.parse_args(argv)
    return exit_status(lambda: export(args.source, args.target, args.minutes, args.machine))


if __name__ == "__main__":
    sys.exit(main())
