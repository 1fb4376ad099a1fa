"""A policy taken away: the ONNX file alone does what the policy does."""

import importlib.util
import json

import numpy as np
import pytest
from helpers.policies import base_spec, checkpoint_of, hyper_spec, student_spec

from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS
from resdex_tasks.utils.errors import UserError
from runners import make_task
from runners.policies import onnx as exporter
from runners.policies.checkpoint import Checkpoint
from runners.policies.policy import Policy

onnxruntime = pytest.importorskip("onnxruntime")
SPECS = {
    "base": base_spec(),
    "plain base": base_spec(normalize_input=False),
    "hyper": hyper_spec(),
    "l2": hyper_spec(normalization="l2"),
    "vision": student_spec(),
}


@pytest.mark.parametrize("name", SPECS)
def test_any_kind_of_policy_plays_alike_for_any_number_of_hands(tmp_path, name):
    checkpoint = checkpoint_of(SPECS[name])
    assert exporter.export(checkpoint, tmp_path / "policy.onnx") <= 1e-5
    policy = Policy.load(checkpoint)
    for count in (1, 7):
        seen = exporter.example_observations(checkpoint, count)
        assert exporter.difference(tmp_path / "policy.onnx", policy, seen) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shipped", "task"), [("base_box", "ResDexBase"), ("hyper_stage2", "ResDexHyper"), ("vision", "ResDexVision")]
)
def test_a_shipped_policy_plays_an_episode_without_torch(tmp_path, shipped, task):
    checkpoint = Checkpoint.read(shipped)
    exporter.export(checkpoint, tmp_path / "policy.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    policy = Policy.load(checkpoint)
    assert names == list(policy.groups)
    few = {"objects.names": ["mug-0003", "pear-0024"]} if task != "ResDexBase" else {}
    hands = make_task(task, num_envs=4, **{"sim.numThreads": 1, "scale": "cpu", "sim": "mujoco"}, **few)
    obs = hands.reset()
    for _ in range(40):
        action = policy(obs).action
        played = session.run(["action"], {name: obs[name].numpy() for name in names})[0]
        assert np.abs(played - action.numpy()).max() <= 1e-5
        obs, *_ = hands.step(action)


def test_the_file_says_what_its_numbers_mean(tmp_path):
    checkpoint = checkpoint_of(hyper_spec())
    exporter.export(checkpoint, tmp_path / "policy.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"), providers=["CPUExecutionProvider"])
    said = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert list(said["observation_layout"].items()) == list(checkpoint.spec.observation_layout.items())
    assert said["joints"] == list(JOINTS) and said["actuated_joints"] == list(ACTUATED)
    assert said["action_layout"] == {"wrist_force": 3, "wrist_torque": 3, "joint_targets": 18}
    assert said["control_hz"] == 60 and set(said["joint_limits"]) == set(JOINTS)
    lower, upper = said["joint_limits"]["FFJ2"]
    assert lower == pytest.approx(0.0) and upper == pytest.approx(1.571, abs=1e-3)
    assert [output.name for output in session.get_outputs()] == ["action", "weights"]


def test_what_cannot_be_exported_is_one_sentence_and_no_file(tmp_path, capsys, monkeypatch):
    out = str(tmp_path / "policy.onnx")
    assert exporter.main(["--out", out]) == exporter.main(["checkpoint=nothing", "--out", out]) == 2
    assert exporter.main(["checkpoint=base_box", "objects=zoo", "--out", out]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 3 and "name one checkpoint" in err[0] and "no checkpoint nothing" in err[1]
    monkeypatch.setattr(exporter, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(UserError, match=r"policy\.onnx would differ from the policy by"):
        exporter.export(checkpoint_of(base_spec()), tmp_path / "policy.onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package onnx: pip install"):
        exporter.export(checkpoint_of(base_spec()), tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())
