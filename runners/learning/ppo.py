"""The method's PPO: rl_games' agent with the little that it lacks."""

import math
from typing import Any, Dict

from runners.learning.agent import ResDexAgent
from runners.policies.checkpoint import Checkpoint


class ResDexPPO(ResDexAgent):
    """PPO whose learning rate is steered by the KL against the policy of the rollout, as in the method's code.

    rl_games measures it against the previous mini-epoch. The learning rate has a floor `min_lr` and a ceiling `max_lr`,
    which may fall, in the second half of the training, to `final_max_lr`. What starts from another policy's weights
    explores with the noise `start_sigma`, where that is given: a policy that learned by imitation knows none.
    """

    def __init__(self, base_name: str, params: Dict[str, Any]) -> None:
        super().__init__(base_name, params)
        self.scheduler.min_lr = float(self.config.get("min_lr", 1e-6))
        self._max_lr = float(self.config.get("max_lr", 1e-2))
        self._final_max_lr = min(self._max_lr, float(self.config.get("final_max_lr", self._max_lr)))
        self.scheduler.max_lr = self._max_lr
        self.dataset.update_mu_sigma = lambda mu, sigma: None  # keeps the rollout's

    def update_epoch(self) -> int:
        """Count the iteration; its learning rate's ceiling falls geometrically in the second half."""
        epoch = super().update_epoch()
        decay = max(0.0, 2 * (epoch - 1) / self.max_epochs - 1)
        self.scheduler.max_lr = self._max_lr * (self._final_max_lr / self._max_lr) ** decay
        self.last_lr = min(self.last_lr, self.scheduler.max_lr)
        return epoch

    def start_from(self, checkpoint: Checkpoint) -> None:
        super().start_from(checkpoint)
        noise = self.config.get("start_sigma")
        if noise is not None:
            self.model.a2c_network.sigma.data.fill_(math.log(float(noise)))
