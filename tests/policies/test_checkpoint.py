"""A policy's file: written complete or not at all, read without executing anything, and what it says of itself."""

import os
import pickle
import shlex
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call, files, train
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.observations import layout
from resdex_tasks.shapes.encoder import ObjectEncoder, read_encoder, write_encoder
from resdex_tasks.utils.errors import UserError
from runners.policies import checkpoint as checkpoints
from runners.policies.checkpoint import (
    FORMAT,
    Checkpoint,
    CheckpointReader,
    MadeBy,
    PolicySpec,
    find_checkpoint,
    shipped_policies,
)
from runners.policies.experts import shipped_experts, stack_experts
from runners.policies.policy import Policy

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


SPEC = PolicySpec("base", layout("base"), {"name": "actor_critic", "mlp": {"units": [4]}}, True, False)


def some_checkpoint(**changes):
    """A checkpoint of a training, made of nothing."""
    made_by = MadeBy("python train.py", 1, {"torch": "2"})
    task = {"name": "ResDexBase", "env": {}}
    whole = Checkpoint(
        SPEC, {"w": torch.ones(2)}, made_by, task, {}, ("box",), {}, encoder="", training={"last_lr": 1e-3}
    )
    return replace(whole, **changes)


# Writing


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")], ids=["OSError", "torch"]
)
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "last.pth"
    some_checkpoint().write(path)
    before = files(tmp_path)

    def half_a_file(state, target, *rest, **named):
        with open(str(target), "wb") as file:
            file.write(b"PK half")
        raise error

    monkeypatch.setattr(torch, "save", half_a_file)
    with pytest.raises(UserError, match=r"last\.pth"):
        some_checkpoint(objects=("mug",)).write(path)
    assert files(tmp_path) == before


def test_a_write_stopped_by_the_user_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pth"
    some_checkpoint().write(path)
    before = files(tmp_path)

    def interrupted(*rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        some_checkpoint(objects=("mug",)).write(path)
    assert files(tmp_path) == before


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        some_checkpoint().write(tmp_path / "nowhere" / "last.pth")
    assert files(tmp_path) == {}


@given(st.integers(-(2**31), 2**31), st.floats(allow_nan=False), st.text(max_size=5))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numpy_values_come_back_as_plain_ones(tmp_path, whole, real, text):
    state = {"score": np.float64(real), "nested": [{"count": np.int64(whole)}], "name": text, "array": np.arange(3)}
    some_checkpoint(training=state).write(tmp_path / "plain.pth")
    back = Checkpoint.read(tmp_path / "plain.pth").training
    assert back["score"] == real and type(back["score"]) is float
    assert back["nested"] == [{"count": whole}] and back["name"] == text
    assert back["array"].tolist() == [0, 1, 2]


def test_what_is_written_is_read_back(tmp_path):
    whole = some_checkpoint()
    whole.write(tmp_path / "whole.pth")
    back = Checkpoint.read(str(tmp_path / "whole.pth"))
    assert torch.equal(back.weights["w"], whole.weights["w"])
    assert replace(back, weights=whole.weights, name="", path=None) == whole
    assert list(back.spec.observation_layout) == list(layout("base"))
    assert back.name == str(tmp_path / "whole.pth") and back.path == tmp_path / "whole.pth"


def test_the_part_that_plays_has_no_training_state(tmp_path):
    policy = some_checkpoint().policy_only
    assert policy.training is None and policy == some_checkpoint(training=None, weights=policy.weights)
    policy.write(tmp_path / "policy.pth")
    assert Checkpoint.read(tmp_path / "policy.pth").training is None


@pytest.mark.parametrize(
    "path, folder", [("runs/mine/nn/last.pth", "runs/mine"), ("mine/nn/best.pth", "mine"), ("policy.pth", None)]
)
def test_the_run_folder_is_that_of_the_training_that_wrote_it(path, folder):
    assert some_checkpoint(path=Path(path)).run_folder == (Path(folder) if folder else None)
    assert some_checkpoint().run_folder is None


# Reading files that are not ours


def pickled_code(path):
    torch.save({"format": FORMAT, "spec": {}, "weights": RunsACommand()}, str(path))


def bare_pickle(path):
    path.write_bytes(pickle.dumps({"format": FORMAT, "weights": RunsACommand()}, protocol=2))


def legacy_pickled_code(path):
    torch.save({"weights": RunsACommand()}, str(path), _use_new_zipfile_serialization=False)


def text_file(path):
    path.write_text("epoch: 3\n")


def empty_file(path):
    path.write_bytes(b"")


def foreign(path):
    torch.save({"model": {"weight": torch.zeros(3)}, "epoch": 4}, str(path))


def bare_tensor(path):
    torch.save(torch.zeros(3), str(path))


def only_the_mark(path):
    torch.save({"format": FORMAT}, str(path))


def earlier_version(path):
    torch.save({"format": "resdex-1", "kind": "base", "train": {"network": {}}, "model": {}}, str(path))


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
    earlier_version,
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


def test_a_file_of_an_earlier_version_says_that_it_is_one(tmp_path):
    earlier_version(tmp_path / "old.pth")
    with pytest.raises(UserError) as caught:
        Checkpoint.read(tmp_path / "old.pth")
    sentence = f"{tmp_path}/old.pth was written by an earlier version (format resdex-1); this one reads {FORMAT}"
    assert str(caught.value) == sentence


@pytest.mark.parametrize("key", ["spec", "weights", "made_by", "task", "sim", "objects", "object_source", "training"])
def test_an_incomplete_checkpoint_names_what_it_lacks(tmp_path, key):
    some_checkpoint().write(tmp_path / "whole.pth")
    state = torch.load(tmp_path / "whole.pth", weights_only=True)
    del state[key]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(UserError, match=rf"part\.pth is an incomplete checkpoint: it lacks '{key}'"):
        Checkpoint.read(tmp_path / "part.pth")


def keys_of(values, *path):
    """The path of every key of nested mappings, the outer ones first."""
    for key, value in values.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys_of(value, *path, key)


def changed_at(values, path, change):
    """A copy of nested mappings, with `change(mapping, key)` made at a path."""
    copied = dict(values)
    if len(path) == 1:
        change(copied, path[0])
    else:
        copied[path[0]] = changed_at(copied[path[0]], path[1:], change)
    return copied


WHOLE = list(keys_of(
    {
        "spec": {"observation": 0, "observation_layout": 0, "network": 0, "normalize_input": 0, "normalize_value": 0},
        "made_by": {"command": 0, "seed": 0, "versions": 0, "iterations": 0, "steps": 0, "success": 0, "teacher": 0},
        "weights": 0, "task": {"name": 0, "env": 0}, "sim": 0, "objects": 0, "object_source": 0, "encoder": 0,
        "training": 0, "format": 0,
    }
))  # fmt: skip
OTHER_TYPES = [None, 3, -1.5, True, "text", [], ["a", 1], {}, {"a": 1}, {1: 2}, torch.zeros(2)]


def used(path):
    """Everything that a file is read for, but playing: UserError is the only answer to what does not do."""
    try:
        checkpoint = Checkpoint.read(path)
        Policy.load(checkpoint)
        checkpoint.check_fits(SPEC)
        stack_experts([checkpoint])
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


def write_changed(path, tmp_path, change):
    source = tmp_path / "whole.pth"
    some_checkpoint(made_by=MadeBy("c", 1, {"torch": "2"}, teacher={"name": "t", "id": "1"})).write(source)
    torch.save(changed_at(torch.load(source, weights_only=True), path, change), tmp_path / "strange.pth")


@pytest.mark.parametrize("path", WHOLE, ids=".".join)
def test_a_checkpoint_without_one_of_its_keys_is_one_sentence(tmp_path, path):
    write_changed(path, tmp_path, dict.__delitem__)
    said = used(tmp_path / "strange.pth")
    if path not in (("encoder",), *(("made_by", key) for key in ("iterations", "steps", "success", "teacher"))):
        assert "strange.pth" in said and (path[-1] in said or path == ("format",))


@pytest.mark.parametrize("value", OTHER_TYPES, ids=repr)
@pytest.mark.parametrize("path", WHOLE, ids=".".join)
def test_a_checkpoint_with_another_value_is_taken_or_one_sentence(tmp_path, path, value):
    write_changed(path, tmp_path, lambda values, key: values.update({key: value}))
    said = used(tmp_path / "strange.pth")
    if isinstance(value, torch.Tensor):
        assert "strange.pth" in said and (path[-1] in said or path == ("format",))


@pytest.mark.parametrize("value", OTHER_TYPES, ids=repr)
def test_a_base_policy_whose_network_is_strange_is_one_sentence(tmp_path, value):
    state = torch.load(find_checkpoint("base_box"), weights_only=True)
    for path in keys_of(state["spec"], "spec"):
        for change in (dict.__delitem__, lambda values, key: values.update({key: value})):
            torch.save(changed_at(state, path, change), tmp_path / "strange.pth")
            used(tmp_path / "strange.pth")


@pytest.mark.parametrize("value", OTHER_TYPES, ids=repr)
def test_a_hyper_policy_whose_experts_are_strange_is_one_sentence(tmp_path, value):
    state = torch.load(find_checkpoint("hyper_stage2"), weights_only=True)
    experts = state["spec"]["network"]["experts"]
    for path in [("spec", "network", "experts"), *(("spec", "network", "experts", key) for key in experts)]:
        torch.save(changed_at(state, path, lambda values, key: values.update({key: value})), tmp_path / "strange.pth")
        used(tmp_path / "strange.pth")


@pytest.mark.slow
def test_a_training_state_that_lacks_something_resumes_or_is_one_sentence(resumable, tmp_path):
    """Each key of the agent's state taken away, or another value for it: no traceback, and the run's files stay."""
    last = resumable / "nn" / "last.pth"
    state = torch.load(last, weights_only=True)
    # of the optimizer's parameters, one stands for all
    paths = [
        path for path in keys_of(state["training"], "training") if all(not key for key in path if type(key) is int)
    ]
    before, refused = files(tmp_path / "runs"), 0
    assert len(paths) > 20
    changes = (dict.__delitem__, lambda v, key: v.update({key: "text"}), lambda v, key: v.update({key: None}))
    for number, path in enumerate(paths):
        torch.save(changed_at(state, path, changes[number % 3]), tmp_path / "strange.pth")
        outcome = call(tmp_path, *TINY, "checkpoint=strange.pth", "experiment=again", "max_iterations=3")
        assert "Traceback" not in outcome.err, path
        if outcome.status:
            refused += 1
            assert_one_sentence(outcome, "strange.pth")
            assert not (tmp_path / "runs" / "again").exists(), path
        shutil.rmtree(tmp_path / "runs" / "again", ignore_errors=True)
    assert refused > 4
    assert files(tmp_path / "runs") == before


# Damaged files, and weights that are no numbers


def flipped(content, entry):
    """The bytes of a file with one of a stored part turned, as a bad disk does: the zip's directory is as it was."""
    head = entry.header_offset
    names = int.from_bytes(content[head + 26 : head + 28], "little") + int.from_bytes(
        content[head + 28 : head + 30], "little"
    )
    damaged = bytearray(content)
    damaged[head + 30 + names + entry.file_size // 2] ^= 0x7F
    return bytes(damaged)


READERS = {
    "checkpoint": ("base_box", Checkpoint.read),
    "expert": ("zoo_expert_remote-0029", lambda path: stack_experts([Checkpoint.read(path)])),
    "encoder": ("object_encoder", lambda path: read_encoder(str(path))),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_file_with_a_turned_byte_is_refused(tmp_path, kind):
    name, read = READERS[kind]
    content = (checkpoints.CHECKPOINT_DIR / f"{name}.pth").read_bytes()
    path = tmp_path / "damaged.pth"
    with zipfile.ZipFile(checkpoints.CHECKPOINT_DIR / f"{name}.pth") as archive:
        parts = [entry for entry in archive.infolist() if entry.file_size > 64]
        for entry in parts[:: max(1, len(parts) // 6)]:
            path.write_bytes(flipped(content, entry))
            with pytest.raises(UserError, match=r"damaged\.pth is damaged: the checksum"):
                read(path)
    path.write_bytes(content)
    read(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", READERS)
def test_weights_that_are_no_numbers_are_not_read(tmp_path, kind, value):
    name, read = READERS[kind]
    state = torch.load(checkpoints.CHECKPOINT_DIR / f"{name}.pth", weights_only=True)
    weight = next(key for key, tensor in state["weights"].items() if tensor.dim() == 2)
    state["weights"][weight][1, 2] = value
    torch.save(state, tmp_path / "spoilt.pth")
    with pytest.raises(UserError, match=rf"spoilt\.pth is damaged: its weight {weight} holds nan or infinity"):
        read(tmp_path / "spoilt.pth")


def test_weights_that_are_no_numbers_are_not_written(tmp_path):
    some_checkpoint().write(tmp_path / "last.pth")
    before = files(tmp_path)
    with pytest.raises(UserError, match=r"last\.pth is not written: its weight w holds nan"):
        some_checkpoint(weights={"w": torch.tensor([1.0, float("nan")])}).write(tmp_path / "last.pth")
    assert files(tmp_path) == before


@pytest.mark.slow
def test_another_number_of_threads_goes_on_with_the_same_episodes(resumable, tmp_path):
    outcome = call(tmp_path, *TINY, "checkpoint=runs/run/nn/last.pth", "max_iterations=3", "sim.numThreads=2")
    assert outcome.status == 0, outcome.err
    assert "episodes start again" not in outcome.out


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_checkpoint_is_refused(trained, tmp_path, data):
    whole = (trained / "nn" / "best.pth").read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UserError, match=r"cut\.pth"):
        Checkpoint.read(path)


@given(st.binary(max_size=40), st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", pickle.dumps({"a": 1}, protocol=2)]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused(tmp_path, noise, start):
    path = tmp_path / "noise.pth"
    path.write_bytes(start + noise)
    with pytest.raises(UserError, match=r"noise\.pth"):
        Checkpoint.read(path)


def test_a_missing_checkpoint_names_the_shipped_ones(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr(checkpoints, "CHECKPOINT_DIR", shipped)
    with pytest.raises(UserError, match=r"no checkpoint expert.*none"):
        Checkpoint.read("expert")
    some_checkpoint().write(shipped / "base_box.pth")
    with pytest.raises(UserError, match=r"no checkpoint expert.*base_box"):
        Checkpoint.read("expert")
    assert find_checkpoint("base_box") == find_checkpoint("base_box.pth") == shipped / "base_box.pth"
    assert Checkpoint.read("base_box").name == "base_box"


def test_shipped_files_know_each_other_by_their_weights():
    """Ids stand in other files: a student's teacher, a hyper-policy's experts, an encoder's codes."""
    hyper, student = Checkpoint.read("hyper_stage2"), Checkpoint.read("vision")
    assert student.made_by.teacher == {"name": "hyper_stage2", "id": hyper.id}
    experts = stack_experts([Checkpoint.read(name) for name in shipped_experts()])
    assert hyper.spec.experts.objects == experts.spec.objects
    # the remote's and the bottle's experts were trained on since
    assert hyper.spec.experts.ids[2:] == experts.spec.ids[2:]
    assert hyper.encoder == read_encoder("shipped").id == "eb0379deca67"


def test_every_shipped_policy_is_of_this_format_and_holds_no_training():
    for name in shipped_policies():
        checkpoint = Checkpoint.read(name)
        assert checkpoint.training is None and checkpoint.made_by.iterations > 0
        assert (checkpoint.spec.experts is None) == (checkpoint.spec.observation != "full")
        assert bool(checkpoint.made_by.teacher) == (checkpoint.spec.observation == "vision")


# A file is read once


@pytest.fixture
def reads(monkeypatch):
    """The names that `Checkpoint.read` was called with."""
    names, read = [], Checkpoint.read

    def counting(name):
        names.append(str(name))
        return read(name)

    monkeypatch.setattr(Checkpoint, "read", counting)
    return names


def test_a_reader_reads_a_file_once_by_whatever_name(tmp_path, monkeypatch, reads):
    monkeypatch.chdir(tmp_path)
    some_checkpoint().write(tmp_path / "a.pth")
    read = CheckpointReader()
    first, again, elsewhere = read("a.pth"), read(tmp_path / "a.pth"), read("./a.pth")
    assert reads == ["a.pth"]
    assert first.weights["w"] is again.weights["w"] is elsewhere.weights["w"]
    assert (first.name, again.name, elsewhere.name) == ("a.pth", str(tmp_path / "a.pth"), "./a.pth")


def test_a_reader_reads_a_file_again_that_was_written_since(tmp_path, reads):
    path, read = tmp_path / "a.pth", CheckpointReader()
    some_checkpoint().write(path)
    assert read(path).objects == ("box",)
    some_checkpoint(objects=("mug", "cup")).write(path)
    os.utime(path, (1e9, 1e9))
    assert read(path).objects == ("mug", "cup") and len(reads) == 2


def test_a_reader_s_missing_file_is_one_sentence():
    with pytest.raises(UserError, match="no checkpoint nowhere"):
        CheckpointReader()("nowhere")


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


@pytest.mark.slow
@pytest.mark.parametrize("override", ["num_envs=8", "objects.names=[box]", "task.env.reward.terms=[proposal,reach]"])
def test_resuming_with_another_task_trains_or_says_why_not(tmp_path, override):
    train(tmp_path, "objects.names=[cube,box]", "max_iterations=1")
    outcome = resume(tmp_path, "objects.names=[cube,box]", override)
    if outcome.status != 0:
        assert_one_sentence(outcome, override.split("=")[0].split(".")[-1])


@pytest.mark.slow
def test_normalisation_that_the_checkpoint_lacks_is_refused(tmp_path):
    train(tmp_path, "train.params.config.normalize_input=false")
    outcome = call(tmp_path, *TINY, "experiment=run", "checkpoint=runs/run/nn/last.pth", "max_iterations=4")
    assert_one_sentence(outcome, "last.pth", "normalize_input=False", "normalize_input=True")


# What a checkpoint says of itself


def test_a_checkpoint_describes_itself(trained):
    checkpoint = Checkpoint.read(trained / "nn" / "last.pth")
    spec, made_by = checkpoint.spec, checkpoint.made_by
    assert spec.observation == "base" and sum(spec.observation_layout.values()) == 153 and spec.experts is None
    assert spec.network["mlp"]["units"] == [16, 16]
    assert spec.normalize_input is True and spec.normalize_value is True
    assert checkpoint.task["env"]["episodeLength"] == 6
    assert checkpoint.task["env"]["reward"]["terms"] == ["pose", "reach", "lift", "move", "bonus"]
    assert checkpoint.sim["name"] == "mujoco"
    assert checkpoint.objects == ("box",) and checkpoint.object_source["source"] == "starter"
    assert made_by.seed == 42
    assert shlex.split(made_by.command) == ["python", "train.py", *TINY, "experiment=run"]
    assert made_by.versions["torch"] == torch.__version__
    assert {"python", "rl_games", "numpy", "mujoco"} <= set(made_by.versions)
    assert (made_by.iterations, made_by.steps) == (2, 2 * 4 * 4)
    assert set(made_by.success) == {"success_once", "success_at_end"}
    assert all(0 <= value <= 1 for value in made_by.success.values())
    assert checkpoint.run_folder == trained


TRAINING = {"optimizer", "last_lr", "best_score", "rng", "env_state", "statistics", "epoch", "frame"}


def test_the_best_policy_holds_no_training_state(trained):
    best, last = (Checkpoint.read(trained / "nn" / name) for name in ("best.pth", "last.pth"))
    assert set(last.training) >= TRAINING and "model" not in last.training
    assert best.training is None
    assert best.weights.keys() == last.weights.keys()
    assert (best.spec, best.objects, best.made_by.versions) == (last.spec, last.objects, last.made_by.versions)


def test_no_unfinished_file_is_left(trained):
    assert sorted(p.name for p in (trained / "nn").iterdir()) == ["best.pth", "last.pth"]


# Playing


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["cpu", "paper"])
@pytest.mark.parametrize("name", ["best.pth", "last.pth"])
def test_evaluation_takes_the_network_from_the_checkpoint(resumable, tmp_path, scale, name):
    checkpoint = f"checkpoint=runs/run/nn/{name}"
    outcome = call(tmp_path, *EVALUATION, f"scale={scale}", "num_envs=2", "test=True", checkpoint)
    assert outcome.status == 0, outcome.err
    assert "box" in outcome.out


@pytest.mark.slow
def test_evaluation_takes_the_observation_from_the_checkpoint(tmp_path):
    train(tmp_path, "task.env.observation=full", "objects.codes=shipped", "max_iterations=1")
    outcome = call(
        tmp_path, *EVALUATION, "num_envs=2", "test=True", "checkpoint=runs/run/nn/last.pth", "objects.codes=shipped"
    )
    assert outcome.status == 0, outcome.err


# Shape codes belong to their encoder


def seen_by(encoder, view="full"):
    spec = replace(SPEC, observation=view, observation_layout=layout(view))
    return some_checkpoint(spec=spec, encoder=encoder, name="policy.pth")


def test_codes_of_another_encoder_are_refused():
    objects = ObjectSet(list(starter_objects()), encoder="theirs")
    with pytest.raises(UserError, match=r"policy\.pth knows the shape codes of encoder ours; .* are of theirs"):
        seen_by("ours").check_codes(objects)
    seen_by("theirs").check_codes(objects)
    seen_by("").check_codes(objects)  # written before anybody noted it
    seen_by("ours", "base").check_codes(objects)  # a base policy sees no code


def test_shipped_hyper_policies_know_the_shipped_encoder():
    for name in ("hyper_stage1", "hyper_stage2"):
        assert Checkpoint.read(name).encoder == read_encoder("shipped").id


@pytest.mark.slow
def test_a_policy_is_not_tested_with_codes_of_another_encoder(tmp_path):
    encoder = read_encoder("shipped")
    other = ObjectEncoder(encoder.network, encoder.mean, encoder.std, encoder.points, encoder.seed + 1)
    write_encoder(tmp_path / "other.pth", other)
    outcome = call(
        tmp_path,
        *EVALUATION,
        "test=True",
        "checkpoint=hyper_stage2",
        "objects=zoo",
        "objects.names=[mug-0001]",
        f"objects.codes={tmp_path}/other.pth",
    )
    assert_one_sentence(outcome, "hyper_stage2 knows the shape codes of encoder eb0379deca67", other.id)


# The part that is shipped


@pytest.mark.slow
def test_an_exported_policy_plays_like_its_training_checkpoint(trained, tmp_path):
    last = trained / "nn" / "last.pth"
    checkpoints.export(str(last), str(tmp_path / "policy.pth"))
    whole, policy = Checkpoint.read(last), Checkpoint.read(tmp_path / "policy.pth")
    assert policy.training is None and policy.spec == whole.spec
    assert replace(policy.made_by, minutes=0, machine="") == whole.made_by  # which say nothing of how long it took
    assert policy.weights.keys() == whole.weights.keys()
    assert all(torch.equal(policy.weights[key], whole.weights[key]) for key in whole.weights)
    assert (tmp_path / "policy.pth").stat().st_size < last.stat().st_size
    outcome = call(tmp_path, *TINY, "test=True", f"checkpoint={tmp_path}/policy.pth", "episodes_per_object=2")
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("target", ["nowhere/policy.pth", "policy.bin"])
def test_an_export_to_a_strange_place_is_refused(trained, tmp_path, target):
    with pytest.raises(UserError, match=r"must be a \.pth or \.safetensors file in a folder that exists"):
        checkpoints.export(str(trained / "nn" / "last.pth"), str(tmp_path / target))
    assert files(tmp_path) == {}
