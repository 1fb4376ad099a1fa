"""What the configuration says of the hyper-policy's stages, presets and ablations."""

import pytest

from resdex_tasks.networks.hyper import MixtureConfig
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.utils.errors import UserError
from runners.config import load_config


def loaded(*overrides):
    return load_config(["sim=mujoco", *overrides]).plain


def reward_of(*overrides):
    return load_config(["sim=mujoco", *overrides]).task.env.reward


def test_stage_1_pays_as_unidexgrasp():
    reward = reward_of("task=ResDexHyper")
    assert reward.terms == ["proposal", "reach", "lift", "move", "bonus"]
    assert reward.proposal_weights == pytest.approx([0.5 * 0.6, 0.5 * 0.04, 0.5 * 0.1])
    assert (reward.palm_distance_cap, reward.fingers_distance_cap) == (0.5, 3.0)
    gates = (reward.move_joint_gate, reward.move_position_gate, reward.move_rotation_gate)
    assert gates == (6.0, 0.4, 1.0)
    assert (reward.lift_clearance, reward.lift_flat_height) == (0.003, 0.8)


def test_stage_2_pays_for_success_with_the_loosened_gate():
    reward = reward_of("task=ResDexHyperStage2")
    assert reward.terms == ["lift", "move", "bonus"]
    assert (reward.move_joint_gate, reward.move_position_gate, reward.move_rotation_gate) == (None, None, None)


@pytest.mark.parametrize(
    "task, preset, clearance, terms",
    [
        ("ResDexBase", "paper", None, ["pose", "reach", "lift", "move", "bonus"]),
        ("ResDexHyper", "paper", 0.003, ["proposal", "reach", "lift", "move", "bonus"]),
        ("ResDexHyperStage2", "paper", None, ["lift", "move", "bonus"]),
        ("ResDexBase", "official", 0.003, ["proposal", "reach", "lift", "move", "bonus"]),
        ("ResDexHyper", "official", 0.003, ["proposal", "lift", "move", "bonus"]),
        ("ResDexHyperStage2", "official", 0.003, ["lift", "move", "bonus"]),
    ],
)
def test_presets_know_every_task(task, preset, clearance, terms):
    reward = reward_of(f"task={task}", f"preset={preset}")
    assert (reward.lift_clearance, reward.terms) == (clearance, terms)


def test_the_official_stage_2_keeps_the_loosened_gate():
    reward = reward_of("task=ResDexHyperStage2", "preset=official")
    assert (reward.move_position_gate, reward.move_rotation_gate) == (None, None)


def test_the_hyper_policy_sees_everything_of_all_objects():
    cfg = loaded("task=ResDexHyper")
    assert cfg["task"]["env"]["observation"] == "full"
    assert cfg["objects"]["source"] == "zoo" and cfg["objects"]["codes"] == "shipped"
    assert cfg["task"]["env"]["objectSampling"] == "random"


def test_another_object_source_can_be_named():
    assert loaded("task=ResDexHyperStage2", "objects=starter")["objects"]["source"] == "starter"


def test_the_paper_scale_is_the_papers():
    base, hyper = loaded("scale=paper"), loaded("task=ResDexHyper", "scale=paper")
    assert (base["num_envs"], base["train"]["params"]["config"]["max_epochs"]) == (4096, 5000)
    assert (hyper["num_envs"], hyper["train"]["params"]["config"]["max_epochs"]) == (11000, 20000)
    mixture = hyper["train"]["params"]["network"]["mixture"]
    assert (mixture["weightStd"], mixture["residualStd"]) == (0.8, 0.8)
    assert hyper["train"]["params"]["network"]["mlp"]["units"] == [1024, 1024, 512, 512]


@pytest.mark.parametrize("task", ["ResDexHyper", "ResDexHyperStage2"])
def test_on_a_cpu_the_residual_begins_with_less_noise_than_the_weights(task):
    mixture = loaded(f"task={task}", "scale=cpu")["train"]["params"]["network"]["mixture"]
    assert (mixture["weightStd"], mixture["residualStd"]) == (0.8, 0.25)
    given = loaded(f"task={task}", "scale=cpu", "train.params.network.mixture.residualStd=0.7")
    assert given["train"]["params"]["network"]["mixture"]["residualStd"] == 0.7


@pytest.mark.parametrize(
    "task, train",
    [
        ("ResDexBase", "ResDexBasePPO"),
        ("ResDexHyper", "ResDexHyperPPO"),
        ("ResDexHyperStage2", "ResDexHyperStage2PPO"),
    ],
)
def test_a_task_names_its_training_and_another_can_be_named(task, train):
    config = load_config(["sim=mujoco", f"task={task}"])
    assert config.params == load_config(["sim=mujoco", f"task={task}", f"train={train}"]).params
    assert config.mixes == (task != "ResDexBase")
    assert not load_config(["sim=mujoco", f"task={task}", "train=ResDexBasePPO"]).mixes


def test_the_mixture_defaults_to_the_official_softmax_with_a_residual():
    network = loaded("task=ResDexHyper")["train"]["params"]["network"]
    mixture = read_config(MixtureConfig, network["mixture"], "mixture")
    assert mixture.normalization == "softmax" and mixture.residual


def test_full_obs_and_full_pose_bases_are_values():
    cfg = loaded("task=ResDexBase", "task.env.observation=full", "objects.codes=shipped")
    assert cfg["task"]["env"]["observation"] == "full" and cfg["objects"]["codes"] == "shipped"
    full_pose = reward_of("task=ResDexBase", "task.env.reward.terms=[proposal,reach,lift,move,bonus]")
    assert "proposal" in full_pose.terms and "pose" not in full_pose.terms


def test_experts_of_a_base_policy_are_refused():
    with pytest.raises(UserError, match=r"experts=\[a.pth\] are for a hyper-policy"):
        load_config(["sim=mujoco", "task=ResDexBase", "experts=[a.pth]"])
