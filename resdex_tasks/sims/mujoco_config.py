"""Settings of the two MuJoCo simulators; importable without either engine."""

from dataclasses import dataclass, field
from typing import List, Optional

from resdex_tasks.utils.config_reader import bounds

MAX_BUFFER = 10_000
"""Contacts or constraints of one environment: far above what a scene needs, and still no typing slip."""


@dataclass(frozen=True)
class PhysicsConfig:
    """`cfg/physics/mujoco.yaml`: the physics that the two MuJoCo simulators share."""

    substeps: int = field(metadata=bounds(at_least=1, at_most=1000))
    """Physics steps per control step; the control step is 1/60 s."""
    iterations: int = field(metadata=bounds(at_least=1, at_most=1000))
    ls_iterations: int = field(metadata=bounds(at_least=1, at_most=1000))
    jacobian: str = field(metadata=bounds(choices=("sparse", "dense", "auto")))
    """How the engine stores the constraints' Jacobian."""
    cone: str = field(metadata=bounds(choices=("elliptic", "pyramidal")))
    """Friction cone. Pyramidal cones let objects slide out of the grip."""
    impratio: float = field(metadata=bounds(above=0))
    condim: int = field(metadata=bounds(at_least=3, at_most=4))
    """3 (sliding friction) or 4 (also torsional friction) for everything the hand or the table touches."""
    friction: List[float] = field(metadata=bounds(length=3, at_least=0))
    """Sliding, torsional and rolling friction."""
    finger_gain: float = field(metadata=bounds(above=0))
    """kp of the joints' position servos, Nm/rad."""
    joint_damping: float = field(metadata=bounds(at_least=0))
    joint_armature: float = field(metadata=bounds(at_least=0))
    joint_frictionloss: float = field(metadata=bounds(at_least=0))


@dataclass(frozen=True)
class MujocoSimConfig:
    """`cfg/sim/mujoco.yaml`"""

    num_threads: int = field(metadata=bounds(at_least=0))
    """Of the simulator; 0 takes every core."""
    physics: PhysicsConfig


@dataclass(frozen=True)
class MujocoWarpSimConfig:
    """`cfg/sim/mujoco_warp.yaml`"""

    contacts_per_env: Optional[int] = field(metadata=bounds(at_least=1, at_most=MAX_BUFFER))
    """Room for contacts, on average over the environments; null takes it from the scene."""
    constraints_per_env: Optional[int] = field(metadata=bounds(at_least=1, at_most=MAX_BUFFER))
    """Rows that one environment's solver has room for; null takes them from the scene."""
    physics: PhysicsConfig
