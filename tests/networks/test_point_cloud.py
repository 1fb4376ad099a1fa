"""The vision policy's network: a simplified PointNet, and what its trunk sees beside the code."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.policies import (
    checkpoint_of,
    cloud_settings,
    clouds,
    encoded_by_hand,
    seen_by_student,
    student_by_hand,
    student_spec,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.networks.point_cloud import PointCloudConfig, PointCloudEncoder
from resdex_tasks.observations import SIZES
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.utils.errors import UserError
from runners.policies.policy import Policy, build_model

NUM_PROPRIOCEPTION = SIZES["proprioception"]
UNITS = st.lists(st.integers(1, 9), min_size=1, max_size=3)


def network_of(checkpoint):
    """The network with a checkpoint's weights, as it is while it plays."""
    return Policy.load(checkpoint).model.a2c_network


def fresh_encoder(**changes):
    return PointCloudEncoder(read_config(PointCloudConfig, cloud_settings(**changes), "cloud"))


def assert_close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


# The encoder


@given(
    UNITS, UNITS, st.sampled_from(["max_mean", "max"]), st.floats(0.1, 20), st.integers(1, 4), st.integers(1, 9),
    st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40)
def test_the_encoder_is_the_simplified_pointnet(point_units, code_units, pooling, scale, count, num_points, seed):
    spec = student_spec(pointUnits=point_units, codeUnits=code_units, pooling=pooling, pointScale=scale)
    checkpoint, points = checkpoint_of(spec, seed), clouds(count, num_points, seed)
    code, centroid = network_of(checkpoint).encoder(points)
    assert code.shape == (count, code_units[-1])
    expected, expected_centroid = encoded_by_hand(checkpoint, points)
    assert_close(code, expected)
    assert_close(centroid, expected_centroid)


def test_pooling_is_told_apart():
    """The random weights above are such that what is pooled shows in the code."""
    points, codes = clouds(8), []
    for pooling in ("max_mean", "max"):
        checkpoint = checkpoint_of(student_spec(pooling=pooling))
        codes.append(network_of(checkpoint).encoder(points)[0])
    assert (codes[0] - codes[1]).abs().max() > 1e-2


@given(st.permutations(range(16)), st.sampled_from(["max_mean", "max"]))
@settings(max_examples=20)
def test_the_order_of_the_points_does_not_matter(order, pooling):
    encoder, points = network_of(checkpoint_of(student_spec(pooling=pooling))).encoder, clouds()
    torch.testing.assert_close(encoder(points[:, order])[0], encoder(points)[0], atol=1e-5, rtol=0)


@given(st.integers(1, 64), st.integers(2, 4))
@settings(max_examples=20)
def test_points_that_are_there_several_times_change_nothing(num_points, times):
    """A cloud may have any number of points, whatever number the policy was trained with."""
    encoder, points = network_of(checkpoint_of(student_spec(num_points=5))).encoder, clouds(3, num_points)
    torch.testing.assert_close(encoder(points.repeat(1, times, 1))[0], encoder(points)[0], atol=1e-5, rtol=1e-5)


def test_every_point_counts():
    encoder, points = network_of(checkpoint_of(student_spec())).encoder, clouds(1)
    for i in range(points.shape[1]):
        moved = points.clone()
        moved[:, i] += 0.05
        assert (encoder(moved)[0] - encoder(points)[0]).abs().max() > 1e-5, i


def test_training_begins_as_with_one_layer_of_six_inputs():
    """Xavier's range for the first layer is that of six inputs, although it is kept in two parts of three."""
    torch.manual_seed(0)
    encoder = fresh_encoder(pointUnits=[64, 32])
    for part in (encoder.offset_layer, encoder.centroid_layer):
        assert 0.9 * math.sqrt(6 / (6 + 64)) < part.weight.abs().max() <= math.sqrt(6 / (6 + 64))
    layers = [encoder.offset_layer, *encoder.point_layers, *encoder.code_layers]
    assert not any(layer.bias.any() for layer in layers)


# The trunk


@given(st.booleans(), st.sampled_from(["max_mean", "max"]), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=20)
def test_a_student_plays_its_network(centroid, pooling, count, num_points, seed):
    checkpoint = checkpoint_of(student_spec(num_points, centroid=centroid, pooling=pooling), seed)
    obs = seen_by_student(count, num_points, seed)
    assert_close(Policy.load(checkpoint)(obs).action, student_by_hand(checkpoint, obs).clamp(-1, 1))


@pytest.mark.parametrize("centroid, size", [(True, NUM_PROPRIOCEPTION + 3), (False, NUM_PROPRIOCEPTION)])
def test_statistics_are_those_of_what_stands_beside_the_code(centroid, size):
    model = build_model(student_spec(centroid=centroid)).train()
    network, obs = model.a2c_network, seen_by_student(64)
    network.act(obs)
    beside = obs[:, :NUM_PROPRIOCEPTION]
    if centroid:
        beside = torch.cat((beside, obs[:, NUM_PROPRIOCEPTION:].reshape(64, -1, 3).mean(dim=1)), dim=1)
    assert network.statistics.running_mean.shape == (size,)
    # they begin with one sample of mean 0 and variance 1
    torch.testing.assert_close(network.statistics.running_mean.float(), beside.sum(dim=0) / 65, atol=1e-5, rtol=1e-4)
    assert network.actor_mlp[0].in_features == size + 5


def test_statistics_do_not_move_while_a_policy_plays():
    policy = Policy.load(checkpoint_of(student_spec()))
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    first, again = (policy(seen_by_student()).action for _ in range(2))
    assert torch.equal(first, again)
    assert all(torch.equal(before[name], value) for name, value in policy.model.state_dict().items())


def test_the_code_is_learned():
    """The gradient of an action reaches every weight of the encoder."""
    network = network_of(checkpoint_of(student_spec()))
    network.act(seen_by_student(64))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.encoder.parameters())
    assert not any(p.requires_grad for p in network.statistics.buffers())


# Where the object is


def test_the_objects_position_is_told_from_the_centroid_on():
    checkpoint = checkpoint_of(student_spec(objectPosition=True))
    obs = seen_by_student()
    action, position = network_of(checkpoint).act(obs)
    code, centroid = encoded_by_hand(checkpoint, obs[:, NUM_PROPRIOCEPTION:].reshape(len(obs), -1, 3))
    layer = {part: checkpoint.weights[f"a2c_network.position_layer.{part}"] for part in ("weight", "bias")}
    assert_close(position, centroid + code @ layer["weight"].T + layer["bias"])
    assert_close(action, student_by_hand(checkpoint, obs))


def test_without_that_head_there_is_no_position():
    checkpoint = checkpoint_of(student_spec())
    assert network_of(checkpoint).act(seen_by_student())[1] is None
    assert not [name for name in checkpoint.weights if "position_layer" in name]


# What cannot be


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("pooling", "mean", "'mean'; it must be max_mean or max"),
        ("pointUnits", [], "must be a non-empty list of integers of at least 1"),
        ("pointUnits", [8, 0], "must be a non-empty list of integers of at least 1"),
        ("codeUnits", [2.5], "must be a non-empty list of integers of at least 1"),
        ("pointScale", 0.0, "must be a positive number"),
        ("centroid", 1, "must be true or false"),
        ("objectPosition", None, "must be true or false"),
    ],
)
def test_a_wrong_setting_is_named(key, value, words):
    with pytest.raises(UserError, match=rf"train\.params\.network\.cloud\.{key} is .*{words}") as caught:
        build_model(student_spec(**{key: value}))
    assert "\n" not in str(caught.value)


def test_a_key_too_many_or_too_few_is_named():
    with pytest.raises(UserError, match=r"unknown key train\.params\.network\.cloud\.units"):
        build_model(student_spec(units=[3]))
    spec = student_spec()
    cloud = {key: value for key, value in spec.network["cloud"].items() if key != "pooling"}
    with pytest.raises(UserError, match=r"missing key train\.params\.network\.cloud\.pooling"):
        build_model(replace(spec, network={**spec.network, "cloud": cloud}))
