"""A policy as .safetensors: the same policy, played as any other, refused where it is damaged."""

import json
import struct
import sys
from dataclasses import replace

import pytest
import torch
from helpers.command_line import files
from helpers.policies import base_spec, checkpoint_of, hyper_spec, observations

from resdex_tasks.utils.errors import UserError
from runners.policies import checkpoint as checkpoints
from runners.policies.checkpoint import Checkpoint, shipped_policies
from runners.policies.policy import Policy
from runners.policies.records import Estimate, Measured, MeasuredRow

pytest.importorskip("safetensors")
ROW = MeasuredRow(10, 1, Estimate(0.5, 0.2, 0.8), Estimate(1.0, None, None), None)
MEASURED = Measured("python train.py test=True", 1, "a laptop", {"torch": "2"}, {"source": "zoo"}, {"all": ROW})


def same(a, b):
    """Whether two checkpoints hold the same, whatever their files are called."""
    equal = a.weights.keys() == b.weights.keys() and all(torch.equal(a.weights[k], b.weights[k]) for k in a.weights)
    return equal and replace(a, weights={}, name="", path=None) == replace(b, weights={}, name="", path=None)


@pytest.mark.parametrize("spec", [base_spec(), hyper_spec(k=3)], ids=["base", "hyper"])
def test_what_is_written_is_read_back(tmp_path, spec):
    whole = replace(checkpoint_of(spec), measured=MEASURED, objects=("mug", "cup"))
    whole.write(tmp_path / "policy.safetensors")
    back = Checkpoint.read(tmp_path / "policy.safetensors")
    assert same(back, whole) and back.id == whole.id
    seen = observations(spec.observation)
    assert torch.equal(Policy.load(back)(seen).action, Policy.load(whole)(seen).action)


def test_every_shipped_policy_comes_back_the_same(tmp_path, capsys):
    for name in shipped_policies():
        checkpoints.export(name, str(tmp_path / "policy.safetensors"))
        assert same(Checkpoint.read(tmp_path / "policy.safetensors"), Checkpoint.read(name)), name


def test_other_programs_find_the_weights_under_their_names(tmp_path):
    from safetensors.torch import load_file

    whole = checkpoint_of(base_spec())
    whole.write(tmp_path / "policy.safetensors")
    weights = load_file(tmp_path / "policy.safetensors")
    assert weights.keys() == whole.weights.keys() and all(torch.equal(weights[k], whole.weights[k]) for k in weights)


def test_a_training_s_state_needs_the_other_format(tmp_path):
    training = replace(checkpoint_of(base_spec()), training={"last_lr": 1e-3})
    with pytest.raises(UserError, match=r"policy\.safetensors is not written: .* plays alone"):
        training.write(tmp_path / "policy.safetensors")
    assert files(tmp_path) == {}


def head_of(content):
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_head(head, rest):
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + rest


def turned_weight(content):
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


def another_layout(content):
    head, rest = head_of(content)
    head["__metadata__"]["about"] = head["__metadata__"]["about"].replace(
        '"normalize_input": true', '"normalize_input": false'
    )
    return with_head(head, rest)


def nobodys(content):
    head, rest = head_of(content)
    del head["__metadata__"]
    return with_head(head, rest)


@pytest.mark.parametrize(
    "damage, words",
    [
        (turned_weight, "is damaged: its checksum is another"),
        (another_layout, "is damaged: its checksum is another"),
        (nobodys, "is not a policy's checkpoint"),
        (lambda content: content[:100], "is not readable as a policy's checkpoint"),
        (lambda content: b"\xff" * 16, "is not readable as a policy's checkpoint"),
        (lambda content: b"", "is not readable as a policy's checkpoint"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, words):
    path = tmp_path / "policy.safetensors"
    checkpoint_of(base_spec()).write(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"policy\.safetensors {words}"):
        Checkpoint.read(path)


def test_without_the_package_the_answer_is_how_to_get_it(tmp_path, monkeypatch):
    checkpoint_of(base_spec()).write(tmp_path / "policy.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'resdex\[hub\]'"):
        Checkpoint.read(tmp_path / "policy.safetensors")
