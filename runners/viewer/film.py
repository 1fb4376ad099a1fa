"""Films one episode: episode.gif, and episode.png, a strip of six moments."""

from pathlib import Path
from typing import List

import numpy as np

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.rendering import images
from resdex_tasks.sims.base import CONTROL_HZ
from runners.config import RunConfig
from runners.evaluation.playing import evaluation_task
from runners.evaluation.rollout import run_episodes
from runners.policies.policy import Policy

FRAME_WIDTH, FRAME_HEIGHT = 320, 320
STEPS_PER_FRAME = 4
STRIP_FRAMES = 6


def film(config: RunConfig, policy: Policy, folder: Path, objects: ObjectSet) -> None:
    """Film one episode with the set's first object."""
    task = evaluation_task(config, objects[:1], 1, policy.groups)
    frames: List[np.ndarray] = []
    labels: List[str] = []

    def on_step() -> None:
        step = int(task.progress[0])
        if step % STEPS_PER_FRAME == 0 or step == task.config.episode_length - 1:
            frames.append(task.sim.render(0, FRAME_WIDTH, FRAME_HEIGHT, points=task.seen_points(0)))
            labels.append(f"{step / CONTROL_HZ:.1f} s")

    episodes = run_episodes(task, policy, on_step=on_step)
    images.write_gif(folder / "episode.gif", frames, fps=CONTROL_HZ / STEPS_PER_FRAME)
    images.write_strip(folder / "episode.png", frames, STRIP_FRAMES, labels)
    outcome = f"{task.objects[0].name}: {episodes.outcome(0)}"
    print(f"written to {folder}/episode.gif and {folder}/episode.png ({outcome})")
