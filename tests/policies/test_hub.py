"""Policies to a hub and back: a folder, and the real client against a hub in this process."""

import sys

import pytest
import torch
from helpers.command_line import files
from helpers.fake_hub import FakeHub

from runners.policies.checkpoint import Checkpoint
from runners.policies.hub import main

pytest.importorskip("safetensors")


@pytest.fixture
def hub(monkeypatch):
    pytest.importorskip("huggingface_hub")
    with FakeHub() as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield fake


def same_weights(a, b):
    return a.weights.keys() == b.weights.keys() and all(torch.equal(a.weights[k], b.weights[k]) for k in a.weights)


def test_a_policy_goes_into_a_folder_and_comes_back(tmp_path, capsys):
    folder = tmp_path / "there"
    assert main(["push", "base_box", str(folder)]) == 0
    assert set(files(folder)) == {"README.md", "policy.safetensors"}
    assert "# base_box" in (folder / "README.md").read_text(encoding="utf-8")
    for target in ("back.pth", "back.safetensors"):
        assert main(["pull", str(folder), str(tmp_path / target)]) == 0
        assert same_weights(Checkpoint.read(tmp_path / target), Checkpoint.read("base_box"))
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"checkpoint={tmp_path / 'back.safetensors'}")


def test_a_policy_goes_to_a_hub_and_comes_back(tmp_path, hub, capsys):
    assert main(["push", "base_box", "me/box"]) == 0, capsys.readouterr().err
    assert set(hub.files["me/box"]) == {"README.md", "policy.safetensors"}
    assert b"pull me/box policy.safetensors" in hub.files["me/box"]["README.md"]
    assert hub.tokens == {"Bearer hf_secret"}
    assert main(["pull", "me/box", str(tmp_path / "box.safetensors")]) == 0, capsys.readouterr().err
    back, whole = Checkpoint.read(tmp_path / "box.safetensors"), Checkpoint.read("base_box")
    assert same_weights(back, whole) and back.made_by == whole.made_by and back.measured == whole.measured
    assert list(files(tmp_path)) == ["box.safetensors"]


def test_what_goes_wrong_is_one_sentence_and_leaves_nothing(tmp_path, hub, monkeypatch, capsys):
    hub.files["me/other"] = {"policy.safetensors": b"something else"}
    for arguments, words in (
        (["push", "nobody", "me/box"], "no checkpoint nobody"),
        (["pull", "me/nothing", str(tmp_path / "a.pth")], "me/nothing cannot be pulled"),
        (["pull", "me/other", str(tmp_path / "a.pth")], "not readable as a policy's checkpoint"),
        (["pull", "./nowhere", str(tmp_path / "a.pth")], "no checkpoint nowhere"),
        (["pull", "me/other", str(tmp_path / "no" / "a.pth")], "there is no folder"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and words in error
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", "base_box", "me/box"]) == 2
    assert "me/box cannot be pushed to" in capsys.readouterr().err
    assert files(tmp_path) == {}


def test_without_the_package_the_answer_is_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    found = "importlib.util.find_spec"
    monkeypatch.setattr(found, lambda name: None if name == "huggingface_hub" else object())
    assert main(["pull", "me/box", str(tmp_path / "a.pth")]) == 2
    assert "pip install 'resdex[hub]'" in capsys.readouterr().err
