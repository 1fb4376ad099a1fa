"""One training: its folder, its agent, its end."""

import contextlib
import io
import os
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import torch
from rl_games.torch_runner import Runner

from resdex_tasks import networks
from resdex_tasks.factory import check_room, make_objects
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.observations import CLOUD, VIEWS
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import remove_abandoned, write_json
from resdex_tasks.utils.locks import owned
from resdex_tasks.utils.overrides import shell_argument
from resdex_tasks.utils.printing import unfailing_output
from resdex_tasks.utils.versions import versions
from runners.config import RunConfig
from runners.learning import vec_env
from runners.learning.agent import ResDexAgent
from runners.learning.dagger import ResDexDagger
from runners.learning.distillation import ResDexDistillation
from runners.learning.hyper_ppo import HyperPPO
from runners.learning.log import wandb_run
from runners.learning.monitor import TrainingMonitor, TrainingStopped
from runners.learning.ppo import ResDexPPO
from runners.learning.warm_start import WarmStart, find_warm_start
from runners.policies.checkpoint import Checkpoint, MadeBy
from runners.policies.teachers import load_teachers

LAST = Path("nn") / "last.pth"
"""Where a run's folder has the latest checkpoint."""
ALGORITHMS = {
    "resdex_ppo": ResDexPPO,
    "resdex_hyper_ppo": HyperPPO,
    "resdex_dagger": ResDexDagger,
    "resdex_distillation": ResDexDistillation,
}
"""`train.params.algo.name` -> agent. A new algorithm is one entry."""


@dataclass(frozen=True)
class TrainingResult:
    """A finished training."""

    folder: Path
    objects: ObjectSet
    """What it was trained on."""

    @property
    def last(self) -> Path:
        """Its latest checkpoint."""
        return self.folder / LAST


def train(config: RunConfig, objects: Optional[ObjectSet] = None, task: Optional[GraspTask] = None) -> TrainingResult:
    """Train or resume.

    Args:
        objects: the set, where it is made already; else made as the configuration says.
        task: the task, where another has made it and steps it, of these objects; else made as the configuration says.

    Raises:
        UserError: the configuration, a checkpoint or the run's folder does not do; nothing is left behind.
        TrainingStopped: Ctrl-C; the checkpoint is written.
    """
    command = config.command
    if command.torch_deterministic:
        torch.use_deterministic_algorithms(True)
    rank = int(os.environ.get("RANK", "0")) if command.multi_gpu else 0
    start = find_warm_start(config)
    objects = make_objects(config.objects) if objects is None else objects
    for checkpoint in (start.resumed, start.initial, *start.teachers):
        if checkpoint is not None:
            checkpoint.check_codes(objects)
    task = _make_task(config, objects, command.seed + rank, start) if task is None else task

    with contextlib.ExitStack() as stack:
        folder, new = Path(command.runs_dir) / command.experiment, False
        if rank == 0:
            folder, new = _own_run_folder(config, stack)
        monitor = TrainingMonitor()
        vec_env.register(task, command.rl_device, start.teachers_see)
        stack.callback(vec_env.release)
        try:
            if rank == 0:
                config.save(folder / "config.yaml")
                write_json(folder / "versions.json", {"seed": command.seed, **versions()})
            agent = build_agent(config, start, task, monitor, folder)
            if rank == 0 and command.wandb_activate:
                agent.writer.mirror = stack.enter_context(wandb_run(config, folder))
        except UserError:
            if new:
                shutil.rmtree(folder, ignore_errors=True)
                with contextlib.suppress(OSError):  # other runs are in it
                    folder.parent.rmdir()
            raise
        stack.callback(monitor.close)
        stack.enter_context(unfailing_output())
        if rank == 0:
            _print_start(task, agent, folder)
        stack.enter_context(_stop_after_iteration(agent))
        try:
            agent.train()
        except TrainingStopped:
            if rank == 0:
                lost = "" if agent.unsaved is None else f"; the last iterations are lost: {agent.unsaved}"
                left = f"; resume with: {_command(config, checkpoint=str(folder / LAST))}" * (folder / LAST).exists()
                print(f"stopped{lost}{left}")
            raise
        if agent.unsaved is not None:
            raise UserError(f"the training is done, and its last iterations are lost: {agent.unsaved}")
        if rank == 0:
            _print_end(config, monitor, folder)
    return TrainingResult(folder, objects)


def _make_task(config: RunConfig, objects: ObjectSet, seed: int, start: WarmStart) -> GraspTask:
    if config.task.env.object_sampling == "fixed":
        remedy = "" if config.one_scene else "task.env.objectSampling=random draws one at every reset"
        check_room(config.command.num_envs, objects, remedy)
    views = [view for view in (config.task.env.observation, start.teachers_see) if view is not None]
    groups = dict.fromkeys(group for view in views for group in VIEWS[view])
    return config.make_task(objects, seed=seed, groups=list(groups))


def build_agent(
    config: RunConfig, start: WarmStart, task: GraspTask, monitor: TrainingMonitor, folder: Path
) -> ResDexAgent:
    """The agent with the weights that it starts from.

    Raises:
        UserError: rl_games cannot build it.
    """
    params = config.rl_games_params(
        full_experiment_name=folder.name, train_dir=str(folder.parent), blank=_blank(config, start, task)
    )
    params["network"] = dict(start.spec.network)
    if start.teachers:
        params["config"]["teacher"] = load_teachers(start.teachers, task.objects.names, config.command.rl_device)
    runner = Runner(monitor)
    networks.register()
    for name, algorithm in ALGORITHMS.items():
        runner.algo_factory.register_builder(name, lambda algorithm=algorithm, **kwargs: algorithm(**kwargs))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # rl_games' own messages
            runner.load({"params": params})
            agent = runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)
    except Exception as error:  # its factories and networks check little and raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"rl_games cannot build this training from train.params: {reason}") from error
    if start.experts is not None:
        agent.model.a2c_network.experts.load_state_dict(start.experts.weights)
    if start.initial is not None:
        agent.start_from(start.initial)
    if start.resumed is not None:
        agent.resume(start.resumed)
        if agent.writer is not None:
            monitor.after_resume()
    return agent


def _blank(config: RunConfig, start: WarmStart, task: GraspTask) -> Checkpoint:
    """What every checkpoint of this training says of itself."""
    made_by = MadeBy(config.overrides.command(), config.command.seed, versions())
    if start.teachers:
        names, ids = [t.name for t in start.teachers], [t.id for t in start.teachers]
        several = {"count": len(names)} if len(names) > 1 else {}
        made_by = replace(made_by, teacher={"name": ", ".join(names), "id": "+".join(ids), **several})
    plain: Dict[str, Any] = dict(config.plain)
    objects = tuple(task.objects.names)
    seen = [start.spec, *(teacher.spec for teacher in start.teachers)]
    encoder = task.objects.encoder if any("object_code" in spec.observation_layout for spec in seen) else ""
    return Checkpoint(start.spec, {}, made_by, plain["task"], plain["sim"], objects, plain["objects"], encoder)


def _own_run_folder(config: RunConfig, stack: contextlib.ExitStack) -> Tuple[Path, bool]:
    """The run's folder, this process's own until `stack` ends, and whether it is new. Of two trainings that find the
    same name by themselves, the second one counts up.

    Raises:
        UserError: it cannot be written, it holds another training, or another process is at work in it.
    """
    command = config.command
    name = _experiment(config)
    numbered = (f"{command.task_name}_{datetime.now():%Y-%m-%d_%H-%M-%S}{end}" for end in chain([""], _counted()))
    while True:
        folder = Path(command.runs_dir) / (name or next(numbered))
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            new = not folder.exists()
            if new or not name:
                folder.mkdir()
        except FileExistsError:
            if name and folder.is_dir():  # another process made it meanwhile: the lock says whose it is
                new = False
            elif name:
                raise UserError(f"cannot write {folder}: File exists") from None
            else:
                continue
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
        break
    stack.enter_context(owned(folder))
    _check_run_folder(folder, None if config.checkpoint is None else config.checkpoint.path)
    return folder, new


def _counted() -> Iterator[str]:
    """_2, _3, ..."""
    return (f"_{number}" for number in count(2))


def _experiment(config: RunConfig) -> str:
    """Name of the run's folder where it is given; a resumed training goes on in its own. '': none is."""
    command, checkpoint = config.command, config.checkpoint
    if command.experiment:
        return command.experiment
    file = None if checkpoint is None else checkpoint.path
    run = checkpoint.run_folder if checkpoint is not None and file is not None and file.name == LAST.name else None
    if run is not None and run.resolve().parent == Path(command.runs_dir).resolve():
        return run.resolve().name
    return ""


def _check_run_folder(folder: Path, checkpoint: Optional[Path]) -> None:
    last = folder / LAST
    if last.exists() and (checkpoint is None or checkpoint.resolve() != last.resolve()):
        resume = shell_argument("checkpoint", str(last))
        raise UserError(f"{folder} holds a training: resume it with {resume}, or name another experiment")
    try:
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    for place in (folder, folder / "nn"):
        remove_abandoned(place)


@contextlib.contextmanager
def _stop_after_iteration(agent: ResDexAgent) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM, or the terminal's end) ends the training after the iteration in progress, a second
    one at once, and a third one even where Python cannot."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def request(number: int, frame: Any) -> None:
        if agent.stop_requested:
            for each in numbers:
                signal.signal(each, signal.SIG_DFL)
            raise KeyboardInterrupt
        agent.stop_requested = True
        print("\nstopping after this iteration; once more to stop at once", file=sys.stderr)

    # what is ignored stays so: nohup
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, request)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command(config: RunConfig, **values: Any) -> str:
    """This run's command line with other values."""
    return config.overrides.having(values).command()


def _print_end(config: RunConfig, monitor: TrainingMonitor, folder: Path) -> None:
    means = monitor.window.means()
    once, at_end = means.get("success_once", 0), means.get("success_at_end", 0)
    noise = "" if config.imitates else " with exploration noise"
    print(f"done: success once {once:.2f}, at end {at_end:.2f}{noise}")
    print(f"evaluate it{' without' if noise else ''}: {_command(config, test=True, checkpoint=str(folder / LAST))}")


def _print_start(task: GraspTask, agent: ResDexAgent, folder: Path) -> None:
    size = sum(p.numel() for p in agent.model.parameters())
    names = task.objects.names
    shown = ", ".join(names[:6]) + (f", ... ({len(names)} in all)" if len(names) > 6 else "")
    print(f"{task.num_envs} environments, objects: {shown}")
    print(f"reward: {' + '.join(task.config.reward.terms)}; {task.num_obs} observations, {size:,} parameters")
    if isinstance(agent, HyperPPO):
        network = agent.model.a2c_network
        learned = "mixture weights and a residual" if network.mixture.residual else "mixture weights alone"
        print(f"{network.experts.spec.count} experts ({', '.join(network.experts.spec.objects)}); learns {learned}")
    teacher = agent.config["blank"].made_by.teacher
    if teacher:
        points = f", and sees {task.config.vision.num_points} points of the object" * (CLOUD in task.groups)
        print(f"imitates {teacher['name']}{points}")
    print(f"writing {folder}/ (TensorBoard: tensorboard --logdir {folder.parent})", flush=True)
