"""DAgger (Sec. 3.2, A.2): a student that sees a point cloud learns to act as a teacher that sees the state, or as
teachers that see clouds, too."""

import time
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import torch
from torch import Tensor

from resdex_tasks.networks.point_cloud import PointCloudBuilder
from resdex_tasks.observations import BLOCKS
from resdex_tasks.utils.threads import simulator_first
from runners.learning.agent import ResDexAgent
from runners.policies.teachers import Teachers

LARGEST_SAVED = 64 * 2**20
"""bytes: a checkpoint holds what the student learns from, and so resumes exactly, where it is no more than this."""


class LabelBuffer:
    """The last `capacity` samples (what the student saw, what the teacher would do; where the object was, for a student
    that learns to tell it), the oldest overwritten first."""

    def __init__(self, capacity: int, sizes: Mapping[str, int], device: str) -> None:
        self._columns = {name: torch.zeros(capacity, size, device=device) for name, size in sizes.items()}
        self.capacity, self._added = capacity, 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(self, **rows: Tensor) -> None:
        """Add samples (n, size) to each column; n divides the capacity."""
        count = len(next(iter(rows.values())))
        start = self._added % self.capacity
        for name, values in rows.items():
            self._columns[name][start : start + count] = values
        self._added += count

    def rows(self, index: Tensor) -> Dict[str, Tensor]:
        """The samples at `index` (n,)."""
        return {name: column[index] for name, column in self._columns.items()}

    @property
    def bytes(self) -> int:
        return sum(column.numel() * column.element_size() for column in self._columns.values())

    def get_state(self) -> Dict[str, Any]:
        """A copy of all that it holds."""
        columns = {name: column.detach().to("cpu", copy=True) for name, column in self._columns.items()}
        return {"added": self._added, "columns": columns}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._added = int(state["added"])
        for name, column in self._columns.items():
            column.copy_(state["columns"][name])


def imitation_error(action: Tensor, label: Tensor) -> Tensor:
    """How far actions (N, 24) are from a teacher's labels in [-1, 1]: nothing where a label is at a limit and the
    action beyond it, as the environment clamps."""
    beyond = (label.abs() >= 1) & (action * label >= 1)
    return torch.where(beyond, torch.zeros_like(action), action - label)


class ResDexDagger(ResDexAgent):
    """Dataset aggregation with rl_games' loop, logs and checkpoints.

    The student acts, with its mean; a share of the environments, drawn anew for every episode, is driven by the teacher
    instead: `teacher_share` of them at first, `final_teacher_share` after the fraction `teacher_decay` of the training.
    Every step gives samples (what the student sees, the teacher's action there) to a buffer of the last `buffer_steps`
    steps. An iteration is `horizon_length` steps and `updates` gradient steps on shuffled minibatches of the buffer.

    `config["teacher"]` are its `Teachers`; they are in no checkpoint.
    """

    def __init__(self, base_name: str, params: Dict[str, Any]) -> None:
        super().__init__(base_name, params)
        config = self.config
        self.teachers: Teachers = config["teacher"]
        self._learning_rate = float(config["learning_rate"])
        self._final_learning_rate = float(config["final_learning_rate"])
        delta = config["huber_delta"]
        self._huber_delta = 1e9 if delta is None else float(delta)
        self._clamp = bool(config["clamp_labels"])
        self._tells_position = getattr(self.model.a2c_network, "position_layer", None) is not None
        sizes = {"obs": self.obs_shape[0], "label": self.actions_num}
        if self._tells_position:
            sizes["object"] = 3
        self.buffer = LabelBuffer(config["buffer_steps"] * self.num_actors, sizes, self.ppo_device)
        self.by_teacher = torch.zeros(self.num_actors, dtype=torch.bool, device=self.ppo_device)
        self._draw_drivers(torch.ones_like(self.by_teacher))
        self.imitation_loss = float("nan")

    @property
    def teacher_share(self) -> float:
        """The chance that an episode that begins now is driven by the teacher."""
        first, last = self.config["teacher_share"], self.config["final_teacher_share"]
        span = max(self.config["teacher_decay"] * self.max_epochs, 1.0)
        return first + (last - first) * min(self.epoch_num / span, 1.0)

    def _draw_drivers(self, where: Tensor) -> None:
        drawn = torch.rand(self.num_actors, device=self.ppo_device) < self.teacher_share
        self.by_teacher = torch.where(where, drawn, self.by_teacher)

    def update_epoch(self) -> int:
        """Count the iteration; the learning rate falls geometrically."""
        epoch = super().update_epoch()
        ratio = self._final_learning_rate / self._learning_rate
        self.last_lr = self._learning_rate * ratio ** ((epoch - 1) / self.max_epochs)
        self.update_lr(self.last_lr)
        return epoch

    def iteration(self) -> Tuple[Any, ...]:
        """Steps, then updates. Returns what rl_games' `train_epoch` does; there is no critic, and no entropy or KL."""
        started = time.perf_counter()
        self.set_eval()
        step_time = self.collect()
        played = time.perf_counter()
        self.set_train()
        losses = self.learn()
        ended = time.perf_counter()
        self.curr_frames = self.batch_size
        self.imitation_loss = float(torch.stack(losses).mean())
        nothing = [torch.zeros(1)]
        times = (step_time, played - started, ended - played, ended - started)
        return (*times, losses, nothing, [], nothing, nothing, self.last_lr, 1.0)

    def act(self, obs: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        """What the student does (N, 24), its mean, and where it says that the object is (N, 3), m, if it says so."""
        network, obs = self.model.a2c_network, self.model.norm_obs(obs)
        if isinstance(network, PointCloudBuilder.Network):
            return network.act(obs)
        mean, *_ = network({"obs": obs})
        return mean, None

    @torch.no_grad()
    def get_action_values(self, obs: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The student's `actions` (N, 24); nothing else of what PPO's has."""
        return {"actions": self.act(obs["obs"])[0]}

    @torch.no_grad()
    def collect(self) -> float:
        """`horizon_length` steps; returns the seconds in the simulator."""
        step_time = 0.0
        with simulator_first():
            for _ in range(self.horizon_length):
                seen, state = self.obs["obs"], self.obs["states"]
                label = self.teachers(state, self.obs["object_index"], clamp=self._clamp).to(self.ppo_device)
                action = self.get_action_values(self.obs)["actions"]
                where = {"object": state[:, BLOCKS["object_pos"].slice]} if self._tells_position else {}
                self.buffer.add(obs=seen, label=label, **where)
                action = torch.where(self.by_teacher[:, None], label, action)
                before = time.perf_counter()
                self.obs, rewards, self.dones, infos = self.env_step(action)
                step_time += time.perf_counter() - before
                self._note(rewards, {**infos, "by_teacher": self.by_teacher})
        return step_time

    def _note(self, rewards: Tensor, infos: Dict[str, Any]) -> None:
        """Count a step and the episodes that it ended, and draw who drives the next ones."""
        self.current_rewards += rewards
        self.current_shaped_rewards += rewards
        self.current_lengths += 1
        done = self.dones.nonzero(as_tuple=False)
        self.game_rewards.update(self.current_rewards[done])
        self.game_shaped_rewards.update(self.current_shaped_rewards[done])
        self.game_lengths.update(self.current_lengths[done])
        self.algo_observer.process_infos(infos, done)
        going = 1.0 - self.dones.float()
        self.current_rewards *= going[:, None]
        self.current_shaped_rewards *= going[:, None]
        self.current_lengths *= going
        self._draw_drivers(self.dones.bool())

    def learn(self) -> List[Tensor]:
        """`updates` gradient steps; returns their losses."""
        size, losses = min(self.config["minibatch_steps"] * self.num_actors, len(self.buffer)), []
        order = torch.empty(0, dtype=torch.int64, device=self.ppo_device)
        for _ in range(self.config["updates"]):
            if len(order) < size:
                order = torch.cat((order, torch.randperm(len(self.buffer), device=self.ppo_device)))
            batch, order = self.buffer.rows(order[:size]), order[size:]
            action, position = self.act(batch["obs"])
            label = batch["label"]
            error = imitation_error(action, label) if self._clamp else action - label
            loss = torch.nn.functional.huber_loss(error, torch.zeros_like(error), delta=self._huber_delta)
            losses.append(loss.detach())
            if position is not None:
                loss = loss + self.config["position_coef"] * (position - batch["object"]).square().sum(dim=1).mean()
            loss = loss + self.further_loss()
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            self.trancate_gradients_and_step()
        return losses

    def further_loss(self) -> Union[Tensor, float]:
        """What a gradient step minimises beside the imitation's loss."""
        return 0.0

    def own_state(self) -> Dict[str, Any]:
        small = self.buffer.bytes <= LARGEST_SAVED
        return {"by_teacher": self.by_teacher.cpu(), "buffer": self.buffer.get_state() if small else None}

    def set_own_state(self, state: Mapping[str, Any]) -> None:
        self.by_teacher = state["by_teacher"].to(self.ppo_device)
        if state["buffer"] is not None:
            self.buffer.set_state(state["buffer"])

    @property
    def progress_text(self) -> str:
        means = self.algo_observer.teacher_window.means()
        once, at_end = means.get("success_once"), means.get("success_at_end")
        teacher = "" if once is None or at_end is None else f" (teacher {once:.2f}, {at_end:.2f})"
        return f"{teacher}, loss {self.imitation_loss:.4f}"
