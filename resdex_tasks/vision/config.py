"""Settings of what a vision policy sees: `task.env.vision`."""

from dataclasses import dataclass, field
from typing import List

from resdex_tasks.utils.config_reader import bounds
from resdex_tasks.utils.errors import UserError

SOURCES = ("mesh", "camera")
"""Where the points of a cloud come from: all over the object, or only what cameras see of it."""


@dataclass(frozen=True)
class CameraConfig:
    """`task.env.vision.camera`: what depth cameras see of the object, and how well."""

    eyes: List[List[float]] = field(metadata=bounds(filled=True))
    """m, where the cameras are, from the middle of the table's top; they see all of the object's surface that nothing
    hides. UniDexGrasp's five: one above, four at the sides."""
    occlusion: str = field(metadata=bounds(choices=("fast", "rays")))
    """What hides a point: 'fast', the object by a table of directions, the hand as boxes and spheres; 'rays', the
    simulator's own geometry, exactly, at several times the cost of a step."""
    noise: float = field(metadata=bounds(at_least=0))
    """m, standard deviation along each axis, anew for every point and step."""
    dropout: float = field(metadata=bounds(at_least=0, at_most=1))
    """Chance that a point which could be seen is missed, anew for every point and step."""
    lost: str = field(metadata=bounds(choices=("hold", "zero")))
    """What is seen where no camera sees a point: 'hold', the last cloud; 'zero', the middle of the table's top."""


@dataclass(frozen=True)
class VisionConfig:
    """`task.env.vision`: what the observation group `cloud` is made of."""

    source: str = field(metadata=bounds(choices=SOURCES))
    """'mesh': points all over the object; 'camera': of these, what `camera` sees."""
    num_points: int = field(metadata=bounds(at_least=1))
    """P, points of the cloud: 512 in the paper."""
    pool_points: int = field(metadata=bounds(at_least=1))
    """Points that are kept of every object; every episode sees `num_points` of them, drawn at its start."""
    surface: str = field(metadata=bounds(choices=("outer", "pieces")))
    """'outer': the surface of the object; 'pieces': that of every convex piece, faces inside included, as in the
    official code."""
    frame: str = field(metadata=bounds(choices=("yaw", "world")))
    """'yaw': the yaw-aligned frame of the proprioception; 'world': as in the official code, where how the hand is
    turned to the cloud is not to be seen."""
    camera: CameraConfig

    def check(self) -> None:
        """What no single value's bounds say.

        Raises:
            UserError: values do not go together.
        """
        if self.num_points > self.pool_points:
            raise UserError(
                f"task.env.vision.numPoints is {self.num_points}, more than the "
                f"task.env.vision.poolPoints={self.pool_points} that every object has"
            )
        if self.source == "camera" and self.surface != "outer":
            raise UserError("task.env.vision.surface=pieces has points that no camera sees; source=camera needs outer")
        for eye in self.camera.eyes:
            if len(eye) != 3:
                raise UserError(f"task.env.vision.camera.eyes has {eye}; a camera's place is three numbers")
            if eye[2] <= 0:
                raise UserError(f"task.env.vision.camera.eyes has {eye}, which is not above the table's top")
