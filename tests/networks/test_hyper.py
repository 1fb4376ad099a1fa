"""The network of the hyper-policy: Eq. 4, its experts, its distribution."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks import networks
from resdex_tasks.networks.experts import ExpertsSpec, FrozenExperts
from resdex_tasks.networks.hyper import hyper_action_size, mixture_weights
from resdex_tasks.observations import SIZES
from resdex_tasks.utils.errors import UserError

NUM_BASE, NUM_FULL = SIZES["base"], SIZES["full"]


def spec_of(k=2, units=(8,), activation="elu", normalize_input=False):
    return ExpertsSpec(
        objects=tuple(f"object{i}" for i in range(k)),
        ids=tuple(f"id{i}" for i in range(k)),
        units=units,
        activation=activation,
        observation="base",
        normalize_input=normalize_input,
    )


def network_params(spec, **mixture):
    initializer = {"name": "orthogonal_initializer", "gain": 1.4142}
    space = {
        "mu_activation": "None",
        "sigma_activation": "None",
        "mu_init": {"name": "orthogonal_initializer", "gain": 0.01},
        "sigma_init": {"name": "const_initializer", "val": 0.0},
        "fixed_sigma": True,
    }
    return {
        "name": "resdex_hyper",
        "separate": True,
        "space": {"continuous": space},
        "mlp": {"units": [16], "activation": "elu", "d2rl": False, "initializer": initializer},
        "experts": spec.plain(),
        "mixture": {"normalization": "softmax", "residual": True, "weightStd": 0.5, "residualStd": 0.25, **mixture},
    }


def build(spec, **mixture):
    """An rl_games model over a hyper-network whose experts have random weights."""
    from rl_games.algos_torch.model_builder import ModelBuilder

    networks.register()
    params = {"model": {"name": "continuous_a2c_logstd"}, "network": network_params(spec, **mixture)}
    torch.manual_seed(0)
    model = (
        ModelBuilder()
        .load(params)
        .build(
            {
                "actions_num": hyper_action_size(params["network"]),
                "input_shape": (NUM_FULL,),
                "num_seqs": 1,
                "value_size": 1,
                "normalize_value": False,
                "normalize_input": False,
            }
        )
    )
    for buffer in model.a2c_network.experts.buffers():
        buffer.copy_(0.1 * torch.randn(buffer.shape))
    return model


def constant_experts(network, *actions):
    """Make expert i always act actions[i] (24,)."""
    experts = network.experts
    last = len(experts.spec.layers) - 1
    for buffer in experts.buffers():
        buffer.zero_()
    getattr(experts, f"bias_{last}").copy_(torch.stack(actions)[:, None])


# Eq. 4


def test_softmax_weights_by_hand():
    weights = mixture_weights(torch.tensor([[0.0, math.log(3.0)]]), "softmax")
    torch.testing.assert_close(weights, torch.tensor([[0.25, 0.75]]))


def test_l2_weights_by_hand():
    weights = mixture_weights(torch.tensor([[3.0, -4.0]]), "l2")
    torch.testing.assert_close(weights, torch.tensor([[0.6, -0.8]]))


def test_l2_weights_of_zero_stay_finite():
    assert torch.equal(mixture_weights(torch.zeros(1, 3), "l2"), torch.zeros(1, 3))


@pytest.mark.parametrize("normalization, expected", [("softmax", 0.25 * 0.4 - 0.75 * 0.8), ("l2", None)])
def test_the_composed_action_is_the_weighted_sum_plus_the_residual(normalization, expected):
    network = build(spec_of(), normalization=normalization).a2c_network
    constant_experts(network, torch.full((24,), 0.4), torch.full((24,), -0.8))
    weights = torch.tensor([0.0, math.log(3.0)] if normalization == "softmax" else [3.0, 4.0])
    residual = torch.linspace(-0.5, 0.5, 24)
    action, used = network.compose(torch.zeros(1, NUM_FULL), torch.cat((weights, residual))[None])
    if expected is None:
        expected = 0.6 * 0.4 - 0.8 * 0.8
        torch.testing.assert_close(used, torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(action[0], expected + residual)


def test_compose_does_not_clamp():
    network = build(spec_of()).a2c_network
    constant_experts(network, torch.ones(24), torch.ones(24))
    action, _ = network.compose(torch.zeros(1, NUM_FULL), torch.cat((torch.zeros(2), torch.full((24,), 2.0)))[None])
    torch.testing.assert_close(action, torch.full((1, 24), 3.0))


def test_a_mixture_without_residual_has_k_actions():
    model = build(spec_of(k=3), residual=False)
    assert model.a2c_network.mu.out_features == 3
    network = model.a2c_network
    constant_experts(network, *(torch.full((24,), value) for value in (0.3, 0.6, 0.9)))
    action, _ = network.compose(torch.zeros(1, NUM_FULL), torch.zeros(1, 3))
    torch.testing.assert_close(action, torch.full((1, 24), 0.6))


def test_one_expert_has_all_the_weight():
    network = build(spec_of(k=1)).a2c_network
    _, weights = network.compose(torch.randn(5, NUM_FULL), torch.randn(5, 25))
    torch.testing.assert_close(weights, torch.ones(5, 1))


@pytest.mark.parametrize("normalization", ["softmax", "l2"])
def test_training_begins_with_equal_weights_and_almost_no_residual(normalization):
    model = build(spec_of(k=4), normalization=normalization)
    obs = 0.1 * torch.randn(64, NUM_FULL)
    mu = model({"is_train": False, "prev_actions": None, "obs": obs, "rnn_states": None})["mus"].detach()
    weights = mixture_weights(mu[:, :4], normalization)
    each = 0.25 if normalization == "softmax" else 0.5
    torch.testing.assert_close(weights, torch.full((64, 4), each), atol=0.02, rtol=0.0)
    assert mu[:, 4:].abs().max() < 0.1


# The experts


@given(st.integers(1, 6), st.integers(1, 9), st.booleans(), st.sampled_from(["elu", "relu", "tanh", "swish"]))
@settings(max_examples=25)
def test_the_batched_experts_equal_one_after_the_other(k, n, normalize_input, activation):
    spec = spec_of(k, (7, 5), activation, normalize_input)
    experts = FrozenExperts(spec)
    generator = torch.Generator().manual_seed(k * 10 + n)
    for name, buffer in experts.named_buffers():
        values = 0.2 * torch.randn(buffer.shape, generator=generator)
        buffer.copy_(values.abs() + 0.1 if name == "var" else values)
    obs = torch.randn(n, NUM_FULL, generator=generator)
    act = {"elu": torch.nn.ELU(), "relu": torch.nn.ReLU(), "tanh": torch.nn.Tanh(), "swish": torch.nn.SiLU()}[
        activation
    ]
    for i, together in enumerate(experts(obs)):
        x = obs[:, :NUM_BASE]
        if normalize_input:
            x = ((x - experts.mean[i]) / (experts.var[i] + 1e-5).sqrt()).clamp(-5, 5)
        for layer in range(3):
            x = x @ getattr(experts, f"weight_{layer}")[i] + getattr(experts, f"bias_{layer}")[i]
            x = act(x) if layer < 2 else x
        torch.testing.assert_close(together, x.clamp(-1, 1), atol=1e-5, rtol=1e-3)


def test_experts_do_not_see_the_geometry():
    network = build(spec_of()).a2c_network
    obs = torch.randn(4, NUM_FULL)
    other = obs.clone()
    other[:, NUM_BASE:] = torch.randn(4, NUM_FULL - NUM_BASE)
    assert torch.equal(network.experts(obs), network.experts(other))


def test_experts_are_no_parameters_and_stay_out_of_the_gradient():
    model = build(spec_of())
    assert not [name for name, _ in model.named_parameters() if "experts" in name]
    assert [name for name in model.state_dict() if "experts.weight_0" in name]
    action, _ = model.a2c_network.compose(torch.randn(2, NUM_FULL), torch.randn(2, 26))
    assert not action.requires_grad


# The distribution


def test_log_probabilities_are_over_k_plus_24():
    model = build(spec_of(k=3), weightStd=0.5, residualStd=0.25)
    obs, hyper = torch.randn(4, NUM_FULL), torch.randn(4, 27)
    out = model({"is_train": True, "prev_actions": hyper, "obs": obs})
    mu = out["mus"]
    assert mu.shape == (4, 27)
    std = torch.tensor([0.5] * 3 + [0.25] * 24)
    by_hand = (0.5 * ((hyper - mu) / std) ** 2 + std.log() + 0.5 * math.log(2 * math.pi)).sum(dim=1)
    torch.testing.assert_close(out["prev_neglogp"], by_hand)


# What cannot be


def test_an_action_space_of_another_size_is_refused():
    params = network_params(spec_of())
    builder = networks.HyperBuilder()
    builder.load(params)
    with pytest.raises(ValueError, match="26 numbers, the action space 24"):
        builder.build("hyper", actions_num=24, input_shape=(NUM_FULL,))


@pytest.mark.parametrize(
    "mixture, culprit",
    [
        ({"normalization": "l1"}, "normalization"),
        ({"weightStd": 0.0}, "weightStd"),
        ({"residualStd": -1.0}, "residualStd"),
    ],
)
def test_a_wrong_setting_is_named(mixture, culprit):
    with pytest.raises(UserError, match=f"mixture.{culprit}"):
        build(spec_of(), **mixture)


def test_an_experts_entry_that_is_none_is_refused():
    with pytest.raises(UserError, match="does not describe experts"):
        ExpertsSpec.read({"objects": ["a"], "ids": ["b"]})
    with pytest.raises(UserError, match="do not fit together"):
        ExpertsSpec.read({**spec_of(2).plain(), "ids": ["one"]})
    with pytest.raises(UserError, match="do not fit together"):
        ExpertsSpec.read({**spec_of(2).plain(), "observation": "vision"})


@given(st.integers(1, 4), st.lists(st.integers(1, 9), max_size=3), st.sampled_from(sorted(SIZES)), st.booleans())
@settings(max_examples=25)
def test_plain_values_describe_the_same_experts(k, units, observation, normalize_input):
    spec = ExpertsSpec(("box",) * k, tuple("abcd"[:k]), tuple(units), "elu", observation, normalize_input)
    back = ExpertsSpec.read(spec.plain())
    assert back == spec and back.count == k and back.observation_size == SIZES[observation]
    assert [size for size, _ in back.layers] == [SIZES[observation], *units] and back.layers[-1][1] == 24
