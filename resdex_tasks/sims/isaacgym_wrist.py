"""The wrist law under PhysX, which damps every body by itself and explicitly.

At each substep of length h, a body of mass m loses the share h d of its velocity, and an external force F on it adds
(1 - h d) h F / m; contacts and joints act on what is left. The wrist law, m dv/dt = F - c v taken implicitly (as the
MuJoCo simulators take it), is

    v' = (m v + h (F + P)) / (m + h c),         P: contacts and joints.

Both are the same if the body weighs M = m + h c, is damped by d = c / M, and gets F / (1 - h d): for forces this holds
with the whole hand's mass, for torques with the palm's inertia. What is left are the fingers, which are damped, too.
"""

from typing import NamedTuple, Tuple

import torch
from torch import Tensor

from resdex_tasks.hand.description import PALM_INERTIA, PALM_MASS
from resdex_tasks.sims.base import WristLaw
from resdex_tasks.utils.rotations import quat_conjugate, quat_rotate


class BodyMasses(NamedTuple):
    """Of the hand's bodies, in the order of `hand.geometry.body_names`."""

    mass: Tensor
    """(23,) kg"""
    com: Tensor
    """(23, 3) m, centres of mass in the bodies' frames."""
    inertia: Tensor
    """(23, 3, 3) kg m^2, about the centre of mass, along the bodies' axes."""


class DampedWrist(NamedTuple):
    """What the hand is given so that PhysX's damping makes the wrist law of it."""

    law: WristLaw
    timestep: float
    """s, of a substep."""
    linear: float
    """1/s, of every body."""
    angular: float
    """1/s, of every body."""
    palm_mass: float
    """kg"""
    palm_inertia: float
    """kg m^2, about every axis."""

    @staticmethod
    def of(law: WristLaw, hand_mass: float, timestep: float) -> "DampedWrist":
        """
        Args:
            hand_mass: kg, of the whole hand in the simulators that follow the law by themselves.
            timestep: s, of a substep.
        """
        more, inertia = law.linear_damping * timestep, max(PALM_INERTIA) + law.angular_damping * timestep
        linear, angular = law.linear_damping / (hand_mass + more), law.angular_damping / inertia
        return DampedWrist(law, timestep, linear, angular, PALM_MASS + more, inertia)

    def wrench(self, force: Tensor, torque: Tensor, poses: Tensor, masses: BodyMasses) -> Tuple[Tensor, Tensor]:
        """Force and torque (N, 3) at the palm's centre of mass that move the whole hand, bent as it is now, as the law
        would: all that its bodies lose while it moves as one at the law's steady velocity, and the moments of that.

        Args:
            force, torque: (N, 3) the law's, world frame.
            poses: (N, 23, 7) of the bodies.
        """
        position, quat = poses.split((3, 4), dim=-1)
        centre = position + quat_rotate(quat, masses.com)
        arm = centre - centre[:, :1]
        turn = (torque / self.law.angular_damping)[:, None].expand_as(arm)
        speed = (force / self.law.linear_damping)[:, None] + torch.cross(turn, arm, dim=-1)
        lost = masses.mass[:, None] * self.linear * speed
        local = quat_rotate(quat_conjugate(quat), turn)
        spin = quat_rotate(quat, torch.einsum("bij,nbj->nbi", masses.inertia, local)) * self.angular
        moments = torch.cross(arm, lost, dim=-1) + spin
        return (
            lost.sum(dim=1) / (1 - self.linear * self.timestep),
            moments.sum(dim=1) / (1 - self.angular * self.timestep),
        )
