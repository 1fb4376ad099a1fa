"""A policy that plays: a network with its weights, and nothing else.

```python
policy = Policy.load("hyper_stage2")
action, weights = policy(observations)  # group -> (N, ...); (N, 24) in [-1, 1], (N, 4)
```
"""

import contextlib
import copy
import io
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional, Union

import torch
from rl_games.algos_torch.model_builder import ModelBuilder
from torch import Tensor

from resdex_tasks import networks
from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.networks.hyper import HyperBuilder, hyper_action_size
from resdex_tasks.observations import VIEWS, joined
from resdex_tasks.utils.errors import UserError
from runners.policies.checkpoint import Checkpoint, PolicySpec

MODEL = "continuous_a2c_logstd"
"""rl_games' model of all our trainings (`params.model.name`)."""


class PolicyOutput(NamedTuple):
    """What a policy answers."""

    action: Tensor
    """(N, 24) in [-1, 1]."""
    weights: Optional[Tensor]
    """(N, k) normalised mixture weights; None where the policy mixes no experts."""


class Policy:
    """The mean of an rl_games model's Gaussian, composed with the experts' actions where there are (Eq. 4)."""

    def __init__(self, model: torch.nn.Module, observation: str) -> None:
        self.model: Any = model.eval()
        self.observation = observation
        """What it sees: one of `observations.VIEWS`."""
        self.groups = VIEWS[observation]
        """The observation groups that this is made of."""
        self.device = next(model.parameters()).device
        network = model.a2c_network
        self._hyper: Optional[HyperBuilder.Network] = network if isinstance(network, HyperBuilder.Network) else None

    @classmethod
    def load(cls, checkpoint: Union[Checkpoint, str, Path], device: Union[str, torch.device] = "cpu") -> "Policy":
        """The policy of a checkpoint: as read, by its path, or by the name of a shipped one.

        Raises:
            UserError: the file cannot be read, or its weights do not fit the network that it describes.
        """
        checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.read(checkpoint)
        checkpoint.check_sees(checkpoint.spec.observation)
        model = build_model(checkpoint.spec)
        try:
            model.load_state_dict(dict(checkpoint.weights))
        except RuntimeError as error:
            raise UserError(f"{checkpoint.name} is damaged: its weights are not those of its network") from error
        return cls(model.to(device), checkpoint.spec.observation)

    @torch.no_grad()
    def __call__(self, observations: Union[Mapping[str, Tensor], Tensor], clamp: bool = True) -> PolicyOutput:
        """What to do.

        Args:
            observations: as the task returns them, not normalised, on any device: group -> (N, ...), of which it sees
                its own; or these joined, (N, size).
            clamp: false leaves the action as the network has it, beyond [-1, 1] too.
        """
        if not isinstance(observations, Tensor):
            observations = joined(observations, self.observation)
        observations = observations.to(self.device)
        return self.act_on(observations, self.model.norm_obs(observations), clamp)

    def act_on(self, observation: Tensor, normalised: Tensor, clamp: bool = True) -> PolicyOutput:
        """The same for joined observations on its device, and as its running statistics leave them (both (N, size))."""
        seen = {"is_train": False, "prev_actions": None, "rnn_states": None, "obs": normalised}
        action, weights = self.model.a2c_network(seen)[0], None
        if self._hyper is not None:
            action, weights = self._hyper.compose(observation, action)
        return PolicyOutput(action.clamp(-1.0, 1.0) if clamp else action, weights)


def build_model(spec: PolicySpec) -> torch.nn.Module:
    """The rl_games model that a spec describes, with fresh weights.

    Raises:
        UserError: rl_games cannot build it.
    """
    networks.register()
    network = copy.deepcopy(dict(spec.network))
    try:
        sizes = {
            "actions_num": hyper_action_size(network) if spec.experts else NUM_ACTIONS,
            "input_shape": (spec.observation_size,),
            "num_seqs": 1,
            "value_size": 1,
            "normalize_value": spec.normalize_value,
            "normalize_input": spec.normalize_input,
        }
        with contextlib.redirect_stdout(io.StringIO()):  # rl_games' own messages
            return ModelBuilder().load({"model": {"name": MODEL}, "network": network}).build(sizes)
    except UserError:
        raise
    except Exception as error:  # rl_games' factories check little and raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"rl_games cannot build the policy's network: {reason}") from error
