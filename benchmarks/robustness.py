"""What a run survives: kills at random moments, saves onto a full disk, files that are damaged or hostile.

    python benchmarks/robustness.py --kills 20 --saves 40 --files 400 pipeline=tiny

The pipeline is run once undisturbed, then again and again killed (SIGKILL, its whole process group) at random moments
and started with the same command, each time one is done in a new folder, until all kills are spent. Nothing is lost
where every report and every file that a step answers for is, byte for byte, the undisturbed run's.
"""

import argparse
import contextlib
import io
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402

from resdex_tasks.utils.errors import UserError  # noqa: E402
from resdex_tasks.utils.tables import markdown_table  # noqa: E402
from runners.launch import main as train  # noqa: E402
from runners.policies.checkpoint import Checkpoint, find_checkpoint, shipped_policies  # noqa: E402

SMALL_TRAINING = (
    "scale=cpu", "sim=mujoco", "sim.numThreads=1", "num_envs=4", "task.env.episodeLength=6", "experiment=run",
    "train.params.network.mlp.units=[16,16]", "train.params.config.horizon_length=4",
    "train.params.config.save_frequency=1", "train.params.torch_threads=1",
)  # fmt: skip


def start(folder: Path, overrides: Sequence[str]) -> subprocess.Popen:
    """The pipeline in `folder`, in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "runners.pipeline", *overrides, "out=made"]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            command, cwd=str(folder), stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip


def answered_for(folder: Path) -> Dict[str, Any]:
    """The report, the weights of every policy, and the hash of every other file that a step answers for. (A policy that
    was resumed says so: the file around its weights is another.)"""
    made = folder / "made"
    out: Dict[str, Any] = {"report": (made / "report.md").read_bytes()}
    for step in sorted(made.glob("*/step.json")):
        for name, known in json.loads(step.read_text())["files"].items():
            path = step.parent / name
            out[f"{step.parent.name}/{name}"] = Checkpoint.read(path).id if name == "nn/last.pth" else known
    return out


def step_in_progress(folder: Path) -> str:
    steps = re.findall(r"^\[(\S+)\] (?!done already)", (folder / "output.txt").read_text(errors="replace"), re.M)
    return steps[-1] if steps else "the beginning"


def kill_at_random(
    folder: Path, overrides: Sequence[str], kills: int, longest: Optional[float], seed: int
) -> List[str]:
    """Rows of the table of results."""
    rng = random.Random(seed)
    began = time.monotonic()
    process = start(folder / "whole", overrides)
    if process.wait():
        sys.exit(f"error: the undisturbed run failed, see {folder / 'whole' / 'output.txt'}")
    whole = answered_for(folder / "whole")
    took = time.monotonic() - began
    longest = longest or took / 10  # so that kills come everywhere in it, however slow the machine is
    print(f"undisturbed: {took:.0f} s", flush=True)
    survived, runs, same = 0, 0, 0
    while survived < kills:
        runs += 1
        run, finished = folder / f"run_{runs}", False
        while not finished:
            process, delay = start(run, overrides), rng.uniform(0.0, longest)
            try:
                if process.wait(delay if survived < kills else None):
                    sys.exit(f"error: it did not go on after kill {survived}, see {run / 'output.txt'}")
                finished = True
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                survived += 1
                print(f"kill {survived}: run {runs}, after {delay:.1f} s, in {step_in_progress(run)}", flush=True)
        same += answered_for(run) == whole
        left = list(run.rglob("*.part"))
        print(f"run {runs}: {'the same' if answered_for(run) == whole else 'ANOTHER'}, {len(left)} half-written files")
    return [f"pipeline killed (SIGKILL) at random moments, {runs} runs", str(survived), f"{runs - same} of {runs} runs"]


def saves_on_a_full_disk(folder: Path, saves: int, seed: int) -> List[str]:
    """A training of so many saves, a random half of which fail half-way; the last one succeeds."""
    rng, save, failed = random.Random(seed), torch.save, []

    def half_the_time(state: Dict[str, Any], file: Any, *rest: Any, **named: Any) -> None:
        iteration = state["made_by"]["iterations"]
        if iteration < saves and rng.random() < 0.5:
            failed.append(iteration)
            file.write(b"PK half")
            raise OSError(28, "No space left on device")
        save(state, file, *rest, **named)

    folder.mkdir(parents=True, exist_ok=True)
    arguments = [*SMALL_TRAINING, f"runs_dir={folder}", f"max_iterations={saves}"]
    with mock.patch.object(torch, "save", half_the_time), contextlib.redirect_stdout(io.StringIO()):
        status = train(arguments)
    last = Checkpoint.read(folder / "run" / "nn" / "last.pth").made_by.iterations
    lost = saves - last if status == 0 else saves
    return [f"saves that met a full disk, in a training of {saves} iterations", str(len(failed)), f"{lost} iterations"]


class Hostile:
    """Unpickling it would run a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Tuple[Callable, Tuple]:
        return os.system, (f"touch {self.mark}",)


def turned(content: bytes, rng: random.Random, folder: Path) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ rng.randrange(1, 256)]) + content[at + 1 :]


def cut(content: bytes, rng: random.Random, folder: Path) -> bytes:
    return content[: rng.randrange(len(content))]


def with_nan(content: bytes, rng: random.Random, folder: Path) -> bytes:
    state = torch.load(io.BytesIO(content), weights_only=True)
    tensors = [value for value in state["weights"].values() if value.is_floating_point() and value.numel()]
    chosen = rng.choice(tensors)
    chosen.view(-1)[rng.randrange(chosen.numel())] = rng.choice([float("nan"), float("inf")])
    return saved(state)


def hostile(content: bytes, rng: random.Random, folder: Path) -> bytes:
    state = torch.load(io.BytesIO(content), weights_only=True)
    bomb = Hostile(folder / "executed")
    if rng.random() < 0.3:
        return pickle.dumps(bomb)
    place = rng.choice([state, state["made_by"], state["task"], state["weights"]])
    place[rng.choice(list(place))] = bomb
    return saved(state)


def saved(state: Any) -> bytes:
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


FAULTS = {"a byte turned": turned, "cut off": cut, "nan or infinite weights": with_nan, "hostile": hostile}


def read_damaged(folder: Path, tries: int, seed: int) -> List[List[str]]:
    """Rows: the kind of damage, files read, and how many of them were taken for a policy that they are not."""
    rng, rows, names = random.Random(seed), [], shipped_policies()
    folder.mkdir(parents=True, exist_ok=True)
    for kind, damage in FAULTS.items():
        taken = same = 0
        for _ in range(tries):
            source = find_checkpoint(rng.choice(names))
            path = folder / "damaged.pth"
            path.write_bytes(damage(source.read_bytes(), rng, folder))
            try:
                found = Checkpoint.read(path)
            except UserError:
                continue
            whole = Checkpoint.read(source)
            if kind == "a byte turned" and found.id == whole.id and found.spec == whole.spec:
                same += 1  # a byte that holds nothing: padding, a date
            else:
                taken += 1
        if (folder / "executed").exists():
            sys.exit(f"error: a file was executed ({kind})")
        harmless = f" ({same} times one that holds nothing: read as it was)" if same else ""
        rows.append([f"policy's file: {kind}{harmless}", str(tries), f"{taken} taken for good, 0 executed"])
    return rows


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--longest", type=float, help="s from a start to its kill, at most; default: a tenth of the run"
    )
    parser.add_argument("--saves", type=int, default=40)
    parser.add_argument("--files", type=int, default=400, help="of each kind of damage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a new folder for what the runs leave; default: a temporary one")
    parser.add_argument("overrides", nargs="*", default=["pipeline=tiny"], help="of the pipeline")
    args = parser.parse_args(argv)
    with contextlib.ExitStack() as stack:
        folder = args.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows = [["fault", "injected", "lost"]]
        if args.files:
            rows += read_damaged(folder / "files", args.files, args.seed)
        if args.saves:
            rows.append(saves_on_a_full_disk(folder / "saves", args.saves, args.seed))
        if args.kills:
            rows.append(kill_at_random(folder, args.overrides, args.kills, args.longest, args.seed))
    print("\n" + markdown_table(rows))


if __name__ == "__main__":
    main()
