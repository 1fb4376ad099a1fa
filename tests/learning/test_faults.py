"""Faults injected into a training: a full disk, weights that become nan, signals. It goes on, or ends in a sentence."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call, files, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runners.learning.agent import ResDexAgent
from runners.learning.ppo import ResDexPPO
from runners.learning.train import ALGORITHMS
from runners.policies.checkpoint import Checkpoint

pytestmark = pytest.mark.slow  # every test trains

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
SMALL_DISK = shutil.which("unshare") is not None and not subprocess.call(
    ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"], stderr=subprocess.DEVNULL
)
"""Whether a disk of our own can be mounted."""


@pytest.fixture
def saves_fail_at(monkeypatch):
    """Iterations at which the disk is full."""
    at, save = set(), torch.save

    def full(state, file, *rest, **named):
        if state["made_by"]["iterations"] in at:
            file.write(b"PK half")
            raise OSError(28, "No space left on device")
        save(state, file, *rest, **named)

    monkeypatch.setattr(torch, "save", full)
    return at


def iterations_of(run, name="last.pth"):
    return Checkpoint.read(run / "nn" / name).made_by.iterations


# A full disk


def test_a_failed_save_is_said_and_tried_again(tmp_path, saves_fail_at):
    saves_fail_at |= {2, 3}
    outcome = call(tmp_path, *TINY, "experiment=run", "max_iterations=4")
    assert outcome.status == 0, outcome.err
    assert outcome.err == ""
    said = [line for line in outcome.out.splitlines() if line.startswith("warning: ")]
    expected = "{}: cannot write runs/run/nn/{}: No space left on device; tried again at the next save"
    assert {line.split("iteration ")[1] for line in said} <= {
        expected.format(i, name) for i in (2, 3) for name in ("last.pth", "best.pth")
    }
    assert sum("last.pth" in line for line in said) == 2
    assert iterations_of(tmp_path / "runs" / "run") == 4
    assert sorted(path.name for path in (tmp_path / "runs" / "run" / "nn").iterdir()) == ["best.pth", "last.pth"]


def test_a_best_policy_that_could_not_be_saved_is_tried_again(tmp_path, saves_fail_at, monkeypatch):
    monkeypatch.setattr("resdex_tasks.rewards.SUCCESS_RADIUS", 100.0)  # the same score every time
    saves_fail_at |= {1, 2}
    outcome = call(tmp_path, *TINY, "experiment=run", "max_iterations=4")
    assert outcome.status == 0, outcome.err
    assert iterations_of(tmp_path / "runs" / "run", "best.pth") == 3


def test_a_training_whose_last_save_failed_says_what_is_lost(tmp_path, saves_fail_at):
    saves_fail_at |= {4}
    outcome = call(tmp_path, *TINY, "experiment=run", "max_iterations=4")
    assert_one_sentence(outcome, "last iterations are lost", "runs/run/nn/last.pth", "No space left")
    assert iterations_of(tmp_path / "runs" / "run") == 3


def filled(free):
    """Fills the disk but for so many KiB, as somebody else would."""
    return f"""
with open("filler", "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)) == 4096: pass
    except OSError:
        pass
    file.truncate(max(file.tell() - {free} * 1024, 0))
"""


FAULTY_DISKS = {
    "full at once": (filled(0), "os.remove('filler')", "No space left on device"),
    "room for some": (filled(30), "os.remove('filler')", "No space left on device"),
    "read-only": ("mounted('ro')", "mounted('rw')", "Read-only file system"),
}
"""Name -> what breaks it, what mends it, what a save then says."""


@pytest.mark.skipif(not SMALL_DISK, reason="no disk of our own can be mounted here")
@pytest.mark.parametrize("name", FAULTY_DISKS)
def test_a_training_on_a_disk_that_takes_nothing_for_a_while_goes_on(tmp_path, name):
    """A real one, of 1 MiB: from the third iteration to the eighth."""
    breaks, mends, reason = FAULTY_DISKS[name]
    script = f"""
import os, subprocess, sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
from helpers.command_line import TINY
from runners.launch import main
from runners.learning.agent import ResDexAgent
count = ResDexAgent.update_epoch
def update_epoch(self):
    epoch = count(self)
    if epoch == 3:
        exec({breaks!r})
    if epoch == 8:
        exec({mends!r})
    return epoch
def mounted(how):
    subprocess.run(["mount", "-o", "remount," + how, {str(tmp_path)!r}], check=True)
ResDexAgent.update_epoch = update_epoch
os.chdir({str(tmp_path)!r})
from runners.learning import log
log.FLUSH_INTERVAL = 0.0
status = main([*TINY, "experiment=run", "max_iterations=9"])
from runners.policies.checkpoint import Checkpoint
print("saved", Checkpoint.read("runs/run/nn/last.pth").made_by.iterations, sorted(os.listdir("runs/run/nn")))
sys.exit(status)
"""
    process = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$0" -c "$1"',
         sys.executable, script],
        capture_output=True, text=True, timeout=200, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert process.stdout.count("the training goes on without its curves") <= 1
    assert f"{reason}; tried again at the next save" in process.stdout
    assert "saved 9 ['best.pth', 'last.pth']" in process.stdout


# Weights that become nan


class Breaking(ResDexPPO):
    """Its third iteration breaks a weight: silently, or so that the next distribution is refused."""

    def iteration(self):
        result = super().iteration()
        if self.epoch_num == 3:
            self.break_it()
        return result

    def break_it(self):
        with torch.no_grad():
            next(self.model.parameters())[0] = float("nan")


class BreakingWithinAnIteration(ResDexPPO):
    def train_actor_critic(self, minibatch):
        if self.epoch_num == 3:
            with torch.no_grad():
                for parameter in self.model.parameters():
                    parameter.fill_(float("inf"))
        return super().train_actor_critic(minibatch)


@pytest.mark.parametrize("algorithm", [Breaking, BreakingWithinAnIteration])
def test_nan_weights_end_the_training_and_keep_the_last_good_file(tmp_path, monkeypatch, algorithm):
    monkeypatch.setitem(ALGORITHMS, "resdex_ppo", algorithm)
    outcome = call(tmp_path, *TINY, "experiment=run", "max_iterations=6")
    assert_one_sentence(outcome, "iteration 3", "nan or infinite", "runs/run/nn/last.pth is as it was")
    assert iterations_of(tmp_path / "runs" / "run") == 2


def test_a_huge_learning_rate_is_one_sentence(tmp_path):
    config = "train.params.config."
    outcome = call(
        tmp_path, *TINY, "experiment=run", "max_iterations=50", f"{config}learning_rate=1e30", f"{config}max_lr=1e30",
        f"{config}lr_schedule=null", f"{config}grad_norm=1e30",
    )  # fmt: skip
    assert_one_sentence(outcome, "iteration ", "nan or infinite", "learning_rate")


# Signals


def running(tmp_path, *overrides):
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "train.py"), *TINY, "max_iterations=100000", *overrides],
        cwd=str(tmp_path), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
    )  # fmt: skip
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    for line in process.stdout:
        if line.startswith("iteration 1/"):
            break
    return process, watchdog


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=["SIGHUP", "SIGTERM"])
def test_a_closed_terminal_stops_as_sigterm_does(tmp_path, number):
    process, watchdog = running(tmp_path, "experiment=run")
    process.send_signal(number)
    out, err = process.communicate()
    watchdog.cancel()
    assert process.returncode == 130, out + err
    assert "resume with: python train.py" in out and "Traceback" not in err
    assert iterations_of(tmp_path / "runs" / "run") >= 1


def test_a_third_signal_ends_what_hangs(tmp_path):
    """Also where Python code swallows the second one."""
    script = f"""
import os, sys, time
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
from helpers.command_line import TINY
from runners.launch import main
from runners.learning.ppo import ResDexPPO
def iteration(self):
    while True:
        try:
            print("hangs", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("swallowed", flush=True)
ResDexPPO.iteration = iteration
sys.exit(main([*TINY, "experiment=run"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=str(tmp_path), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
    )  # fmt: skip
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    for words in ("hangs", None, "swallowed"):
        for line in process.stdout if words else ():
            if words in line:
                break
        process.send_signal(signal.SIGTERM)
        if words == "hangs":
            assert "stopping after this iteration" in process.stderr.readline() + process.stderr.readline()
    process.communicate()
    watchdog.cancel()
    assert process.returncode == -signal.SIGTERM


# What is left of others


def test_half_written_files_of_dead_processes_are_removed(tmp_path):
    run = train(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (run / "nn" / f".last.pth.{dead.pid}.part").write_bytes(b"half")
    (run / "nn" / f".best.pth.{os.getpid()}.part").write_bytes(b"being written")
    train(tmp_path, "checkpoint=runs/run/nn/last.pth", "max_iterations=3")
    names = {path.name for path in (run / "nn").iterdir()}
    assert names == {"last.pth", "best.pth", f".best.pth.{os.getpid()}.part"}


def test_a_refused_training_leaves_nothing(tmp_path, monkeypatch):
    def broken(self, *rest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ResDexAgent, "__init__", broken)
    assert_one_sentence(call(tmp_path, *TINY, "experiment=run"), "No space left")
    assert files(tmp_path) == {} and not (tmp_path / "runs").exists()


# Weights & Biases

WANDB = """
points, runs = [], []
class Run:
    def define_metric(self, *rest, **named): pass
    def log(self, values):
        if FAILS_AT == len(points): raise ConnectionError("no network")
        points.append(values)
    def finish(self, exit_code): runs.append(exit_code)
def init(**settings):
    if FAILS_AT == -1: raise RuntimeError("api_key not configured (no-tty)\\nmore words")
    return Run()
"""


@pytest.fixture
def fake_wandb(tmp_path, monkeypatch):
    """Install a `wandb` that fails at a point, or never (None). Returns the module once it is used."""

    def install(fails_at):
        (tmp_path / "site" / "wandb").mkdir(parents=True)
        (tmp_path / "site" / "wandb" / "__init__.py").write_text(f"FAILS_AT = {fails_at}\n{WANDB}")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.delitem(sys.modules, "wandb", raising=False)
        return tmp_path

    install.folder = tmp_path
    yield install
    sys.modules.pop("wandb", None)


def test_without_a_login_wandb_is_one_sentence_and_no_folder(fake_wandb):
    outcome = call(fake_wandb(-1), *TINY, "experiment=run", "wandb_activate=True")
    assert_one_sentence(outcome, "wandb_activate=True", "api_key not configured", "wandb login")
    assert not (fake_wandb.folder / "runs").exists()


def test_each_training_is_a_run_of_its_own_at_wandb(fake_wandb):
    folder = fake_wandb(None)
    for name in ("a", "b"):
        assert call(folder, *TINY, f"experiment={name}", "wandb_activate=True").status == 0
    wandb = sys.modules["wandb"]
    assert wandb.runs == [0, 0]
    assert [point["global_step"] for point in wandb.points] == [16, 32] * 2
    assert all("success/once" in point and "losses/a_loss" in point for point in wandb.points[1::2])


def test_a_training_goes_on_without_wandb(fake_wandb):
    outcome = call(fake_wandb(1), *TINY, "experiment=run", "wandb_activate=True", "max_iterations=4")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("no network; the training goes on") == 1


# TensorBoard


def test_the_curves_of_a_resumed_training_hold_every_step_once(tmp_path):
    """Also where the training went on after the checkpoint that it is resumed from."""
    run = train(tmp_path, "max_iterations=2")
    last = (run / "nn" / "last.pth").read_bytes()
    train(tmp_path, "checkpoint=runs/run/nn/last.pth", "max_iterations=5")
    (run / "nn" / "last.pth").write_bytes(last)
    train(tmp_path, "checkpoint=runs/run/nn/last.pth", "max_iterations=4")
    events = EventAccumulator(str(run / "summaries"), size_guidance={"scalars": 0})
    events.Reload()
    for name in ("success/once", "losses/a_loss", "info/last_lr", "rewards/step"):
        steps = [event.step for event in events.Scalars(name)]
        assert steps == sorted(set(steps)), name
    assert [event.step for event in events.Scalars("success/once")][-3:] == [32, 48, 64]
