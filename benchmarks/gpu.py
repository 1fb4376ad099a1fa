"""Everything that only a GPU can show of the simulator `mujoco_warp`, in one call that ends with the tables.

    python benchmarks/gpu.py --out OUT                          # all parts, about 25 minutes, files into OUT
    python benchmarks/gpu.py --parts steps --worlds 4096        # one of them

- `compile`: seconds until a simulator stands, with an empty kernel cache and with a filled one, each in a new process.
- `agreement`: benchmarks/agreement.py between this device and MuJoCo on the CPU, one step and whole episodes.
- `steps`: environment steps per second of `GraspTask.step` under a policy whose hand is at the object, with one object
  and with many, beside the bare engine: the same captured graph launched from the same recorded states, with nothing
  around it. The engine's memory, and what it dropped, stand beside.
- `training`: benchmarks/training_shares.py at the paper's scale: where the time goes, and steps per second.
- `expert`: `python train.py task=ResDexBase` at the paper's scale for `--train-minutes`, and its evaluation.

With `--device cpu` and small sizes it runs on Warp's CPU device: a rehearsal, whose numbers mean nothing.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, table
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.make import make_task
from runners import checkpoints
from runners.config import load_config, plain
from runners.playing import load_policy

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("compile", "agreement", "steps", "training", "expert")
TARGETS = {(1, 4096): 137_000, (1000, 11000): 89_000}
"""(objects, worlds) -> environment steps/s that the paper's training times imply on an RTX 4090 (Table 6)."""


def objects_overrides(count: int) -> List[str]:
    """One object, the starter box, or the first `count` of the zoo."""
    return ["objects=starter"] if count == 1 else ["objects=zoo", f"objects.count={count}"]


def compile_part(args: argparse.Namespace) -> str:
    """Seconds to build one simulator, in processes with an empty and with a filled kernel cache."""
    build = (
        "import sys, time; start = time.perf_counter();"
        "from runners.config import load_config, plain; from resdex_tasks.make import make_task;"
        "task = make_task(plain(load_config(sys.argv[2:])[0]), int(sys.argv[1]), 1); task.reset();"
        "print(time.perf_counter() - start)"
    )
    rows = [("kernel cache", "seconds until a simulator stands, imports included")]
    with tempfile.TemporaryDirectory() as cache:
        for name in ("empty", "filled"):
            command = [sys.executable, "-c", build, "64", "sim=mujoco_warp", f"sim_device={args.device}", "scale=cpu"]
            env = {**os.environ, "WARP_CACHE_PATH": cache, "PYTHONPATH": _python_path()}
            out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
            rows.append((name, f"{float(out.split()[-1]):.0f}"))
    return table(rows)


def steps_part(args: argparse.Namespace) -> str:
    """Environment steps/s beside the bare engine's, over worlds and objects."""
    head = (
        "objects x worlds",
        "touching %",
        "GraspTask.step, steps/s",
        "bare engine, steps/s",
        "ratio",
        "GiB",
        "dropped",
    )
    rows: List[Tuple[str, ...]] = [head]
    for count in args.objects:
        for worlds in args.worlds:
            if count > worlds:
                continue
            rows.append(measure_steps(args, count, worlds))
            print(" | ".join(rows[-1]), flush=True)
    return table(rows)


def measure_steps(args: argparse.Namespace, count: int, worlds: int) -> Tuple[str, ...]:
    """One row of the table."""
    free = _free_memory(args.device)
    task, policy = policy_at_work(args, count, worlds)
    touching = float((task.sim.state().fingertip_wrenches.abs().sum(-1) > 0).any(1).float().mean())
    memory = (free - _free_memory(args.device)) / 2**30
    actions, states = [], []
    for _ in range(args.steps):
        actions.append(policy(task.obs).clone())
        task.pre_physics_step(actions[-1])
        states.append({name: array.clone() for name, array in task.sim.arrays.items()})
        task.post_physics_step()
    bare = sum(_timed(lambda state=state: _load(task, state), task.sim.physics_step, args.device) for state in states)
    whole = _timed(lambda: None, lambda: [task.step(action) for action in actions], args.device)
    total = worlds * args.steps
    speed = total / whole
    target = TARGETS.get((count, worlds))
    said = f"{speed:,.0f}" + (f" (aim {target:,})" if target else "")
    dropped = sum(overflow.count for overflow in task.sim.overflows())
    return (
        f"{count} x {worlds}",
        f"{100 * touching:.0f}",
        said,
        f"{total / bare:,.0f}",
        f"{bare / whole:.2f}",
        f"{memory:.1f}",
        f"{dropped}",
    )


def policy_at_work(args: argparse.Namespace, count: int, worlds: int) -> Tuple[GraspTask, Callable]:
    """The task after most of an episode's steps, its episodes spread over all phases, and the policy that acts."""
    chosen = ["sim=mujoco_warp", f"sim_device={args.device}", "scale=cpu", f"num_envs={worlds}"]
    cfg = plain(load_config([*chosen, *objects_overrides(count), f"seed={args.seed}"])[0])
    state = checkpoints.read_checkpoint(args.checkpoint)
    cfg["task"]["env"]["observation"] = state["kind"]
    task = make_task(cfg, worlds, args.seed)
    policy = load_policy(cfg, state, task, args.checkpoint)
    obs = task.reset()
    for _ in range(args.warmup):
        obs, _, _, _ = task.step(policy(obs))
    return task, policy


def _load(task: GraspTask, state: Dict[str, torch.Tensor]) -> None:
    for name, array in task.sim.arrays.items():
        array.copy_(state[name])


def _timed(prepare: Callable[[], None], work: Callable[[], object], device: str) -> float:
    """Seconds of `work`, the device's included."""
    prepare()
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def _free_memory(device: str) -> int:
    """Bytes; torch's own cache is given back first."""
    if device == "cpu":
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def agreement_part(args: argparse.Namespace) -> str:
    sizes = f"--states={args.states}", f"--num-envs={args.agreement_envs}", f"--episodes={args.episodes}"
    about = f"--device={args.device}", f"--checkpoint={args.checkpoint}", f"--seed={args.seed}"
    return _run("agreement.py", *sizes, *about)


def training_part(args: argparse.Namespace) -> str:
    sizes = f"--iterations={args.iterations}", f"--warmup={args.iterations}", f"--seed={args.seed}"
    return _run("training_shares.py", *sizes, *_training_settings(args))


def expert_part(args: argparse.Namespace) -> str:
    """Train a base expert for some minutes, evaluate it, and put checkpoint, log and tables into `--out`."""
    out, train = (
        args.out.resolve(),
        [sys.executable, str(ROOT / "train.py"), "task=ResDexBase", "experiment=expert_gpu"],
    )
    settings = [
        "scale=paper",
        "sim=mujoco_warp",
        f"sim_device={args.device}",
        f"seed={args.seed}",
        *args.train_overrides,
    ]
    log = out / "expert_training.log"
    with log.open("w") as file:
        process = subprocess.Popen([*train, *settings], cwd=str(out), stdout=file, stderr=subprocess.STDOUT)
        try:
            process.wait(60 * args.train_minutes)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it saves and ends
            process.wait(120)
    shown = "\n".join(log.read_text().splitlines()[-4:])
    last = out / "runs" / "expert_gpu" / "nn" / "last.pth"
    if not last.is_file():
        return shown
    checkpoints.export(str(last), str(out / "base_box_gpu.pth"))
    test = [
        *train,
        *settings,
        "test=True",
        f"checkpoint={last}",
        f"episodes_per_object={args.episodes}",
        "num_envs=2048",
    ]
    done = subprocess.run(test, cwd=str(out), capture_output=True, text=True)
    return f"{shown}\n\n{done.stdout}{done.stderr}"


def _training_settings(args: argparse.Namespace) -> List[str]:
    return ["scale=paper", "sim=mujoco_warp", f"sim_device={args.device}", *args.train_overrides]


def _python_path() -> str:
    return os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)


def _run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": _python_path()})
    return done.stdout + (f"\nfailed:\n{done.stderr}" if done.returncode else "")


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
    parser.add_argument("--train-overrides", nargs="*", default=[], help="key=value for both trainings")
    args = parser.parse_args(argv)
    if args.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {args.device}: torch finds no CUDA device; --device cpu rehearses on small sizes")
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    parts = {"compile": compile_part, "agreement": agreement_part, "steps": steps_part, "training": training_part,
             "expert": expert_part}  # fmt: skip
    report = [machine()]
    for name in args.parts:
        start = time.perf_counter()
        text = parts[name](args)
        report.append(f"## {name} ({time.perf_counter() - start:.0f} s)\n\n{text}")
        (args.out / "report.md").write_text("\n\n".join(report) + "\n")  # a later part may be cut short
    print("\n\n".join(report))


if __name__ == "__main__":
    main()
