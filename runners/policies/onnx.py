"""Takes a policy away: one ONNX file with everything between what a robot measures and what it does.

    python -m runners.policies.onnx checkpoint=hyper_stage2 --out policy.onnx

Inputs are the observation groups that the policy sees, not normalised: `base` (N, 153), `full` (N, 227), or
`proprioception` (N, 147) and `cloud` (N, P, 3); any N. Outputs: `action` (N, 24) in [-1, 1], and for a hyper-policy
`weights` (N, k). Normalisation, experts, composition and clamping are inside. The file's metadata say what the numbers
mean: `metadata`. The file is checked against torch before it is left.
"""

import argparse
import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from resdex_tasks.hand.geometry import joint_ranges
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS
from resdex_tasks.networks.experts import NORMALISED_EPSILON, NORMALISED_LIMIT
from resdex_tasks.observations import CLOUD, SIZES, VIEWS
from resdex_tasks.sims.base import CONTROL_HZ, TABLE_HEIGHT
from resdex_tasks.utils.errors import UserError, exit_status
from resdex_tasks.utils.files import check_can_write, write_atomically
from resdex_tasks.utils.overrides import Overrides
from runners.policies.checkpoint import Checkpoint
from runners.policies.policy import Policy

OPSET = 17
LARGEST_DIFFERENCE = 1e-5
"""Between the file's outputs and torch's, of numbers between -1 and 1."""
CHECKED = 256
"""Observations of the check."""


class _Exported(nn.Module):
    """A policy as a function of its observation groups."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy, self.network = policy, policy.model.a2c_network
        self._statistics: Optional[Tuple[Tensor, Tensor]] = None
        if policy.model.normalize_input:  # as a formula: rl_games' own is compiled, which the exporter cannot follow
            own = policy.model.running_mean_std
            self._statistics = own.running_mean.float(), (own.running_var.float() + NORMALISED_EPSILON).sqrt()

    def forward(self, *groups: Tensor) -> Tuple[Tensor, ...]:
        observation = normalised = torch.cat([group.flatten(1) for group in groups], dim=1)
        if self._statistics is not None:
            mean, deviation = self._statistics
            normalised = ((observation - mean) / deviation).clamp(-NORMALISED_LIMIT, NORMALISED_LIMIT)
        action, weights = self._policy.act_on(observation, normalised)
        return (action,) if weights is None else (action, weights)


def export(checkpoint: Checkpoint, path: Path) -> float:
    """Write the policy of a checkpoint as an ONNX file; returns the largest difference to torch that was found.

    Raises:
        UserError: a package is missing, the policy cannot be loaded, the file not be written, or it plays otherwise.
    """
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"this needs the package {package}: pip install 'resdex[onnx]'")
    check_can_write(path)
    policy = Policy.load(checkpoint)
    examples = example_observations(checkpoint, 2)
    names = list(policy.groups)
    outputs = ["action"] if checkpoint.spec.experts is None else ["action", "weights"]
    largest = float("nan")

    def write(partial: Path) -> None:
        nonlocal largest
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter, about shapes that it takes for constants
            torch.onnx.export(
                _Exported(policy).eval(),
                tuple(examples.values()),
                str(partial),
                input_names=names,
                output_names=outputs,
                dynamic_axes={name: {0: "N"} for name in (*names, *outputs)},
                opset_version=OPSET,
                dynamo=False,
            )
        _describe(partial, metadata(checkpoint))
        largest = difference(partial, policy, example_observations(checkpoint, CHECKED))
        if not largest <= LARGEST_DIFFERENCE:
            raise UserError(f"{path} would differ from the policy by {largest:.1e}")

    write_atomically(path, write)
    return largest


def example_observations(checkpoint: Checkpoint, count: int) -> Dict[str, Tensor]:
    """Random observations of a policy's groups: name -> (count, ...)."""
    generator = torch.Generator().manual_seed(0)
    points = checkpoint.spec.observation_layout.get(CLOUD, 0) // 3
    shapes = {group: (points, 3) if group == CLOUD else (SIZES[group],) for group in VIEWS[checkpoint.spec.observation]}
    out = {name: torch.randn(count, *shape, generator=generator) for name, shape in shapes.items()}
    if CLOUD in out:  # an object of the usual size, on the table
        out[CLOUD] = 0.05 * out[CLOUD] + torch.tensor([0.0, 0.0, TABLE_HEIGHT])
    return out


def difference(path: Path, policy: Policy, observations: Dict[str, Tensor]) -> float:
    """Largest difference between the outputs of an ONNX file and of the policy, on observations (group -> (N, ...))."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in observations.items()})
    wanted = [value.numpy() for value in policy(observations) if value is not None]
    return max(float(np.abs(a - b).max()) for a, b in zip(found, wanted))


def metadata(checkpoint: Checkpoint) -> Dict[str, Any]:
    """What the numbers of the file mean."""
    wrist = checkpoint.task.get("env", {}).get("wrist", {})
    limits = joint_ranges()
    return {
        "policy": checkpoint.name,
        "observation_layout": dict(checkpoint.spec.observation_layout),
        "observation_frame": "world, z up, turned about z by the yaw with which the hand began the episode; m, rad, s",
        "action_layout": {"wrist_force": 3, "wrist_torque": 3, "joint_targets": len(ACTUATED)},
        "joints": list(JOINTS),
        "actuated_joints": list(ACTUATED),
        "joint_limits": {name: limits[i].tolist() for i, name in enumerate(JOINTS)},
        "joint_target": "lower + (action + 1) / 2 * (upper - lower), rad",
        "wrist_law": {**wrist, "meaning": "m dv/dt = action * maxForce - linearDamping v, and likewise the torque"},
        "control_hz": CONTROL_HZ,
        "encoder": checkpoint.encoder,
        "made_by": {"command": checkpoint.made_by.command, "seed": checkpoint.made_by.seed},
        "versions": dict(checkpoint.made_by.versions),
    }


def _describe(path: Path, values: Dict[str, Any]) -> None:
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in values.items()})
    onnx.save(model, str(path))


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, or 2 after bad input."""
    parser = argparse.ArgumentParser(prog="python -m runners.policies.onnx", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help=".onnx")
    parser.add_argument("overrides", nargs="*", help="checkpoint=FILE, or the name of a shipped one")
    args = parser.parse_args(argv)
    return exit_status(lambda: print(_export(Overrides(args.overrides), args.out)))


def _export(given: Overrides, path: Path) -> str:
    unknown: List[str] = [key for key in given.keys if key != "checkpoint"]
    if unknown or not given.get("checkpoint"):
        raise UserError("name one checkpoint: checkpoint=FILE, or the name of a shipped one")
    checkpoint = Checkpoint.read(given.get("checkpoint"))
    largest = export(checkpoint, path)
    return f"written to {path}: {path.stat().st_size / 2**20:.1f} MiB, at most {largest:.0e} from the policy in torch"


if __name__ == "__main__":
    sys.exit(main())
