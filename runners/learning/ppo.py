"""The method's PPO: rl_games' agent with the little that it lacks."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from rl_games.algos_torch.a2c_continuous import A2CAgent
from rl_games.algos_torch.players import PpoPlayerContinuous

from resdex_tasks.sims.base import Overflow
from resdex_tasks.utils.threads import simulator_first
from runners.learning.monitor import TrainingStopped
from runners.policies import checkpoint as checkpoints

NEVER = 10**9
RUNNING = ("current_rewards", "current_shaped_rewards", "current_lengths")
"""rl_games' sums over the episodes in progress."""
METERS = ("game_rewards", "game_shaped_rewards", "game_lengths")
"""rl_games' means over the last episodes."""


class ResDexPPO(A2CAgent):
    """rl_games' continuous A2C agent, with these differences.

    - The KL that steers the learning rate is against the policy of the rollout, as in the method's code; rl_games
      measures it against the previous mini-epoch. The learning rate has a floor `min_lr` and a ceiling `max_lr`, which
      may fall, in the second half of the training, to `final_max_lr`.
    - Checkpoints describe themselves, are written atomically, and resume bit-exactly: learning rate, best score,
      random numbers and the environments' state come back. `nn/last.pth` is the latest, `nn/best.pth` (policy only)
      the one with the highest running `held` success.

    `config["description"]`, a dict of plain values, travels with every checkpoint.
    """

    def __init__(self, base_name: str, params: Dict[str, Any]) -> None:
        params["config"]["save_best_after"] = NEVER  # by reward; ours goes by success
        self.save_every = int(params["config"].get("save_frequency") or NEVER)
        params["config"]["save_frequency"] = 0
        super().__init__(base_name, params)
        self.scheduler.min_lr = float(self.config.get("min_lr", 1e-6))
        self._max_lr = float(self.config.get("max_lr", 1e-2))
        self._final_max_lr = min(self._max_lr, float(self.config.get("final_max_lr", self._max_lr)))
        self.scheduler.max_lr = self._max_lr
        self.dataset.update_mu_sigma = lambda mu, sigma: None  # keeps the rollout's
        self.best_score = float("-inf")
        self.stop_requested, self.stopping = False, False
        self.num_diverged = 0
        self.overflows: List[Overflow] = []
        self._restored_sums: Dict[str, torch.Tensor] = {}

    def update_epoch(self) -> int:
        """Count the iteration; its learning rate's ceiling falls geometrically in the second half.

        Raises:
            TrainingStopped: on every GPU, once the monitor of the first one has set `stopping`.
        """
        if self._stops_everywhere():
            raise TrainingStopped
        decay = max(0.0, 2 * self.epoch_num / self.max_epochs - 1)
        self.scheduler.max_lr = self._max_lr * (self._final_max_lr / self._max_lr) ** decay
        self.last_lr = min(self.last_lr, self.scheduler.max_lr)
        return super().update_epoch()

    def _stops_everywhere(self) -> bool:
        if self.multi_gpu:
            stopping = torch.tensor(float(self.stopping), device=self.ppo_device)
            torch.distributed.broadcast(stopping, 0)
            self.stopping = bool(stopping)
        return self.stopping

    def train_epoch(self) -> Any:
        """One iteration. Every GPU's policy sees through the first one's running statistics."""
        if self.multi_gpu:
            for name, buffer in self.model.named_buffers():
                if ".experts." not in name:  # frozen: the same on every GPU from the start
                    torch.distributed.broadcast(buffer, 0)
        result = super().train_epoch()
        self._count_troubles()
        return result

    def _count_troubles(self) -> None:
        """Sum over all GPUs what went wrong in their simulators so far: `num_diverged`, `overflows`."""
        task = self.vec_env.task
        overflows = task.sim.overflows()
        counts = torch.tensor([task.num_diverged, *(overflow.count for overflow in overflows)])
        if self.multi_gpu:
            counts = counts.to(self.ppo_device)
            torch.distributed.all_reduce(counts)
        self.num_diverged, *dropped = counts.tolist()
        self.overflows = [replace(overflow, count=count) for overflow, count in zip(overflows, dropped)]

    def play_steps(self) -> Dict[str, Any]:
        """The rollout, in which the simulator has the cores."""
        with simulator_first():
            return super().play_steps()

    def get_full_state_weights(self) -> Dict[str, Any]:
        state = super().get_full_state_weights()
        state.update(
            format=checkpoints.FORMAT,
            **self.config["description"],
            success=self.algo_observer.window.means(),  # of the exploring policy, running means
            last_lr=self.last_lr,
            best_score=self.best_score,
            rng={"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
            statistics={
                "window": self.algo_observer.window.get_state(),
                "running": {name: getattr(self, name) for name in RUNNING},
                "meters": {name: (getattr(self, name).mean, getattr(self, name).current_size) for name in METERS},
            },
        )
        return state

    def init_current_rewards(self, batch_size: int, current_rewards_shape: Any) -> None:
        """Start the sums of the episodes in progress; after a restore they go on."""
        super().init_current_rewards(batch_size, current_rewards_shape)
        for name, value in self._restored_sums.items():
            setattr(self, name, value.to(self.ppo_device))
        self._restored_sums = {}

    def save(self, fn: Optional[str] = None) -> None:
        """Write `nn/last.pth`; rl_games' own file names, which hold iteration and reward, are not used."""
        checkpoints.write_checkpoint(Path(self.nn_dir) / "last.pth", self.get_full_state_weights())

    def save_if_best(self, score: float) -> None:
        """Write `nn/best.pth` when `score` has not been reached before."""
        if score > self.best_score:
            self.best_score = score
            policy = checkpoints.policy_only(self.get_full_state_weights())
            checkpoints.write_checkpoint(Path(self.nn_dir) / "best.pth", policy)

    def start_from(self, fn: str) -> None:
        """Take the weights of another training's policy, nothing else: iteration, optimizer and best score are new."""
        state = checkpoints.read_checkpoint(fn)
        checkpoints.check_fits(state, self.config["description"], fn)
        self.set_weights(state)
        if self.global_rank == 0:
            print(f"starts from the weights of {fn} ({state.get('frame', 0):,} steps), with a fresh optimizer")

    def restore(self, fn: str, set_epoch: bool = True) -> None:
        """Go on from a checkpoint; from a policy-only one, start a new training from its weights."""
        state, description = checkpoints.read_checkpoint(fn), self.config["description"]
        checkpoints.check_fits(state, description, fn)
        if "optimizer" not in state:
            self.start_from(fn)
            return
        same = all(state[key] == description[key] for key in ("task", "sim", "objects", "object_source"))
        task = self.vec_env.task
        same = same and state["env_state"] is not None and state["env_state"]["device"] == task.device.type
        first = self.global_rank == 0
        if not same or not first:
            state["env_state"] = None  # the other GPUs' episodes are their own: they start anew
        self.set_full_state_weights(state, set_epoch=set_epoch)
        self.last_lr = float(state["last_lr"])
        self.update_lr(self.last_lr)
        self.best_score = float(state["best_score"])
        if not first:
            return
        torch.set_rng_state(state["rng"]["cpu"])
        if len(state["rng"]["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["rng"]["cuda"])
        if same:
            statistics = state["statistics"]
            self.algo_observer.window.set_state(statistics["window"])
            self._restored_sums = statistics["running"]
            for name, (mean, size) in statistics["meters"].items():
                getattr(self, name).mean, getattr(self, name).current_size = mean.to(self.ppo_device), size
        print(f"resumed {fn} at iteration {self.epoch_num}, {self.frame:,} steps, learning rate {self.last_lr:.1e}")
        if not same:
            print("the task, its objects, its simulator or its device changed: episodes start anew")


class ResDexPlayer(PpoPlayerContinuous):
    """rl_games' player; it reads our checkpoints without executing them."""

    def restore(self, fn: str) -> None:
        state = checkpoints.read_checkpoint(fn)
        checkpoints.check_fits(state, self.config["description"], fn)
        self.model.load_state_dict(state["model"])
