"""What we know of rl_games' `train.params`: types and bounds of the keys in cfg/train. It has more, which pass."""

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Union

from resdex_tasks.networks.experts import ACTIVATIONS
from resdex_tasks.networks.hyper import MixtureConfig
from resdex_tasks.utils.config_reader import check_known, read_config, setting
from resdex_tasks.utils.errors import UserError


@dataclass(frozen=True)
class PpoParams:
    """`train.params.config`: rl_games' keys, and those of `ResDexPPO`."""

    normalize_input: bool
    normalize_value: bool
    normalize_advantage: bool
    value_bootstrap: bool
    """An episode that runs out of time is worth its value, not nothing."""
    mixed_precision: bool
    torch_compile: bool
    horizon_length: int = setting(at_least=1)
    mini_epochs: int = setting(at_least=1)
    num_minibatches: int = setting(at_least=1)
    minibatch_size: int = setting(at_least=1)
    max_epochs: int = setting(at_least=1)
    learning_rate: float = setting(above=0)
    lr_schedule: Optional[str] = setting(choices=("adaptive", "linear", "None"))
    schedule_type: str = setting(choices=("legacy", "standard"))
    kl_threshold: float = setting(above=0)
    min_lr: float = setting(above=0)
    max_lr: float = setting(above=0)
    final_max_lr: float = setting(above=0)
    gamma: float = setting(at_least=0, at_most=1)
    tau: float = setting(at_least=0, at_most=1)
    e_clip: float = setting(above=0)
    clip_value: bool
    critic_coef: float = setting(at_least=0)
    entropy_coef: float
    bounds_loss_coef: Optional[float] = setting(at_least=0)
    grad_norm: float = setting(above=0)
    truncate_grads: bool
    save_frequency: int = setting(at_least=1)
    games_to_track: int = setting(at_least=1)
    print_stats: bool


@dataclass(frozen=True)
class MlpParams:
    """`train.params.network.mlp`"""

    units: List[int] = setting(at_least=1, filled=True)
    activation: str = setting(choices=tuple(ACTIVATIONS))
    d2rl: bool


@dataclass(frozen=True)
class TopParams:
    """`train.params`"""

    torch_threads: Union[int, str] = setting(at_least=0, choices=("auto",))
    """Of the networks on the CPU; 0 leaves them to torch, 'auto' to rl_games."""


def check_params(params: Mapping[str, Any]) -> None:
    """Check what we know of `train.params`.

    Raises:
        UserError: a value does not fit, or the batch does not divide into minibatches.
    """
    check_known(TopParams, params, "train.params")
    check_known(PpoParams, params["config"], "train.params.config")
    check_known(MlpParams, params["network"].get("mlp", {}), "train.params.network.mlp")
    if "mixture" in params["network"]:
        read_config(MixtureConfig, params["network"]["mixture"], "train.params.network.mixture")
    config = params["config"]
    batch = config["num_actors"] * config["horizon_length"]
    if batch % config["minibatch_size"]:
        raise UserError(
            f"train.params.config.minibatch_size={config['minibatch_size']} does not divide the batch of "
            f"num_envs x horizon_length = {batch}"
        )
