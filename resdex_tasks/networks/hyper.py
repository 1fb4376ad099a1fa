"""The hyper-policy (Sec. 4.2-4.3): mixture weights and a residual over frozen experts, as an rl_games network.

PPO sees an ordinary Gaussian over the hyper-action [lambda (k), residual (24)]; its training passes never run the
experts. Only when an action is executed does `compose` turn a hyper-action into the hand's 24 numbers.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Mapping, Tuple

import torch
from rl_games.algos_torch.network_builder import A2CBuilder
from torch import Tensor

from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.networks.experts import ExpertsSpec, FrozenExperts
from resdex_tasks.utils.config_reader import bounds, read_config

SMALLEST_NORM = 1e-6


@dataclass(frozen=True)
class MixtureConfig:
    """`train.params.network.mixture`."""

    normalization: str = field(metadata=bounds(choices=("softmax", "l2")))
    """'softmax': weights softmax(lambda), as the official code; 'l2': lambda / ||lambda||, the paper's Eq. 4."""
    residual: bool
    """false: the ablation MoE, which only mixes (Table 4)."""
    weight_std: float = field(metadata=bounds(above=0))
    """Initial exploration noise of lambda, standard deviation."""
    residual_std: float = field(metadata=bounds(above=0))
    """Initial exploration noise of the residual, standard deviation."""


def mixture_weights(weights: Tensor, normalization: str) -> Tensor:
    """Normalise lambda (N, k): softmax, or lambda / ||lambda||_2 (Eq. 4)."""
    if normalization == "softmax":
        return weights.softmax(dim=-1)
    return weights / weights.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)


def hyper_action_size(network: Mapping[str, Any]) -> int:
    """Length of the hyper-action of `train.params.network`: k + 24, or k without residual."""
    k = ExpertsSpec.read(network["experts"]).count
    return k + (NUM_ACTIONS if network["mixture"]["residual"] else 0)


class HyperBuilder(A2CBuilder):
    """rl_games' actor-critic with frozen experts beside it. `actions_num` must be `hyper_action_size`."""

    def build(self, name: str, **kwargs: Any) -> "HyperBuilder.Network":
        return HyperBuilder.Network(self.params, **kwargs)

    class Network(A2CBuilder.Network):
        def __init__(self, params: Mapping[str, Any], **kwargs: Any) -> None:
            mixture = read_config(MixtureConfig, params["mixture"], "train.params.network.mixture")
            size = hyper_action_size(params)
            if kwargs["actions_num"] != size:
                raise ValueError(f"the hyper-action has {size} numbers, the action space {kwargs['actions_num']}")
            super().__init__(params, **kwargs)
            self.mixture = mixture
            # after rl_games' own initialisation, which must not touch them
            self.experts = FrozenExperts(ExpertsSpec.read(params["experts"]))
            k = self.experts.spec.count
            with torch.no_grad():
                # both normalisations then begin with equal weights; lambda = 0 has no direction
                self.mu.bias[:k] = 1.0
                self.sigma[:k] = math.log(mixture.weight_std)
                self.sigma[k:] = math.log(mixture.residual_std)

        @torch.no_grad()
        def compose(self, obs: Tensor, hyper_action: Tensor) -> Tuple[Tensor, Tensor]:
            """Eq. 4: a = residual + sum_i w_i a_i.

            Args:
                obs: (N, 227) the observation group `full`, not normalised.
                hyper_action: (N, k + 24) lambda and residual; (N, k) without residual.

            Returns:
                The action (N, 24), not clamped, and the normalised weights w (N, k).
            """
            k = self.experts.spec.count
            weights = mixture_weights(hyper_action[:, :k], self.mixture.normalization)
            action = torch.einsum("nk,kna->na", weights, self.experts(obs))
            if self.mixture.residual:
                action = action + hyper_action[:, k:]
            return action, weights
