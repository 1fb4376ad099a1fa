"""The task as rl_games sees it."""

import gc
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
import torch
from rl_games.common import env_configurations, vecenv
from rl_games.common.gym_compat import gym
from rl_games.common.ivecenv import IVecEnv
from torch import Tensor

from resdex_tasks.grasp_task import GraspTask, Health
from resdex_tasks.networks.hyper import hyper_action_size
from resdex_tasks.observations import joined

ENV_NAME = "resdex"


def spaces(num_obs: int, num_actions: int) -> Dict[str, Any]:
    """rl_games' `env_info`."""
    return {
        "observation_space": gym.spaces.Box(-np.inf, np.inf, (num_obs,), np.float32),
        "action_space": gym.spaces.Box(-1.0, 1.0, (num_actions,), np.float32),
        "agents": 1,
        "value_size": 1,
    }


def hyper_spaces(info: Mapping[str, Any], network: Mapping[str, Any]) -> Dict[str, Any]:
    """`env_info` with the hyper-action of `train.params.network` for its action space."""
    space = info["action_space"]
    widened = type(space)(-1.0, 1.0, (hyper_action_size(network),), np.float32)
    return {**info, "action_space": widened}


class GraspVecEnv(IVecEnv):
    """`GraspTask` behind rl_games' vectorised environment interface; moves tensors to the learner's device.

    Args:
        teacher_view: what a teacher of the policy sees; None: there is none.
    """

    def __init__(self, task: GraspTask, rl_device: str, teacher_view: Optional[str] = None) -> None:
        self.task, self.rl_device, self.teacher_view = task, rl_device, teacher_view
        self._restored = False

    def step(self, actions: Tensor) -> Tuple[Dict[str, Tensor], Tensor, Tensor, Dict]:
        obs, reward, done, extras = self.task.step(actions)
        extras["time_outs"] = extras["time_outs"].to(self.rl_device)
        return self._seen(obs), reward.to(self.rl_device), done.to(self.rl_device), extras

    def reset(self) -> Dict[str, Tensor]:
        # after a restore the episodes go on where they were
        obs = self.task.obs if self._restored else self.task.reset()
        self._restored = False
        return self._seen(obs)

    def _seen(self, observations: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """rl_games' names: `obs` is what the policy sees, `states` what its teacher does, `object_index` (N,) of which
        object."""
        seen = {"obs": joined(observations, self.task.config.observation).to(self.rl_device)}
        if self.teacher_view is not None:
            seen["states"] = joined(observations, self.teacher_view).to(self.rl_device)
            seen["object_index"] = self.task.sim.object_index.to(self.rl_device)
        return seen

    def get_env_info(self) -> Dict[str, Any]:
        return spaces(self.task.num_obs, self.task.num_actions)

    def health(self) -> Health:
        """What went wrong in the simulator so far."""
        return self.task.health()

    def get_env_state(self) -> dict:
        return self.task.get_state()

    def set_env_state(self, env_state: Any) -> None:
        if env_state is not None:
            self.task.set_state(env_state)
            self._restored = True


def release() -> None:
    """Let go of the registered environment: its simulator's memory is for the next one."""
    vecenv.register("RESDEX", _no_environment)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _no_environment(config_name: str, num_actors: int, **kwargs: Any) -> "GraspVecEnv":
    raise RuntimeError("no task is registered: vec_env.register comes first")


def register(task: GraspTask, rl_device: str, teacher_view: Optional[str] = None) -> None:
    """Make rl_games' Runner build its environment from this task."""
    env = GraspVecEnv(task, rl_device, teacher_view)
    vecenv.register("RESDEX", lambda config_name, num_actors, **kwargs: env)
    env_configurations.register(ENV_NAME, {"vecenv_type": "RESDEX", "env_creator": lambda **kwargs: env})
