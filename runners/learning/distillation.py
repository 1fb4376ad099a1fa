"""Distillation of specialists into a generalist that sees the state as they do (UniDexGrasp++, Sec. 4.2): DAgger that
teaches the critic, too, so that PPO can go on from the generalist."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from runners.learning.dagger import ResDexDagger


class _Seen(NamedTuple):
    """A step of the rollout."""

    obs: Tensor
    """(N, size)"""
    reward: Tensor
    """(N, 1)"""
    done: Tensor
    """(N, 1)"""
    time_out: Tensor
    """(N, 1)"""


class ResDexDistillation(ResDexDagger):
    """`ResDexDagger` for rl_games' own actor-critic. Beside the actor's imitation, every gradient step moves the critic
    to the returns of the iteration's steps (generalised advantage estimation over values, as PPO's)."""

    def __init__(self, base_name: str, params: Dict[str, Any]) -> None:
        super().__init__(base_name, params)
        self._rollout: List[_Seen] = []
        self._values = (torch.empty(0), torch.empty(0))
        """(T N, size) what was seen in the last iteration, and (T N, 1) its returns as the critic learns them."""

    def act(self, obs: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        mean, *_ = self.model.a2c_network({"obs": self.model.norm_obs(obs)})
        return mean, None

    def env_step(self, actions: Tensor) -> Any:
        """A step, which is also kept for the critic."""
        seen = self.obs["obs"]
        obs, rewards, dones, infos = super().env_step(actions)
        ended = [flag.to(self.ppo_device).float()[:, None] for flag in (dones, infos["time_outs"])]
        self._rollout.append(_Seen(seen, self.rewards_shaper(rewards), *ended))
        return obs, rewards, dones, infos

    def learn(self) -> List[Tensor]:
        """`updates` gradient steps on buffer and rollout; returns the imitation's losses."""
        self._values = torch.cat([step.obs for step in self._rollout]), self._returns()
        self._rollout = []
        return super().learn()

    @torch.no_grad()
    def _returns(self) -> Tensor:
        """The rollout's returns (T N, 1), normalised where values are."""
        self.set_eval()
        values = [self._value(obs) for obs in [*(step.obs for step in self._rollout), self.obs["obs"]]]
        returns, advantage = [], torch.zeros_like(values[0])
        for step, value, following in reversed(list(zip(self._rollout, values, values[1:]))):
            reward, going = step.reward, 1.0 - step.done
            if self.value_bootstrap:
                reward = reward + self.gamma * value * step.time_out
            advantage = reward + self.gamma * following * going - value + self.gamma * self.tau * going * advantage
            returns.append(advantage + value)
        out = torch.cat(returns[::-1])
        self.set_train()
        return self.value_mean_std(out) if self.normalize_value else out

    def _value(self, obs: Tensor) -> Tensor:
        """V (N, 1), in units of the reward."""
        _, _, value, _ = self.model.a2c_network({"obs": self.model.norm_obs(obs)})
        return self.model.denorm_value(value)

    def further_loss(self) -> Tensor:
        """`critic_coef` / 2 times the squared error of the values of a minibatch of the rollout: rl_games' weight."""
        obs, returns = self._values
        chosen = torch.randint(len(obs), (min(len(obs), self.config["minibatch_steps"] * self.num_actors),))
        _, _, value, _ = self.model.a2c_network({"obs": self.model.norm_obs(obs[chosen])})
        error: Tensor = value - returns[chosen]
        return 0.5 * self.config["critic_coef"] * error.square().mean()
