"""Held between thumb and finger, or by luck."""

import math

import numpy as np
import pytest
import torch

from resdex_tasks.hand import geometry
from resdex_tasks.hand.opposition import opposed
from resdex_tasks.hand.shadow_hand import FINGERS, JOINTS, PAD_DIRECTIONS
from resdex_tasks.utils.rotations import quat_rotate

IDENTITY, UP = (0.0, 0.0, 0.0, 1.0), torch.tensor([0.0, 0.0, 1.0])
THUMB = FINGERS.index("TH")


def pressing(**forces):
    """The answer for forces (N, in the frame of the fingertip) at fingers, whose frames are the world's, but for the
    thumb's, which is turned so that its pad looks along world +y."""
    tips, wrenches = torch.zeros(1, 5, 13), torch.zeros(1, 5, 6)
    tips[..., 3:7] = torch.tensor(IDENTITY)
    # half a right angle's sine and cosine: about z by -90 degrees, which takes -x to +y
    tips[0, THUMB, 3:7] = torch.tensor([0.0, 0.0, -math.sqrt(0.5), math.sqrt(0.5)])
    for name, force in forces.items():
        wrenches[0, FINGERS.index(name), :3] = torch.tensor(force)
    return bool(opposed(tips, wrenches))


def test_thumb_and_finger_that_press_from_opposite_sides_hold():
    # what is held lies at -y of the finger's pad and at +y of the thumb's: it pushes each back
    assert pressing(FF=(0.0, 2.0, 0.0), TH=(2.0, 0.0, 0.0))
    assert pressing(LF=(0.0, 0.2, 0.1), TH=(0.2, 0.0, 0.1))


@pytest.mark.parametrize(
    "forces",
    [
        {},
        {"TH": (2.0, 0.0, 0.0)},
        {"FF": (0.0, 2.0, 0.0), "MF": (0.0, -2.0, 0.0)},  # between two fingers
        {"FF": (0.0, 0.05, 0.0), "TH": (2.0, 0.0, 0.0)},  # a graze
        {"FF": (0.0, -2.0, 0.0), "TH": (-2.0, 0.0, 0.0)},  # the backs of both
        {"FF": (0.0, -2.0, 0.0), "TH": (2.0, 0.0, 0.0)},  # the finger's back
        {"FF": (2.0, 0.1, 0.0), "TH": (0.0, 2.0, 0.0)},  # the same side: both pushed along +x
    ],
)
def test_other_touches_do_not(forces):
    assert not pressing(**forces)


@pytest.mark.parametrize("finger", FINGERS)
def test_pads_look_where_the_fingertips_move_as_they_bend(finger):
    lower, upper = geometry.joint_ranges()[JOINTS.index(f"{finger}J0")]
    bent = np.zeros((2, len(JOINTS)), np.float32)
    bent[1, JOINTS.index(f"{finger}J0")] = 0.1 * (upper if abs(upper) > abs(lower) else lower)
    root = torch.tensor([[0.0, 0.0, 0.0, *IDENTITY]]).expand(2, 7)
    poses = geometry.BodyPoses(torch.device("cpu"))(root, torch.tensor(bent))
    straight, turned = poses[:, geometry.body_names().index(f"{finger.lower()}distal")]
    moved = quat_rotate(turned[3:], UP) - quat_rotate(straight[3:], UP)  # along the finger, its distal body's z
    pad = quat_rotate(straight[3:], torch.tensor(PAD_DIRECTIONS[FINGERS.index(finger)]))
    assert torch.nn.functional.cosine_similarity(moved, pad, dim=0) > 0.95
