import os
import pickle
import shutil

import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call, files, train
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resdex_tasks.utils.errors import UserError
from runners.config import load_config, plain
from runners.policies import checkpoint as checkpoints
from runners.policies.policy import load_policy

EVALUATION = ("scale=cpu", "sim=mujoco", "sim.numThreads=1", "task.env.episodeLength=6", "episodes_per_object=2")


class RunsACommand:
    """What a stranger could put into a file: unpickling it executes a command."""

    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a finished tiny training, with running input normalisation; tests may not change it."""
    return train(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def resumable(trained, tmp_path):
    """A copy of it in the test's own folder, as runs/run."""
    shutil.copytree(str(trained), str(tmp_path / "runs" / "run"))
    return tmp_path / "runs" / "run"


def load(path):
    return torch.load(str(path), map_location="cpu", weights_only=True)


# Writing


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")], ids=["OSError", "torch"]
)
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "last.pth"
    checkpoints.write_checkpoint(path, {"format": checkpoints.FORMAT, "epoch": 1})
    before = files(tmp_path)

    def half_a_file(state, target, *rest, **named):
        with open(str(target), "wb") as file:
            file.write(b"PK half")
        raise error

    monkeypatch.setattr(torch, "save", half_a_file)
    with pytest.raises(UserError, match=r"last\.pth"):
        checkpoints.write_checkpoint(path, {"epoch": 2})
    assert files(tmp_path) == before


def test_a_write_stopped_by_the_user_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pth"
    checkpoints.write_checkpoint(path, {"epoch": 1})
    before = files(tmp_path)

    def interrupted(*rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write_checkpoint(path, {"epoch": 2})
    assert files(tmp_path) == before


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        checkpoints.write_checkpoint(tmp_path / "nowhere" / "last.pth", {"epoch": 1})
    assert files(tmp_path) == {}


MARKS = {"format": checkpoints.FORMAT, "kind": "base", "train": {"network": {}}, "model": {}}


@given(st.integers(-(2**31), 2**31), st.floats(allow_nan=False), st.text(max_size=5))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numpy_values_come_back_as_plain_ones(tmp_path, whole, real, text):
    import numpy as np

    state = {"score": np.float64(real), "nested": [{"count": np.int64(whole)}], "name": text, "array": np.arange(3)}
    checkpoints.write_checkpoint(tmp_path / "plain.pth", {**MARKS, **state})
    back = checkpoints.read_checkpoint(str(tmp_path / "plain.pth"))
    assert back["score"] == real and type(back["score"]) is float
    assert back["nested"] == [{"count": whole}] and back["name"] == text
    assert back["array"].tolist() == [0, 1, 2]


# Reading files that are not ours


def pickled_code(path):
    torch.save({"format": checkpoints.FORMAT, "kind": "base", "model": RunsACommand()}, str(path))


def bare_pickle(path):
    path.write_bytes(pickle.dumps({"format": checkpoints.FORMAT, "model": RunsACommand()}))


def legacy_pickled_code(path):
    torch.save({"model": RunsACommand()}, str(path), _use_new_zipfile_serialization=False)


def text_file(path):
    path.write_text("epoch: 3\n")


def empty_file(path):
    path.write_bytes(b"")


def foreign(path):
    torch.save({"model": {"weight": torch.zeros(3)}, "epoch": 4}, str(path))


def bare_tensor(path):
    torch.save(torch.zeros(3), str(path))


def only_the_mark(path):
    torch.save({"format": checkpoints.FORMAT}, str(path))


def folder(path):
    path.mkdir()


def missing(path):
    pass


BROKEN = [
    pickled_code,
    bare_pickle,
    legacy_pickled_code,
    text_file,
    empty_file,
    foreign,
    bare_tensor,
    only_the_mark,
    folder,
    missing,
]


@pytest.mark.parametrize("use", ["test=True", "max_iterations=4"], ids=["test", "resume"])
@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_a_file_that_is_no_checkpoint_is_refused_and_not_executed(tmp_path, make, use):
    make(tmp_path / "strange.pth")
    before = files(tmp_path)
    outcome = call(tmp_path, *TINY, use, "checkpoint=strange.pth")
    assert_one_sentence(outcome, "strange.pth")
    assert files(tmp_path) == before  # no `executed`, no runs/


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_checkpoint_is_refused(trained, tmp_path, data):
    whole = (trained / "nn" / "best.pth").read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UserError, match=r"cut\.pth"):
        checkpoints.read_checkpoint(str(path))


@given(st.binary(max_size=40), st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", pickle.dumps({"a": 1})]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused(tmp_path, noise, start):
    path = tmp_path / "noise.pth"
    path.write_bytes(start + noise)
    with pytest.raises(UserError, match=r"noise\.pth"):
        checkpoints.read_checkpoint(str(path))


def test_a_missing_checkpoint_names_the_shipped_ones(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr(checkpoints, "CHECKPOINT_DIR", shipped)
    with pytest.raises(UserError, match=r"no checkpoint expert.*none"):
        checkpoints.read_checkpoint("expert")
    checkpoints.write_checkpoint(shipped / "base_box.pth", {"format": checkpoints.FORMAT})
    with pytest.raises(UserError, match=r"no checkpoint expert.*base_box"):
        checkpoints.read_checkpoint("expert")
    assert checkpoints.find_checkpoint("base_box") == shipped / "base_box.pth"
    assert checkpoints.find_checkpoint("base_box.pth") == shipped / "base_box.pth"


# Checkpoints of another policy than this run's


OTHERS = [
    ("train.params.network.mlp.units=[32,32]", "[16, 16]", "[32, 32]"),
    ("train.params.network.mlp.units=[16,16,16]", "[16, 16]", "[16, 16, 16]"),
    ("train.params.network.mlp.units=[16]", "[16]"),
    ("train.params.config.normalize_input=false", "normalize_input=False"),
    ("train.params.network.separate=false",),
    ("task.env.observation=full", "base", "full"),
    ("train.params.network.mlp.activation=relu", "elu", "relu"),
]


def resume(tmp_path, *overrides):
    return call(tmp_path, *TINY, "checkpoint=runs/run/nn/last.pth", "max_iterations=3", *overrides)


@pytest.mark.parametrize("override, culprits", [pytest.param(o[0], o[1:], id=o[0]) for o in OTHERS])
def test_resuming_another_policy_is_refused(resumable, tmp_path, override, culprits):
    assert_one_sentence(resume(tmp_path, override), "last.pth", *culprits)


@pytest.mark.parametrize("experiment", ["", "another"])
def test_a_refused_resumption_changes_nothing(resumable, tmp_path, experiment):
    before = files(tmp_path)
    assert resume(tmp_path, "train.params.network.mlp.units=[32,32]", f"experiment={experiment}").status == 2
    assert files(tmp_path) == before


@pytest.mark.parametrize("override", ["num_envs=8", "objects.names=[box]", "task.env.reward.terms=[proposal,reach]"])
def test_resuming_with_another_task_trains_or_says_why_not(tmp_path, override):
    train(tmp_path, "objects.names=[cube,box]", "max_iterations=1")
    outcome = resume(tmp_path, "objects.names=[cube,box]", override)
    if outcome.status != 0:
        assert_one_sentence(outcome, override.split("=")[0].split(".")[-1])


def test_normalisation_that_the_checkpoint_lacks_is_refused(tmp_path):
    train(tmp_path, "train.params.config.normalize_input=false")
    outcome = call(tmp_path, *TINY, "experiment=run", "checkpoint=runs/run/nn/last.pth", "max_iterations=4")
    assert_one_sentence(outcome, "last.pth", "normalize_input=False", "normalize_input=True")


# What a checkpoint says of itself


def test_a_checkpoint_describes_itself(trained):
    state = load(trained / "nn" / "last.pth")
    assert state["format"] == checkpoints.FORMAT
    assert state["kind"] == "base" and state["observation_size"] == 153
    assert state["train"]["network"]["mlp"]["units"] == [16, 16]
    assert state["train"]["normalize_input"] is True and state["train"]["normalize_value"] is True
    assert state["task"]["env"]["episodeLength"] == 6
    assert state["task"]["env"]["reward"]["terms"] == ["pose", "reach", "lift", "move", "bonus"]
    assert state["sim"]["name"] == "mujoco"
    assert state["objects"] == ["box"]
    assert state["seed"] == 42
    assert state["command"] == " ".join(["python train.py", *TINY, "experiment=run"])
    assert state["versions"]["torch"] == torch.__version__
    assert {"python", "rl_games", "numpy", "mujoco"} <= set(state["versions"])
    assert state["epoch"] == 2 and state["frame"] == 2 * 4 * 4


def test_the_best_policy_holds_no_training_state(trained):
    best, last = load(trained / "nn" / "best.pth"), load(trained / "nn" / "last.pth")
    assert {"optimizer", "env_state", "rng", "last_lr"} <= set(last)
    assert not {"optimizer", "env_state", "rng", "last_lr", "scaler"} & set(best)
    assert best["model"].keys() == last["model"].keys()
    assert best["kind"] == last["kind"] and best["objects"] == last["objects"]
    assert best["versions"] == last["versions"] and best["train"] == last["train"]


def test_no_unfinished_file_is_left(trained):
    assert sorted(p.name for p in (trained / "nn").iterdir()) == ["best.pth", "last.pth"]


# Playing


@pytest.mark.parametrize("scale", ["cpu", "paper"])
@pytest.mark.parametrize("name", ["best.pth", "last.pth"])
def test_evaluation_takes_the_network_from_the_checkpoint(resumable, tmp_path, scale, name):
    checkpoint = f"checkpoint=runs/run/nn/{name}"
    outcome = call(tmp_path, *EVALUATION, f"scale={scale}", "num_envs=2", "test=True", checkpoint)
    assert outcome.status == 0, outcome.err
    assert "box" in outcome.out


def test_evaluation_takes_the_observation_from_the_checkpoint(tmp_path):
    train(tmp_path, "task.env.observation=full", "objects.codes=shipped", "max_iterations=1")
    outcome = call(
        tmp_path, *EVALUATION, "num_envs=2", "test=True", "checkpoint=runs/run/nn/last.pth", "objects.codes=shipped"
    )
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_the_policy_played_is_the_one_trained(tmp_path, normalize):
    """Against the network computed by hand from the numbers in the file."""
    run = train(tmp_path, f"train.params.config.normalize_input={normalize}")
    path = str(run / "nn" / "best.pth")
    state = checkpoints.read_checkpoint(path)
    weights = state["model"]
    cfg = plain(load_config(["scale=paper", "sim=mujoco", "sim.numThreads=1", "num_envs=4"])[0])
    cfg["task"]["env"]["staggerEpisodes"] = False
    from resdex_tasks.factory import make_task

    task = make_task(cfg, 4, 1)
    obs = task.reset()
    with torch.no_grad():
        played = load_policy(cfg, state, task, path)(obs)
        hidden = obs
        if normalize == "true":
            mean, var = weights["running_mean_std.running_mean"], weights["running_mean_std.running_var"]
            assert (var != 1).any()  # it was learned
            hidden = ((obs - mean.float()) / torch.sqrt(var.float() + 1e-5)).clamp(-5, 5)
        for layer in (0, 2):
            weight, bias = (weights[f"a2c_network.actor_mlp.{layer}.{part}"] for part in ("weight", "bias"))
            hidden = torch.nn.functional.elu(hidden @ weight.T + bias)
        expected = (hidden @ weights["a2c_network.mu.weight"].T + weights["a2c_network.mu.bias"]).clamp(-1, 1)
    torch.testing.assert_close(played, expected, atol=1e-5, rtol=1e-4)


def test_an_exported_policy_plays_like_its_training_checkpoint(tmp_path):
    run = train(tmp_path)
    checkpoints.export(str(run / "nn" / "last.pth"), str(tmp_path / "policy.pth"))
    whole, policy = (checkpoints.read_checkpoint(str(p)) for p in (run / "nn" / "last.pth", tmp_path / "policy.pth"))
    assert not {"optimizer", "env_state", "rng", "statistics"} & set(policy)
    assert all(torch.equal(policy["model"][key], whole["model"][key]) for key in whole["model"])
    assert (tmp_path / "policy.pth").stat().st_size < (run / "nn" / "last.pth").stat().st_size
    outcome = call(tmp_path, *TINY, "test=True", f"checkpoint={tmp_path}/policy.pth", "episodes_per_object=2")
    assert outcome.status == 0, outcome.err


def test_an_export_to_a_strange_place_is_refused(tmp_path):
    run = train(tmp_path)
    with pytest.raises(UserError, match=r"\.pth"):
        checkpoints.export(str(run / "nn" / "last.pth"), str(tmp_path / "nowhere" / "policy.pth"))
