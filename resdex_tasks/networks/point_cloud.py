"""The vision policy's network (A.2): a simplified PointNet in front of rl_games' trunk."""

from dataclasses import dataclass, field
from typing import Any, List, Mapping, Optional, Tuple

import torch
from rl_games.algos_torch.network_builder import A2CBuilder
from rl_games.algos_torch.running_mean_std import RunningMeanStd
from torch import Tensor, nn

from resdex_tasks.observations import SIZES
from resdex_tasks.utils.config_reader import bounds, read_config

NUM_PROPRIOCEPTION = SIZES["proprioception"]


@dataclass(frozen=True)
class PointCloudConfig:
    """`train.params.network.cloud`."""

    point_units: List[int] = field(metadata=bounds(at_least=1, filled=True))
    """Layers that every point goes through: 128, 256 in the method's code. ReLU after each."""
    code_units: List[int] = field(metadata=bounds(at_least=1, filled=True))
    """Layers after the pooling: 256, 128. ReLU after each."""
    pooling: str = field(metadata=bounds(choices=("max_mean", "max")))
    """'max_mean': the maximum over all points of the first half of the channels, the mean of the second half."""
    point_scale: float = field(metadata=bounds(above=0))
    """What a point's distance from the centroid, m, is multiplied by; 1 in the method's code."""
    centroid: bool
    """Whether the trunk sees the cloud's centroid beside the code; false in the method's code."""
    object_position: bool
    """Whether a linear layer on the code learns to tell where the object's frame is from the centroid (auxiliary)."""


class PointCloudEncoder(nn.Module):
    """Points (N, P, 3) -> code (N, code_units[-1]); the order of the points is of no matter.

    Each point enters as six numbers: the cloud's centroid, and the point relative to it.
    """

    def __init__(self, config: PointCloudConfig) -> None:
        super().__init__()
        self.config = config
        first, *others = config.point_units
        # the centroid's half of the first layer is the same for all points of a cloud: it is computed once
        self.offset_layer = nn.Linear(3, first)
        self.centroid_layer = nn.Linear(3, first, bias=False)
        self.point_layers = nn.ModuleList([nn.Linear(i, o) for i, o in zip(config.point_units, others)])
        sizes = [config.point_units[-1], *config.code_units]
        self.code_layers = nn.ModuleList([nn.Linear(i, o) for i, o in zip(sizes, config.code_units)])
        joint = nn.Linear(6, first)
        nn.init.xavier_uniform_(joint.weight)
        for layer in (*self.point_layers, *self.code_layers):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.centroid_layer.weight.copy_(joint.weight[:, :3])
            self.offset_layer.weight.copy_(joint.weight[:, 3:])
            self.offset_layer.bias.zero_()

    def forward(self, points: Tensor) -> Tuple[Tensor, Tensor]:
        """Code (N, C) and centroid (N, 3), m."""
        centroid = points.mean(dim=1)
        offsets = (points - centroid[:, None]) * self.config.point_scale
        x = torch.relu(self.offset_layer(offsets) + self.centroid_layer(centroid)[:, None])
        for layer in self.point_layers:
            x = torch.relu(layer(x))
        if self.config.pooling == "max":
            x = x.amax(dim=1)
        else:
            half = x.shape[-1] // 2
            x = torch.cat((x[..., :half].amax(dim=1), x[..., half:].mean(dim=1)), dim=-1)
        for layer in self.code_layers:
            x = torch.relu(layer(x))
        return x, centroid


class PointCloudBuilder(A2CBuilder):
    """rl_games' actor-critic over proprioception (147) and an encoded cloud (3 P numbers behind it)."""

    def build(self, name: str, **kwargs: Any) -> "PointCloudBuilder.Network":
        return PointCloudBuilder.Network(self.params, **kwargs)

    class Network(A2CBuilder.Network):
        def __init__(self, params: Mapping[str, Any], **kwargs: Any) -> None:
            config = read_config(PointCloudConfig, params["cloud"], "train.params.network.cloud")
            kwargs["input_shape"] = (NUM_PROPRIOCEPTION + 3 * config.centroid + config.code_units[-1],)
            super().__init__(params, **kwargs)
            # after rl_games' own initialisation, which must not touch them
            self.encoder = PointCloudEncoder(config)
            self.statistics = RunningMeanStd((NUM_PROPRIOCEPTION + 3 * config.centroid,))
            self.position_layer = nn.Linear(config.code_units[-1], 3) if config.object_position else None

        def forward(self, obs_dict: Mapping[str, Any]) -> Any:
            """See `A2CBuilder.Network.forward`; what the trunk sees beside the code is normalised here."""
            seen, _ = self._encoded(obs_dict["obs"])
            return A2CBuilder.Network.forward(self, {**obs_dict, "obs": seen})

        def act(self, obs: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
            """The Gaussian's mean (N, 24), and where the object's frame is said to be (N, 3), m, in the cloud's frame;
            None without that head."""
            seen, position = self._encoded(obs)
            mean, *_ = A2CBuilder.Network.forward(self, {"obs": seen})
            return mean, position

        def _encoded(self, obs: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
            """What the trunk sees, and the object's position."""
            code, centroid = self.encoder(obs[:, NUM_PROPRIOCEPTION:].unflatten(1, (-1, 3)))
            beside = obs[:, :NUM_PROPRIOCEPTION]
            if self.encoder.config.centroid:
                beside = torch.cat((beside, centroid), dim=1)
            with torch.no_grad():
                beside = self.statistics(beside)
            position = None if self.position_layer is None else centroid + self.position_layer(code)
            return torch.cat((beside, code), dim=1), position
