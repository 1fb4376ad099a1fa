"""How far an evaluation is, and how well it goes: a bar, or a line now and then where there is no terminal."""

import sys
import time

from tqdm import tqdm

from resdex_tasks.utils.progress import LINE_INTERVAL
from runners.evaluation.rollout import Episodes

BAR = "{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} episodes [{elapsed}<{remaining}{postfix}]"


class EpisodeProgress:
    """Counts episodes that run side by side, each step being its part of them.

    Args:
        episodes: in all.
        num_envs: how many run at a time.
        episode_length: control steps.
    """

    def __init__(self, episodes: int, num_envs: int, episode_length: int) -> None:
        self.episodes, self.num_envs, self.episode_length = episodes, num_envs, episode_length
        self._ended = self._once = self._at_end = 0
        self._started = self._last_line = time.perf_counter()
        self._bar = tqdm(total=episodes, bar_format=BAR, disable=not sys.stderr.isatty(), leave=False)
        self._done = 0.0

    def step(self) -> None:
        """One step of the running episodes."""
        running = min(self.num_envs, self.episodes - self._ended)
        self._show(min(self._done + running / self.episode_length, self._ended + running))

    def batch_ended(self, batch: Episodes) -> None:
        """Record the outcomes of a finished batch."""
        self._ended += len(batch)
        self._once += int(batch.success_once.sum())
        self._at_end += int(batch.success_at_end.sum())
        self._show(self._ended)

    def close(self) -> None:
        self._bar.close()

    def _show(self, done: float) -> None:
        so_far = ""
        if self._ended:
            so_far = f"success once {self._once / self._ended:.2f}, at end {self._at_end / self._ended:.2f}"
            self._bar.set_postfix_str(so_far, refresh=False)
        self._bar.update(done - self._done)
        self._done = done
        now = time.perf_counter()
        if self._bar.disable and now - self._last_line > LINE_INTERVAL:
            self._last_line = now
            left = (now - self._started) / max(done, 1e-9) * (self.episodes - done)
            text = f"episode {done:.0f}/{self.episodes}: {so_far + ', ' if so_far else ''}{left / 60:.0f} min left"
            print(text, flush=True)
