"""Training the hyper-policy: its experts, its two stages, its checkpoints."""

import os
from dataclasses import replace

import pytest
import torch
from helpers.command_line import STAGE1, STAGE2, TINY, assert_one_sentence, call, files, train

from resdex_tasks.networks.experts import FrozenExperts
from resdex_tasks.observations import SIZES, layout
from resdex_tasks.utils.paths import CHECKPOINT_DIR
from runners import launch
from runners.config import load_config
from runners.learning import vec_env
from runners.learning.hyper_ppo import HyperPPO
from runners.learning.ppo import ResDexPPO
from runners.policies.checkpoint import Checkpoint
from runners.policies.experts import stack_experts
from runners.policies.policy import Policy

pytestmark = pytest.mark.slow  # every test trains

HYPER = (*STAGE1, "experts=[e0.pth,e1.pth]")
"""A first stage in a folder of `at_experts`."""


def tiny(folder, *overrides):
    return call(folder, *TINY, "experiment=run", *overrides)


def bundle_of(folder):
    return stack_experts([Checkpoint.read(folder / name) for name in ("e0.pth", "e1.pth")])


def last_of(run):
    return Checkpoint.read(run / "nn" / "last.pth")


def observations(group, count):
    return torch.randn(count, SIZES[group], generator=torch.Generator().manual_seed(count))


# Experts


def test_the_bundle_acts_as_each_expert_does_alone(experts):
    bundle = bundle_of(experts)
    module = FrozenExperts(bundle.spec)
    module.load_state_dict(bundle.weights)
    assert bundle.spec.objects == ("box", "box") and bundle.spec.normalize_input
    obs = observations("base", 4)
    for i in range(2):
        alone = Policy.load(experts / f"e{i}.pth")(obs)
        assert alone.weights is None
        torch.testing.assert_close(module(obs)[i], alone.action, atol=1e-6, rtol=1e-5)


def test_experts_are_bit_identical_after_training_and_out_of_the_optimizer(experts):
    checkpoint = last_of(experts / "runs" / "hyper")
    for name, value in bundle_of(experts).weights.items():
        assert torch.equal(checkpoint.weights[f"a2c_network.experts.{name}"], value), name
    shapes = [tuple(s["exp_avg"].shape) for s in checkpoint.training["optimizer"]["state"].values()]
    assert (2, 153, 16) not in shapes
    assert (26, 16) in shapes, "the head of two weights and 24 residuals is trained"


def test_the_checkpoint_says_what_its_experts_are(experts):
    checkpoint = last_of(experts / "runs" / "hyper")
    inside = checkpoint.spec.experts
    assert inside == bundle_of(experts).spec
    assert inside.objects == ("box", "box") and inside.observation == "base" and inside.observation_size == 153
    assert len(set(inside.ids)) == 2
    assert checkpoint.spec.observation == "full" and sum(checkpoint.spec.observation_layout.values()) == 227
    assert set(checkpoint.made_by.success) == {"success_once", "success_at_end"}


def test_the_checkpoint_plays_without_any_expert_file(at_experts, tmp_path, monkeypatch):
    obs = observations("full", 3)
    here = Policy.load(at_experts / "stage1.pth")(obs)
    for name in ("e0.pth", "e1.pth", "e2.pth"):
        (at_experts / name).unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (at_experts / "stage1.pth").rename(elsewhere / "moved.pth")
    monkeypatch.chdir(elsewhere)
    moved = Policy.load("moved.pth")(obs)
    assert torch.equal(moved.action, here.action) and torch.equal(moved.weights, here.weights)
    torch.testing.assert_close(moved.weights.sum(dim=1), torch.ones(3))


def test_training_acts_with_the_composed_action(at_experts, monkeypatch):
    """The environment gets 24 clamped numbers, PPO stores the 26 that it sampled."""
    bundle = bundle_of(at_experts)
    experts = FrozenExperts(bundle.spec)
    experts.load_state_dict(bundle.weights)
    sampled, stepped = [], []
    step, preprocess = vec_env.GraspVecEnv.step, HyperPPO.preprocess_actions

    def spy_step(self, actions):
        stepped.append((self.task.obs["full"].clone(), actions.clone()))  # what the environment showed last
        return step(self, actions)

    def spy(self, actions):
        sampled.append(actions.clone())
        return preprocess(self, actions)

    monkeypatch.setattr(vec_env.GraspVecEnv, "step", spy_step)
    monkeypatch.setattr(HyperPPO, "preprocess_actions", spy)
    train(at_experts, *HYPER, "max_iterations=1")
    assert len(sampled) == len(stepped) == 4
    for hyper, (obs, action) in zip(sampled, stepped):
        assert hyper.shape == (4, 26) and action.shape == (4, 24)
        weights, base = hyper[:, :2].softmax(dim=1), experts(obs)
        by_hand = weights[:, :1] * base[0] + weights[:, 1:] * base[1] + hyper[:, 2:]
        torch.testing.assert_close(action, by_hand.clamp(-1, 1))


def test_a_mixture_without_residual_trains(at_experts):
    run = train(at_experts, *HYPER, "train.params.network.mixture.residual=false")
    assert last_of(run).weights["a2c_network.mu.weight"].shape == (2, 16)


def test_l2_weights_train(at_experts):
    run = train(at_experts, *HYPER, "train.params.network.mixture.normalization=l2", "max_iterations=1")
    assert last_of(run).spec.network["mixture"]["normalization"] == "l2"


def test_multi_task_ppo_without_experts_is_a_choice_of_train(at_experts):
    run = train(at_experts, *STAGE1, "train=ResDexBasePPO")
    checkpoint = last_of(run)
    assert checkpoint.spec.observation == "full" and checkpoint.spec.experts is None
    assert checkpoint.weights["a2c_network.mu.weight"].shape == (24, 16)


def test_stopped_and_resumed_equals_uninterrupted(at_experts):
    whole = last_of(train(at_experts, *HYPER, "max_iterations=4", "experiment=whole").parent / "whole")
    train(at_experts, *HYPER, "max_iterations=2")
    for name in ("e0.pth", "e1.pth"):
        (at_experts / name).unlink()  # a checkpoint goes on without its experts' files
    run = train(at_experts, *STAGE1, "max_iterations=4", "checkpoint=runs/run/nn/last.pth")
    resumed = last_of(run)
    assert resumed.made_by.iterations == whole.made_by.iterations == 4
    assert resumed.spec == whole.spec
    for name, value in whole.weights.items():
        assert torch.equal(resumed.weights[name], value), name


# Stage 2


def test_stage_2_starts_from_stage_1_with_a_fresh_optimizer(at_experts, monkeypatch):
    started = {}

    def spy(self):
        started["model"] = {k: v.clone() for k, v in self.model.state_dict().items()}
        started["optimizer"] = dict(self.optimizer.state_dict()["state"])
        started["epoch"] = self.epoch_num
        raise KeyboardInterrupt

    monkeypatch.setattr(ResDexPPO, "train", spy, raising=False)
    outcome = tiny(at_experts, *STAGE2, "stage1=stage1.pth")
    assert outcome.status == 130
    stage1 = Checkpoint.read(at_experts / "stage1.pth")
    for name, value in stage1.weights.items():
        assert torch.equal(started["model"][name], value), name
    assert started["optimizer"] == {} and started["epoch"] == 0
    assert f"starts from the weights of stage1.pth ({stage1.made_by.steps:,} steps)" in outcome.out


def test_stage_2_pays_for_success_alone(at_experts):
    outcome = tiny(at_experts, *STAGE2, "stage1=stage1.pth")
    assert outcome.status == 0, outcome.err
    assert "reward: lift + move + bonus;" in outcome.out


@pytest.mark.slow
def test_stage_2_takes_the_newest_stage_1_by_itself(at_experts):
    """Of the runs with experts: neither a base policy nor plain PPO, however new they are."""
    train(at_experts, *HYPER, "experiment=old", "max_iterations=1")
    train(at_experts, *HYPER, "experiment=new", "max_iterations=1")
    train(at_experts, "experiment=a_base", "max_iterations=1")
    train(at_experts, *STAGE1, "train=ResDexBasePPO", "experiment=plain", "max_iterations=1")
    for age, name in enumerate(["plain", "a_base", "new", "old"]):
        os.utime(str(at_experts / "runs" / name / "nn" / "last.pth"), (1e9 - age, 1e9 - age))
    outcome = tiny(at_experts, *STAGE2)
    assert outcome.status == 0, outcome.err
    assert "starts from the weights of runs/new/nn/last.pth" in outcome.out


def test_plain_ppo_has_a_second_stage_too(at_experts):
    train(at_experts, *STAGE1, "train=ResDexBasePPO", "experiment=plain", "max_iterations=1")
    outcome = tiny(at_experts, *STAGE2, "train=ResDexBasePPO", "stage1=runs/plain/nn/last.pth")
    assert outcome.status == 0, outcome.err
    assert "starts from the weights of runs/plain/nn/last.pth" in outcome.out


def test_stage_2_does_not_go_on_with_a_stage_1(at_experts):
    """checkpoint= is for one's own training: stage 1's must not be overwritten."""
    train(at_experts, *HYPER, "experiment=first", "max_iterations=1")
    before = files(at_experts)
    outcome = tiny(at_experts, *STAGE2, "checkpoint=runs/first/nn/last.pth", "max_iterations=9")
    assert_one_sentence(outcome, "training of ResDexHyper", "stage1=runs/first/nn/last.pth")
    assert files(at_experts) == before


def test_a_finished_stage_1_says_what_follows(at_experts):
    train(at_experts, *HYPER, "experiment=first", "max_iterations=1")
    overrides = [*TINY, *HYPER, "checkpoint=runs/first/nn/last.pth", "max_iterations=1"]
    assert_one_sentence(call(at_experts, *overrides), "task=ResDexHyperStage2 stage1=runs/first/nn/last.pth")


def test_a_second_stage_that_is_there_is_told_before_the_first(at_experts):
    train(at_experts, *STAGE2, "stage1=stage1.pth", "experiment=run_stage2")
    before = files(at_experts)
    overrides = [o for o in HYPER if not o.startswith("follow_up")]
    assert_one_sentence(tiny(at_experts, *overrides), "runs/run_stage2 holds a training", "follow_up=false")
    assert files(at_experts) == before


def test_a_stage_1_of_other_first_noise_will_do(at_experts):
    """Initial values are in the weights that are taken over."""
    outcome = tiny(at_experts, *STAGE2, "stage1=stage1.pth", "train.params.network.mixture.residualStd=0.7")
    assert outcome.status == 0, outcome.err


def test_another_order_of_the_observation_is_refused(at_experts):
    swap_two_blocks(Checkpoint.read(at_experts / "stage1.pth")).write(at_experts / "swapped.pth")
    assert_one_sentence(tiny(at_experts, *STAGE2, "stage1=swapped.pth"), "swapped.pth sees fingertips, joint_pos")


ALL_SPLITS = {
    "objects.split": ["train", "unseen_object", "unseen_category"],
    "objects.count": 132,
    "num_episodes": 500,
}


@pytest.mark.parametrize(
    "overrides, expected",
    [
        ((), ALL_SPLITS),
        (("objects.count=9", "num_episodes=7"), {**ALL_SPLITS, "objects.count": 9, "num_episodes": 7}),
        (("objects.count=3000",), ALL_SPLITS),
        (("objects.categories=[mug]",), {}),
        (("objects.names=[mug-0000]",), {}),
        (("objects=starter",), {}),
        (("objects.split=unseen_object",), {}),
    ],
)
def test_what_is_evaluated_after_a_training(overrides, expected):
    config = load_config(["sim=mujoco", "task=ResDexHyper", *overrides])
    chosen = launch._on_all_splits(config)
    assert chosen == expected
    for key, value in chosen.items():
        told = config.changed(chosen)
        group, _, name = key.rpartition(".")
        assert getattr(told.objects if group else told.command, name) == value


@pytest.mark.parametrize(
    "overrides, culprits",
    [
        (("stage1=nowhere.pth",), ("nowhere.pth",)),
        (("stage1=3",), ("no checkpoint 3",)),
        (("stage1=e0.pth",), ("e0.pth is not a hyper-policy: it holds a 'base' policy",)),
        (("stage1=stage1.pth", "experts=[e0.pth]"), ("stage1.pth mixes 2 experts", "are 1")),
        (("stage1=stage1.pth", "experts=[e1.pth,e0.pth]"), ("stage1.pth holds the experts", "are others")),
        (("stage1=stage1.pth", "train.params.network.mixture.normalization=l2"), ("stage1.pth", "normalization")),
        (("stage1=stage1.pth", "train.params.network.mlp.units=[8,8]"), ("stage1.pth", "mlp.units")),
        (("stage1=stage1.pth", "objects.codes=null"), ("2 of 2 objects have no shape code", "objects.codes=shipped")),
    ],
)
def test_a_stage_2_that_cannot_start_says_why(at_experts, overrides, culprits):
    before = files(at_experts)
    assert_one_sentence(tiny(at_experts, *STAGE2, *overrides), *culprits)
    assert files(at_experts) == before


def test_stage_2_without_any_stage_1_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr("runners.learning.warm_start.CHECKPOINT_DIR", tmp_path)
    assert_one_sentence(tiny(tmp_path, *STAGE2), "runs/ holds none", "task=ResDexHyper", "stage1=FILE")


@pytest.mark.slow
def test_one_command_goes_through_both_stages_and_the_evaluation(at_experts):
    overrides = [o for o in HYPER if not o.startswith("follow_up")]
    outcome = tiny(at_experts, *overrides, "episodes_per_object=1")
    assert outcome.status == 0, outcome.err
    assert "starts from the weights of runs/run/nn/last.pth" in outcome.out
    done = at_experts / "runs" / "run_stage2"
    assert {"nn", "evaluation.json", "evaluation.md", "gallery.png"} <= {path.name for path in done.iterdir()}
    assert last_of(done).task["stage"] == 2


# Bundles that cannot be


def spec_with(checkpoint, **changes):
    return replace(checkpoint, spec=replace(checkpoint.spec, **changes))


def weights_with(checkpoint, **changes):
    """Another tensor for some parameters; None: it is missing."""
    changes = {f"a2c_network.{name.replace('__', '.')}": value for name, value in changes.items()}
    weights = {**checkpoint.weights, **changes}
    return replace(checkpoint, weights={name: value for name, value in weights.items() if value is not None})


def swap_two_blocks(checkpoint):
    first, second, *others = checkpoint.spec.observation_layout.items()
    return spec_with(checkpoint, observation_layout=dict([second, first, *others]))


def see_everything(checkpoint):
    weights = dict(checkpoint.weights)
    for name in ("a2c_network.actor_mlp.0.weight", "running_mean_std.running_mean", "running_mean_std.running_var"):
        more = torch.ones(*weights[name].shape[:-1], SIZES["full"] - SIZES["base"])
        weights[name] = torch.cat((weights[name], more), dim=-1)
    return replace(spec_with(checkpoint, observation="full", observation_layout=layout("full")), weights=weights)


BROKEN = {
    "full.pth": see_everything,
    "normal.pth": lambda expert: spec_with(expert, normalize_input=False),
    "odd.pth": lambda expert: spec_with(expert, observation="touch"),
    "shared.pth": lambda expert: spec_with(expert, network={**expert.spec.network, "separate": False}),
    "deep.pth": lambda expert: spec_with(
        expert, network={**expert.spec.network, "mlp": {**expert.spec.network["mlp"], "d2rl": True}}
    ),
    "swapped.pth": swap_two_blocks,
    "cut.pth": lambda expert: weights_with(expert, mu__bias=None),
    "shape.pth": lambda expert: weights_with(expert, mu__bias=torch.zeros(3)),
}


@pytest.mark.parametrize(
    "bundle, culprits",
    [
        ("[]", ("experts is empty",)),
        ("e0.pth", ("experts is 'e0.pth'", "must be a list")),
        ("null", ("experts is null", "a list of strings")),
        ("3", ("experts is 3", "a list of strings")),
        ("[swapped.pth]", ("swapped.pth sees fingertips, joint_pos",)),
        ("[e0.pth,e2.pth]", ("e2.pth has units=[8]", "e0.pth has units=[16, 16]")),
        ("[e0.pth,e1.pth,e0.pth]", ("e0.pth and e0.pth are the same expert",)),
        ("[e0.pth,nowhere.pth]", ("nowhere.pth",)),
        ("[stage1.pth]", ("stage1.pth is a hyper-policy",)),
        ("[e0.pth,full.pth]", ("full.pth has observation=full", "e0.pth has observation=base")),
        ("[e0.pth,normal.pth]", ("normal.pth has normalize_input=False",)),
        ("[odd.pth]", ("odd.pth holds a 'touch' policy",)),
        ("[shared.pth]", ("shared.pth", "separate=False")),
        ("[deep.pth]", ("deep.pth", "d2rl=True")),
        ("[cut.pth]", ("cut.pth is an incomplete checkpoint",)),
        ("[shape.pth]", ("shape.pth has a layer of shape",)),
    ],
)
def test_a_wrong_bundle_is_refused_in_one_sentence(at_experts, bundle, culprits):
    folder = at_experts
    for name, change in BROKEN.items():
        if name in bundle:
            change(Checkpoint.read(folder / "e1.pth")).write(folder / name)
    before = files(folder)
    assert_one_sentence(tiny(folder, *STAGE1, f"experts={bundle}"), *culprits)
    assert files(folder) == before


def test_experts_mean_nothing_to_a_base_policy(at_experts):
    assert_one_sentence(tiny(at_experts, "experts=[e0.pth]"), "experts", "task=ResDexHyper")


def test_without_shipped_experts_the_command_says_so(tmp_path, monkeypatch):
    for file in CHECKPOINT_DIR.glob("zoo_clusters_k*.yaml"):
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.setattr("runners.policies.experts.CHECKPOINT_DIR", tmp_path)
    assert_one_sentence(tiny(tmp_path, *STAGE1), "zoo_expert_remote-0029.pth", "experts=[a.pth,b.pth]")


# A checkpoint knows its task


@pytest.mark.slow
def test_a_checkpoint_is_tested_on_its_own_task(at_experts):
    size = [o for o in TINY if not o.startswith("max_iterations")]
    outcome = call(at_experts, *size, *STAGE2[2:], "test=True", "checkpoint=stage1.pth", "episodes_per_object=1")
    assert outcome.status == 0, outcome.err
    assert "sphere" in outcome.out
