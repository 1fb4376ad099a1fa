"""`python train.py key=value ...`: train, resume or evaluate a policy."""

import contextlib
import importlib.util
import io
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import torch
from omegaconf import DictConfig
from rl_games.torch_runner import Runner

from resdex_tasks.errors import UserError
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.make import make_task
from runners import checkpoints, evaluate, vec_env
from runners.config import load_config, plain, save_config
from runners.monitor import StopTraining, TrainingMonitor
from runners.ppo import ResDexPlayer, ResDexPPO

USAGE = """\
python train.py [key=value ...]

  task=ResDexBase               what to learn (cfg/task)
  objects=starter               which objects (cfg/objects)
  num_envs=  seed=  max_iterations=  sim_device=  rl_device=  experiment=  preset=paper|official
  checkpoint=FILE               resume a training
  test=True checkpoint=FILE     evaluate a policy: a table per object, written as JSON
  capture_video=True            a GIF and a PNG strip of an episode

Every key of cfg/ can be set: train.params.config.gamma=0.97, task.env.goalHeight=0.3 ...
"""
RUNS = Path("runs")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, 2 after bad input, 130 after Ctrl-C."""
    overrides = list(sys.argv[1:] if argv is None else argv)
    if any(o in ("-h", "--help") for o in overrides):
        print(USAGE)
        return 0
    try:
        cfg, said = load_config(overrides)
        if said:
            print(said)
        if cfg.test:
            test(cfg)
        else:
            train(cfg, overrides)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StopTraining:
        return 130
    return 0


def describe(cfg: Dict[str, Any], task: GraspTask, overrides: Sequence[str]) -> Dict[str, Any]:
    """What a checkpoint says of itself: plain values only."""
    config = cfg["train"]["params"]["config"]
    return {
        "kind": task.config.observation,
        "observation_size": task.num_obs,
        "train": {
            "network": cfg["train"]["params"]["network"],
            "normalize_input": config["normalize_input"],
            "normalize_value": config["normalize_value"],
        },
        "task": cfg["task"],
        "sim": cfg["sim"],
        "objects": task.objects.names,
        "seed": cfg["seed"],
        "command": " ".join(["python train.py", *overrides]),
        "versions": checkpoints.versions(),
    }


def _experiment(cfg: DictConfig) -> str:
    """Name of the run's folder; a resumed training goes on in its own."""
    if cfg.experiment:
        return str(cfg.experiment)
    path = Path(str(cfg.checkpoint)).resolve()
    if cfg.checkpoint and path.name == "last.pth" and path.parent.parent.parent == RUNS.resolve():
        return path.parent.parent.name
    return f"{cfg.task_name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"


def _make_run_folder(folder: Path, checkpoint: str) -> None:
    last = folder / "nn" / "last.pth"
    if last.exists() and (not checkpoint or Path(checkpoint).resolve() != last.resolve()):
        raise UserError(f"{folder} holds a training already: resume it with checkpoint={last}, or name another experiment")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error


def _start_wandb(cfg: DictConfig, name: str) -> None:
    if importlib.util.find_spec("wandb") is None:
        raise UserError("wandb_activate=True needs the package wandb: pip install wandb")
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


def train(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Train or resume; returns the run's folder."""
    if cfg.torch_deterministic:
        torch.use_deterministic_algorithms(True)
    if cfg.checkpoint:
        checkpoints.read_checkpoint(cfg.checkpoint)  # before anything is built or written
    name = _experiment(cfg)
    folder = RUNS / name
    container = plain(cfg)
    task = make_task(container, cfg.num_envs, cfg.seed)
    if cfg.wandb_activate:
        _start_wandb(cfg, name)
    _make_run_folder(folder, cfg.checkpoint)
    save_config(cfg, folder / "config.yaml")
    evaluate.write_json(folder / "versions.json", {"seed": cfg.seed, **checkpoints.versions()})

    params = container["train"]["params"]
    params["config"].update(
        full_experiment_name=name,
        train_dir=str(RUNS),
        description=describe(container, task, overrides),
    )
    monitor, agents = TrainingMonitor(), []
    vec_env.register(task, cfg.rl_device)
    runner = Runner(monitor)
    runner.algo_factory.register_builder("resdex_ppo", lambda **kwargs: agents.append(ResDexPPO(**kwargs)) or agents[0])
    with contextlib.redirect_stdout(io.StringIO()):  # rl_games' own talk
        runner.load({"params": params})
        agent = runner.algo_factory.create("resdex_ppo", base_name="run", params=runner.params)
    if cfg.checkpoint:
        agent.restore(cfg.checkpoint)
    _print_start(task, agent, folder)
    with _stop_after_iteration(agent):
        try:
            agent.train()
        except StopTraining:
            print(f"stopped; go on with: python train.py {' '.join(_resume(overrides, folder))}")
            raise
    monitor.close()
    means = monitor.window.means()
    print(
        f"done: latched {means.get('latched', 0):.2f}, held {means.get('held', 0):.2f} with exploration noise; evaluate "
        f"the deterministic policy with: python train.py task={cfg.task_name} test=True checkpoint={folder}/nn/best.pth"
    )
    if cfg.capture_video:
        policy = _policy_of(agent.model)
        record(container, policy, folder)
    return folder


def _resume(overrides: Sequence[str], folder: Path) -> List[str]:
    kept = [o for o in overrides if not o.startswith("checkpoint=")]
    return [*kept, f"checkpoint={folder}/nn/last.pth"]


def _print_start(task: GraspTask, agent: ResDexPPO, folder: Path) -> None:
    size = sum(p.numel() for p in agent.model.parameters())
    names = task.objects.names
    shown = ", ".join(names[:6]) + (f", ... ({len(names)} in all)" if len(names) > 6 else "")
    print(f"{task.num_envs} environments, objects: {shown}")
    print(f"reward: {' + '.join(task.config.reward.terms)}; {task.num_obs} observations, {size:,} parameters")
    print(f"writing {folder}/ (TensorBoard: tensorboard --logdir {RUNS})", flush=True)


def _policy_of(model: torch.nn.Module) -> evaluate.Policy:
    """The deterministic policy (the Gaussian's mean) of an rl_games model."""
    model.eval()
    device = next(model.parameters()).device

    def policy(obs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            out = model({"is_train": False, "prev_actions": None, "obs": obs.to(device), "rnn_states": None})
        return out["mus"].clamp(-1.0, 1.0)

    return policy


def load_policy(cfg: Dict[str, Any], state: Dict[str, Any], task: GraspTask, name: str) -> evaluate.Policy:
    """The policy of a checkpoint, its network built as the checkpoint says."""
    params = cfg["train"]["params"]
    params["network"] = state["train"]["network"]
    params["config"].update(
        normalize_input=state["train"]["normalize_input"],
        normalize_value=state["train"]["normalize_value"],
        description=describe(cfg, task, []),
        env_info=vec_env.spaces(task.num_obs, task.num_actions),
        vec_env=None,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        runner = Runner()
        runner.load({"params": params})
        player = ResDexPlayer(runner.params)
    player.restore(name)
    return _policy_of(player.model)


def _evaluation_task(cfg: Dict[str, Any], num_envs: int) -> GraspTask:
    cfg["task"]["env"]["staggerEpisodes"] = False
    return make_task(cfg, num_envs, cfg["seed"])


def test(cfg: DictConfig) -> Dict[str, Any]:
    """Evaluate `checkpoint`: print the table, write evaluation.json; with capture_video also a GIF and a strip."""
    if not cfg.checkpoint:
        raise UserError("test=True needs checkpoint=FILE, or the name of a shipped one")
    container = plain(cfg)
    path = checkpoints.find_checkpoint(cfg.checkpoint)
    state = checkpoints.read_checkpoint(cfg.checkpoint)
    container["task"]["env"]["observation"] = state["kind"]
    num_objects = len(_evaluation_task(container, 1).objects)
    per_round = max(1, min(cfg.episodes_per_object, cfg.num_envs // num_objects))
    rounds = -(-cfg.episodes_per_object // per_round)
    task = _evaluation_task(container, per_round * num_objects)
    policy = load_policy(container, state, task, cfg.checkpoint)
    result = evaluate.evaluate(task, policy, rounds)
    print(evaluate.table(result))
    in_run = path.parent.name == "nn"
    folder = RUNS / str(cfg.experiment or (path.parent.parent.name if in_run else f"evaluation_{path.stem}"))
    result["checkpoint"], result["seed"] = path.name, cfg.seed
    evaluate.write_json(folder / "evaluation.json", result)
    print(f"written to {folder}/evaluation.json")
    if cfg.capture_video:
        record(container, policy, folder)
    return result


def record(cfg: Dict[str, Any], policy: evaluate.Policy, folder: Path) -> None:
    """Write episode.gif and episode.png (a strip) of one episode on the first object."""
    from runners import video

    task = _evaluation_task(cfg, 1)
    frames: List[Any] = []
    steps = 0

    def on_step() -> None:
        nonlocal steps
        if steps % video.STEPS_PER_FRAME == 0:
            frames.append(task.sim.render(0, video.WIDTH, video.HEIGHT))
        steps += 1

    result = evaluate.run_episodes(task, policy, on_step)
    video.write_gif(folder / "episode.gif", frames)
    video.write_strip(folder / "episode.png", frames)
    outcome = "held" if bool(result["held"][0]) else "latched" if bool(result["latched"][0]) else "failed"
    print(f"written to {folder}/episode.gif and {folder}/episode.png (the object was {outcome})")


if __name__ == "__main__":
    sys.exit(main())
