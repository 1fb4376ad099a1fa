"""Settings of the Isaac Gym simulator; importable without the engine."""

from dataclasses import dataclass, field

from resdex_tasks.utils.config_reader import bounds


@dataclass(frozen=True)
class IsaacGymPhysicsConfig:
    """`cfg/physics/isaacgym.yaml`: PhysX, and the hand in it."""

    substeps: int = field(metadata=bounds(at_least=1, at_most=1000))
    """Physics steps per control step; the control step is 1/60 s."""
    position_iterations: int = field(metadata=bounds(at_least=1, at_most=255))
    velocity_iterations: int = field(metadata=bounds(at_least=0, at_most=255))
    contact_offset: float = field(metadata=bounds(above=0))
    """m: shapes nearer than this are checked for contact."""
    rest_offset: float = field(metadata=bounds(at_least=0))
    """m between shapes that rest on each other."""
    bounce_threshold_velocity: float = field(metadata=bounds(at_least=0))
    """m/s: slower contacts do not bounce."""
    max_depenetration_velocity: float = field(metadata=bounds(above=0))
    """m/s"""
    friction: float = field(metadata=bounds(at_least=0))
    """Of every shape."""
    finger_gain: float = field(metadata=bounds(above=0))
    """kp of the joints' position drives, Nm/rad."""
    joint_damping: float = field(metadata=bounds(at_least=0))
    joint_armature: float = field(metadata=bounds(at_least=0))
    joint_friction: float = field(metadata=bounds(at_least=0))
    tendon_stiffness: float = field(metadata=bounds(at_least=0))
    """Of the limits of the tendons that couple distal to middle joints."""
    tendon_damping: float = field(metadata=bounds(at_least=0))


@dataclass(frozen=True)
class IsaacGymSimConfig:
    """`cfg/sim/isaacgym.yaml`"""

    fingertip_wrenches: str = field(metadata=bounds(choices=("contact", "sensor")))
    """'contact': the normal contact force, no friction, no torque; 'sensor': the net force and torque on the body."""
    num_threads: int = field(metadata=bounds(at_least=0))
    """Of PhysX on the CPU; 0 takes what the engine takes."""
    contact_pairs: int = field(metadata=bounds(at_least=1))
    """Room for pairs in contact on the GPU, over all environments."""
    buffer_multiplier: float = field(metadata=bounds(above=0))
    """How much more than by default PhysX allocates on the GPU."""
    physics: IsaacGymPhysicsConfig
