"""One training: its folder, its agent, its end."""

import contextlib
import io
import os
import shlex
import shutil
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Sequence

import torch
from omegaconf import DictConfig
from rl_games.torch_runner import Runner

from resdex_tasks import networks
from resdex_tasks.factory import make_task
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.observations import layout
from resdex_tasks.utils.errors import UserError
from runners.config import plain, save_config
from runners.evaluation import run as playing
from runners.evaluation import summary as evaluate
from runners.learning import vec_env
from runners.learning.hyper_ppo import HyperPPO
from runners.learning.monitor import TrainingMonitor, TrainingStopped
from runners.learning.ppo import ResDexPPO
from runners.policies import checkpoint as checkpoints
from runners.policies.policy import Policy
from runners.policies.warm_start import find_start


def train(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Train or resume; returns the run's folder.

    Args:
        overrides: the command line, for the checkpoints' description.

    Raises:
        UserError: the configuration, the checkpoint or the run's folder does not do.
        TrainingStopped: Ctrl-C; the checkpoint is written.
    """
    if cfg.torch_deterministic:
        torch.use_deterministic_algorithms(True)
    name = _experiment(cfg)
    runs, container = Path(cfg.runs_dir), plain(cfg)
    folder = runs / name
    rank = int(os.environ.get("RANK", "0")) if cfg.multi_gpu else 0
    start = find_start(container)
    state = checkpoints.read_checkpoint(cfg.checkpoint) if cfg.checkpoint else None
    if state is not None:
        checkpoints.check_sees(state, container["task"]["env"]["observation"], cfg.checkpoint)
    task = make_task(container, cfg.num_envs, cfg.seed + rank)
    params, description = container["train"]["params"], describe(container, task, overrides)
    if state is not None:  # refused before anything is written
        _check_checkpoint(state, cfg.checkpoint, description, params["config"]["max_epochs"])
    if start.stage1:
        checkpoints.check_fits(checkpoints.read_checkpoint(start.stage1), description, start.stage1)
    if task.num_envs < len(task.objects) and task.config.object_sampling == "fixed":
        raise UserError(
            f"num_envs={task.num_envs} environments cannot hold the {len(task.objects)} objects; "
            "task.env.objectSampling=random draws one at every reset"
        )
    new = not folder.exists()
    if rank == 0:
        _make_run_folder(folder, cfg.checkpoint)
        if cfg.wandb_activate:
            _start_wandb(cfg, name)
        save_config(cfg, folder / "config.yaml")
        evaluate.write_json(folder / "versions.json", {"seed": cfg.seed, **checkpoints.versions()})

    params["config"].update(full_experiment_name=name, train_dir=str(runs), description=description)
    monitor = TrainingMonitor()
    vec_env.register(task, cfg.rl_device)
    runner = Runner(monitor)
    networks.register()
    runner.algo_factory.register_builder("resdex_ppo", lambda **kwargs: ResDexPPO(**kwargs))
    runner.algo_factory.register_builder("resdex_hyper_ppo", lambda **kwargs: HyperPPO(**kwargs))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # rl_games' own talk
            runner.load({"params": params})
            agent = runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)
    except Exception as error:  # its factories and networks check little and raise anything
        if new:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # other runs are in it
                runs.rmdir()
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"rl_games cannot build this training from train.params: {reason}") from error
    if start.experts is not None:
        agent.model.a2c_network.experts.load_state_dict(start.experts.weights)
    if start.stage1:
        agent.start_from(start.stage1)
    if cfg.checkpoint:
        agent.restore(cfg.checkpoint)
    if rank == 0:
        _print_start(task, agent, folder)
    with _stop_after_iteration(agent):
        try:
            agent.train()
        except TrainingStopped:
            if rank == 0:
                print(f"stopped; go on with: {_command(overrides, f'checkpoint={folder}/nn/last.pth')}")
            raise
        finally:
            monitor.close()
            vec_env.release()
    if rank != 0:
        return folder
    means = monitor.window.means()
    print(f"done: latched {means.get('latched', 0):.2f}, held {means.get('held', 0):.2f} with exploration noise")
    print(f"evaluate it without: {_command(overrides, 'test=True', f'checkpoint={folder}/nn/last.pth')}")
    if cfg.capture_video:
        playing.record(container, Policy(agent.model), folder)
    return folder


def describe(cfg: Dict[str, Any], task: GraspTask, overrides: Sequence[str]) -> Dict[str, Any]:
    """What a checkpoint says of itself: plain values only."""
    params = cfg["train"]["params"]
    return {
        "kind": task.config.observation,
        "observation_size": task.num_obs,
        "observation_layout": layout(task.num_obs),
        "train": {
            "network": params["network"],
            "normalize_input": params["config"]["normalize_input"],
            "normalize_value": params["config"]["normalize_value"],
        },
        "task": cfg["task"],
        "sim": cfg["sim"],
        "objects": task.objects.names,
        "object_source": cfg["objects"],
        "seed": cfg["seed"],
        "command": " ".join(["python train.py", *overrides]),
        "versions": checkpoints.versions(),
    }


def _check_checkpoint(state: Mapping[str, Any], name: str, description: Dict[str, Any], max_epochs: int) -> None:
    checkpoints.check_fits(state, description, name)
    if "optimizer" not in state:
        return
    theirs, ours = state["task"].get("stage"), description["task"]["stage"]
    if theirs != ours:
        raise UserError(
            f"{name} is a training of {state['task']['name']}, with which this run of {description['task']['name']} "
            "cannot go on" + (f"; stage1={name} starts the second stage from it" if (theirs, ours) == (1, 2) else "")
        )
    if state["epoch"] >= max_epochs:
        following = description["task"]["next"]
        raise UserError(
            f"{name} has done its {state['epoch']} iterations: a max_iterations above {state['epoch']} goes on"
            + (f", and task={following} stage1={name} is what follows" if following else "")
        )


def _experiment(cfg: DictConfig) -> str:
    """Name of the run's folder; a resumed training goes on in its own."""
    if cfg.experiment:
        return str(cfg.experiment)
    path = Path(str(cfg.checkpoint)).resolve()
    if cfg.checkpoint and path.name == "last.pth" and path.parent.parent.parent == Path(cfg.runs_dir).resolve():
        return path.parent.parent.name
    return f"{cfg.task_name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"


def _make_run_folder(folder: Path, checkpoint: str) -> None:
    last = folder / "nn" / "last.pth"
    if last.exists() and (not checkpoint or Path(checkpoint).resolve() != last.resolve()):
        raise UserError(f"{folder} holds a training: resume it with checkpoint={last}, or name another experiment")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error


def _start_wandb(cfg: DictConfig, name: str) -> None:
    import wandb

    wandb.init(
        project=cfg.wandb_project,
        entity=cfg.wandb_entity or None,
        group=cfg.wandb_group or None,
        name=name,
        config=plain(cfg),
        sync_tensorboard=True,
    )


@contextlib.contextmanager
def _stop_after_iteration(agent: ResDexPPO) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the training after the iteration in progress, a second one at once."""

    def request(number: int, frame: Any) -> None:
        if agent.stop_requested:
            raise KeyboardInterrupt
        agent.stop_requested = True
        print("\nstopping after this iteration; once more to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command(overrides: Sequence[str], *more: str) -> str:
    """A command line with these overrides, the later ones instead of earlier ones of the same key."""
    keys = tuple(o.split("=", 1)[0] + "=" for o in more)
    kept = [o for o in overrides if not o.startswith(keys)]
    return " ".join(["python train.py", *(shlex.quote(o) for o in (*kept, *more))])


def _print_start(task: GraspTask, agent: ResDexPPO, folder: Path) -> None:
    size = sum(p.numel() for p in agent.model.parameters())
    names = task.objects.names
    shown = ", ".join(names[:6]) + (f", ... ({len(names)} in all)" if len(names) > 6 else "")
    print(f"{task.num_envs} environments, objects: {shown}")
    print(f"reward: {' + '.join(task.config.reward.terms)}; {task.num_obs} observations, {size:,} parameters")
    if isinstance(agent, HyperPPO):
        network = agent.model.a2c_network
        learned = "mixture weights and a residual" if network.mixture.residual else "mixture weights alone"
        print(f"{network.experts.spec.count} experts ({', '.join(network.experts.spec.objects)}); learns {learned}")
    print(f"writing {folder}/ (TensorBoard: tensorboard --logdir {folder.parent})", flush=True)
