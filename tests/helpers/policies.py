"""Policies with random weights, and what they see."""

from typing import Tuple

import torch
from torch import Tensor

from resdex_tasks.networks.experts import ExpertsSpec
from resdex_tasks.observations import SIZES, layout
from runners.policies.checkpoint import Checkpoint, MadeBy, PolicySpec
from runners.policies.policy import build_model


def network_of(name, **more):
    """rl_games' `params.network`."""
    space = {
        "mu_activation": "None",
        "sigma_activation": "None",
        "mu_init": {"name": "default"},
        "sigma_init": {"name": "const_initializer", "val": 0.0},
        "fixed_sigma": True,
    }
    mlp = {"units": [7, 5], "activation": "elu", "d2rl": False, "initializer": {"name": "default"}}
    return {"name": name, "separate": True, "space": {"continuous": space}, "mlp": mlp, **more}


def base_spec(normalize_input=True, observation="base"):
    return PolicySpec(observation, layout(observation), network_of("actor_critic"), normalize_input, False)


def hyper_spec(k=2, normalization="softmax", residual=True, normalize_input=True):
    experts = ExpertsSpec(("box",) * k, tuple("abcd"[:k]), (6,), "elu", "base", normalize_input)
    mixture = {"normalization": normalization, "residual": residual, "weightStd": 0.5, "residualStd": 0.25}
    network = network_of("resdex_hyper", experts=experts.plain(), mixture=mixture)
    return PolicySpec("full", layout("full"), network, normalize_input, False)


def checkpoint_of(spec, seed=0):
    """A checkpoint with random weights and running statistics."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in build_model(spec).state_dict().items():
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        positive = "var" in name or "count" in name
        weights[name] = (0.5 + noise.abs() if positive else 0.3 * noise).to(value.dtype)
    return Checkpoint(spec, weights, MadeBy("", 1, {}), {"name": "ResDexBase", "env": {}}, {}, (), {}, name="random")


def observations(group, count=5, seed=1):
    return torch.randn(count, SIZES[group], generator=torch.Generator().manual_seed(seed))


def cloud_settings(**changes):
    """`train.params.network.cloud`, small."""
    return {
        "pointUnits": [6, 8],
        "codeUnits": [7, 5],
        "pooling": "max_mean",
        "pointScale": 10.0,
        "centroid": True,
        "objectPosition": False,
        **changes,
    }


def student_spec(num_points=16, **cloud) -> PolicySpec:
    """A policy that sees a cloud."""
    network = network_of("resdex_point_cloud", separate=False, cloud=cloud_settings(**cloud))
    return PolicySpec("vision", layout("vision", num_points), network, False, False)


def clouds(count=5, num_points=16, seed=1) -> Tensor:
    """(count, num_points, 3) points on something as large as an object, above a table."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.tensor([0.0, 0.0, 0.7]) + 0.1 * torch.randn(count, 1, 3, generator=generator)
    return middle + 0.05 * torch.randn(count, num_points, 3, generator=generator)


def seen_by_student(count=5, num_points=16, seed=1) -> Tensor:
    """(count, 147 + 3 num_points)"""
    return torch.cat((observations("proprioception", count, seed), clouds(count, num_points, seed).flatten(1)), dim=1)


def encoded_by_hand(checkpoint: Checkpoint, points: Tensor) -> Tuple[Tensor, Tensor]:
    """Code (N, C) and centroid (N, 3) of points (N, P, 3): six numbers a point through layers that all points share,
    the maximum of the first half of the channels and the mean of the second over all points, layers again."""
    settings = checkpoint.spec.network["cloud"]
    weights = {name.replace("a2c_network.encoder.", ""): value for name, value in checkpoint.weights.items()}
    centroid = points.mean(dim=1)
    about = centroid[:, None].expand_as(points)
    x = torch.cat((about, (points - about) * settings["pointScale"]), dim=2)
    first = torch.cat((weights["centroid_layer.weight"], weights["offset_layer.weight"]), dim=1)
    x = (x @ first.T + weights["offset_layer.bias"]).clamp(min=0)
    for i in range(len(settings["pointUnits"]) - 1):
        x = (x @ weights[f"point_layers.{i}.weight"].T + weights[f"point_layers.{i}.bias"]).clamp(min=0)
    half = x.shape[2] // 2 if settings["pooling"] == "max_mean" else x.shape[2]
    x = torch.stack([x[..., c].max(dim=1).values if c < half else x[..., c].mean(dim=1) for c in range(x.shape[2])], 1)
    for i in range(len(settings["codeUnits"])):
        x = (x @ weights[f"code_layers.{i}.weight"].T + weights[f"code_layers.{i}.bias"]).clamp(min=0)
    return x, centroid


def student_by_hand(checkpoint: Checkpoint, obs: Tensor) -> Tensor:
    """What a student does, not clamped: its trunk sees normalised proprioception, and the code as it is."""
    weights, spec = checkpoint.weights, checkpoint.spec
    proprioception, points = obs[:, : SIZES["proprioception"]], obs[:, SIZES["proprioception"] :]
    code, centroid = encoded_by_hand(checkpoint, points.reshape(len(obs), -1, 3))
    beside = torch.cat((proprioception, centroid), dim=1) if spec.network["cloud"]["centroid"] else proprioception
    mean, var = (weights[f"a2c_network.statistics.running_{name}"].float() for name in ("mean", "var"))
    hidden = torch.cat((((beside - mean) / (var + 1e-5).sqrt()).clamp(-5, 5), code), dim=1)
    for layer in range(len(spec.network["mlp"]["units"])):
        weight, bias = (weights[f"a2c_network.actor_mlp.{2 * layer}.{part}"] for part in ("weight", "bias"))
        hidden = torch.nn.functional.elu(hidden @ weight.T + bias)
    return hidden @ weights["a2c_network.mu.weight"].T + weights["a2c_network.mu.bias"]
