"""PPO over hyper-actions: rl_games samples and stores [lambda, residual]; the environment gets the composed action."""

from typing import Any, Dict

from rl_games.common import vecenv
from torch import Tensor

from runners.learning import vec_env
from runners.learning.ppo import ResDexPPO


class HyperPPO(ResDexPPO):
    """`ResDexPPO` over the network of `networks.hyper`: every action is composed (Eq. 4), then clamped."""

    def __init__(self, base_name: str, params: Dict[str, Any]) -> None:
        config = params["config"]
        env = vecenv.create_vec_env(config["env_name"], config["num_actors"])
        config["vec_env"] = env
        config["env_info"] = vec_env.hyper_spaces(env.get_env_info(), params["network"])
        super().__init__(base_name, params)

    def reg_loss(self, mu: Tensor) -> Tensor:
        """Squared mean of the residual, per sample: what pulls it to zero (`bound_loss_type=regularisation`)."""
        return mu[:, self.model.a2c_network.experts.spec.count :].square().sum(dim=-1)

    def preprocess_actions(self, actions: Tensor) -> Tensor:
        """Hyper-actions (N, k + 24) -> actions (N, 24). `self.obs` is still what they were sampled for."""
        composed, _ = self.model.a2c_network.compose(self.obs["obs"], actions)
        return composed.clamp(-1.0, 1.0)
