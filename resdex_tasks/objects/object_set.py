"""Objects and object sets: the contract between object sources and everything that uses objects.

An object is a rigid body given as convex pieces in its own frame (metres), with its grasp proposals.
Quaternions are xyzw, as everywhere above the simulators.
"""

from collections import Counter
from dataclasses import dataclass, fields
from typing import Iterator, List, Optional, Sequence, Tuple, Union, overload

import numpy as np

from resdex_tasks.hand.shadow_hand import NUM_JOINTS
from resdex_tasks.utils.errors import UserError

SPLITS = ("train", "unseen_object", "unseen_category")
CODE_SIZE = 64
"""Length of an object's shape code (Sec. 4.1: features of a PointNet)."""


@dataclass(frozen=True)
class ConvexPiece:
    """One convex mesh of an object, in the object's frame."""

    vertices: np.ndarray
    """(V, 3) float64, metres. Their convex hull is the piece."""
    faces: np.ndarray
    """(F, 3) int, outward counter-clockwise triangles over `vertices`."""

    def __post_init__(self) -> None:
        for name, array in (("vertices", self.vertices), ("faces", self.faces)):
            if array.ndim != 2 or array.shape[1] != 3 or len(array) < 4:
                raise ValueError(f"a convex piece needs {name} of shape (N, 3), N >= 4; got {array.shape}")

    @property
    def volume(self) -> float:
        """m^3"""
        a, b, c = np.moveaxis(self.vertices[self.faces] - self.vertices.mean(axis=0), 1, 0)
        return float(np.sum(a * np.cross(b, c)) / 6)


@dataclass(frozen=True)
class GraspProposals:
    """P grasps g = (R, t, q) of one object (Sec. 3.1), each with the pose in which the object rests for it."""

    rotation: np.ndarray
    """(P, 4) quaternion of the hand root in the object's frame: R."""
    translation: np.ndarray
    """(P, 3) position of the hand root in the object's frame, metres: t."""
    joint_pos: np.ndarray
    """(P, 22) joint positions in the order of `shadow_hand.JOINTS`, rad: q."""
    rest_rotation: np.ndarray
    """(P, 4) quaternion that turns the object's frame so that it rests on the table, before the random yaw."""
    squeeze: np.ndarray = None  # type: ignore[assignment]
    """(P,) rad beyond q by which the joints that close the hand go on before they press: q itself is a hand that
    touches. Not given: zero."""

    def __len__(self) -> int:
        return len(self.joint_pos)

    def take(self, rows: np.ndarray) -> "GraspProposals":
        """Some of them: `rows` (K,) int or (P,) bool."""
        return GraspProposals(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @staticmethod
    def joined(parts: Sequence["GraspProposals"]) -> "GraspProposals":
        """The proposals of all parts, in this order."""
        names = [f.name for f in fields(GraspProposals)]
        return GraspProposals(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def __post_init__(self) -> None:
        if self.squeeze is None:
            object.__setattr__(self, "squeeze", np.zeros(len(self.joint_pos)))
        shapes = [a.shape for a in (self.rotation, self.translation, self.joint_pos, self.rest_rotation)]
        count = len(self.joint_pos)
        if count == 0 or shapes != [(count, 4), (count, 3), (count, NUM_JOINTS), (count, 4)]:
            raise ValueError(f"proposals need shapes (P, 4), (P, 3), (P, {NUM_JOINTS}), (P, 4), P >= 1; got {shapes}")
        if self.squeeze.shape != (count,):
            raise ValueError(f"proposals need a squeeze of shape ({count},); got {self.squeeze.shape}")
        if not all(np.isfinite(values).all() for values in (self.translation, self.joint_pos, self.squeeze)):
            raise ValueError("proposals need finite translations, joint positions and squeezes")
        for name, quat in (("rotation", self.rotation), ("rest_rotation", self.rest_rotation)):
            if not np.allclose(np.linalg.norm(quat, axis=1), 1.0, atol=1e-5):
                raise ValueError(f"proposals need unit quaternions; {name} has others")


@dataclass(frozen=True)
class GraspObject:
    """One object at one size."""

    name: str
    category: str
    split: str
    """One of `SPLITS`."""
    pieces: Tuple[ConvexPiece, ...]
    proposals: GraspProposals
    code: Optional[np.ndarray] = None
    """(64,) shape code, or None where no encoder has run."""
    solid_fraction: float = 1.0
    """Volume of the object as a fraction of the sum of its pieces' volumes, which is more where they overlap: the
    pieces weigh so much less."""

    def __post_init__(self) -> None:
        if not self.pieces:
            raise UserError(f"object '{self.name}' has no convex pieces")
        if self.split not in SPLITS:
            raise UserError(f"object '{self.name}' has split '{self.split}'; the splits are {', '.join(SPLITS)}")
        if self.code is not None and (self.code.shape != (CODE_SIZE,) or not np.isfinite(self.code).all()):
            raise UserError(f"object '{self.name}' has a code that is not {CODE_SIZE} finite numbers")
        if not 0 < self.solid_fraction < np.inf:
            raise UserError(f"object '{self.name}' has a volume that is not positive")
        for piece in self.pieces:
            if not np.isfinite(piece.vertices).all():
                raise UserError(f"object '{self.name}' has a vertex that is not a number")

    @property
    def vertices(self) -> np.ndarray:
        """(V, 3) the vertices of all pieces, in the object's frame, m."""
        return np.concatenate([piece.vertices for piece in self.pieces])


SOURCE_ENCODER = "source"
"""In place of an encoder's id, where codes, if there are any, came with the objects."""


class ObjectSet(Sequence[GraspObject]):
    """An ordered set of objects with unique names.

    Args:
        encoder: the id of what made their codes; SOURCE_ENCODER where these came with the objects.
    """

    def __init__(self, objects: Sequence[GraspObject], encoder: str = SOURCE_ENCODER) -> None:
        if not objects:
            raise UserError("the object set is empty")
        names = [o.name for o in objects]
        twice = sorted(n for n, times in Counter(names).items() if times > 1)
        if twice:
            raise UserError(f"the object set names an object twice: {', '.join(twice)}")
        self._objects: List[GraspObject] = list(objects)
        self.encoder = encoder

    def __len__(self) -> int:
        return len(self._objects)

    @overload
    def __getitem__(self, index: int) -> GraspObject: ...

    @overload
    def __getitem__(self, index: slice) -> "ObjectSet": ...

    def __getitem__(self, index: Union[int, slice]) -> Union[GraspObject, "ObjectSet"]:
        if isinstance(index, slice):
            return ObjectSet(self._objects[index], self.encoder)
        return self._objects[index]

    def __iter__(self) -> Iterator[GraspObject]:
        return iter(self._objects)

    @property
    def names(self) -> List[str]:
        return [o.name for o in self._objects]

    def select(self, names: Sequence[str]) -> "ObjectSet":
        """The named objects, in the order of `names`.

        Raises:
            UserError: one is missing.
        """
        by_name = {o.name: o for o in self._objects}
        for name in names:
            if name not in by_name:
                raise UserError(f"no object '{name}' in this set; it has {', '.join(self.names)}")
        return ObjectSet([by_name[n] for n in names], self.encoder)
