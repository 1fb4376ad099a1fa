"""The frozen base experts inside a hyper-policy, all evaluated in one batched product (Sec. 4.3)."""

from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, List, Mapping, Tuple, get_type_hints

import torch
from torch import Tensor, nn

from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.observations import SIZES, narrow
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import fits

NORMALISED_LIMIT, NORMALISED_EPSILON = 5.0, 1e-5
"""How rl_games' running statistics normalise: clamp((x - mean) / sqrt(var + epsilon), -limit, limit)."""

ACTIVATIONS: Dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": nn.functional.elu,
    "selu": nn.functional.selu,
    "swish": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "softplus": nn.functional.softplus,
    "None": lambda x: x,
}
"""rl_games' names."""


@dataclass(frozen=True)
class ExpertsSpec:
    """What k experts of one shape are, in plain values: enough to build the module that a checkpoint then fills."""

    objects: Tuple[str, ...]
    """The object that each expert was trained on."""
    ids: Tuple[str, ...]
    """A hash of each expert's weights."""
    units: Tuple[int, ...]
    """Hidden layers of the actor."""
    activation: str
    observation: str
    """The observation group that an expert sees: 'base' for a geometry-unaware one."""
    normalize_input: bool
    """Whether the experts see their observation through running statistics of their own."""

    @property
    def count(self) -> int:
        """k"""
        return len(self.ids)

    def plain(self) -> Dict[str, Any]:
        """For a configuration or a checkpoint."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "ExpertsSpec":
        """The inverse of `plain`.

        Raises:
            UserError: the values do not describe experts.
        """
        try:
            own: Dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
            spec = cls(**own)
        except (TypeError, AttributeError) as error:
            raise UserError(f"train.params.network.experts does not describe experts: {error}") from error
        for key, kind in get_type_hints(cls).items():
            if not fits(getattr(spec, key), kind):
                raise UserError(f"train.params.network.experts does not describe experts: {key} is {own[key]}")
        if not spec.ids or len(spec.ids) != len(spec.objects) or not _known(spec):
            raise UserError("train.params.network.experts does not describe experts: its entries do not fit together")
        return spec

    @property
    def observation_size(self) -> int:
        """Numbers of the observation that an expert sees."""
        return SIZES[self.observation]

    @property
    def layers(self) -> List[Tuple[int, int]]:
        """(in, out) of every linear layer of an actor."""
        sizes = (self.observation_size, *self.units, NUM_ACTIONS)
        return list(zip(sizes, sizes[1:]))


def _known(spec: ExpertsSpec) -> bool:
    return spec.activation in ACTIVATIONS and spec.observation in SIZES


class FrozenExperts(nn.Module):
    """k deterministic base policies of one shape.

    Their weights are buffers, not parameters: no optimizer, gradient norm or all-reduce ever meets them, and they
    travel with the checkpoint of the network that holds this module.
    """

    mean: Tensor
    """(k, 1, size) running means of the observation; there where the experts normalise it."""
    var: Tensor
    """Their variances, likewise."""

    def __init__(self, spec: ExpertsSpec) -> None:
        super().__init__()
        self.spec = spec
        self._activation = ACTIVATIONS[spec.activation]
        k = spec.count
        for i, (inputs, outputs) in enumerate(spec.layers):
            self.register_buffer(f"weight_{i}", torch.zeros(k, inputs, outputs))
            self.register_buffer(f"bias_{i}", torch.zeros(k, 1, outputs))
        if spec.normalize_input:
            self.register_buffer("mean", torch.zeros(k, 1, spec.observation_size))
            self.register_buffer("var", torch.ones(k, 1, spec.observation_size))

    def forward(self, obs: Tensor) -> Tensor:
        """The experts' actions.

        Args:
            obs: (N, size) the experts' observation group, or a larger one; not normalised by anybody.

        Returns:
            (k, N, 24), each the mean of the expert's Gaussian, clamped to [-1, 1] as when the expert acts alone.
        """
        x = narrow(obs, self.spec.observation).expand(self.spec.count, -1, -1)
        if self.spec.normalize_input:
            x = (x - self.mean) / torch.sqrt(self.var + NORMALISED_EPSILON)
            x = x.clamp(-NORMALISED_LIMIT, NORMALISED_LIMIT)
        last = len(self.spec.layers) - 1
        for i in range(last + 1):
            x = torch.baddbmm(getattr(self, f"bias_{i}"), x, getattr(self, f"weight_{i}"))
            if i < last:
                x = self._activation(x)
        return x.clamp(-1.0, 1.0)
