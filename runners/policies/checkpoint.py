"""Checkpoints that say what they are: written atomically, read without executing anything in the file."""

import platform
import sys
from pathlib import Path
from typing import Any, Dict, Mapping

import numpy as np
import torch

from resdex_tasks.observations import SIZES, layout
from resdex_tasks.shapes.encoder import SHIPPED_ENCODER
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import read_plain, write_atomically
from resdex_tasks.utils.paths import CHECKPOINT_DIR

FORMAT = "resdex-1"
INITIAL = (
    "network.mixture.weightStd",
    "network.mixture.residualStd",
    "network.space.continuous.mu_init.",
    "network.space.continuous.sigma_init.",
    "network.mlp.initializer.",
)
"""Settings of `train` that only say how weights begin: a checkpoint's are there already."""


def versions() -> Dict[str, str]:
    """Versions of what makes the numbers."""
    from importlib import metadata

    out = {"python": platform.python_version()}
    for name in ("resdex", "torch", "rl_games", "numpy", "mujoco", "mujoco-warp", "warp-lang"):
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


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


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write the whole file or nothing.

    Raises:
        UserError: the folder cannot be written.
    """
    write_atomically(path, lambda partial: torch.save(_plain(state), partial))


def find_checkpoint(name: str) -> Path:
    """A checkpoint by path, or by the name of a shipped one (checkpoints/<name>.pth)."""
    for path in (Path(name), CHECKPOINT_DIR / name, CHECKPOINT_DIR / f"{name}.pth"):
        if path.is_file():
            return path
    shipped = sorted(p.stem for p in CHECKPOINT_DIR.glob("*.pth") if p.name != SHIPPED_ENCODER.name)
    raise UserError(f"no checkpoint {name}; the shipped ones are {', '.join(shipped) or 'none'}")


def read_checkpoint(name: str) -> Dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: there is no such file, it is broken, or it is not one of ours.
    """
    path = find_checkpoint(name)
    state = read_plain(path, FORMAT, "a policy's checkpoint")
    missing = [key for key in ("kind", "train", "model") if key not in state]
    if not missing and "network" not in state["train"]:
        missing = ["train.network"]
    if missing:
        raise UserError(f"{path} is an incomplete checkpoint: it lacks '{missing[0]}'")
    return state


def check_fits(state: Mapping[str, Any], description: Mapping[str, Any], name: str) -> None:
    """Raise UserError unless a checkpoint's kind of policy, network and normalisation are those of `description`."""
    check_sees(state, description["kind"], name)
    theirs, ours = flat(state["train"]), flat(description["train"])
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key) and not key.startswith(INITIAL):
            raise UserError(f"{name} was trained with {key}={theirs.get(key)}, this run has {key}={ours.get(key)}")


def check_sees(state: Mapping[str, Any], kind: str, name: str) -> None:
    """Raise UserError unless a checkpoint's policy sees the observation `kind`, laid out as it is here."""
    if state["kind"] != kind:
        raise UserError(f"{name} holds a '{state['kind']}' policy; this run needs '{kind}'")
    blocks = layout(SIZES[kind]) if kind in SIZES else None
    theirs = state.get("observation_layout", blocks)
    if theirs != blocks or list(theirs or ()) != list(blocks or ()):
        raise UserError(f"{name} sees {', '.join(theirs)}; here a '{kind}' policy sees {', '.join(blocks or ())}")


def flat(settings: Mapping[str, Any], prefix: str = "") -> Dict[str, Any]:
    """Nested settings as one dict with dotted keys."""
    out: Dict[str, Any] = {}
    for key, value in settings.items():
        out.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return out


def policy_only(state: Mapping[str, Any]) -> Dict[str, Any]:
    """The part of a training checkpoint that plays: no optimizer, no environments."""
    training = ("optimizer", "env_state", "rng", "statistics", "last_lr", "scaler")
    return {key: value for key, value in state.items() if key not in training}


def export(source: str, target: str) -> None:
    """Write the part of a training checkpoint that plays, as `checkpoints/` ships it."""
    path = Path(target)
    if path.suffix != ".pth" or not path.parent.is_dir():
        raise UserError(f"{target} must be a .pth file in a folder that exists")
    write_checkpoint(path, policy_only(read_checkpoint(source)))
    print(f"written to {target}, {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("python -m runners.checkpoints runs/NAME/nn/last.pth checkpoints/NAME.pth")
    try:
        export(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
