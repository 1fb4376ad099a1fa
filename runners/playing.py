"""Policies out of checkpoints: evaluated, and filmed."""

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from omegaconf import DictConfig

from resdex_tasks.errors import UserError
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.make import make_task
from resdex_tasks.objects import make_objects
from resdex_tasks.sims.base import CONTROL_HZ
from runners import checkpoints, evaluate, video
from runners.config import plain
from runners.policies import load_policy

FRAME_WIDTH, FRAME_HEIGHT = 320, 320
STEPS_PER_FRAME = 4
STRIP_FRAMES = 6


def evaluation_task(cfg: Dict[str, Any], num_envs: int) -> GraspTask:
    """The configured task, its episodes whole from the first one on, every environment with its own object."""
    env = {**cfg["task"]["env"], "staggerEpisodes": False, "objectSampling": "fixed"}
    return make_task({**cfg, "task": {**cfg["task"], "env": env}}, num_envs, cfg["seed"])


def test(cfg: DictConfig) -> Dict[str, Any]:
    """Evaluate `checkpoint`: print the table, write evaluation.json; with capture_video also a GIF and a strip."""
    if not cfg.checkpoint:
        raise UserError("test=True needs checkpoint=FILE, or the name of a shipped one")
    container = plain(cfg)
    path = checkpoints.find_checkpoint(cfg.checkpoint)
    state = checkpoints.read_checkpoint(cfg.checkpoint)
    container["task"]["env"]["observation"] = state["kind"]
    _say_differences(state, container)
    num_objects = len(make_objects(container["objects"]))
    rounds = -(-cfg.episodes_per_object // max(1, cfg.num_envs // num_objects))
    per_round = -(-cfg.episodes_per_object // rounds)
    task = evaluation_task(container, per_round * num_objects)
    policy = load_policy(container, state, task, cfg.checkpoint)
    result = evaluate.evaluate(task, policy, rounds)
    print(evaluate.table(result))
    for overflow in task.sim.overflows():
        if overflow.count:
            print(f"warning: {overflow}")
    in_run = path.parent.name == "nn"
    run = path.parent.parent.name if in_run else f"evaluation_{path.stem}"
    folder = Path(cfg.runs_dir) / str(cfg.experiment or run)
    about = {"checkpoint": cfg.checkpoint, "seed": cfg.seed, "deterministic": True, "versions": checkpoints.versions()}
    settings = {key: container[key] for key in ("task", "sim", "objects")}
    evaluate.write_json(folder / "evaluation.json", {**about, **result, "settings": settings})
    print(f"written to {folder}/evaluation.json")
    if cfg.capture_video:
        record(container, policy, folder)
    return result


def _say_differences(state: Dict[str, Any], cfg: Dict[str, Any]) -> None:
    """Say where the evaluation differs from the training, objects aside."""
    ignored = ("env.numEnvs", "env.staggerEpisodes", "env.objectSampling", "env.observation", "numThreads")
    for group in ("task", "sim"):
        trained, here = checkpoints.flat(state.get(group, {})), checkpoints.flat(cfg[group])
        for key in sorted({*trained, *here}):
            if trained.get(key) != here.get(key) and key not in ignored:
                print(f"note: {group}.{key} is {here.get(key)} here; the policy was trained with {trained.get(key)}")


def record(cfg: Dict[str, Any], policy: evaluate.Policy, folder: Path) -> None:
    """Film one episode on the set's first object: episode.gif, and episode.png, a strip of six moments."""
    task = evaluation_task(cfg, 1)
    frames: List[np.ndarray] = []
    labels: List[str] = []

    def on_step() -> None:
        step = int(task.progress[0])
        if step % STEPS_PER_FRAME == 0 or step == task.config.episode_length - 1:
            frames.append(task.sim.render(0, FRAME_WIDTH, FRAME_HEIGHT))
            labels.append(f"{step / CONTROL_HZ:.1f} s")

    result = evaluate.run_episodes(task, policy, on_step)
    video.write_gif(folder / "episode.gif", frames, fps=CONTROL_HZ / STEPS_PER_FRAME)
    video.write_strip(folder / "episode.png", frames, STRIP_FRAMES, labels)
    outcome = "held" if bool(result["held"][0]) else "latched" if bool(result["latched"][0]) else "not lifted"
    print(f"written to {folder}/episode.gif and {folder}/episode.png ({task.objects[0].name}: {outcome})")
