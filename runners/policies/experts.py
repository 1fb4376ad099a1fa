"""Base experts out of their checkpoints: checked against each other and stacked for a hyper-policy."""

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import torch
from torch import Tensor

from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.networks.experts import ExpertsSpec
from resdex_tasks.observations import CLOUD, SIZES
from resdex_tasks.shapes.clusters import read_clusters
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import fits
from resdex_tasks.utils.paths import CHECKPOINT_DIR, SHIPPED
from resdex_tasks.utils.tensors import fingerprint
from runners.policies.checkpoint import Checkpoint

ACTOR = "a2c_network.actor_mlp."
SHIPPED_K = 4
"""Of the bundle that is meant by `shipped`: the paper's."""


def shipped_experts(bundle: str = SHIPPED) -> List[str]:
    """Names of the shipped base experts of the zoo's k clusters, in the clusters' order.

    Args:
        bundle: `shipped`, or `shipped_k1` to `shipped_k6`.

    Raises:
        UserError: there is no such bundle, or its files are missing.
    """
    match = re.fullmatch(rf"{SHIPPED}(?:_k([1-6]))?", bundle)
    if match is None:
        raise UserError(
            f"experts is '{bundle}'; it must be a list of checkpoints, experts=[a.pth,b.pth], or {SHIPPED} "
            f"(k = {SHIPPED_K}), or {SHIPPED}_k1 to {SHIPPED}_k6"
        )
    clusters = read_clusters(CHECKPOINT_DIR / f"zoo_clusters_k{match[1] or SHIPPED_K}.yaml").clusters
    names = [f"zoo_expert_{group.centre}" for group in clusters]
    missing = next((name for name in names if not (CHECKPOINT_DIR / f"{name}.pth").is_file()), None)
    if missing is not None:
        file = CHECKPOINT_DIR / f"{missing}.pth"
        raise UserError(f"experts={bundle}: there is no {file}; name others with experts=[a.pth,b.pth]")
    return names


@dataclass(frozen=True)
class ExpertBundle:
    """k experts of one shape."""

    spec: ExpertsSpec
    weights: Dict[str, Tensor]
    """The state of `networks.experts.FrozenExperts`."""


@dataclass(frozen=True)
class _Expert:
    name: str
    id: str
    objects: str
    layout: Dict[str, Any]
    layers: List[Tuple[Tensor, Tensor]]
    mean: Tensor
    var: Tensor


def stack_experts(checkpoints: Sequence[Checkpoint]) -> ExpertBundle:
    """Stack k base policies into one bundle.

    Raises:
        UserError: there are none; one is no base policy, was built otherwise than the first, or is there twice.
    """
    if not checkpoints:
        raise UserError("experts is empty; a hyper-policy mixes at least one base expert")
    experts = [_expert(checkpoint) for checkpoint in checkpoints]
    first = experts[0]
    for i, expert in enumerate(experts):
        for key, value in expert.layout.items():
            if value != first.layout[key]:
                raise UserError(
                    f"{expert.name} has {key}={value}, {first.name} has {key}={first.layout[key]}: "
                    "the experts of one bundle must be built alike"
                )
        for other in experts[:i]:
            if other.id == expert.id:
                raise UserError(f"{other.name} and {expert.name} are the same expert; each may be in the bundle once")
    spec = ExpertsSpec(
        objects=tuple(e.objects for e in experts),
        ids=tuple(e.id for e in experts),
        units=tuple(first.layout["units"]),
        activation=first.layout["activation"],
        observation=first.layout["observation"],
        normalize_input=first.layout["normalize_input"],
    )
    weights = {}
    for i in range(len(spec.layers)):
        # a linear layer computes x W^T + b
        weights[f"weight_{i}"] = torch.stack([e.layers[i][0].t() for e in experts])
        weights[f"bias_{i}"] = torch.stack([e.layers[i][1][None] for e in experts])
    if spec.normalize_input:
        weights["mean"] = torch.stack([e.mean[None] for e in experts])
        weights["var"] = torch.stack([e.var[None] for e in experts])
    return ExpertBundle(spec, weights)


def _expert(checkpoint: Checkpoint) -> _Expert:
    name, spec = checkpoint.name, checkpoint.spec
    network = spec.network
    if spec.experts is not None:
        raise UserError(f"{name} is a hyper-policy, not a base expert")
    checkpoint.check_sees(spec.observation)
    if CLOUD in spec.observation_layout:
        raise UserError(f"{name} holds a '{spec.observation}' policy; a base expert sees no cloud")
    for key, wanted in (("name", "actor_critic"), ("separate", True)):
        if network.get(key) != wanted:
            raise UserError(f"{name} has train.params.network.{key}={network.get(key)}; an expert needs {wanted}")
    mlp = network.get("mlp")
    mlp = mlp if isinstance(mlp, Mapping) else {}
    units, activation = mlp.get("units"), mlp.get("activation")
    if not fits(units, Tuple[int, ...]) or not isinstance(activation, str):
        raise UserError(f"{name} is an incomplete checkpoint: its network's mlp says no units and activation")
    layout: Dict[str, Any] = {
        "observation": spec.observation,
        "units": list(units or ()),
        "activation": activation,
        "normalize_input": spec.normalize_input,
    }
    if mlp.get("d2rl"):
        raise UserError(f"{name} has train.params.network.mlp.d2rl=True; an expert needs plain layers")
    model = checkpoint.weights
    try:
        layers = [(model[f"{ACTOR}{2 * i}.weight"], model[f"{ACTOR}{2 * i}.bias"]) for i in range(len(layout["units"]))]
        layers.append((model["a2c_network.mu.weight"], model["a2c_network.mu.bias"]))
        empty = torch.zeros(0)
        mean, var = (
            model[f"running_mean_std.running_{key}"].float() if layout["normalize_input"] else empty
            for key in ("mean", "var")
        )
    except KeyError as error:
        raise UserError(f"{name} is an incomplete checkpoint: its model lacks {error}") from error
    sizes = [SIZES[layout["observation"]], *layout["units"], NUM_ACTIONS]
    for (weight, bias), inputs, outputs in zip(layers, sizes, sizes[1:]):
        if weight.shape != (outputs, inputs) or bias.shape != (outputs,):
            raise UserError(f"{name} has a layer of shape {tuple(weight.shape)} where it says {(outputs, inputs)}")
    own_id = fingerprint(*(tensor for layer in layers for tensor in layer), mean, var)
    return _Expert(name, own_id, "+".join(checkpoint.objects), layout, layers, mean, var)
