"""Policies out of checkpoints: evaluated, pictured and filmed."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
from omegaconf import DictConfig

from resdex_tasks.factory import make_objects, make_task
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.rendering import images as video
from resdex_tasks.sims.base import CONTROL_HZ
from resdex_tasks.utils.errors import UserError
from runners.config import plain
from runners.evaluation import files as results
from runners.evaluation import gallery
from runners.evaluation import summary as evaluate
from runners.evaluation import tables as report
from runners.evaluation.rollout import Policy, run_episodes
from runners.policies import checkpoint as checkpoints
from runners.policies.policy import load_policy

FRAME_WIDTH, FRAME_HEIGHT = 320, 320
STEPS_PER_FRAME = 4
STRIP_FRAMES = 6


def evaluation_task(cfg: Dict[str, Any], num_envs: int, objects: Optional[ObjectSet] = None) -> GraspTask:
    """The configured task, its episodes whole from the first one on, every environment with its own object.

    objects: the set, where it is made already; else made as `cfg` says.
    """
    env = {**cfg["task"]["env"], "staggerEpisodes": False, "objectSampling": "fixed"}
    objects = make_objects(cfg["objects"]) if objects is None else objects
    return make_task({**cfg, "task": {**cfg["task"], "env": env}}, num_envs, cfg["seed"], objects)


def load(cfg: DictConfig, checkpoint: str, objects: ObjectSet, num_envs: int) -> Tuple[GraspTask, Policy]:
    """A checkpoint's deterministic policy and the task as it sees it, of these objects."""
    container, state = plain(cfg), checkpoints.read_checkpoint(checkpoint)
    container["task"]["env"]["observation"] = state["kind"]
    task = evaluation_task(container, num_envs, objects)
    return task, load_policy(container, state, task, checkpoint)


def test(cfg: DictConfig) -> Dict[str, Any]:
    """Evaluate `checkpoint`: print the tables and write the files of `results`; with capture_video also a film.

    Returns:
        The content of evaluation.json.
    """
    if not cfg.checkpoint:
        raise UserError("test=True needs checkpoint=FILE, or the name of a shipped one")
    container = plain(cfg)
    path, state = checkpoints.find_checkpoint(cfg.checkpoint), checkpoints.read_checkpoint(cfg.checkpoint)
    run = path.parent.parent if path.parent.name == "nn" else None
    name = run.name if run else path.stem
    folder = Path(cfg.runs_dir) / str(cfg.experiment or (name if run else f"evaluation_{name}"))
    results.check_writable(folder)
    _say_differences(state, container)

    objects = make_objects(container["objects"])
    index = evaluate.schedule(objects, cfg.episodes_per_object, cfg.num_episodes)
    # as few rounds as the number of environments allows, and no more environments than these need
    rounds = -(-len(index) // cfg.num_envs)
    task, policy = load(cfg, cfg.checkpoint, objects, -(-len(index) // rounds))
    print(f"{len(index)} episodes of {len(objects)} objects, {task.num_envs} at a time", flush=True)
    measured = evaluate.evaluate(task, policy, index, cfg.seed)
    for overflow in task.sim.overflows():
        if overflow.count:
            print(f"warning: {overflow}")
    result = {
        "checkpoint": cfg.checkpoint,
        "seed": cfg.seed,
        "num_envs": task.num_envs,
        "deterministic": True,
        "versions": checkpoints.versions(),
        "experts": state["train"]["network"].get("experts", {}).get("objects"),
        **measured,
        "settings": {key: container[key] for key in ("task", "sim", "objects")},
    }
    print("\n" + "\n\n".join(report.summary_tables(name, result)) + "\n")
    columns = grasps(cfg, {name: cfg.checkpoint}, gallery.chosen_objects(objects, cfg.seed))
    files = results.write(folder, name, result, columns, run)
    print(f"written to {folder}/: {', '.join(files)}")
    if cfg.capture_video:
        record(container, policy, folder, objects[:1])
    return result


def grasps(cfg: DictConfig, named: Mapping[str, str], objects: ObjectSet) -> Dict[str, List[gallery.Grasp]]:
    """The columns of a gallery: the end of one episode with each object, the same starts for every policy.

    Args:
        named: the policies: name -> checkpoint.
    """
    columns = {}
    for name, checkpoint in named.items():
        task, policy = load(cfg, checkpoint, objects, len(objects))
        columns[name] = gallery.final_grasps(task, policy, cfg.seed)
    return columns


def _say_differences(state: Dict[str, Any], cfg: Dict[str, Any]) -> None:
    """Say where the evaluation's task and simulator differ from the training's, objects aside."""
    ignored = ("numEnvs", "staggerEpisodes", "objectSampling", "observation", "numThreads")
    env, sim = state.get("task", {}).get("env", {}), state.get("sim", {})
    for group, before, now in (("task.env", env, cfg["task"]["env"]), ("sim", sim, cfg["sim"])):
        trained, here = checkpoints.flat(before), checkpoints.flat(now)
        for key in sorted({*trained, *here}):
            if trained.get(key) != here.get(key) and key not in ignored:
                print(f"note: {group}.{key} is {here.get(key)} here; the policy was trained with {trained.get(key)}")


def record(cfg: Dict[str, Any], policy: Policy, folder: Path, objects: Optional[ObjectSet] = None) -> None:
    """Film one episode on the set's first object: episode.gif, and episode.png, a strip of six moments."""
    task = evaluation_task(cfg, 1, objects)
    frames: List[np.ndarray] = []
    labels: List[str] = []

    def on_step() -> None:
        step = int(task.progress[0])
        if step % STEPS_PER_FRAME == 0 or step == task.config.episode_length - 1:
            frames.append(task.sim.render(0, FRAME_WIDTH, FRAME_HEIGHT))
            labels.append(f"{step / CONTROL_HZ:.1f} s")

    episodes = run_episodes(task, policy, on_step=on_step)
    video.write_gif(folder / "episode.gif", frames, fps=CONTROL_HZ / STEPS_PER_FRAME)
    video.write_strip(folder / "episode.png", frames, STRIP_FRAMES, labels)
    outcome = f"{task.objects[0].name}: {episodes.outcome(0)}"
    print(f"written to {folder}/episode.gif and {folder}/episode.png ({outcome})")
