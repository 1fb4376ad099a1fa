"""Progress bar, TensorBoard scalars and checkpoint schedule of a training."""

import sys
import time
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Set

import torch
from rl_games.common.algo_observer import AlgoObserver
from torch import Tensor
from tqdm import tqdm

from resdex_tasks.sims.base import Overflow
from resdex_tasks.utils.progress import LINE_INTERVAL


class TrainingStopped(Exception):
    """Raised between two iterations after Ctrl-C, on every GPU, once the checkpoint is written."""


class EpisodeWindow:
    """Means over the last episodes that ended."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: Dict[str, Deque[float]] = {}

    def add(self, values: Dict[str, Tensor]) -> None:
        """Add ended episodes: name -> (n,)."""
        for name, value in values.items():
            self._values.setdefault(name, deque(maxlen=self.size)).extend(value.float().tolist())

    @property
    def full(self) -> bool:
        return any(len(v) == self.size for v in self._values.values())

    def means(self) -> Dict[str, float]:
        return {name: sum(v) / len(v) for name, v in self._values.items() if v}

    def get_state(self) -> Dict[str, List[float]]:
        """For checkpoints: the episodes themselves."""
        return {name: list(v) for name, v in self._values.items()}

    def set_state(self, state: Dict[str, List[float]]) -> None:
        """Inverse of `get_state`."""
        self._values = {name: deque(map(float, v), maxlen=self.size) for name, v in state.items()}


class TrainingMonitor(AlgoObserver):
    """rl_games' observer: follows the episodes, shows and logs them, and has the agent write its checkpoints."""

    def __init__(self) -> None:
        self._bar: Optional[tqdm] = None
        self._last_line = 0.0
        self._started = 0.0
        self._warned: Set[str] = set()

    def after_init(self, algo: Any) -> None:
        self.algo, self.writer = algo, algo.writer
        self.window = EpisodeWindow(algo.games_to_track)
        # few, as they come seldom, and the very first ones are cut short
        self.teacher_window = EpisodeWindow(max(1, algo.games_to_track // 4))
        """Of a student's training: the episodes that its teacher drove."""

    def process_infos(self, infos: Dict[str, Any], done_indices: Tensor) -> None:
        if len(done_indices) == 0:
            return
        # a diverged episode is counted, but measures nothing
        ended = infos["time_outs"].to(infos["success_at_end"].device)
        by_teacher = infos["by_teacher"].to(ended.device) if "by_teacher" in infos else torch.zeros_like(ended)
        for window, chosen in ((self.window, ended & ~by_teacher), (self.teacher_window, ended & by_teacher)):
            window.add(
                {
                    "success_once": infos["success_once"][chosen],
                    "success_at_end": infos["success_at_end"][chosen],
                    **{f"reward/{name}": total[chosen] for name, total in infos["reward_sums"].items()},
                    "final_goal_distance": infos["goal_distance"][chosen],
                }
            )

    def after_clear_stats(self) -> None:
        pass

    def after_steps(self) -> None:
        pass

    def after_print_stats(self, frame: int, epoch_num: int, total_time: float) -> None:
        algo, means = self.algo, self.window.means()
        overflows = [overflow for overflow in algo.overflows if overflow.count]
        if self.writer is not None:
            self._log_episodes()
            self.writer.add_scalar("info/diverged_environments", algo.num_diverged, algo.frame)
            for overflow in overflows:
                self.writer.add_scalar(f"info/dropped_{overflow.name}", overflow.count, algo.frame)
            sigma = algo.model.a2c_network.sigma if hasattr(algo.model.a2c_network, "sigma") else None
            if sigma is not None:
                self.writer.add_scalar("info/noise_std", sigma.exp().mean().item(), algo.frame)
            self.writer.end_iteration(algo.frame)
        self._show(epoch_num, means, algo.num_diverged)
        self._warn(overflows)
        stop_at = algo.config["stop_at_success"]
        if stop_at is not None and self.window.full and means["success_at_end"] >= stop_at:
            algo.reached, algo.max_epochs = True, epoch_num  # rl_games then saves, and ends
        if epoch_num % algo.save_every == 0:
            if self.window.full:
                algo.save_if_best(means["success_at_end"] + 1e-3 * means["success_once"])
            algo.save()  # after the best, whose score it holds
            if self.writer is not None:
                self.writer.flush()
        if algo.stop_requested:
            algo.save()
            algo.stopping = True

    def after_resume(self) -> None:
        """The curves go on where the checkpoint was: what was logged after it is not shown, its own point is."""
        if self.writer is not None:
            self.writer.start_at(self.algo.frame)
            self._log_episodes()

    def _log_episodes(self) -> None:
        for name, value in self.window.means().items():
            name = name if "/" in name else name.replace("success_", "success/")
            self.writer.add_scalar(name, value, self.algo.frame)
        for name, value in self.teacher_window.means().items():
            if name.startswith("success_"):
                self.writer.add_scalar(name.replace("success_", "teacher/"), value, self.algo.frame)

    def _show(self, epoch_num: int, means: Dict[str, float], num_diverged: int) -> None:
        now = time.perf_counter()
        if self._bar is None:
            self._started, self._first_frame, self._first_epoch = now, self.algo.frame, epoch_num
            self._bar = tqdm(
                total=self.algo.max_epochs, initial=epoch_num - 1, unit="it", disable=not sys.stderr.isatty()
            )
        done = epoch_num - self._first_epoch  # the first iteration ends where the clock starts
        elapsed = now - self._started
        text = f"{self.algo.frame / 1e6:.2f}M steps, "
        if done:
            text += f"{(self.algo.frame - self._first_frame) / elapsed:,.0f} steps/s, "
        text += f"success once {means.get('success_once', 0):.2f}, at end {means.get('success_at_end', 0):.2f}"
        text += self.algo.progress_text
        if num_diverged:
            text += f", {num_diverged} diverged"
        self._bar.set_postfix_str(text)
        self._bar.update(1)
        last = epoch_num >= self.algo.max_epochs
        if self._bar.disable and (now - self._last_line > LINE_INTERVAL or last):
            self._last_line = now
            if done:
                text += f", {elapsed / done * (self.algo.max_epochs - epoch_num) / 60:.0f} min left"
            print(f"iteration {epoch_num}/{self.algo.max_epochs}: {text}", flush=True)

    def _warn(self, overflows: List[Overflow]) -> None:
        """Say once of each buffer that it is too small."""
        for overflow in overflows:
            if overflow.name not in self._warned:
                self._warned.add(overflow.name)
                tqdm.write(f"warning: {overflow}")

    def close(self) -> None:
        """The end of the training. Neither blocks nor raises."""
        if self._bar is not None:
            self._bar.close()
        if self.writer is not None:
            self.writer.flush()
