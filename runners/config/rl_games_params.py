"""What we know of rl_games' `train.params`: types and bounds of the keys in cfg/train. It has more, which pass."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Union

from resdex_tasks.networks.experts import ACTIVATIONS
from resdex_tasks.networks.hyper import MixtureConfig
from resdex_tasks.networks.point_cloud import PointCloudConfig
from resdex_tasks.utils.config_reader import bounds, check_known, read_config
from resdex_tasks.utils.errors import UserError


@dataclass(frozen=True)
class PpoParams:
    """`train.params.config`: rl_games' keys, and those of `ResDexPPO`."""

    name: str
    ppo: bool
    multi_gpu: bool
    num_actors: int = field(metadata=bounds(at_least=1))
    normalize_input: bool
    normalize_value: bool
    normalize_advantage: bool
    value_bootstrap: bool
    """An episode that runs out of time is worth its value, not nothing."""
    mixed_precision: bool
    torch_compile: bool
    horizon_length: int = field(metadata=bounds(at_least=1))
    mini_epochs: int = field(metadata=bounds(at_least=1))
    num_minibatches: int = field(metadata=bounds(at_least=1))
    minibatch_size: int = field(metadata=bounds(at_least=1))
    max_epochs: int = field(metadata=bounds(at_least=1))
    learning_rate: float = field(metadata=bounds(above=0))
    lr_schedule: Optional[str] = field(metadata=bounds(choices=("adaptive", "linear", "None")))
    schedule_type: str = field(metadata=bounds(choices=("legacy", "standard")))
    kl_threshold: float = field(metadata=bounds(above=0))
    min_lr: float = field(metadata=bounds(above=0))
    max_lr: float = field(metadata=bounds(above=0))
    final_max_lr: float = field(metadata=bounds(above=0))
    start_sigma: Optional[float] = field(metadata=bounds(above=0))
    gamma: float = field(metadata=bounds(at_least=0, at_most=1))
    tau: float = field(metadata=bounds(at_least=0, at_most=1))
    e_clip: float = field(metadata=bounds(above=0))
    clip_value: bool
    critic_coef: float = field(metadata=bounds(at_least=0))
    entropy_coef: float
    bound_loss_type: str = field(metadata=bounds(choices=("bound", "regularisation")))
    bounds_loss_coef: Optional[float] = field(metadata=bounds(at_least=0))
    grad_norm: float = field(metadata=bounds(above=0))
    truncate_grads: bool
    save_frequency: int = field(metadata=bounds(at_least=1))
    games_to_track: int = field(metadata=bounds(at_least=1))
    stop_at_success: Optional[float] = field(metadata=bounds(at_least=0, at_most=1))
    """The training is over once the running success at the end, of `games_to_track` episodes, is so high."""
    print_stats: bool


@dataclass(frozen=True)
class DaggerParams:
    """`train.params.config`: the keys of `ResDexDagger`."""

    buffer_steps: int = field(metadata=bounds(at_least=1))
    updates: int = field(metadata=bounds(at_least=1))
    minibatch_steps: int = field(metadata=bounds(at_least=1))
    clamp_labels: bool
    final_learning_rate: float = field(metadata=bounds(above=0))
    huber_delta: Optional[float] = field(metadata=bounds(above=0))
    position_coef: float = field(metadata=bounds(at_least=0))
    teacher_share: float = field(metadata=bounds(at_least=0, at_most=1))
    final_teacher_share: float = field(metadata=bounds(at_least=0, at_most=1))
    teacher_decay: float = field(metadata=bounds(at_least=0, at_most=1))


@dataclass(frozen=True)
class MlpParams:
    """`train.params.network.mlp`"""

    units: List[int] = field(metadata=bounds(at_least=1, filled=True))
    activation: str = field(metadata=bounds(choices=tuple(ACTIVATIONS)))
    d2rl: bool


@dataclass(frozen=True)
class ShaperParams:
    """`train.params.config.reward_shaper`"""

    scale_value: float


@dataclass(frozen=True)
class NetworkParams:
    """`train.params.network`"""

    name: str
    separate: bool


@dataclass(frozen=True)
class SpaceParams:
    """`train.params.network.space.continuous`"""

    fixed_sigma: bool


@dataclass(frozen=True)
class InitializerParams:
    """How weights begin; `name` says which of the others there are."""

    name: str
    gain: float
    val: float


@dataclass(frozen=True)
class TopParams:
    """`train.params`"""

    torch_threads: Union[int, str] = field(metadata=bounds(at_least=0, choices=("auto",)))
    """Of the networks on the CPU; 0 leaves them to torch, 'auto' to rl_games."""


PARTS: Dict[str, type] = {
    "train.params": TopParams,
    "train.params.config": PpoParams,
    "train.params.config.reward_shaper": ShaperParams,
    "train.params.network": NetworkParams,
    "train.params.network.mlp": MlpParams,
    "train.params.network.mlp.initializer": InitializerParams,
    "train.params.network.space.continuous": SpaceParams,
    "train.params.network.space.continuous.mu_init": InitializerParams,
    "train.params.network.space.continuous.sigma_init": InitializerParams,
}
"""What is known of each group."""


def check_params(params: Mapping[str, Any]) -> None:
    """Check what we know of `train.params`.

    Raises:
        UserError: a value does not fit, or the batch does not divide into minibatches.
    """
    for where, part in PARTS.items():
        check_known(part, _group(params, where), where)
    if "mixture" in params["network"]:
        read_config(MixtureConfig, params["network"]["mixture"], "train.params.network.mixture")
    if "cloud" in params["network"]:
        read_config(PointCloudConfig, params["network"]["cloud"], "train.params.network.cloud")
        if params["config"]["normalize_input"]:
            raise UserError(
                "train.params.config.normalize_input is true; a network that sees a cloud normalises what it sees by "
                "itself: normalize_input=false"
            )
    config = params["config"]
    if config.get("start_sigma") is not None and not params["network"]["space"]["continuous"]["fixed_sigma"]:
        raise UserError(
            f"train.params.config.start_sigma is {config['start_sigma']}; noise that depends on what is seen cannot be "
            "set: network.space.continuous.fixed_sigma=true, or start_sigma=null"
        )
    if "teacher_share" in config:
        check_known(DaggerParams, config, "train.params.config")
    batch = config["num_actors"] * config["horizon_length"]
    if batch % config["minibatch_size"]:
        raise UserError(
            f"train.params.config.minibatch_size={config['minibatch_size']} does not divide the batch of "
            f"num_envs x horizon_length = {batch}"
        )


def _group(params: Mapping[str, Any], where: str) -> Any:
    """What stands at a place below `train.params`; an empty group where nothing does."""
    group: Any = params
    for name in where.split(".")[2:]:
        group = group.get(name, {}) if isinstance(group, Mapping) else {}
    return group
