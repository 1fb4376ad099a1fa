"""rl_games network builders of the method, and their names in a training's `params.network.name`."""

from rl_games.algos_torch import model_builder

from resdex_tasks.networks.hyper import HyperBuilder
from resdex_tasks.networks.point_cloud import PointCloudBuilder


def register() -> None:
    """Make the builders known to rl_games."""
    model_builder.register_network("resdex_hyper", HyperBuilder)
    model_builder.register_network("resdex_point_cloud", PointCloudBuilder)
