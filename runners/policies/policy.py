"""What an evaluation, a film or a student plays: a deterministic policy, from a checkpoint or a network in training."""

import contextlib
import io
from typing import Any, Dict, Optional

import torch
from rl_games.torch_runner import Runner
from torch import Tensor

from resdex_tasks import networks
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.networks.hyper import HyperBuilder
from runners.learning import vec_env
from runners.learning.hyper_ppo import HyperPlayer
from runners.learning.ppo import ResDexPlayer


class Policy:
    """The mean of an rl_games model's Gaussian: observation (N, num_obs) -> action (N, 24)."""

    weights: Optional[Tensor] = None
    """(N, k) the normalised mixture weights behind the last action; None where the policy mixes no experts."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model.eval()
        self._mixes = isinstance(model.a2c_network, HyperBuilder.Network)
        self._device = next(model.parameters()).device

    def __call__(self, obs: Tensor) -> Tensor:
        obs = obs.to(self._device)
        with torch.no_grad():
            out = self._model({"is_train": False, "prev_actions": None, "obs": obs, "rnn_states": None})
        action = out["mus"]
        if self._mixes:
            action, self.weights = self._model.a2c_network.compose(obs, action)
        return action.clamp(-1.0, 1.0)


def load_policy(cfg: Dict[str, Any], state: Dict[str, Any], task: GraspTask, name: str) -> Policy:
    """The policy of a checkpoint, its network built as the checkpoint says.

    Args:
        cfg: the configuration as plain containers.
        state: the checkpoint's content.
        name: the checkpoint, for rl_games' player and for messages.
    """
    params = cfg["train"]["params"]
    params["network"] = network = state["train"]["network"]
    mixes, info = "experts" in network, vec_env.spaces(task.num_obs, task.num_actions)
    params["config"].update(
        normalize_input=state["train"]["normalize_input"],
        normalize_value=state["train"]["normalize_value"],
        description={"kind": task.config.observation, "train": state["train"]},
        env_info=vec_env.hyper_spaces(info, network) if mixes else info,
        vec_env=None,
    )
    networks.register()
    with contextlib.redirect_stdout(io.StringIO()):  # rl_games' own talk
        runner = Runner()
        runner.load({"params": params})
        player = (HyperPlayer if mixes else ResDexPlayer)(runner.params)
    player.restore(name)
    return Policy(player.model)
