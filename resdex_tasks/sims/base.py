"""What the task asks of a simulator, and nothing more.

World frame of each environment: z up, origin on the floor under the table's centre. SI units. Quaternions xyzw.
All tensors are float32 on `device` with the environment as first axis (N).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import List, Optional

import numpy as np
import torch
from torch import Tensor

from resdex_tasks.utils.config_reader import bounds
from resdex_tasks.utils.errors import UserError

TABLE_HEIGHT = 0.6
"""m, A.1: the table is 60 cm tall."""
OBJECT_DENSITY = 500.0
"""kg / m^3"""
SURFACE_TOLERANCE = 1e-3
"""m: a ray that ends this near to a point has reached it (`GraspSim.sees`)."""
CONTROL_HZ = 60
"""Actions per simulated second."""


@dataclass(frozen=True)
class WristLaw:
    """How the floating palm answers a wrist force F and torque T: viscous drag, the same law in every simulator.

    m dv/dt = F - linear_damping * v,   I dw/dt = T - angular_damping * w

    A constant force gives the steady speed F / linear_damping, reached with time constant m / linear_damping, m being
    the mass of the whole hand. The paper's stack reaches about 0.28 m/s at full action within a few milliseconds.
    """

    max_force: float = field(metadata=bounds(above=0))
    """N at full action, along each axis."""
    max_torque: float = field(metadata=bounds(above=0))
    """Nm at full action, about each axis."""
    linear_damping: float = field(metadata=bounds(above=0))
    """N s / m"""
    angular_damping: float = field(metadata=bounds(above=0))
    """Nm s / rad"""

    @property
    def max_speed(self) -> float:
        """Steady speed at full action along one axis, m/s."""
        return self.max_force / self.linear_damping

    @property
    def max_angular_speed(self) -> float:
        """Steady angular speed at full action about one axis, rad/s."""
        return self.max_torque / self.angular_damping


@dataclass
class SimState:
    """What the simulator measures after a step. The tensors may be reused by the next step: copy what must last."""

    joint_pos: Tensor
    """(N, 22) rad, in the order of `shadow_hand.JOINTS`."""
    joint_vel: Tensor
    """(N, 22) rad/s"""
    palm_pose: Tensor
    """(N, 7) position and quaternion of the palm body."""
    root_pose: Tensor
    """(N, 7) position and quaternion of the hand's root, the body that reset places and the wrist wrench acts on."""
    fingertips: Tensor
    """(N, 5, 13) distal bodies: position, quaternion, linear and angular velocity, in the world frame."""
    fingertip_wrenches: Tensor
    """(N, 5, 6) contact force (N) and torque (Nm, about the distal body's origin) on each distal body, in that
    body's own frame."""
    object: Tensor
    """(N, 13) the object's frame: position, quaternion, linear and angular velocity, in the world frame."""

    def finite(self) -> Tensor:
        """(N,) bool: environments without a NaN or infinity."""
        # a sum is not finite as soon as one of its terms is not
        sums = [getattr(self, f.name).flatten(1).sum(dim=1) for f in fields(self)]
        return torch.isfinite(torch.stack(sums).sum(dim=0))


@dataclass(frozen=True)
class Overflow:
    """A buffer of the engine that was too small: what did not fit was dropped."""

    name: str
    """What was dropped."""
    count: int
    """In how many control steps, in whichever environments, since the start."""
    remedy: str
    """What to change, as the end of a sentence."""

    def __str__(self) -> str:
        return f"the simulator dropped {self.name} in {self.count} control steps so far: {self.remedy}"


class GraspSim(ABC):
    """N environments, each with one hand, one table and one object of the object set."""

    num_envs: int
    device: torch.device
    wrist_law: WristLaw
    joint_limits: Tensor
    """(22, 2) lower and upper limit, rad."""
    object_index: Tensor
    """(N,) int64 on `device`: which object of the set stands in which environment."""
    diverged: Tensor
    """(N,) bool: environments whose physics broke down (NaN, explosion) in the last step; their state is the engine's
    own reset state, finite but meaningless, until `reset`."""

    @abstractmethod
    def step(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        """Advance 1 / CONTROL_HZ seconds.

        Args:
            joint_targets: (N, 18) position targets in the order of `shadow_hand.ACTUATED`, rad.
            wrist_force: (N, 3) on the root, world frame, N. The sim adds the drag of `wrist_law`.
            wrist_torque: (N, 3) on the root, world frame, Nm.
        """

    @abstractmethod
    def state(self) -> SimState:
        """The current state of all environments."""

    @abstractmethod
    def reset(self, env_ids: Tensor, root_pose: Tensor, joint_pos: Tensor, object_pose: Tensor) -> None:
        """Put n environments into a state at rest.

        Args:
            env_ids: (n,) int64.
            root_pose: (n, 7); joint_pos: (n, 22); object_pose: (n, 7).
        """

    @abstractmethod
    def put_objects(self, env_ids: Tensor, object_index: Tensor) -> None:
        """Stand other objects of the set in n environments, whose state is meaningless until the `reset` that follows.

        Args:
            env_ids: (n,) int64; object_index: (n,) int64.
        """

    def sees(self, eyes: Tensor, points: Tensor) -> Tensor:
        """Whether nothing lies between a camera and a point on the object's surface, by the engine's own rays.

        Args:
            eyes: (C, 3) of the cameras, points: (N, K, 3), both in the world frame, m.

        Returns:
            (N, C, K) bool.

        Raises:
            UserError: the engine has no rays.
        """
        raise UserError("this simulator casts no rays: task.env.vision.camera.occlusion=fast does without")

    @abstractmethod
    def get_state(self) -> dict:
        """Everything needed to continue, as a dict of tensors (for checkpoints): bit-exactly on a CPU. A GPU adds
        contact forces in any order, so that there two continuations differ by rounding."""

    @abstractmethod
    def set_state(self, state: dict) -> None:
        """Inverse of `get_state`."""

    @abstractmethod
    def render(
        self, env_id: int, width: int, height: int, closeup: bool = False, points: Optional[Tensor] = None
    ) -> np.ndarray:
        """(height, width, 3) uint8 image of one environment. Needs no screen.

        closeup: aim at hand and object, wherever they are, instead of the middle of the scene.
        points: (P, 3) m, world frame, drawn over the scene as dots.
        """

    def overflows(self) -> List[Overflow]:
        """The engine's buffers, also those that were never too small (count 0)."""
        return []
