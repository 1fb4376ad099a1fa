"""Everything that only a GPU can show of the simulator `mujoco_warp`, in one call that ends with the tables.

    python benchmarks/gpu.py --out OUT                          # all parts; report and checkpoint go into OUT
    python benchmarks/gpu.py --parts steps --worlds 4096        # one of them

- `compile`: seconds until a simulator stands, with an empty kernel cache and with a filled one, each in a new process.
- `agreement`: benchmarks/agreement.py between this device and MuJoCo on the CPU, one step and whole episodes.
- `steps`: environment steps per second of `GraspTask.step` under a policy whose hand is at the object, with one object
  and with many, beside the bare engine: the same captured graph launched from the same recorded states, with nothing
  around it. The engine's memory, and what it dropped, stand beside.
- `expert`: `python train.py task=ResDexBase` at the paper's scale for `--train-minutes`, and its evaluation.
- `training`: benchmarks/training_shares.py at the paper's scale, by that expert: where the time goes, and steps/s.

With `--device cpu` and small sizes it runs on Warp's CPU device: a rehearsal, whose numbers mean nothing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Tuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.grasp_task import GraspTask
from runners.config import load_config
from runners.policies.checkpoint import export
from runners.policies.policy import Policy

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("compile", "agreement", "steps", "expert", "training")
EXPERT = "base_box_gpu.pth"
TARGETS = {(1, 4096): 137_000, (1000, 11000): 89_000}
"""(objects, worlds) -> environment steps/s that the paper's training times imply on an RTX 4090 (Table 6)."""


def objects_overrides(count: int) -> List[str]:
    """One object, the starter box, or the first `count` of the zoo."""
    return ["objects=starter"] if count == 1 else ["objects=zoo", f"objects.count={count}"]


def compile_part(args: argparse.Namespace) -> str:
    """Seconds to build one simulator, in processes with an empty and with a filled kernel cache."""
    build = (
        "import sys, time; start = time.perf_counter();"
        "from runners.config import load_config;"
        "task = load_config(sys.argv[2:]).make_task(num_envs=int(sys.argv[1])); task.reset();"
        "print(time.perf_counter() - start)"
    )
    rows = [("kernel cache", "environments", "seconds until a simulator stands, imports included")]
    with tempfile.TemporaryDirectory() as cache:
        for name, worlds in (("empty", 64), ("filled", 64), ("filled, by another number of environments", 65)):
            command = [sys.executable, "-c", build, str(worlds), "sim=mujoco_warp", f"sim_device={args.device}"]
            out = _run([*command, "scale=cpu", "seed=1"], WARP_CACHE_PATH=cache)
            rows.append((name, str(worlds), f"{float(out.split()[-1]):.0f}"))
    return table(rows)


ROW = ("objects x worlds", "touching %", "GraspTask.step, steps/s", "bare engine, steps/s", "ratio", "GiB", "dropped")


def steps_part(args: argparse.Namespace) -> str:
    """Environment steps/s beside the bare engine's, over worlds and objects; each row in a process of its own."""
    rows: List[Sequence[str]] = [ROW]
    for count in args.objects:
        for worlds in (w for w in args.worlds if w >= count):
            about = f"--device={args.device}", f"--checkpoint={args.checkpoint}", f"--seed={args.seed}"
            sizes = f"--steps={args.steps}", f"--warmup={args.warmup}", f"--objects={count}", f"--worlds={worlds}"
            try:
                row = json.loads(_run([sys.executable, __file__, "--one-row", *about, *sizes]).splitlines()[-1])
            except PartFailed as error:
                row = [f"{count} x {worlds}", str(error).splitlines()[-1], *[""] * (len(ROW) - 2)]
            rows.append(row)
            print(" | ".join(row), flush=True)
    return table(rows)


def measure_steps(args: argparse.Namespace, count: int, worlds: int) -> Tuple[str, ...]:
    """One row of the table: the same actions from the same state, through the task, and by the bare engine."""
    free = _free_memory(args.device)
    task, policy = policy_at_work(args, count, worlds)
    memory = (free - _free_memory(args.device)) / 2**30
    touching = float((task.sim.state().fingertip_wrenches.abs().sum(-1) > 0).any(1).float().mean())
    start, actions, states = task.get_state(), [], []
    for _ in range(args.steps):
        actions.append(policy(task.obs).action)
        task.pre_physics_step(actions[-1])
        # the state that the step ended in, with its commands: as good a start for the bare engine as the one before
        states.append({name: array.clone() for name, array in task.sim.arrays.items()})
        task.post_physics_step()
    watch = Stopwatch(args.device)
    for state in states:
        for name, array in task.sim.arrays.items():
            array.copy_(state[name])
        watch.time(task.sim.physics_step)
    bare = watch.seconds()
    task.set_state(start)
    watch = Stopwatch(args.device)
    watch.time(lambda: [task.step(action) for action in actions])
    whole, total = watch.seconds(), worlds * args.steps
    target = TARGETS.get((count, worlds))
    dropped = {overflow.name: overflow.count for overflow in task.sim.overflows() if overflow.count}
    return (
        f"{count} x {worlds}",
        f"{100 * touching:.0f}",
        f"{total / whole:,.0f}" + (f" (aim {target:,})" if target else ""),
        f"{total / bare:,.0f}",
        f"{bare / whole:.2f}",
        f"{memory:.1f}",
        ", ".join(f"{name}: {count}" for name, count in dropped.items()) or "nothing",
    )


class Stopwatch:
    """Seconds of pieces of work on a device, without waiting for it between them."""

    def __init__(self, device: str) -> None:
        self._cuda = device != "cpu"
        self._pieces: List[Tuple[Any, Any]] = []

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def time(self, work: Callable[[], object]) -> None:
        start = self._now()
        work()
        self._pieces.append((start, self._now()))

    def seconds(self) -> float:
        """Of all pieces together."""
        if not self._cuda:
            return sum(end - start for start, end in self._pieces)
        torch.cuda.synchronize()
        return sum(start.elapsed_time(end) for start, end in self._pieces) / 1000


def policy_at_work(args: argparse.Namespace, count: int, worlds: int) -> Tuple[GraspTask, Policy]:
    """The task after most of an episode's steps, its episodes spread over all phases, and the policy that acts."""
    chosen = ["sim=mujoco_warp", f"sim_device={args.device}", "scale=cpu", f"num_envs={worlds}"]
    config = load_config([*chosen, *objects_overrides(count), f"seed={args.seed}"])
    policy = Policy.load(args.checkpoint, config.command.rl_device)
    task = config.make_task(num_envs=worlds, groups=policy.groups)
    obs = task.reset()
    for _ in range(args.warmup):
        obs, _, _, _ = task.step(policy(obs).action)
    return task, policy


def _free_memory(device: str) -> int:
    """Bytes; torch's own cache is given back first."""
    if device == "cpu":
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def agreement_part(args: argparse.Namespace) -> str:
    sizes = f"--states={args.states}", f"--num-envs={args.agreement_envs}", f"--episodes={args.episodes}"
    about = f"--device={args.device}", f"--checkpoint={args.checkpoint}", f"--seed={args.seed}", "--contacts=20"
    return _run([sys.executable, str(ROOT / "benchmarks" / "agreement.py"), *sizes, *about])


def expert_part(args: argparse.Namespace) -> str:
    """Train a base expert for some minutes, evaluate it, and put checkpoint, log and tables into `--out`."""
    out = args.out.resolve()
    experiment = f"expert_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    train = [sys.executable, str(ROOT / "train.py"), "task=ResDexBase", f"experiment={experiment}"]
    train += [*_training_settings(args), f"seed={args.seed}"]
    log = out / "expert_training.log"
    with log.open("w") as file:
        process = subprocess.Popen(train, cwd=str(out), stdout=file, stderr=subprocess.STDOUT)
        try:
            process.wait(60 * args.train_minutes)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it saves and ends
            process.wait(300)
    shown = "\n".join(log.read_text().splitlines()[-4:])
    last = out / "runs" / experiment / "nn" / "last.pth"
    if process.returncode not in (0, 130) or not last.is_file():
        raise PartFailed(shown)
    export(str(last), str(out / EXPERT))
    return f"{shown}\n\n" + _run(
        [*train, "test=True", f"checkpoint={last}", f"episodes_per_object={args.episodes}"], cwd=out
    )


def training_part(args: argparse.Namespace) -> str:
    """Shares and speed of a training by the expert of `--out`; by an untrained hand, which touches little, without."""
    sizes = f"--iterations={args.iterations}", f"--warmup={args.iterations}", f"--seed={args.seed}"
    expert = args.out.resolve() / EXPERT
    about = [f"--checkpoint={expert}"] if expert.is_file() else []
    script = [sys.executable, str(ROOT / "benchmarks" / "training_shares.py"), *sizes, *about]
    return _run([*script, *_training_settings(args)])


def _training_settings(args: argparse.Namespace) -> List[str]:
    return ["scale=paper", "sim=mujoco_warp", f"sim_device={args.device}", *args.train_overrides]


class PartFailed(Exception):
    """A process of the benchmark ended with an error; the message is what it printed."""


def _run(command: Sequence[str], cwd: Optional[Path] = None, **environment: str) -> str:
    """What a process prints.

    Raises:
        PartFailed: it failed.
    """
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    env = {**os.environ, "PYTHONPATH": path, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=None if cwd is None else str(cwd))
    if done.returncode:
        raise PartFailed(f"{done.stdout}{done.stderr}".strip())
    return done.stdout


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path("gpu_benchmark"), help="folder for the tables and the expert")
    parser.add_argument("--checkpoint", default="base_box", help="the policy that acts")
    parser.add_argument("--worlds", nargs="+", type=int, default=[1024, 4096, 11000])
    parser.add_argument("--objects", nargs="+", type=int, default=[1, 1000])
    parser.add_argument("--steps", type=int, default=60, help="control steps that are timed")
    parser.add_argument("--warmup", type=int, default=150, help="control steps before them")
    parser.add_argument("--states", type=int, default=4000, help="of the agreement over one step")
    parser.add_argument("--agreement-envs", type=int, default=220)
    parser.add_argument("--episodes", type=int, default=2000, help="of each evaluation")
    parser.add_argument("--iterations", type=int, default=30, help="of the training whose time is measured")
    parser.add_argument("--train-minutes", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one-row", action="store_true", help="of `steps`, as JSON: how the benchmark calls itself")
    parser.add_argument("--train-overrides", nargs="*", default=[], help="key=value for both trainings")
    args = parser.parse_args(argv)
    if args.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {args.device}: torch finds no CUDA device; --device cpu rehearses on small sizes")
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    if args.one_row:
        print(json.dumps(measure_steps(args, args.objects[0], args.worlds[0])))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    parts = {
        "compile": compile_part,
        "agreement": agreement_part,
        "steps": steps_part,
        "expert": expert_part,
        "training": training_part,
    }
    report = [machine()]
    for name in (part for part in parts if part in args.parts):
        start = time.perf_counter()
        try:
            text = parts[name](args)
        except (PartFailed, OSError, subprocess.SubprocessError) as error:  # the other parts go on
            text = f"failed:\n{error}"
        report.append(f"## {name} ({time.perf_counter() - start:.0f} s)\n\n{text}")
        (args.out / "report.md").write_text("\n\n".join(report) + "\n")  # a later part may be cut short
    print("\n\n".join(report))


if __name__ == "__main__":
    run(main)
