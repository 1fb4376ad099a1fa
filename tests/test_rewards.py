"""Appendix A.1 term by term. Every expected number is worked out by hand from the paper (or, for the official preset,
from notes on its code), never by calling the code under test."""

import dataclasses
import math

import pytest
import torch
from helpers.configs import task_config

from resdex_tasks.rewards import (
    TERMS,
    Distances,
    bonus_reward,
    distances,
    grasp_flags,
    lift_reward,
    move_reward,
    pose_reward,
    proposal_reward,
    reach_reward,
    reward_terms,
)
from resdex_tasks.sims.base import SimState

PAPER = task_config("paper").reward
OFFICIAL = task_config("official").reward
GRASPING = {"palm": 0.1, "fingers": 0.5, "goal": 0.2, "joints": 4.0, "position": 0.2, "rotation": 0.5}
"""Distances at which every flag of both presets holds."""


def measured(**changes):
    """One environment's distances, those of `GRASPING` unless given."""
    return Distances(**{k: torch.tensor([float(v)]) for k, v in {**GRASPING, **changes}.items()})


def just_above(value):
    """The next float32 above `value`."""
    return torch.nextafter(torch.tensor(value), torch.tensor(math.inf)).item()


def lift(config, a_z=0.0, height=0.7, rest=0.635, **changes):
    return lift_reward(
        measured(**changes), torch.tensor([a_z]), torch.tensor([height]), torch.tensor([rest]), config
    ).item()


@pytest.mark.parametrize(
    "palm, fingers, flags",
    [
        (0.12, 0.6, 2),  # the thresholds themselves count
        (0.0, 0.0, 2),
        (just_above(0.12), 0.6, 1),
        (0.12, just_above(0.6), 1),
        (0.13, 0.61, 0),
    ],
)
def test_grasp_flags(palm, fingers, flags):
    assert grasp_flags(measured(palm=palm, fingers=fingers)).item() == flags


@pytest.mark.parametrize("joints, expected", [(0.0, 0.0), (2.5, -0.125), (6.0, -0.3), (20.0, -1.0)])
def test_pose_is_a_twentieth_of_the_joint_distance(joints, expected):
    assert pose_reward(measured(joints=joints), PAPER).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "palm, fingers, expected", [(0.0, 0.0, 0.0), (0.12, 0.6, -0.42), (0.2, 1.0, -0.7), (0.7, 4.0, -2.7)]
)
def test_reach_of_the_paper_is_uncapped(palm, fingers, expected):
    """-1.0 palm - 0.5 fingers."""
    assert reach_reward(measured(palm=palm, fingers=fingers), PAPER).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "palm, fingers, expected",
    [
        (0.2, 1.0, -0.7),  # below both caps: as in the paper
        (0.5, 3.0, -2.0),
        (0.7, 4.0, -2.0),  # both capped: 0.5 + 0.5 * 3.0
        (0.7, 1.0, -1.0),
        (0.2, 4.0, -1.7),
    ],
)
def test_reach_of_the_official_code_is_capped(palm, fingers, expected):
    assert reach_reward(measured(palm=palm, fingers=fingers), OFFICIAL).item() == pytest.approx(expected)


@pytest.mark.parametrize("a_z, expected", [(-1.0, 0.0), (0.0, 0.1), (0.5, 0.15), (1.0, 0.2)])
def test_lift_pays_for_upward_force_in_contact(a_z, expected):
    assert lift(PAPER, a_z) == pytest.approx(expected)
    assert lift(OFFICIAL, a_z) == pytest.approx(expected)


@pytest.mark.parametrize("config", [PAPER, OFFICIAL], ids=["paper", "official"])
@pytest.mark.parametrize("changes", [{"palm": 0.121}, {"fingers": 0.601}, {"palm": 0.2, "fingers": 1.0}])
@pytest.mark.parametrize("height", [0.7, 0.9])
def test_lift_pays_nothing_without_both_flags(config, changes, height):
    assert lift(config, 1.0, height, **changes) == 0.0


def test_lift_of_the_paper_knows_no_height():
    """A.1 gates the lift by contact alone: also on the table, also far above it."""
    assert lift(PAPER, 1.0, height=0.635) == pytest.approx(0.2)
    assert lift(PAPER, -1.0, height=0.9) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "height, expected",
    [
        (0.635, 0.0),
        (0.6379, 0.0),  # 2.9 mm above rest
        (0.6381, 0.05),  # 3.1 mm: 0.1 + 0.1 * -0.5
        (0.7999, 0.05),
        (0.8, 0.2),  # flat from here, whatever the force
        (0.9, 0.2),
    ],
)
def test_lift_of_the_official_code_needs_height_and_becomes_flat(height, expected):
    assert lift(OFFICIAL, -0.5, height) == pytest.approx(expected)


@pytest.mark.parametrize("goal, expected", [(0.0, 0.9), (0.05, 0.8), (0.2, 0.5), (0.45, 0.0), (0.6, -0.3)])
def test_move_falls_with_the_distance_to_the_goal(goal, expected):
    """0.9 - 2 d, which A.1 lets become negative."""
    assert move_reward(measured(goal=goal), PAPER).item() == pytest.approx(expected, abs=1e-6)
    assert move_reward(measured(goal=goal), OFFICIAL).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "changes, paid",
    [
        ({"palm": 0.12, "fingers": 0.6, "joints": 6.0}, True),
        ({"palm": just_above(0.12)}, False),
        ({"fingers": just_above(0.6)}, False),
        ({"joints": just_above(6.0)}, False),
        ({"position": 10.0, "rotation": 3.0}, True),  # the paper's three flags know no wrist pose
    ],
)
def test_move_of_the_paper_needs_its_three_flags(changes, paid):
    assert move_reward(measured(**changes), PAPER).item() == pytest.approx(0.5 if paid else 0.0)


@pytest.mark.parametrize(
    "changes, paid",
    [
        ({"palm": 0.12, "fingers": 0.6, "joints": 6.0, "position": 0.4, "rotation": 1.0}, True),
        ({"palm": just_above(0.12)}, False),
        ({"fingers": just_above(0.6)}, False),
        ({"joints": just_above(6.0)}, False),
        ({"position": just_above(0.4)}, False),
        ({"rotation": just_above(1.0)}, False),
    ],
)
def test_move_of_the_official_code_needs_its_five_flags(changes, paid):
    assert move_reward(measured(**changes), OFFICIAL).item() == pytest.approx(0.5 if paid else 0.0)


@pytest.mark.parametrize(
    "changes, paid", [({"joints": 20.0}, True), ({"palm": 0.121}, False), ({"fingers": 0.601}, False)]
)
def test_move_of_the_second_hyper_stage_needs_contact_alone(changes, paid):
    loosened = dataclasses.replace(PAPER, move_joint_gate=None)
    assert move_reward(measured(**changes), loosened).item() == pytest.approx(0.5 if paid else 0.0)


@pytest.mark.parametrize(
    "goal, expected", [(0.0, 1.0), (0.025, 0.8), (0.05, 2 / 3), (just_above(0.05), 0.0), (0.051, 0.0), (1.0, 0.0)]
)
def test_bonus_is_paid_within_five_centimetres(goal, expected):
    assert bonus_reward(measured(goal=goal)).item() == pytest.approx(expected)


def test_bonus_needs_no_contact():
    assert bonus_reward(measured(goal=0.025, palm=1.0, fingers=5.0, joints=20.0)).item() == pytest.approx(0.8)


@pytest.mark.parametrize("config", [PAPER, OFFICIAL], ids=["paper", "official"])
def test_proposal_is_weighted_as_in_unidexgrasp(config):
    """-0.5 * (0.6 * 0.2 + 0.04 * 0.5 + 0.1 * 4) = -0.5 * 0.54"""
    assert proposal_reward(measured(), config).item() == pytest.approx(-0.27)


def paid(config, a_z=0.5, height=0.7, **changes):
    terms = reward_terms(
        measured(**changes), torch.tensor([a_z]), torch.tensor([height]), torch.tensor([0.635]), config
    )
    return {name: value.item() for name, value in terms.items()}


def test_the_base_reward_of_the_paper():
    terms = paid(PAPER, goal=0.04)
    assert terms == pytest.approx(
        {"pose": -0.2, "reach": -0.1 - 0.25, "lift": 0.15, "move": 0.82, "bonus": 1 / 1.4}, abs=1e-6
    )
    assert sum(terms.values()) == pytest.approx(1.1342857, abs=1e-6)


def test_the_base_reward_of_the_official_code():
    terms = paid(OFFICIAL, goal=0.04)
    assert terms == pytest.approx(
        {"proposal": -0.27, "reach": -0.35, "lift": 0.15, "move": 0.82, "bonus": 1 / 1.4}, abs=1e-6
    )


def test_only_the_configured_terms_are_paid():
    """The second hyper stage keeps lift, move and bonus (A.1)."""
    loosened = dataclasses.replace(PAPER, terms=["lift", "move", "bonus"], move_joint_gate=None)
    assert paid(loosened, joints=9.0) == pytest.approx({"lift": 0.15, "move": 0.5, "bonus": 0.0}, abs=1e-6)
    for name in TERMS:
        assert list(paid(dataclasses.replace(PAPER, terms=[name]))) == [name]


def hand_placed(num_envs=1):
    """A scene whose distances can be read off: the object turned a quarter about z, hand and fingers around it."""
    quarter = 0.5**0.5
    object_position = torch.tensor([0.1, 0.2, 0.7])
    tips = torch.zeros(num_envs, 5, 13)
    tips[..., 6] = 1.0
    tips[..., :3] = object_position + torch.tensor(
        [[0.1, 0.0, 0.0], [-0.2, 0.0, 0.0], [0.0, 0.03, 0.0], [0.0, -0.04, 0.0], [0.0, 0.0, 0.05]]
    )
    palm_down = torch.tensor([quarter, 0.0, 0.0, quarter])  # z -> -y, y -> z
    # the object's quarter turn about z, then a sixth of a turn about the object's own x
    root_quat = torch.tensor([0.5 * quarter, 0.5 * quarter, 0.75**0.5 * quarter, 0.75**0.5 * quarter])
    return SimState(
        joint_pos=torch.full((num_envs, 22), 0.25),
        joint_vel=torch.zeros(num_envs, 22),
        palm_pose=torch.cat((object_position + torch.tensor([0.0, 0.03, 0.04]), palm_down)).expand(num_envs, 7),
        root_pose=torch.cat((object_position + torch.tensor([0.3, 0.0, 0.2]), root_quat)).expand(num_envs, 7),
        fingertips=tips,
        fingertip_wrenches=torch.zeros(num_envs, 5, 6),
        object=torch.cat((object_position, torch.tensor([0.0, 0.0, quarter, quarter]), torch.zeros(6))).expand(
            num_envs, 13
        ),
    )


def measure(config, num_envs=1):
    joints = torch.full((num_envs, 22), 0.25)
    joints[:, 0], joints[:, 21] = 1.25, -0.25
    return distances(
        hand_placed(num_envs),
        goal=torch.tensor([0.1, 0.0, 0.7]),
        target_joint_pos=joints,
        target_translation=torch.tensor([[0.05, -0.2, 0.25]]).expand(num_envs, 3),
        target_rotation=torch.tensor([[0.5, 0.0, 0.0, 0.75**0.5]]).expand(num_envs, 4),  # a sixth of a turn about x
        config=config,
    )


def test_distances_without_points_lie_between_the_bodies():
    d = measure(dataclasses.replace(PAPER, palm_point=[0.0, 0.0, 0.0], finger_point=[0.0, 0.0, 0.0]))
    assert d.palm.item() == pytest.approx(0.05, abs=1e-6)  # 3-4-5
    assert d.fingers.item() == pytest.approx(0.1 + 0.2 + 0.03 + 0.04 + 0.05, abs=1e-6)
    assert d.goal.item() == pytest.approx(0.2, abs=1e-6)
    assert d.joints.item() == pytest.approx(1.0 + 0.5, abs=1e-6)


@pytest.mark.parametrize("config", [PAPER, OFFICIAL], ids=["paper", "official"])
def test_distances_start_at_the_palms_middle_and_the_finger_pads(config):
    """Palm + 0.08 along its z (world -y here) - 0.02 along its y (world -z); fingertips + 0.02 along their z.

    The official code's points, and both presets': from the bodies' origins a hand on the object raises no palm flag.
    """
    d = measure(config)
    assert d.palm.item() == pytest.approx(math.hypot(0.03 - 0.08, 0.04 - 0.02), abs=1e-6)
    expected = math.hypot(0.1, 0.02) + math.hypot(0.2, 0.02) + math.hypot(0.03, 0.02) + math.hypot(0.04, 0.02) + 0.07
    assert d.fingers.item() == pytest.approx(expected, abs=1e-6)


def test_a_fingers_point_turns_with_the_finger():
    state = hand_placed()
    state.fingertips[:, 0, 3:7] = torch.tensor([0.0, 0.5**0.5, 0.0, 0.5**0.5])  # its z points along world x
    d = distances(
        state, torch.zeros(3), torch.zeros(1, 22), torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 0.0, 1.0]]), OFFICIAL
    )
    expected = 0.12 + math.hypot(0.2, 0.02) + math.hypot(0.03, 0.02) + math.hypot(0.04, 0.02) + 0.07
    assert d.fingers.item() == pytest.approx(expected, abs=1e-6)


def test_the_wrist_is_measured_in_the_objects_frame():
    """World (0.3, 0, 0.2) from an object turned a quarter is (0, -0.3, 0.2) in its frame; t = (0.05, -0.2, 0.25)."""
    d = measure(PAPER)
    assert d.position.item() == pytest.approx(0.05 + 0.1 + 0.05, abs=1e-6)
    assert d.rotation.item() == pytest.approx(0.0, abs=1e-3)


def test_the_wrists_rotation_is_measured_as_one_angle():
    state = hand_placed()
    identity = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    d = distances(state, torch.zeros(3), torch.zeros(1, 22), torch.zeros(1, 3), identity, PAPER)
    assert d.rotation.item() == pytest.approx(math.pi / 3, abs=1e-5)


def test_distances_are_measured_per_environment():
    d = measure(PAPER, num_envs=3)
    for field in dataclasses.fields(d):
        assert getattr(d, field.name).shape == (3,)
