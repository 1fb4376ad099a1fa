"""What the base experts begin from."""

import pytest
from helpers.command_line import assert_one_sentence
from helpers.pipelines import pipeline

from runners.pipeline.settings import read_settings
from runners.policies.checkpoint import Checkpoint


@pytest.mark.slow
def test_experts_that_see_everything_begin_from_a_policy_that_does(tmp_path):
    """With real trainings: the box needs a shape code then."""
    seen = [f"{section}.task.env.observation=full" for section in ("start", "base")]
    outcome = pipeline(tmp_path, "method=base", "k=1", "max_iterations=1", *seen)
    assert outcome.status == 0, outcome.err
    assert Checkpoint.read(tmp_path / "made" / "start" / "nn" / "last.pth").spec.observation == "full"


@pytest.mark.parametrize(
    "settings, culprits",
    [
        (["base_start=nowhere.pth"], ["nowhere.pth"]),
        (["base_start=hyper_stage2"], ["hyper_stage2 holds a 'full' policy"]),
        (["base.task.env.observation=full"], ["task.env.observation is base for 'start' and full for 'base'"]),
        (["start.train.params.network.mlp.units=[4]"], ["units", "'start'"]),
        (["start.weights=base_box"], ["weights", "base_start"]),
    ],
)
def test_what_the_experts_cannot_begin_from_is_refused_before_anything_is_trained(tmp_path, settings, culprits):
    outcome = pipeline(tmp_path, *settings)
    assert_one_sentence(outcome, *culprits)
    assert not (tmp_path / "made" / "start").exists() and not list(tmp_path.rglob("expert_*"))


def test_a_start_with_other_objects_forgets_the_box():
    settings = read_settings(["start.objects=zoo", "start.objects.names=[mug-0001]", "objects.count=3"])
    assert settings.sections["start"]["objects.names"] == "[mug-0001]"
    assert "objects.names" not in read_settings(["start.objects=zoo"]).sections["start"]
    assert read_settings(["objects=starter"]).sections["start"]["objects.names"] == "[box]"
