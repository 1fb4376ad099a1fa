"""The file of grasp proposals: DexGraspNet's names and conventions, for a set of objects in one archive.

- `qpos` (G, 28): one row for each grasp, its columns named by `columns`: joint positions `robot0:<joint>` (rad),
  `WRJTx/y/z` the hand's root in the object's frame (m) and `WRJRx/y/z` its Euler angles about the object's fixed x, y
  and z axes, in this order (rad).
- `scale` (G,): metres per unit of the object's mesh, always 1 here.
- `plane` (G, 4): the table in the object's frame, Ax + By + Cz + D being the height above it.
- `object` (G,): which of `names` (O,) a grasp belongs to; an object's best grasp comes first.
- `squeeze` (G,): rad beyond its joint positions by which the fingers of a grasp go on before they press.
- `rolled` (G,): whether the object rolled into another pose in the hand as the fingers closed.
- `fingerprint` (O, 10): measures that tell an object's shape. `tried` (O,): how many candidates were tried.
- `made_by`: settings, simulator and versions, as JSON.

It holds no pickle.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.shadow_hand import NUM_JOINTS
from resdex_tasks.objects.dexgraspnet.files import JOINT_KEYS, ROTATION_KEYS, TRANSLATION_KEYS
from resdex_tasks.objects.geometry.convex import mass_centre
from resdex_tasks.objects.geometry.stable_poses import rest_heights, rotation_to_up
from resdex_tasks.objects.object_set import GraspObject, GraspProposals, ObjectSet
from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.files import read_arrays, write_arrays
from resdex_tasks.utils.paths import CHECKPOINT_DIR, SHIPPED

COLUMNS = (*JOINT_KEYS, *TRANSLATION_KEYS, *ROTATION_KEYS)
VERSION, BEFORE_SQUEEZE = 3, 2
"""Files of the second hold no `squeeze`: it is in their q."""
SHIPPED_PROPOSALS = CHECKPOINT_DIR / "zoo_proposals.npz"
"""For a part of the zoo of seed 0."""
SAME_SHAPE = 1e-4
"""m by which the measures of one shape may differ between machines."""
UNIT = 1e-3
"""By how much the length of a plane's normal may differ from 1."""


@dataclass(frozen=True)
class ObjectProposals:
    """The proposals found for one object."""

    name: str
    fingerprint: np.ndarray
    """(10,) see the function `fingerprint`."""
    tried: int
    """Candidates that were tried."""
    proposals: Optional[GraspProposals]
    """The best first; None: none held."""
    rest_height: np.ndarray
    """(P,) m, of the object's frame above the table for each proposal."""
    rolled: np.ndarray
    """(P,) bool, whether the object rolled as the fingers closed: the hand is then elsewhere about it than (R, t)."""

    @property
    def count(self) -> int:
        """P"""
        return 0 if self.proposals is None else len(self.proposals)

    def fits(self, obj: GraspObject) -> bool:
        """Whether the object has the shape that the proposals were found for."""
        return np.allclose(self.fingerprint, fingerprint(obj), rtol=0.0, atol=SAME_SHAPE)

    def check(self, obj: GraspObject, path: Path) -> None:
        """Check that the proposals, which are from the file `path`, fit the object.

        Raises:
            UserError: it has another shape.
        """
        if not self.fits(obj):
            raise UserError(f"{path} has proposals for an object '{obj.name}' of another shape")

    def joined(self, other: "ObjectProposals", wanted: int) -> "ObjectProposals":
        """The results of two searches for one object: at most `wanted`, those in which it did not roll first."""
        tried = self.tried + other.tried
        if self.proposals is None or other.proposals is None:
            return replace(self if other.proposals is None else other, tried=tried)
        rolled = np.concatenate([self.rolled, other.rolled])
        rows = np.argsort(rolled, kind="stable")[:wanted]
        height = np.concatenate([self.rest_height, other.rest_height])
        proposals = GraspProposals.joined([self.proposals, other.proposals])
        return ObjectProposals(self.name, self.fingerprint, tried, proposals.take(rows), height[rows], rolled[rows])


def proposals_for(
    obj: GraspObject, tried: int, proposals: Optional[GraspProposals], rolled: Optional[np.ndarray] = None
) -> ObjectProposals:
    """The record of an object after a search.

    Args:
        tried: how many candidates were tried.
        proposals: those that are kept; None: none held.
        rolled: (P,) bool, in which of them the object rolled; None: in none.
    """
    height = np.zeros(0) if proposals is None else rest_heights(obj.vertices, proposals.rest_rotation)
    rolled = np.zeros(len(height), dtype=bool) if rolled is None else rolled
    return ObjectProposals(obj.name, fingerprint(obj), tried, proposals, height, rolled)


def fingerprint(obj: GraspObject) -> np.ndarray:
    """(10,) measures that tell a shape: corners of the bounding box, centre of mass (m), number of pieces."""
    vertices = obj.vertices
    parts = (vertices.min(axis=0), vertices.max(axis=0), mass_centre(obj.pieces), [float(len(obj.pieces))])
    return np.concatenate(parts).astype(np.float32)


def write_proposals(path: Path, found: Sequence[ObjectProposals], made_by: Mapping[str, Any]) -> None:
    """Write the file, completely or not at all.

    Args:
        made_by: what made the proposals, as plain data.

    Raises:
        UserError: it cannot be written.
    """
    some = [(i, f.proposals) for i, f in enumerate(found) if f.proposals is not None]
    qpos = [_rows(p) for _, p in some]
    owner = [np.full(len(p), i) for i, p in some]
    count = sum(map(len, qpos))
    arrays = {
        "version": np.array(VERSION),
        "columns": np.array(COLUMNS),
        "qpos": np.concatenate([np.zeros((0, len(COLUMNS))), *qpos]).astype(np.float32),
        "scale": np.ones(count, np.float32),
        "plane": np.concatenate([np.zeros((0, 4)), *(_planes(found[i], p) for i, p in some)]).astype(np.float32),
        "squeeze": np.concatenate([np.zeros(0), *(p.squeeze for _, p in some)]).astype(np.float32),
        "object": np.concatenate([np.zeros(0), *owner]).astype(np.int32),
        "rolled": np.concatenate([np.zeros(0, bool), *(found[i].rolled for i, _ in some)]),
        "names": np.array([f.name for f in found]),
        "fingerprint": np.array([f.fingerprint for f in found], np.float32),
        "tried": np.array([f.tried for f in found], np.int32),
        "made_by": np.array(json.dumps(made_by, sort_keys=True)),
    }
    write_arrays(path, arrays, compressed=True)


def read_proposals(path: Union[str, Path]) -> Tuple[Dict[str, ObjectProposals], Dict[str, Any]]:
    """The proposals of each object by its name, and what made them.

    Raises:
        UserError: the file is missing, is broken, or is of another version.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    arrays = read_arrays(path, "a file of grasp proposals")
    try:
        made_by = dict(json.loads(str(arrays["made_by"])))
        version, names = int(arrays["version"]), [str(name) for name in arrays["names"]]
        if version not in (VERSION, BEFORE_SQUEEZE):
            raise UserError(
                f"{path} has version {version} of the file of grasp proposals; this reads version {VERSION}"
            )
        qpos, plane, fingerprints = (arrays[k].astype(np.float64) for k in ("qpos", "plane", "fingerprint"))
        owner, tried = (arrays[k].astype(np.int64) for k in ("object", "tried"))
        rolled = arrays["rolled"].astype(bool)
        squeeze = np.zeros(len(owner)) if version == BEFORE_SQUEEZE else arrays["squeeze"].astype(np.float64)
        order = [[str(c) for c in arrays["columns"]].index(c) for c in COLUMNS]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not readable as a file of grasp proposals: {one_line(error)}") from error
    count, objects = qpos.size // len(COLUMNS), len(names)
    shapes = (qpos.shape, plane.shape, owner.shape, rolled.shape, squeeze.shape, fingerprints.shape, tried.shape)
    if shapes != ((count, len(COLUMNS)), (count, 4), *3 * ((count,),), (objects, 10), (objects,)):
        raise UserError(f"{path} is not readable as a file of grasp proposals: its arrays do not fit together")
    if len(set(names)) < objects or not np.isin(owner, np.arange(objects)).all():
        raise UserError(f"{path} has two objects of one name, or a grasp of none")
    if not all(np.isfinite(values).all() for values in (qpos, plane, squeeze)):
        raise UserError(f"{path} has a grasp with a value that is not a finite number")
    if not np.allclose(np.linalg.norm(plane[:, :3], axis=1), 1.0, atol=UNIT):
        raise UserError(f"{path} has a grasp whose plane has no unit normal")
    found = {}
    for i, name in enumerate(names):
        rows = np.flatnonzero(owner == i)
        proposals = _proposals(qpos[rows][:, order], plane[rows], squeeze[rows]) if len(rows) else None
        found[name] = ObjectProposals(name, fingerprints[i], int(tried[i]), proposals, plane[rows, 3], rolled[rows])
    return found, made_by


def with_proposals(objects: ObjectSet, name: Union[str, Path]) -> ObjectSet:
    """The objects with the proposals of a file; those for which it has none keep their own, and their number is
    printed.

    Args:
        name: the file, or 'shipped': `SHIPPED_PROPOSALS`, of which objects of another shape (as those of a zoo of
            another seed are) take none.

    Raises:
        UserError: the file is unreadable, or made for another shape of one of the objects.
    """
    shipped = name == SHIPPED
    path = SHIPPED_PROPOSALS if shipped else Path(name)
    found, _ = read_proposals(path)
    changed, without = [], 0
    for obj in objects:
        own = found.get(obj.name)
        if own is None or own.proposals is None or (shipped and not own.fits(obj)):
            without += 1
            changed.append(obj)
            continue
        own.check(obj, path)
        changed.append(replace(obj, proposals=own.proposals))
    if without:
        file = "the shipped file" if shipped else path
        print(f"{without} of {len(objects)} objects keep their own proposals: {file} has none for them")
    return ObjectSet(changed)


def grasp_dicts(found: ObjectProposals) -> List[Dict[str, Any]]:
    """An object's grasps as DexGraspNet's release holds them: dictionaries with `qpos`, `scale` (and `plane`)."""
    if found.proposals is None:
        return []
    planes = _planes(found, found.proposals)
    return [
        {"qpos": dict(zip(COLUMNS, map(float, row))), "scale": 1.0, "plane": plane}
        for row, plane in zip(_rows(found.proposals), planes)
    ]


def _rows(proposals: GraspProposals) -> np.ndarray:
    """(P, 28) in the order of `COLUMNS`."""
    euler = Rotation.from_quat(proposals.rotation).as_euler("xyz")  # lower case: fixed axes
    return np.concatenate([proposals.joint_pos, proposals.translation, euler], axis=1)


def _planes(found: ObjectProposals, proposals: GraspProposals) -> np.ndarray:
    """(P, 4) the table in the object's frame, as the file has it."""
    up = Rotation.from_quat(proposals.rest_rotation).as_matrix()[:, 2]
    return np.concatenate([up, found.rest_height[:, None]], axis=1)


def _proposals(qpos: np.ndarray, plane: np.ndarray, squeeze: np.ndarray) -> GraspProposals:
    """Proposals from rows (P, 28) in the order of `COLUMNS`, planes (P, 4) and squeezes (P,)."""
    joint_pos, translation, euler = np.split(qpos, [NUM_JOINTS, NUM_JOINTS + 3], axis=1)
    up = plane[:, :3] / np.linalg.norm(plane[:, :3], axis=1, keepdims=True)
    return GraspProposals(
        rotation=Rotation.from_euler("xyz", euler).as_quat(),
        translation=translation,
        joint_pos=joint_pos,
        rest_rotation=np.array([rotation_to_up(normal) for normal in up]),
        squeeze=squeeze,
    )
