"""`checkpoint=pretrained`: the shipped policy that fits."""

import pytest

from resdex_tasks.utils.errors import UserError
from runners.config import load_config

MACHINE = ("sim=mujoco", "scale=cpu", "checkpoint=pretrained")


def chosen(*overrides):
    config = load_config([*MACHINE, *overrides])
    assert config.notice.splitlines()[-1] == f"checkpoint=pretrained is {config.checkpoint.name}"
    return config.checkpoint.name


@pytest.mark.parametrize(
    "overrides, name",
    [
        ((), "base_box"),
        (("task=ResDexBase", "objects=starter", "objects.names=[box]"), "base_box"),
        (("task=ResDexBase", "objects=zoo", "objects.names=[jar-0070]"), "zoo_expert_jar-0070"),
        (("task=ResDexHyper",), "hyper_stage1"),
        (("task=ResDexHyperStage2", "objects=zoo", "objects.count=3"), "hyper_stage2"),
        (("task=ResDexVision",), "vision"),
        (("task=ResDexVision", "task.env.vision.source=camera"), "vision_camera"),
    ],
)
def test_the_policy_that_fits_is_taken_and_said(overrides, name):
    assert chosen(*overrides) == name


@pytest.mark.parametrize(
    "overrides",
    [
        ("objects.names=[mug]",),
        ("objects=zoo", "objects.names=[jar-0071]"),
        ("objects=zoo", "objects.names=[jar-0070]", "objects.seed=1"),
        ("objects=zoo",),
    ],
)
def test_where_none_fits_those_that_there_are_are_said(overrides):
    with pytest.raises(
        UserError, match=r"no shipped policy of task=ResDexBase .* base_box \(starter: box\);"
    ) as refusal:
        load_config([*MACHINE, "task=ResDexBase", *overrides])
    assert "zoo_expert_jar-0070 (zoo: jar-0070)" in str(refusal.value) and "\n" not in str(refusal.value)


def test_what_is_printed_and_kept_is_the_policys_own_name():
    config = load_config([*MACHINE, "task=ResDexVision"])
    assert config.overrides.get("checkpoint") == "vision" and config.command.checkpoint == "vision"
