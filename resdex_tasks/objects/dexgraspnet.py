"""DexGraspNet objects and grasps in the layout that UniDexGrasp, UniDexGrasp++ and ResDex release.

Below the root, for an object code "<group>/<object>":

- `meshdatav3_scaled/<code>/coacd/coacd_convex_piece_<i>.obj`: the convex pieces at unit size, whole object in the unit
  sphere. Times the scale they are metres.
- `datasetv4.1/<code>/<n>.npz`: one grasp each.
  `scale`: 1 / scale.
  `qpos`: joint positions by name (rad), `WRJRx/y/z` the hand root's Euler angles about the object's fixed x, y, z axes
  in this order (rad), `WRJTx/y/z` its position in the object's frame (metres, for the object at its scale).
  `plane`: the table (A, B, C, D) in the object's frame at its scale: Ax + By + Cz + D is the height above the table, so
  the normal (A, B, C) points up, and D is the height at which the object's origin rests.
"""

import math
import re
import zipfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.errors import UserError
from resdex_tasks.objects.convex import convex_piece
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject, GraspProposals, ObjectSet
from resdex_tasks.objects.rest import rotation_to_up
from resdex_tasks.objects.restricted_pickle import read_object_items
from resdex_tasks.shadow_hand import JOINTS

SCALES = (0.06, 0.08, 0.10, 0.12, 0.15)
"""The sizes at which the data has grasps: metres per unit of the meshes."""

JOINT_KEYS = tuple(f"robot0:{joint}" for joint in JOINTS)
ROTATION_KEYS = ("WRJRx", "WRJRy", "WRJRz")
TRANSLATION_KEYS = ("WRJTx", "WRJTy", "WRJTz")


class _Grasp(NamedTuple):
    scale: float
    rotation: np.ndarray  # (4,) xyzw
    translation: np.ndarray  # (3,) m
    joint_pos: np.ndarray  # (22,) rad
    rest_rotation: np.ndarray  # (4,) xyzw
    rest_height: float  # m


def read_unidexgrasp(
    root: Union[str, Path],
    object_codes: Optional[Sequence[str]] = None,
    scale: float = 0.08,
    max_rest_height: float = 0.05,
) -> ObjectSet:
    """Objects at one scale, with their grasps at this scale whose rest height is at most `max_rest_height` (m).

    `object_codes` lists "<group>/<object>"; None takes all objects that have grasps, and skips those without a usable
    one, saying how many. An object is named "<group>/<object>-<scale in cm, three digits>", for example
    "core/bottle-7017-008"; its category is <object> up to the first "-". All objects are in the split "train".

    UserError names the file or value at fault.
    """
    if scale not in SCALES:
        raise UserError(f"there are no grasps at scale {scale!r}; the scales are {', '.join(map(str, SCALES))}")
    if not isinstance(max_rest_height, (int, float)) or not max_rest_height > 0.0:
        raise UserError(f"the maximal rest height must be a positive number of metres, not {max_rest_height!r}")
    root = Path(root).expanduser()
    grasp_root = _existing(root / "datasetv4.1")
    mesh_root = _existing(root / "meshdatav3_scaled")
    limits = f"at scale {scale:g} with a rest height of at most {max_rest_height:g} m"
    codes = _all_codes(grasp_root) if object_codes is None else list(object_codes)
    objects, skipped = [], 0
    for code in codes:
        proposals = _read_proposals(_existing(grasp_root / code), scale, max_rest_height)
        if proposals is None:
            if object_codes is not None:
                raise UserError(f"object '{code}' has no grasp {limits}")
            skipped += 1
            continue
        objects.append(
            GraspObject(
                name=f"{code}-{round(100 * scale):03d}",
                category=code.split("/")[-1].split("-")[0],
                split="train",
                pieces=_read_pieces(_existing(mesh_root / code / "coacd"), scale),
                proposals=proposals,
            )
        )
    if not objects:
        raise UserError(f"no object in {grasp_root} has a grasp {limits}")
    if skipped:
        print(f"skipped {skipped} of {len(codes)} objects in {grasp_root}: no grasp {limits}")
    return ObjectSet(objects)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    return folder


def _all_codes(grasp_root: Path) -> List[str]:
    return sorted(p.relative_to(grasp_root).as_posix() for p in grasp_root.glob("*/*") if p.is_dir())


def _read_pieces(folder: Path, scale: float) -> Tuple[ConvexPiece, ...]:
    """The hulls of an object's convex pieces in metres, in the order of their numbers."""
    numbered = {}
    for path in folder.glob("coacd_convex_piece_*.obj"):
        match = re.search(r"_(\d+)$", path.stem)
        if match:
            numbered[int(match.group(1))] = path
    if not numbered:
        raise UserError(f"there is no coacd_convex_piece_*.obj in {folder}")
    return tuple(_read_piece(path, scale) for _, path in sorted(numbered.items()))


def _read_piece(path: Path, scale: float) -> ConvexPiece:
    """A piece is the hull of its vertices, so these are all that is read of the file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable mesh: {_reason(error)}") from error
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise UserError(f"{path} is not a readable mesh: it has no vertices with three coordinates")
    if not np.isfinite(vertices).all():
        raise UserError(f"{path} has a vertex that is not a finite number")
    try:
        return convex_piece(scale * vertices)
    except ValueError as error:
        raise UserError(f"{path} is not a convex piece: {_reason(error)}") from error


def _read_proposals(folder: Path, scale: float, max_rest_height: float) -> Optional[GraspProposals]:
    """The grasps of the scale whose rest height is small enough, the most overhead one first; None: there is none.

    The task's hand comes from above, palm down, so the grasp that it can best imitate stands first.
    """
    grasps = [_read_grasp(path) for path in sorted(folder.glob("*.npz"))]
    kept = [g for g in grasps if math.isclose(g.scale, scale, rel_tol=1e-4) and g.rest_height <= max_rest_height]
    if not kept:
        return None
    kept.sort(key=_palm_height_component)
    return GraspProposals(
        rotation=np.stack([g.rotation for g in kept]),
        translation=np.stack([g.translation for g in kept]),
        joint_pos=np.stack([g.joint_pos for g in kept]),
        rest_rotation=np.stack([g.rest_rotation for g in kept]),
    )


def _palm_height_component(grasp: _Grasp) -> float:
    """z of the direction that the palm's face (-y of the hand's root) looks in: -1 is straight down on the table."""
    return float((Rotation.from_quat(grasp.rest_rotation) * Rotation.from_quat(grasp.rotation)).apply([0, -1, 0])[2])


def _read_grasp(path: Path) -> _Grasp:
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("qpos.npy") as file:
                (qpos,) = read_object_items(file)
            inverse_scale = _read_numbers(archive, "scale", ())
            plane = _read_numbers(archive, "plane", (4,))
    except Exception as error:  # zip, zlib, npy header and pickle each fail in their own ways
        raise UserError(f"{path} is not a readable grasp: {_reason(error)}") from error
    euler = _values(qpos, ROTATION_KEYS, path)
    translation = _values(qpos, TRANSLATION_KEYS, path)
    joint_pos = _values(qpos, JOINT_KEYS, path)
    if not inverse_scale > 0.0:
        raise UserError(f"{path} has a scale that is not positive: {inverse_scale:g}")
    length = np.linalg.norm(plane[:3])
    if length < 1e-6:
        raise UserError(f"{path} has a plane without a normal")
    normal, rest_height = plane[:3] / length, plane[3] / length
    rotation = Rotation.from_euler("xyz", euler).as_quat()  # lower case: fixed axes
    return _Grasp(float(1.0 / inverse_scale), rotation, translation, joint_pos, rotation_to_up(normal), rest_height)


def _read_numbers(archive: zipfile.ZipFile, name: str, shape: Tuple[int, ...]) -> np.ndarray:
    """A plain array of finite numbers; `read_array` refuses pickles."""
    with archive.open(f"{name}.npy") as file:
        values = np.lib.format.read_array(file, allow_pickle=False).astype(np.float64)
    if values.shape != shape:
        raise ValueError(f"its {name} has shape {values.shape}, not {shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"its {name} is not a finite number")
    return values


def _values(qpos: Dict[str, Any], keys: Sequence[str], path: Path) -> np.ndarray:
    """(len(keys),) values of `qpos` in the order of `keys`."""
    if not isinstance(qpos, dict):
        raise UserError(f"{path} is not a readable grasp: its qpos is not a dictionary")
    values = []
    for key in keys:
        if key not in qpos:
            raise UserError(f"{path} lacks '{key}' in its qpos")
        value = qpos[key]
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UserError(f"{path} has a '{key}' that is not a finite number")
        values.append(float(value))
    return np.array(values)


def _reason(error: Exception) -> str:
    """One line, also for the errors that bring no words or several lines."""
    return (str(error) or type(error).__name__).splitlines()[0]
