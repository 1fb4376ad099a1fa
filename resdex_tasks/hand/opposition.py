"""Whether a hand holds something as a person's does: between the thumb and a finger."""

from torch import Tensor

from resdex_tasks.hand.shadow_hand import PAD_DIRECTIONS
from resdex_tasks.utils.rotations import quat_rotate
from resdex_tasks.utils.tensors import constant

TOUCH = 0.1
"""N: a contact force below it is a graze."""
BACK = 0.5
"""A contact is on a fingertip's back where so much of its force pushes out of the pad: within 60 degrees of it."""


def opposed(fingertips: Tensor, wrenches: Tensor) -> Tensor:
    """Whether the thumb and at least one finger press on what is between them: from opposite sides (their forces more
    than 90 degrees apart), and neither with the back of its tip.

    Args:
        fingertips, wrenches: (N, 5, 13) and (N, 5, 6), as `sims.base.SimState` has them.

    Returns:
        (N,) bool.
    """
    force = wrenches[..., :3]
    size = force.norm(dim=-1)
    on_back = (force * constant(PAD_DIRECTIONS, force.device)).sum(dim=-1) > BACK * size
    presses = (size > TOUCH) & ~on_back
    world = quat_rotate(fingertips[..., 3:7], force)
    against = (world[:, :4] * world[:, 4:]).sum(dim=-1) < 0
    return (presses[:, :4] & presses[:, 4:] & against).any(dim=1)
