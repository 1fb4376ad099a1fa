"""One training: its seed, its folder, stopping and resuming, what it says and leaves behind."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call, files, train
from helpers.equality import PROGRESS, assert_equal
from omegaconf import OmegaConf
from PIL import Image, ImageSequence
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from resdex_tasks.utils.machine import machine
from runners.config import load_config
from runners.learning.ppo import ResDexPPO
from runners.learning.train import ALGORITHMS, TrainingResult
from runners.learning.train import train as train_in_python
from runners.policies.checkpoint import Checkpoint, export

pytestmark = pytest.mark.slow  # every test trains

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a tiny training of four iterations; tests may not change it."""
    return train(tmp_path_factory.mktemp("trained"), "max_iterations=4")


def state_of(run, name="last.pth"):
    return Checkpoint.read(run / "nn" / name)


def with_best_score(run, score):
    """Pretend that a training's best score was another."""
    last = state_of(run)
    replace(last, training={**last.training, "best_score": score}).write(last.path)


def iterations_of(run, name="last.pth"):
    return state_of(run, name).made_by.iterations


# Seeds


def test_the_same_seed_gives_the_same_weights(trained, tmp_path):
    again = state_of(train(tmp_path, "max_iterations=4"))
    first = state_of(trained)
    assert_equal(first.weights, again.weights, "weights")
    assert_equal(first.training["optimizer"], again.training["optimizer"], "optimizer")


def test_another_seed_gives_other_weights(trained, tmp_path):
    other, first = state_of(train(tmp_path, "max_iterations=4", "seed=43")), state_of(trained)
    assert other.weights.keys() == first.weights.keys()
    weight = "a2c_network.actor_mlp.0.weight"
    assert not torch.equal(other.weights[weight], first.weights[weight])


# Stopping and going on


@pytest.mark.parametrize("first_leg", [1, 2])
def test_stopped_and_resumed_equals_uninterrupted(trained, tmp_path, first_leg):
    run = train(tmp_path, f"max_iterations={first_leg}")
    assert iterations_of(run) == first_leg
    train(tmp_path, "max_iterations=4", "checkpoint=runs/run/nn/last.pth")
    resumed, whole = state_of(run), state_of(trained)
    for key in PROGRESS:
        assert_equal(resumed.training[key], whole.training[key], key)
    assert_equal(resumed.weights, whole.weights, "weights")
    assert_equal(replace(resumed.made_by, command=""), replace(whole.made_by, command=""), "made_by")


def test_a_resumed_training_goes_on_in_its_own_folder(tmp_path):
    train(tmp_path)
    outcome = call(tmp_path, *TINY, "checkpoint=runs/run/nn/last.pth", "max_iterations=3")
    assert outcome.status == 0, outcome.err
    assert "iteration 2" in outcome.out  # says where it goes on
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["run"]
    assert iterations_of(tmp_path / "runs" / "run") == 3


def test_the_best_score_survives_a_resumption(tmp_path):
    """A best policy from before the interruption is not overwritten by a worse one after it."""
    run = train(tmp_path)
    with_best_score(run, 0.75)
    best = (run / "nn" / "best.pth").read_bytes()
    train(tmp_path, "max_iterations=4", "checkpoint=runs/run/nn/last.pth")
    assert iterations_of(run) == 4
    assert state_of(run).training["best_score"] == 0.75
    assert (run / "nn" / "best.pth").read_bytes() == best


def test_a_better_score_replaces_the_best_policy(tmp_path, monkeypatch):
    monkeypatch.setattr("resdex_tasks.rewards.SUCCESS_RADIUS", 100.0)  # everything succeeds
    run = train(tmp_path)
    assert state_of(run).training["best_score"] > 0.99
    with_best_score(run, 0.5)
    train(tmp_path, "max_iterations=4", "checkpoint=runs/run/nn/last.pth")
    assert state_of(run).training["best_score"] > 0.99
    assert iterations_of(run, "best.pth") in (3, 4)


def test_a_policy_without_training_state_starts_a_new_training(trained, tmp_path):
    path = trained / "nn" / "best.pth"
    run = train(tmp_path, f"checkpoint={path}", "max_iterations=1", "train.params.config.learning_rate=1e-12",
                "train.params.config.min_lr=1e-12", "train.params.config.lr_schedule=null")  # fmt: skip
    start, end = state_of(trained, "best.pth"), state_of(run)
    assert (end.made_by.iterations, end.made_by.steps) == (1, 16)
    weight = "a2c_network.actor_mlp.0.weight"
    torch.testing.assert_close(start.weights[weight], end.weights[weight], atol=1e-6, rtol=0)


def test_a_finished_training_does_not_train_past_its_end(tmp_path):
    run = train(tmp_path)
    outcome = call(tmp_path, *TINY, "checkpoint=runs/run/nn/last.pth")
    assert iterations_of(run) == 2
    if outcome.status != 0:
        assert_one_sentence(outcome, "max_iterations")


def test_an_existing_training_is_not_overwritten(tmp_path):
    run = train(tmp_path)
    before = files(tmp_path)
    outcome = call(tmp_path, *TINY, "experiment=run")
    assert_one_sentence(outcome, "runs/run", "checkpoint=runs/run/nn/last.pth")
    assert files(tmp_path) == before
    # nor by a training that starts from another file
    (tmp_path / "other.pth").write_bytes((run / "nn" / "best.pth").read_bytes())
    assert_one_sentence(call(tmp_path, *TINY, "experiment=run", "checkpoint=other.pth"), "runs/run")
    assert iterations_of(run) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_training_leaves_a_checkpoint_and_says_how_to_resume(tmp_path, number):
    overrides = [*TINY, "objects.names=[box,cube]", "max_iterations=100000"]
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "train.py"), *overrides],
        cwd=str(tmp_path),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("iteration 1/"):
                break
        process.send_signal(number)
        rest, err = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
    assert process.returncode == 130, "".join(lines) + rest + err
    assert "Traceback" not in err
    (folder,) = (tmp_path / "runs").iterdir()
    done = iterations_of(folder)
    assert 1 <= done < 100000
    assert sorted(p.name for p in (folder / "nn").iterdir()) in (["best.pth", "last.pth"], ["last.pth"])
    (command,) = [line.split("resume with: ")[1] for line in rest.splitlines() if "resume with: " in line]
    program, script, *arguments = shlex.split(command)
    assert (program, script) == ("python", "train.py")
    outcome = call(tmp_path, *arguments, f"max_iterations={done + 1}")
    assert outcome.status == 0, outcome.err
    assert iterations_of(folder) == done + 1
    assert list((tmp_path / "runs").iterdir()) == [folder]


# What the method asks of PPO


def test_kl_is_measured_against_the_policy_of_the_rollout(tmp_path, monkeypatch):
    """However often the network is updated, the minibatches compare with what acted."""
    seen = []

    class Recording(ResDexPPO):
        def prepare_dataset(self, batch):
            self.rollout = {key: batch[key].clone() for key in ("mus", "sigmas")}
            super().prepare_dataset(batch)

        def train_actor_critic(self, minibatch):
            result = super().train_actor_critic(minibatch)
            data = self.dataset.values_dict
            with torch.no_grad():
                self.model.eval()
                now = self.model({"is_train": False, "prev_actions": None, "obs": data["obs"], "rnn_states": None})
                self.model.train()
            seen.append(
                (
                    torch.equal(data["mu"], self.rollout["mus"]) and torch.equal(data["sigma"], self.rollout["sigmas"]),
                    not torch.equal(now["mus"], self.rollout["mus"]),
                )
            )
            return result

    monkeypatch.setitem(ALGORITHMS, "resdex_ppo", Recording)
    train(tmp_path, "max_iterations=1", "train.params.config.mini_epochs=3")
    assert len(seen) == 3 * 2  # mini-epochs x minibatches
    assert all(kept for kept, _ in seen)
    assert all(moved for _, moved in seen)  # the policy did change meanwhile


@pytest.mark.parametrize("threshold, end", [(1e-12, 2e-4), (1e9, 4e-4)], ids=["floor", "ceiling"])
def test_the_learning_rate_stays_within_its_bounds(tmp_path, threshold, end):
    config = "train.params.config."
    run = train(
        tmp_path, "max_iterations=3", f"{config}learning_rate=3e-4", f"{config}min_lr=2e-4", f"{config}max_lr=4e-4",
        f"{config}kl_threshold={threshold}",
    )  # fmt: skip
    state = state_of(run).training
    assert state["last_lr"] == end
    assert [group["lr"] for group in state["optimizer"]["param_groups"]] == [end]


# What a training leaves behind


def test_tensorboard_follows_every_reward_term_and_both_successes(trained):
    events = EventAccumulator(str(trained / "summaries"))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    terms = load_config(TINY).task.env.reward.terms
    assert {f"reward/{term}" for term in terms} <= scalars
    assert {"success/once", "success/at_end", "info/last_lr"} <= scalars
    once, at_end = events.Scalars("success/once"), events.Scalars("success/at_end")
    assert once[-1].step == state_of(trained).made_by.steps
    assert all(0 <= held.value <= ever.value <= 1 for ever, held in zip(once, at_end))
    assert all(np.isfinite(event.value) for term in terms for event in events.Scalars(f"reward/{term}"))
    # the base pose and reach terms only ever cost
    assert all(event.value < 0 for term in ("pose", "reach") for event in events.Scalars(f"reward/{term}"))


def test_the_configuration_is_written_and_reads_back_the_same(trained):
    expected = load_config([*TINY, "experiment=run", "max_iterations=4"])
    written = OmegaConf.to_container(OmegaConf.load(str(trained / "config.yaml")), resolve=True)
    assert written == expected.plain


def test_versions_are_written(trained):
    written = json.loads((trained / "versions.json").read_text())
    assert written["seed"] == 42
    assert written["torch"] == torch.__version__
    assert {"python", "rl_games", "numpy", "mujoco"} <= set(written)


@pytest.mark.slow
def test_the_start_and_the_end_are_told(tmp_path):
    outcome = call(tmp_path, *TINY, "experiment=run")
    assert outcome.err == ""
    for words in ("4 environments", "box", "pose + reach + lift + move + bonus", "153 observations", "iteration 2/2"):
        assert words in outcome.out
    assert "runs/run" in outcome.out and "success once" in outcome.out and "at end" in outcome.out
    assert "MAX EPOCHS" not in outcome.out  # rl_games' own words
    # the command that it ends with works
    (command,) = [line.split(": ", 1)[1] for line in outcome.out.splitlines() if "python train.py" in line]
    arguments = shlex.split(command)[2:]
    tested = call(tmp_path, *arguments, "scale=cpu", "task.env.episodeLength=4", "episodes_per_object=2", "num_envs=2")
    assert tested.status == 0, tested.err


def test_rl_games_statistics_are_printed_where_they_are_asked_for(tmp_path):
    outcome = call(tmp_path, *TINY, "experiment=run", "train.params.config.print_stats=true")
    assert outcome.status == 0 and outcome.out.count("fps step: ") == 2


def assert_animation(folder):
    with Image.open(str(folder / "episode.gif")) as gif:
        frames = {frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(gif)}
        assert gif.format == "GIF"
    assert len(frames) > 1
    with Image.open(str(folder / "episode.png")) as strip:
        strip.load()
        assert strip.format == "PNG" and strip.width > strip.height


@pytest.mark.slow
def test_an_evaluation_can_be_filmed(tmp_path):
    train(tmp_path, "max_iterations=1")
    outcome = call(
        tmp_path, "test=True", "checkpoint=runs/run/nn/last.pth", "capture_video=True", "task.env.episodeLength=8",
        "scale=cpu", "num_envs=1", "episodes_per_object=1", "sim=mujoco",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert_animation(tmp_path / "runs" / "run")
    assert "episode.gif" in outcome.out and "episode.png" in outcome.out


@pytest.mark.slow
def test_a_training_can_be_filmed_when_it_ends(tmp_path):
    assert_animation(train(tmp_path, "max_iterations=1", "capture_video=True", "task.env.episodeLength=8"))


def test_a_training_can_be_started_from_python(tmp_path, monkeypatch):
    """With what `python train.py` is given; the objects may be made already."""
    monkeypatch.chdir(tmp_path)
    config = load_config([*TINY, "experiment=run", "max_iterations=1"])
    first = train_in_python(config)
    assert isinstance(first, TrainingResult) and first.folder == Path("runs/run") and first.objects.names == ["box"]
    assert first.last == Path("runs/run/nn/last.pth") and Checkpoint.read(first.last).made_by.iterations == 1
    objects = first.objects.select(["box"])
    second = train_in_python(config.changed({"experiment": "again"}), objects)
    assert second.objects is objects
    assert_equal(Checkpoint.read(second.last).weights, Checkpoint.read(first.last).weights, "weights")


def test_another_algorithm_is_one_entry(tmp_path, monkeypatch):
    made = []

    class Another(ResDexPPO):
        def __init__(self, base_name, params):
            made.append(params["algo"]["name"])
            super().__init__(base_name, params)

    monkeypatch.setitem(ALGORITHMS, "another", Another)
    train(tmp_path, "max_iterations=1", "train.params.algo.name=another")
    assert made == ["another"]


def test_without_asking_nothing_is_filmed(trained):
    assert not list(trained.glob("episode.*"))


# How long it took


def minutes_of(run):
    return json.loads((run / "wall_time.json").read_text())["minutes"]


def test_the_wall_time_goes_on_after_a_resumption_and_into_what_is_shipped(tmp_path):
    run = train(tmp_path)
    assert 0 < minutes_of(run) < 10
    (run / "wall_time.json").write_text(json.dumps({"minutes": 100.0, "machine": "another"}))
    train(tmp_path, "checkpoint=runs/run/nn/last.pth", "max_iterations=3")
    assert 100 < minutes_of(run) < 110
    export(str(run / "nn" / "last.pth"), str(tmp_path / "policy.pth"))
    made_by = Checkpoint.read(tmp_path / "policy.pth").made_by
    assert made_by.minutes == minutes_of(run) and made_by.machine == machine()
    assert state_of(run).made_by.minutes == 0  # else two equal trainings would leave two files


def test_a_wall_time_that_cannot_be_read_is_none(tmp_path):
    run = train(tmp_path)
    for content in ("{", "[]", '{"minutes": "many"}', '{"minutes": 3}'):
        (run / "wall_time.json").write_text(content)
        export(str(run / "nn" / "last.pth"), str(tmp_path / "policy.pth"))
        assert Checkpoint.read(tmp_path / "policy.pth").made_by.minutes == 0
