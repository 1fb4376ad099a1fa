"""What all our agents share: rl_games' agent, with checkpoints that describe themselves and resume exactly."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import torch
from rl_games.algos_torch.a2c_continuous import A2CAgent
from rl_games.common import a2c_common
from tqdm import tqdm

from resdex_tasks.sims.base import Overflow
from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.mappings import fits
from resdex_tasks.utils.tensors import not_finite
from resdex_tasks.utils.threads import simulator_first
from runners.learning.log import TrainingLog
from runners.learning.monitor import TrainingStopped
from runners.policies import wall_time
from runners.policies.checkpoint import Checkpoint

a2c_common.SummaryWriter = TrainingLog
"""rl_games makes its writer by this name; tensorboardX's own blocks for ever once its thread met a full disk."""


def _print_statistics(*words: Any) -> None:
    """Of what rl_games prints about its loop, the line that `print_stats` asks for: the monitor says the rest."""
    if str(words[0]).startswith("fps "):
        tqdm.write(" ".join(map(str, words)))


a2c_common.print = _print_statistics
NEVER = 10**9
RUNNING = ("current_rewards", "current_shaped_rewards", "current_lengths")
"""rl_games' sums over the episodes in progress."""
METERS = ("game_rewards", "game_shaped_rewards", "game_lengths")
"""rl_games' means over the last episodes."""
_SAME_EPISODES = ("task", "sim", "objects", "object_source")
"""Fields of a checkpoint that say whether its episodes can go on."""


class ResDexAgent(A2CAgent):
    """rl_games' continuous A2C agent, with checkpoints that describe themselves, are written atomically, and resume
    bit-exactly: learning rate, best score, random numbers and the environments' state come back. `nn/last.pth` is the
    latest, `nn/best.pth` (policy only) the one with the highest running success at the end.

    `config["blank"]` is a `Checkpoint` without weights: what every checkpoint says of itself.
    """

    obs: Dict[str, torch.Tensor]
    """What the environments look like before the next step: `obs`, and `states` for a teacher (rl_games')."""
    last_lr: float
    """The learning rate as it is now (rl_games')."""

    def __init__(self, base_name: str, params: Dict[str, Any]) -> None:
        params["config"]["save_best_after"] = NEVER  # by reward; ours goes by success
        self.save_every = int(params["config"].get("save_frequency") or NEVER)
        params["config"]["save_frequency"] = 0
        super().__init__(base_name, params)
        self.best_score = float("-inf")
        self.stop_requested, self.stopping = False, False
        self.reached = False
        """Whether the running success has been `stop_at_success`."""
        self.num_diverged = 0
        self.overflows: List[Overflow] = []
        self._restored_sums: Dict[str, torch.Tensor] = {}
        self._began, self._minutes_before = time.monotonic(), 0.0
        self.unsaved: Optional[str] = None
        """Why `nn/last.pth` could not be written the last time; None: it was."""

    def update_epoch(self) -> int:
        """Count the iteration.

        Raises:
            TrainingStopped: on every GPU, once the monitor of the first one has set `stopping`.
        """
        if self._stops_everywhere():
            raise TrainingStopped
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
        try:
            result = self.iteration()
        except ValueError:  # torch's distributions refuse a mean that is none
            self._check_finite()
            raise
        self._check_finite()
        self._count_troubles()
        return result

    def _check_finite(self) -> None:
        """UserError where the iteration made the weights nan or infinite: nothing good can come of them."""
        broken = not_finite(self.model.state_dict())
        if broken:
            last = Path(self.nn_dir) / "last.pth"
            left = f"{last} is as it was before; " if last.exists() else ""
            raise UserError(
                f"iteration {self.epoch_num} made the policy's weights nan or infinite ({broken}); the training stops "
                f"there. {left}a smaller train.params.config.learning_rate or grad_norm may help"
            )

    def iteration(self) -> Any:
        """What an iteration does and returns: rl_games' PPO, unless an algorithm says otherwise."""
        return super().train_epoch()

    def _count_troubles(self) -> None:
        """Sum over all GPUs what went wrong in their simulators so far: `num_diverged`, `overflows`."""
        health = self.vec_env.health()
        overflows = health.overflows
        counts = torch.tensor([health.num_diverged, *(overflow.count for overflow in overflows)])
        if self.multi_gpu:
            counts = counts.to(self.ppo_device)
            torch.distributed.all_reduce(counts)
        self.num_diverged, *dropped = counts.tolist()
        self.overflows = [replace(overflow, count=count) for overflow, count in zip(overflows, dropped)]

    def play_steps(self) -> Dict[str, Any]:
        """The rollout, in which the simulator has the cores."""
        with simulator_first():
            return super().play_steps()

    def checkpoint(self) -> Checkpoint:
        """The training as it stands: `config["blank"]` with weights, progress and state."""
        state = self.get_full_state_weights()
        blank: Checkpoint = self.config["blank"]
        made_by = replace(
            blank.made_by,
            iterations=self.epoch_num,
            steps=self.frame,
            success={name: v for name, v in self.algo_observer.window.means().items() if name.startswith("success_")},
        )
        weights = {name: value.detach().cpu().clone() for name, value in state.pop("model").items()}
        state.update(
            last_lr=self.last_lr,
            own=self.own_state(),
            best_score=self.best_score,
            reached=self.reached,
            rng={"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
            statistics={
                "window": self.algo_observer.window.get_state(),
                "teacher_window": self.algo_observer.teacher_window.get_state(),
                "running": {name: getattr(self, name) for name in RUNNING},
                "meters": {name: (getattr(self, name).mean, getattr(self, name).current_size) for name in METERS},
            },
        )
        return replace(blank, weights=weights, made_by=made_by, training=state)

    def own_state(self) -> Dict[str, Any]:
        """What an algorithm must remember beside all this, to resume exactly."""
        return {}

    def set_own_state(self, state: Mapping[str, Any]) -> None:
        """Inverse of `own_state`."""

    @property
    def progress_text(self) -> str:
        """What an algorithm shows of itself in the progress bar."""
        return ""

    def init_current_rewards(self, batch_size: int, current_rewards_shape: Any) -> None:
        """Start the sums of the episodes in progress; after a restore they go on."""
        super().init_current_rewards(batch_size, current_rewards_shape)
        for name, value in self._restored_sums.items():
            setattr(self, name, value.to(self.ppo_device))
        self._restored_sums = {}

    def save(self, fn: Optional[str] = None) -> None:
        """Write `nn/last.pth`; rl_games' own file names, which hold iteration and reward, are not used.

        Where it cannot be written, the file before it stays, `unsaved` says why, and the training goes on.
        """
        self.unsaved = self._written(self.checkpoint(), "last.pth")
        wall_time.note(Path(self.nn_dir).parent, self._minutes_before + (time.monotonic() - self._began) / 60)

    def save_if_best(self, score: float) -> None:
        """Write `nn/best.pth` when `score` has not been reached before."""
        if score > self.best_score:
            before, self.best_score = self.best_score, score
            if self._written(self.checkpoint().policy_only, "best.pth") is not None:
                self.best_score = before  # the next one as good is tried again

    def _written(self, checkpoint: Checkpoint, name: str) -> Optional[str]:
        """Write a file of `nn/`. Returns None, or why it could not be; this is then said."""
        try:
            checkpoint.write(Path(self.nn_dir) / name)
        except UserError as error:
            tqdm.write(f"warning: iteration {self.epoch_num}: {error}; tried again at the next save")
            return str(error)
        return None

    def start_from(self, checkpoint: Checkpoint) -> None:
        """Take the weights of another training's policy, nothing else: iteration, optimizer and best score are new."""
        self.set_weights({"model": checkpoint.weights})
        if self.global_rank == 0:
            steps = checkpoint.made_by.steps
            print(f"starts from the weights of {checkpoint.name} ({steps:,} steps), with a fresh optimizer")

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; from a policy-only one, start a new training from its weights."""
        if checkpoint.training is None:
            self.start_from(checkpoint)
            return
        try:
            same = self._restore(checkpoint)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            word = f"lacks {error}" if isinstance(error, KeyError) else f"is spoilt: {one_line(error)}"
            raise UserError(f"{checkpoint.name} cannot be resumed: the state of its training {word}") from error
        if self.global_rank != 0:
            return
        at = f"iteration {self.epoch_num}, {self.frame:,} steps, learning rate {self.last_lr:.1e}"
        print(f"resumed {checkpoint.name} at {at}")
        if not same:
            print("the task, its objects, its simulator or its device changed: episodes start again")

    def _restore(self, checkpoint: Checkpoint) -> bool:
        """Take over the whole state of a training. Returns whether its episodes go on."""
        state, blank = dict(checkpoint.training or {}), self.config["blank"]
        same = all(_comparable(getattr(checkpoint, key)) == _comparable(getattr(blank, key)) for key in _SAME_EPISODES)
        for key in ("epoch", "frame"):
            if not fits(state[key], int):
                raise ValueError(f"its {key} is {state[key]!r:.40}")
        task = self.vec_env.task
        same = same and state["env_state"] is not None and state["env_state"]["device"] == task.device.type
        first = self.global_rank == 0
        if not same or not first:
            state["env_state"] = None  # the other GPUs' episodes are their own: they start again
        if state["env_state"] is not None:
            _check_alike(state["env_state"], self.vec_env.get_env_state(), "env_state")
        self.set_full_state_weights({**state, "model": checkpoint.weights})
        self._check_optimizer()
        self.last_lr = float(state["last_lr"])
        self.update_lr(self.last_lr)
        self.best_score = float(state["best_score"])
        self._minutes_before = wall_time.noted(checkpoint.run_folder)[0]
        if not first:
            return same
        torch.set_rng_state(state["rng"]["cpu"])
        if len(state["rng"]["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["rng"]["cuda"])
        if same:
            self.set_own_state(state.get("own", {}))
            statistics = state["statistics"]
            self.algo_observer.window.set_state(statistics["window"])
            self.algo_observer.teacher_window.set_state(statistics.get("teacher_window", {}))
            self._restored_sums = {name: statistics["running"][name].clone() for name in RUNNING}
            for name, (mean, size) in statistics["meters"].items():
                getattr(self, name).mean, getattr(self, name).current_size = mean.to(self.ppo_device), size
        return same

    def _check_optimizer(self) -> None:
        """Moments that do not fit their parameters would only be met by the first step."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                state = self.optimizer.state.get(parameter, {})
                if state and {"step", "exp_avg", "exp_avg_sq"} - set(state):
                    raise ValueError("its optimizer lacks moments")
                for name in ("exp_avg", "exp_avg_sq") if state else ():
                    if state[name].shape != parameter.shape or not bool(state[name].isfinite().all()):
                        raise ValueError("its optimizer's moments are not those of its weights")


def _check_alike(theirs: Any, ours: Any, where: str) -> None:
    """ValueError where the environments' state is not of the kind of their present one: it would break a later step."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in ours:
            if key not in theirs:
                raise ValueError(f"{where} lacks {key}")
            _check_alike(theirs[key], ours[key], f"{where}.{key}")
    elif isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        if theirs.shape != ours.shape:
            raise ValueError(f"{where} is of another shape")
    elif ours is not None and type(theirs) is not type(ours):
        raise ValueError(f"{where} is of another type")


def _comparable(value: Any) -> Any:
    """A part of a checkpoint without what changes no episode: on how many threads the simulator ran."""
    return {k: v for k, v in value.items() if k != "numThreads"} if isinstance(value, Mapping) else value
