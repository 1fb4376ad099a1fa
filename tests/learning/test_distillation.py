"""Distillation: several teachers, each for its objects, and a student whose critic learns, too."""

from dataclasses import replace

import pytest
import torch
from helpers.command_line import STUDENT, TINY, assert_one_sentence, call, train
from helpers.equality import PROGRESS, assert_equal
from helpers.policies import base_spec, checkpoint_of

from resdex_tasks.observations import BLOCKS
from runners.learning.distillation import returns
from runners.policies.checkpoint import Checkpoint
from runners.policies.policy import Policy
from runners.policies.teachers import load_teachers

trains = pytest.mark.slow
GENERALIST = (
    "task=ResDexGeneralist",
    "follow_up=false",
    "objects=starter",
    "objects.names=[box,mug]",
    "objects.codes=shipped",
    "teacher=[box.pth,mug.pth]",
    "train.params.config.buffer_steps=8",
    "train.params.config.updates=4",
)
ACTIONS = {"box": 0.5, "mug": -0.5}


def specialist(name):
    """It does one and the same, whatever it sees."""
    checkpoint = checkpoint_of(base_spec(observation="full"))
    weights = dict(checkpoint.weights)
    weights["a2c_network.mu.weight"] = torch.zeros_like(weights["a2c_network.mu.weight"])
    weights["a2c_network.mu.bias"] = torch.full_like(weights["a2c_network.mu.bias"], ACTIONS[name])
    return replace(checkpoint, weights=weights, objects=(name,), name=f"{name}.pth")


@pytest.fixture
def folder(tmp_path):
    """With a specialist for each object."""
    for name in ACTIONS:
        specialist(name).write(tmp_path / f"{name}.pth")
    return tmp_path


def last_of(run):
    return Checkpoint.read(run / "nn" / "last.pth")


# Returns


def test_returns_by_hand():
    """gamma = tau = 0.5: delta_1 = 3 + 2 - 2 = 3, delta_0 = 1 + 1 - 1 = 1, advantages 3 and 1 + 3 / 4."""
    values = [torch.tensor([[v], [v]]) for v in (1.0, 2.0, 4.0)]
    rewards = [torch.full((2, 1), r) for r in (1.0, 3.0)]
    done = [torch.tensor([[0.0], [1.0]]), torch.zeros(2, 1)]
    first, second = returns(rewards, done, values, 0.5, 0.5)
    assert first[:, 0].tolist() == [2.75, 1.0], "after an end there is nothing to come"
    assert second[:, 0].tolist() == [5.0, 5.0]


# Teachers


def test_each_teacher_is_asked_about_the_objects_that_it_met():
    teachers = load_teachers([specialist("box"), specialist("mug")], ["mug", "box"], "cpu")
    actions = teachers(torch.randn(4, 227), torch.tensor([0, 1, 1, 0]))
    assert actions[:, 0].tolist() == [-0.5, 0.5, 0.5, -0.5] and actions.shape == (4, 24)


def test_a_specialist_goes_before_the_generalist_that_met_all():
    generalist = replace(specialist("box"), objects=("box", "mug", "can"))
    teachers = load_teachers([generalist, specialist("mug")], ["mug", "box", "can"], "cpu")
    assert teachers(torch.randn(3, 227), torch.tensor([0, 1, 2]))[:, 0].tolist() == [-0.5, 0.5, 0.5]


def test_a_single_teacher_is_asked_about_everything():
    teachers = load_teachers([specialist("box")], ["mug", "box"], "cpu")
    assert teachers(torch.randn(2, 227), torch.tensor([0, 1])).unique().tolist() == [0.5]


@trains
@pytest.mark.parametrize(
    "overrides, culprits",
    [
        (("objects.names=[box,mug,can]",), ["none of the 2 teachers", "'can'"]),
        (("teacher=[box.pth,mug.pth,mug.pth]",), ["2 of the 3 teachers", "'mug'", "as many others"]),
        (("teacher=[box.pth,base_box]",), ["base_box sees 'base'", "box.pth 'full'"]),
        (("teacher=[]",), ["teacher names no checkpoint"]),
        (("weights=base_box",), ["base_box", "full"]),
    ],
)
def test_a_training_that_cannot_start_says_why(folder, overrides, culprits):
    assert_one_sentence(call(folder, *TINY, *GENERALIST, "experiment=run", *overrides), *culprits)
    assert not (folder / "runs").exists()


# The generalist


@trains
def test_the_generalist_equals_its_specialists_where_it_can(folder):
    """By the code alone it can tell the objects, and so what their specialists do."""
    run = train(
        folder, *GENERALIST, "max_iterations=30", "train.params.config.updates=32", "num_envs=8",
        "train.params.config.learning_rate=1e-2", "train.params.config.final_learning_rate=1e-3",
    )  # fmt: skip
    seen = last_of(run).training["own"]["buffer"]["columns"]
    codes, label = seen["obs"][:, BLOCKS["object_code"].slice], seen["label"]
    assert sorted(label.unique().tolist()) == [-0.5, 0.5]
    assert len(torch.cat((codes, label[:, :1]), dim=1).unique(dim=0)) == 2, "a specialist an object"
    action = Policy.load(run / "nn" / "last.pth")(seen["obs"]).action
    assert (action - label).abs().max() < 0.1


@trains
def test_it_starts_from_the_weights_that_it_is_given(folder):
    """With steps too small to be seen, it ends as it began; the statistics of what it sees go on."""
    run = train(folder, *GENERALIST, "experiment=first")
    first = last_of(run.parent / "first")
    small = ("train.params.config.learning_rate=1e-20", "train.params.config.final_learning_rate=1e-20")
    second = last_of(train(folder, *GENERALIST, "weights=runs/first/nn/last.pth", *small))
    assert second.made_by.iterations == 2
    for name, value in first.weights.items():
        assert torch.equal(second.weights[name], value) == ("mean_std" not in name), name


@trains
@pytest.mark.parametrize("coefficient, learns", [(0, False), (4, True)])
def test_the_critic_learns_beside_the_actor(folder, coefficient, learns):
    train(folder, *GENERALIST, "experiment=first", "max_iterations=1")
    first = Checkpoint.read(folder / "runs" / "first" / "nn" / "last.pth")
    weight = f"train.params.config.critic_coef={coefficient}"
    second = last_of(train(folder, *GENERALIST, "weights=runs/first/nn/last.pth", weight))
    changed = {name: not torch.equal(second.weights[name], value) for name, value in first.weights.items()}
    assert changed["a2c_network.mu.weight"]
    assert changed["a2c_network.value.weight"] == changed["a2c_network.critic_mlp.0.weight"] == learns
    assert not changed["a2c_network.sigma"]


@trains
def test_ppo_goes_on_from_a_generalist(folder):
    train(folder, *GENERALIST, "experiment=generalist")
    task = ("task=ResDexSpecialist", *GENERALIST[1:3], "objects.names=[mug]", "objects.codes=shipped")
    run = train(folder, *task, "weights=runs/generalist/nn/last.pth")
    assert last_of(run).objects == ("mug",) and last_of(run).made_by.steps == 32


@trains
def test_resumed_equals_uninterrupted(folder):
    final = "train.params.config.final_learning_rate=3e-4"  # as the first: else the rate knows how long it will be
    straight = last_of(train(folder, *GENERALIST, "max_iterations=4", final, "experiment=straight").parent / "straight")
    train(folder, *GENERALIST, "max_iterations=2", final)
    run = train(folder, *GENERALIST, "max_iterations=4", final, "checkpoint=runs/run/nn/last.pth")
    assert_equal(last_of(run).weights, straight.weights, "weights")
    for key in (*PROGRESS, "own"):
        assert_equal(last_of(run).training[key], straight.training[key], key)


# Policies that see

SEEING = (*STUDENT[1:], "objects.names=[box,mug]")


def seeing(*objects):
    """The arguments of a training of a policy that sees these objects."""
    kept = [setting for setting in STUDENT[1:] if "updates" not in setting and "steps" not in setting]
    return (*kept, "teacher=''", f"objects.names=[{','.join(objects)}]")


@pytest.fixture
def seen(folder):
    """With a generalist that sees, of one teacher, and a specialist by PPO from its weights, for the mug."""
    train(folder, "task=ResDexVisionGeneralist", *SEEING, "experiment=first")
    weights = "weights=runs/first/nn/last.pth"
    train(folder, "task=ResDexVisionSpecialist", *seeing("mug"), weights, "experiment=mug")
    return folder / "runs"


@trains
def test_what_sees_goes_on_by_ppo_and_explores_anew(seen):
    first, mug = last_of(seen / "first"), last_of(seen / "mug")
    assert first.spec == mug.spec and mug.objects == ("mug",) and not mug.made_by.teacher
    changed = {name for name, value in first.weights.items() if not torch.equal(mug.weights[name], value)}
    for layer in ("mu.weight", "value.weight", "encoder.point_layers.0.weight", "statistics.running_mean"):
        assert f"a2c_network.{layer}" in changed, layer
    assert first.weights["a2c_network.sigma"].unique().tolist() == [0.0], "imitation leaves it as it was"
    assert mug.weights["a2c_network.sigma"].exp() == pytest.approx(0.25, rel=0.05)


@trains
def test_what_sees_learns_from_what_sees(seen):
    """The specialist for its object, the generalist that it came from for the other; labels to the bit."""
    teachers = "teacher=[runs/first/nn/last.pth,runs/mug/nn/last.pth]"
    weights = "weights=runs/first/nn/last.pth"
    run = train(seen.parent, "task=ResDexVisionGeneralist", *SEEING, teachers, weights, "experiment=second")
    second = last_of(run.parent / "second")
    assert second.made_by.teacher["count"] == 2 and second.spec == last_of(seen / "first").spec
    columns = second.training["own"]["buffer"]["columns"]
    assert set(columns) == {"obs", "label"}, "where the object is, it neither learns nor knows"
    said = torch.stack([Policy.load(seen / of / "nn" / "last.pth")(columns["obs"]).action for of in ("first", "mug")])
    errors = (said - columns["label"]).abs().amax(dim=2)
    assert (errors < 1e-6).any(dim=0).all()
    assert all((own < 1e-6).any() for own in errors), "each is asked"


@trains
def test_who_sees_no_more_cannot_say_where_the_object_is(seen):
    position = "train.params.network.cloud.objectPosition=true"
    outcome = call(seen.parent, *TINY, "task=ResDexVision", *SEEING, "teacher=runs/first/nn/last.pth", position)
    assert_one_sentence(outcome, "runs/first/nn/last.pth", "objectPosition=false")
