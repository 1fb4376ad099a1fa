"""Distillation of specialists into a generalist (UniDexGrasp++, Sec. 4.2): DAgger that teaches the critic, too, so that
PPO can go on from the generalist."""

from typing import Any, Dict, List, NamedTuple, Sequence

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


def returns(
    rewards: Sequence[Tensor], done: Sequence[Tensor], values: Sequence[Tensor], gamma: float, tau: float
) -> List[Tensor]:
    """What the critic should have said at each of T steps: generalised advantage estimation (Schulman et al., 2016).

    Args:
        rewards: T of (N, 1).
        done: T of (N, 1), 1 where the step ended the episode.
        values: T + 1 of (N, 1), the critic's before each step and after the last.
        tau: the estimation's lambda.
    """
    out: List[Tensor] = []
    advantage = torch.zeros_like(values[0])
    for reward, ended, value, following in reversed(list(zip(rewards, done, values, values[1:]))):
        going = 1.0 - ended
        advantage = reward + gamma * following * going - value + gamma * tau * going * advantage
        out.insert(0, advantage + value)
    return out


class ResDexDistillation(ResDexDagger):
    """`ResDexDagger` for an actor-critic. Beside the actor's imitation, every gradient step moves the critic to the
    `returns` of the iteration's steps."""

    def __init__(self, base_name: str, params: Dict[str, Any]) -> None:
        super().__init__(base_name, params)
        self._rollout: List[_Seen] = []
        self._values = (torch.empty(0), torch.empty(0))
        """(T N, size) what was seen in the last iteration, and (T N, 1) its returns as the critic learns them."""

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
        rewards = [step.reward for step in self._rollout]
        if self.value_bootstrap:  # an episode that runs out of time is worth its value
            rewards = [r + self.gamma * v * step.time_out for r, v, step in zip(rewards, values, self._rollout)]
        out = torch.cat(returns(rewards, [step.done for step in self._rollout], values, self.gamma, self.tau))
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
