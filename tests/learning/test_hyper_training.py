"""Training the hyper-policy: its experts, its two stages, its checkpoints."""

import os

import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call, files, train

from resdex_tasks.observations import layout
from runners import launch
from runners.config import load_config, plain
from runners.evaluation.run import evaluation_task
from runners.policies import checkpoint as checkpoints
from runners.policies.experts import read_experts
from runners.policies.policy import load_policy

HYPER = (
    "task=ResDexHyper",
    "follow_up=false",
    "objects=starter",
    "objects.names=[box,sphere]",
    "experts=[e0.pth,e1.pth]",
)


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """Folder with two tiny experts, e0.pth and e1.pth, a third of another size and a hyper-policy of stage 1."""
    folder = tmp_path_factory.mktemp("experts")
    for i, more in enumerate([(), (), ("train.params.network.mlp.units=[8]",)]):
        run = train(folder, f"experiment=e{i}", f"seed={i + 1}", "max_iterations=1", *more)
        (run.parent / f"e{i}" / "nn" / "last.pth").rename(folder / f"e{i}.pth")
    train(folder, *HYPER, "experiment=hyper")
    return folder


def state_of(path):
    return checkpoints.read_checkpoint(str(path))


def tiny(folder, *overrides):
    return call(folder, *TINY, "experiment=run", *overrides)


@pytest.fixture()
def at_experts(experts, tmp_path):
    """A fresh folder with the same checkpoints."""
    for name in ("e0.pth", "e1.pth", "e2.pth"):
        (tmp_path / name).write_bytes((experts / name).read_bytes())
    (tmp_path / "stage1.pth").write_bytes((experts / "runs" / "hyper" / "nn" / "last.pth").read_bytes())
    return tmp_path


def policy_of(folder, monkeypatch, path):
    """The loaded policy and some observations of its task."""
    monkeypatch.chdir(folder)
    state = state_of(path)
    cfg = plain(load_config(["sim=mujoco", "scale=cpu", "task=ResDexHyper", "objects=starter"])[0])
    task = evaluation_task(cfg, 3)
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(3, task.num_obs, generator=generator)
    return load_policy(cfg, state, task, str(path)), obs


# Experts


def test_the_bundle_acts_as_each_expert_does_alone(experts, monkeypatch):
    from resdex_tasks.networks.experts import FrozenExperts

    monkeypatch.chdir(experts)
    bundle = read_experts(["e0.pth", "e1.pth"])
    module = FrozenExperts(bundle.spec)
    module.load_state_dict(bundle.weights)
    assert bundle.spec.objects == ("box", "box") and bundle.spec.normalize_input
    cfg = plain(load_config(["sim=mujoco", "scale=cpu", "task=ResDexBase"])[0])
    task = evaluation_task(cfg, 4)
    obs = torch.randn(4, 153, generator=torch.Generator().manual_seed(1))
    for i in range(2):
        alone = load_policy(cfg, state_of(experts / f"e{i}.pth"), task, f"e{i}.pth")(obs)
        torch.testing.assert_close(module(obs)[i], alone, atol=1e-6, rtol=1e-5)


def test_experts_are_bit_identical_after_training_and_out_of_the_optimizer(experts, monkeypatch):
    monkeypatch.chdir(experts)
    weights = read_experts(["e0.pth", "e1.pth"]).weights
    state = state_of(experts / "runs" / "hyper" / "nn" / "last.pth")
    for name, value in weights.items():
        assert torch.equal(state["model"][f"a2c_network.experts.{name}"], value), name
    shapes = [tuple(s["exp_avg"].shape) for s in state["optimizer"]["state"].values()]
    assert (2, 153, 16) not in shapes
    assert (26, 16) in shapes, "the head of two weights and 24 residuals is trained"


def test_the_checkpoint_says_what_its_experts_are(experts):
    state = state_of(experts / "runs" / "hyper" / "nn" / "last.pth")
    inside = state["train"]["network"]["experts"]
    assert inside["objects"] == ["box", "box"] and inside["observation_size"] == 153
    assert len(set(inside["ids"])) == 2
    assert sum(state["observation_layout"].values()) == 227
    assert set(state["success"]) >= {"latched", "held"}


def test_the_checkpoint_plays_without_any_expert_file(at_experts, tmp_path, monkeypatch):
    policy, obs = policy_of(at_experts, monkeypatch, "stage1.pth")
    here = policy(obs)
    for name in ("e0.pth", "e1.pth", "e2.pth"):
        (at_experts / name).unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (at_experts / "stage1.pth").rename(elsewhere / "moved.pth")
    policy, obs = policy_of(elsewhere, monkeypatch, "moved.pth")
    assert torch.equal(policy(obs), here)
    torch.testing.assert_close(policy.weights.sum(dim=1), torch.ones(3))


def test_rl_games_own_player_composes_too(at_experts, monkeypatch):
    from runners.learning.hyper_ppo import HyperPlayer

    made = []
    init = HyperPlayer.__init__
    monkeypatch.setattr(HyperPlayer, "__init__", lambda self, params: (init(self, params), made.append(self))[0])
    policy, obs = policy_of(at_experts, monkeypatch, "stage1.pth")
    player = made[0]
    player.has_batch_dimension = True
    assert torch.equal(player.get_action(obs, is_deterministic=True), policy(obs))
    player.has_batch_dimension = False
    assert player.get_action(obs[0], is_deterministic=True).shape == (24,)


def test_training_acts_with_the_composed_action(at_experts, monkeypatch):
    """The environment gets 24 clamped numbers, PPO stores the 26 that it sampled."""
    from resdex_tasks.networks.experts import FrozenExperts
    from runners.learning import vec_env
    from runners.learning.hyper_ppo import HyperPPO

    monkeypatch.chdir(at_experts)
    bundle = read_experts(["e0.pth", "e1.pth"])
    experts = FrozenExperts(bundle.spec)
    experts.load_state_dict(bundle.weights)
    sampled, stepped = [], []
    step, preprocess = vec_env.GraspVecEnv.step, HyperPPO.preprocess_actions

    def spy_step(self, actions):
        stepped.append((self.task.obs.clone(), actions.clone()))  # what the environment showed last
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
    assert state_of(run / "nn" / "last.pth")["model"]["a2c_network.mu.weight"].shape == (2, 16)


def test_l2_weights_train(at_experts):
    run = train(at_experts, *HYPER, "train.params.network.mixture.normalization=l2", "max_iterations=1")
    assert state_of(run / "nn" / "last.pth")["train"]["network"]["mixture"]["normalization"] == "l2"


def test_multi_task_ppo_without_experts_is_a_choice_of_train(at_experts):
    run = train(at_experts, *HYPER[:4], "train=ResDexBasePPO")
    state = state_of(run / "nn" / "last.pth")
    assert state["kind"] == "full" and state["model"]["a2c_network.mu.weight"].shape == (24, 16)


def test_stopped_and_resumed_equals_uninterrupted(at_experts):
    whole = state_of(train(at_experts, *HYPER, "max_iterations=4", "experiment=whole").parent / "whole/nn/last.pth")
    train(at_experts, *HYPER, "max_iterations=2")
    for name in ("e0.pth", "e1.pth"):
        (at_experts / name).unlink()  # a checkpoint goes on without its experts' files
    run = train(at_experts, *HYPER[:4], "max_iterations=4", "checkpoint=runs/run/nn/last.pth")
    resumed = state_of(run / "nn" / "last.pth")
    assert resumed["epoch"] == whole["epoch"] == 4
    for name, value in whole["model"].items():
        assert torch.equal(resumed["model"][name], value), name


# Stage 2

STAGE2 = ("task=ResDexHyperStage2", "follow_up=false", "objects=starter", "objects.names=[box,sphere]")


def test_stage_2_starts_from_stage_1_with_a_fresh_optimizer(at_experts, monkeypatch):
    from runners.learning.ppo import ResDexPPO

    started = {}

    def spy(self):
        started["model"] = {k: v.clone() for k, v in self.model.state_dict().items()}
        started["optimizer"] = dict(self.optimizer.state_dict()["state"])
        started["epoch"] = self.epoch_num
        raise KeyboardInterrupt

    monkeypatch.setattr(ResDexPPO, "train", spy, raising=False)
    outcome = tiny(at_experts, *STAGE2, "stage1=stage1.pth")
    assert outcome.status == 130
    stage1 = state_of(at_experts / "stage1.pth")
    for name, value in stage1["model"].items():
        assert torch.equal(started["model"][name], value), name
    assert started["optimizer"] == {} and started["epoch"] == 0
    assert f"starts from the weights of stage1.pth ({stage1['frame']:,} steps)" in outcome.out


def test_stage_2_pays_for_success_alone(at_experts):
    outcome = tiny(at_experts, *STAGE2, "stage1=stage1.pth")
    assert outcome.status == 0, outcome.err
    assert "reward: lift + move + bonus;" in outcome.out


def test_stage_2_takes_the_newest_stage_1_by_itself(at_experts):
    """Of the runs with experts: neither a base policy nor plain PPO, however new they are."""
    train(at_experts, *HYPER, "experiment=old", "max_iterations=1")
    train(at_experts, *HYPER, "experiment=new", "max_iterations=1")
    train(at_experts, "experiment=a_base", "max_iterations=1")
    train(at_experts, *HYPER[:4], "train=ResDexBasePPO", "experiment=plain", "max_iterations=1")
    for age, name in enumerate(["plain", "a_base", "new", "old"]):
        os.utime(str(at_experts / "runs" / name / "nn" / "last.pth"), (1e9 - age, 1e9 - age))
    outcome = tiny(at_experts, *STAGE2)
    assert outcome.status == 0, outcome.err
    assert "starts from the weights of runs/new/nn/last.pth" in outcome.out


def test_plain_ppo_has_a_second_stage_too(at_experts):
    train(at_experts, *HYPER[:4], "train=ResDexBasePPO", "experiment=plain", "max_iterations=1")
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
    outcome = tiny(at_experts, *STAGE2, "stage1=stage1.pth", "residual_std=0.7")
    assert outcome.status == 0, outcome.err


def test_another_order_of_the_observation_is_refused(at_experts):
    state = state_of(at_experts / "stage1.pth")
    swap_two_blocks(state)
    checkpoints.write_checkpoint(at_experts / "swapped.pth", state)
    assert_one_sentence(tiny(at_experts, *STAGE2, "stage1=swapped.pth"), "swapped.pth sees fingertips, joint_pos")


@pytest.mark.parametrize(
    "overrides, expected",
    [
        (
            (),
            [
                "test=True",
                "objects.split=[train,unseen_object,unseen_category]",
                "objects.count=132",
                "num_episodes=500",
            ],
        ),
        (("objects.count=9", "num_episodes=7"), ["objects.count=9", "num_episodes=7"]),
        (("objects.categories=[mug]",), ["test=True"]),
        (("objects=starter",), ["test=True"]),
        (("objects.split=unseen_object",), ["test=True"]),
    ],
)
def test_what_is_evaluated_after_a_training(overrides, expected):
    cfg = load_config(["sim=mujoco", "task=ResDexHyper", *overrides])[0]
    chosen = launch._on_all_splits(cfg)
    assert chosen == expected if len(expected) in (1, 4) else set(expected) <= set(chosen)


@pytest.mark.parametrize(
    "overrides, culprits",
    [
        (("stage1=nowhere.pth",), ("nowhere.pth",)),
        (("stage1=3",), ("stage1 is 3",)),
        (("stage1=e0.pth",), ("e0.pth", "not a hyper-policy")),
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
    monkeypatch.setattr("runners.policies.warm_start.CHECKPOINT_DIR", tmp_path)
    assert_one_sentence(tiny(tmp_path, *STAGE2), "runs/ holds none", "task=ResDexHyper", "stage1=FILE")


def test_one_command_goes_through_both_stages_and_the_evaluation(at_experts):
    overrides = [o for o in HYPER if not o.startswith("follow_up")]
    outcome = tiny(at_experts, *overrides, "episodes_per_object=1")
    assert outcome.status == 0, outcome.err
    assert "starts from the weights of runs/run/nn/last.pth" in outcome.out
    done = at_experts / "runs" / "run_stage2"
    assert {"nn", "evaluation.json", "evaluation.md", "gallery.png"} <= {path.name for path in done.iterdir()}
    assert state_of(done / "nn" / "last.pth")["task"]["stage"] == 2


# Bundles that cannot be


def broken(folder, name, change):
    state = state_of(folder / "e1.pth")
    change(state)
    checkpoints.write_checkpoint(folder / name, state)


def swap_two_blocks(state):
    first, second, *others = state["observation_layout"].items()
    state["observation_layout"] = dict([second, first, *others])


def see_everything(state):
    state["kind"], state["observation_layout"] = "full", layout(227)
    for name in ("a2c_network.actor_mlp.0.weight", "running_mean_std.running_mean", "running_mean_std.running_var"):
        tensor = state["model"][name]
        state["model"][name] = torch.cat((tensor, torch.ones(*tensor.shape[:-1], 227 - 153)), dim=-1)


@pytest.mark.parametrize(
    "bundle, culprits",
    [
        ("[]", ("experts is empty",)),
        ("e0.pth", ("must be a list",)),
        ("null", ("must be a list",)),
        ("3", ("must be a list",)),
        ("[swapped.pth]", ("swapped.pth sees fingertips, joint_pos",)),
        ("[e0.pth,e2.pth]", ("e2.pth has units=[8]", "e0.pth has units=[16, 16]")),
        ("[e0.pth,e1.pth,e0.pth]", ("e0.pth and e0.pth are the same expert",)),
        ("[e0.pth,nowhere.pth]", ("nowhere.pth",)),
        ("[stage1.pth]", ("stage1.pth is a hyper-policy",)),
        ("[e0.pth,full.pth]", ("full.pth has kind=full", "e0.pth has kind=base")),
        ("[e0.pth,normal.pth]", ("normal.pth has normalize_input=False",)),
        ("[odd.pth]", ("odd.pth holds a 'vision' policy",)),
        ("[shared.pth]", ("shared.pth", "separate=False")),
        ("[cut.pth]", ("cut.pth is an incomplete checkpoint",)),
        ("[shape.pth]", ("shape.pth has a layer of shape",)),
    ],
)
def test_a_wrong_bundle_is_refused_in_one_sentence(at_experts, bundle, culprits):
    folder = at_experts
    broken(folder, "full.pth", see_everything)
    broken(folder, "normal.pth", lambda s: s["train"].update(normalize_input=False))
    broken(folder, "odd.pth", lambda s: s.update(kind="vision"))
    broken(folder, "shared.pth", lambda s: s["train"]["network"].update(separate=False))
    broken(folder, "swapped.pth", swap_two_blocks)
    broken(folder, "cut.pth", lambda s: s["model"].pop("a2c_network.mu.bias"))
    broken(folder, "shape.pth", lambda s: s["model"].update({"a2c_network.mu.bias": torch.zeros(3)}))
    before = files(folder)
    assert_one_sentence(tiny(folder, *HYPER[:4], f"experts={bundle}"), *culprits)
    assert files(folder) == before


def test_experts_mean_nothing_to_a_base_policy(at_experts):
    assert_one_sentence(tiny(at_experts, "experts=[e0.pth]"), "experts", "task=ResDexHyper")


def test_without_shipped_experts_the_command_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("runners.policies.warm_start.CHECKPOINT_DIR", tmp_path)
    assert_one_sentence(tiny(tmp_path, *HYPER[:4]), "no expert is shipped", "experts=[a.pth,b.pth]")


# A checkpoint knows its task


def test_a_checkpoint_is_tested_on_its_own_task(at_experts):
    size = [o for o in TINY if not o.startswith("max_iterations")]
    outcome = call(at_experts, *size, *STAGE2[2:], "test=True", "checkpoint=stage1.pth", "episodes_per_object=1")
    assert outcome.status == 0, outcome.err
    assert "sphere" in outcome.out
