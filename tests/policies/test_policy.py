"""A policy plays what was learned: against the network computed by hand from the numbers in the file."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.command_line import train
from helpers.policies import (
    base_spec,
    checkpoint_of,
    hyper_spec,
    network_of,
    observations,
    seen_by_student,
    student_by_hand,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.observations import VIEWS, layout
from resdex_tasks.utils.errors import UserError
from runners.policies.checkpoint import Checkpoint, PolicySpec, shipped_policies
from runners.policies.policy import Policy, build_model

REPOSITORY = Path(__file__).resolve().parents[2]


def normalised(obs, mean, var):
    return ((obs - mean.float()) / torch.sqrt(var.float() + 1e-5)).clamp(-5, 5)


def actor_by_hand(checkpoint, obs):
    """The mean of the policy's Gaussian."""
    weights, hidden = checkpoint.weights, obs
    if checkpoint.spec.normalize_input:
        hidden = normalised(obs, weights["running_mean_std.running_mean"], weights["running_mean_std.running_var"])
    for layer in range(len(checkpoint.spec.network["mlp"]["units"])):
        weight, bias = (weights[f"a2c_network.actor_mlp.{2 * layer}.{part}"] for part in ("weight", "bias"))
        hidden = torch.nn.functional.elu(hidden @ weight.T + bias)
    return hidden @ weights["a2c_network.mu.weight"].T + weights["a2c_network.mu.bias"]


def composed_by_hand(checkpoint, obs):
    """Eq. 4: the weighted sum of what each expert does alone, plus the residual. Action and weights."""
    hyper, weights = actor_by_hand(checkpoint, obs), checkpoint.weights
    experts, mixture = checkpoint.spec.experts, checkpoint.spec.network["mixture"]
    mixed = hyper[:, : experts.count]
    mixed = mixed.softmax(dim=1) if mixture["normalization"] == "softmax" else mixed / mixed.norm(dim=1, keepdim=True)
    action = hyper[:, experts.count :] if mixture["residual"] else torch.zeros(len(obs), 24)
    for i in range(experts.count):
        x, inside = obs[:, :153], "a2c_network.experts."
        if experts.normalize_input:
            x = normalised(x, weights[f"{inside}mean"][i], weights[f"{inside}var"][i])
        for layer in range(len(experts.units) + 1):
            x = x @ weights[f"{inside}weight_{layer}"][i] + weights[f"{inside}bias_{layer}"][i]
            x = torch.nn.functional.elu(x) if layer < len(experts.units) else x.clamp(-1, 1)
        action = action + mixed[:, i : i + 1] * x
    return action.clamp(-1, 1), mixed


def assert_close(played, expected):
    torch.testing.assert_close(played, expected, atol=1e-5, rtol=1e-4)


@given(st.sampled_from(["base", "full"]), st.booleans(), st.integers(1, 9))
@settings(max_examples=12)
def test_a_base_policy_plays_its_network(observation, normalize_input, count):
    checkpoint = checkpoint_of(base_spec(normalize_input, observation), seed=count)
    obs = observations(observation, count)
    policy = Policy.load(checkpoint)
    played = policy(obs)
    assert policy.observation == observation and played.weights is None
    assert_close(played.action, actor_by_hand(checkpoint, obs).clamp(-1, 1))
    assert (played.action.abs() == 1).any()  # the random network is wild enough to meet the limits


@given(st.integers(1, 4), st.sampled_from(["softmax", "l2"]), st.booleans(), st.booleans(), st.integers(1, 9))
@settings(max_examples=20)
def test_a_hyper_policy_plays_the_composed_action(k, normalization, residual, normalize_input, count):
    checkpoint = checkpoint_of(hyper_spec(k, normalization, residual, normalize_input), seed=count)
    obs = observations("full", count)
    played = Policy.load(checkpoint)(obs)
    action, weights = composed_by_hand(checkpoint, obs)
    assert played.action.shape == (count, 24) and played.weights.shape == (count, k)
    assert_close(played.action, action)
    assert_close(played.weights, weights)


@given(st.sampled_from(sorted(VIEWS)), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=12)
def test_a_policy_takes_its_groups_out_of_what_the_task_returns(view, count, num_points):
    groups = {group: observations(group, count, seed=2) for group in ("full", "proprioception", "base")}
    groups["cloud"] = torch.randn(count, num_points, 3, generator=torch.Generator().manual_seed(3))
    spec = PolicySpec(view, layout(view, num_points), network_of("actor_critic"), True, False)
    policy = Policy.load(checkpoint_of(spec))
    flat = {**groups, "vision": torch.cat((groups["proprioception"], groups["cloud"].reshape(count, -1)), dim=1)}
    assert policy.groups == (("proprioception", "cloud") if view == "vision" else (view,))
    own = {group: groups[group] for group in policy.groups}
    assert torch.equal(policy(groups).action, policy(flat[view]).action)
    assert torch.equal(policy(groups).action, policy(own).action)


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_the_policy_played_is_the_one_trained(tmp_path, normalize):
    run = train(tmp_path, f"train.params.config.normalize_input={normalize}")
    checkpoint = Checkpoint.read(run / "nn" / "best.pth")
    if normalize == "true":
        assert (checkpoint.weights["running_mean_std.running_var"] != 1).any()  # it was learned
    obs = observations("base")
    assert_close(Policy.load(checkpoint)(obs).action, actor_by_hand(checkpoint, obs).clamp(-1, 1))
    assert torch.equal(Policy.load(run / "nn" / "best.pth")(obs).action, Policy.load(checkpoint)(obs).action)


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_plays_by_its_name(name):
    checkpoint = Checkpoint.read(name)
    sees = checkpoint.spec.observation
    obs = seen_by_student() if sees == "vision" else observations(sees)
    played = Policy.load(name)(obs)
    if sees == "vision":
        assert_close(played.action, student_by_hand(checkpoint, obs).clamp(-1, 1))
    elif checkpoint.spec.experts is None:
        assert played.weights is None
        assert_close(played.action, actor_by_hand(checkpoint, obs).clamp(-1, 1))
    else:
        action, weights = composed_by_hand(checkpoint, obs)
        assert_close(played.action, action)
        assert_close(played.weights, weights)


def test_a_policy_leaves_its_checkpoint_alone_and_plays_the_same_every_time():
    checkpoint = checkpoint_of(hyper_spec())
    before = {name: value.clone() for name, value in checkpoint.weights.items()}
    policy, obs = Policy.load(checkpoint), observations("full")
    first, again = policy(obs), policy(obs)
    assert torch.equal(first.action, again.action) and torch.equal(first.weights, again.weights)
    assert not first.action.requires_grad
    assert all(torch.equal(checkpoint.weights[name], value) for name, value in before.items())


@pytest.mark.slow
def test_a_policy_needs_no_task_configuration_or_simulator():
    """In a process of its own: whatever plays, nothing of these is even imported."""
    code = (
        "import sys, torch; from runners.policies.policy import Policy;"
        "print(Policy.load('base_box')(torch.zeros(2, 153)).action.shape);"
        "unwanted = ('hydra', 'mujoco', 'runners.config', 'runners.learning', 'resdex_tasks.grasp_task');"
        "print([name for name in unwanted if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=str(REPOSITORY), capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == ["torch.Size([2, 24])", "[]"], done.stderr


def test_weights_of_another_network_are_refused():
    checkpoint = checkpoint_of(base_spec())
    damaged = replace(checkpoint, weights={**checkpoint.weights, "a2c_network.mu.bias": torch.zeros(3)})
    with pytest.raises(UserError, match="random is damaged: its weights are not those of its network"):
        Policy.load(damaged)


@pytest.mark.parametrize("view", ["vision", "full"])
def test_an_observation_laid_out_otherwise_is_refused(view):
    checkpoint = checkpoint_of(base_spec())
    with pytest.raises(UserError, match=f"random sees .* here a '{view}' policy sees"):
        Policy.load(replace(checkpoint, spec=replace(checkpoint.spec, observation=view)))


@pytest.mark.parametrize("view", ["proprioception", "touch"])
def test_an_observation_that_nobody_sees_is_refused(view):
    checkpoint = checkpoint_of(base_spec())
    with pytest.raises(UserError, match=f"random holds a '{view}' policy; policies here see base, full, vision"):
        Policy.load(replace(checkpoint, spec=replace(checkpoint.spec, observation=view)))


def test_a_network_that_cannot_be_built_is_one_sentence():
    spec = base_spec()
    with pytest.raises(UserError, match=r"rl_games cannot build the policy's network: .*nonsense"):
        build_model(replace(spec, network={**spec.network, "name": "nonsense"}))


# Whether a checkpoint fits a training


def changed(spec, key, value):
    """The spec with another value at a dotted key of its network."""
    first, *rest = key.split(".")
    inner = value if not rest else changed(spec[first], ".".join(rest), value)
    return {**spec, first: inner}


@pytest.mark.parametrize(
    "key, value",
    [
        ("mixture.weightStd", 0.1),
        ("mixture.residualStd", 0.7),
        ("space.continuous.mu_init", {"name": "orthogonal_initializer", "gain": 0.01}),
        ("space.continuous.sigma_init", {"name": "const_initializer", "val": -1.0}),
        ("mlp.initializer", {"name": "orthogonal_initializer", "gain": 1.0}),
    ],
)
def test_how_weights_would_begin_makes_no_difference(key, value):
    spec = hyper_spec()
    checkpoint_of(spec).check_fits(replace(spec, network=changed(spec.network, key, value)))


@pytest.mark.parametrize(
    "key, value",
    [
        ("mixture.normalization", "l2"),
        ("mixture.residual", False),
        ("mlp.units", [7]),
        ("mlp.activation", "relu"),
        ("separate", False),
        ("name", "actor_critic"),
    ],
)
def test_another_network_does_not_fit(key, value):
    spec = hyper_spec()
    with pytest.raises(UserError) as caught:
        checkpoint_of(spec).check_fits(replace(spec, network=changed(spec.network, key, value)))
    assert f"network.{key}=" in str(caught.value) and str(value) in str(caught.value)


@pytest.mark.parametrize("key", ["normalize_input", "normalize_value"])
def test_another_normalisation_does_not_fit(key):
    spec = base_spec()
    with pytest.raises(UserError, match=rf"random was trained with {key}="):
        checkpoint_of(spec).check_fits(replace(spec, **{key: not getattr(spec, key)}))


def test_another_observation_does_not_fit():
    with pytest.raises(UserError, match="random holds a 'base' policy; this run needs 'full'"):
        checkpoint_of(base_spec()).check_fits(base_spec(observation="full"))
