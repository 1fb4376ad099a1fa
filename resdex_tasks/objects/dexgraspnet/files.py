"""Readers of DexGraspNet's files, in two layouts. Other modules know objects by their code "<group>/<object>".

As UniDexGrasp, UniDexGrasp++ and ResDex release it, for objects on a table:

- `meshdatav3_scaled/<code>/coacd/coacd_convex_piece_<i>.obj`: the convex pieces at unit size, the object inside the
  unit sphere. Times the scale they are metres.
- `datasetv4.1/<code>/<n>.npz`: one grasp each, with `qpos` (below), `scale` (its inverse) and `plane`: the table
  (A, B, C, D) in the object's frame at its scale. Ax + By + Cz + D is the height above the table, so the normal
  (A, B, C) points up, and D is the height at which the object's origin rests.
- `meshdatav3_pc_feat/<code>/pc_feat_<scale>.npy`: the shape code at a scale (006 is 0.06); may be missing.

As DexGraspNet itself releases it, for objects in the air:

- `meshdata/<group>-<object>/coacd/decomposed.obj`: the same pieces in one file, an `o` line before each.
- `dataset/<group>-<object>.npy`: all grasps, an array of dictionaries with `qpos` and `scale` (itself).

`qpos` has joint positions by name (rad), `WRJRx/y/z`, the hand root's Euler angles about the object's fixed x, y, z
axes in this order (rad), and `WRJTx/y/z`, its position in the object's frame (metres, for the object at its scale).
"""

import math
import os
import re
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import hand_hull
from resdex_tasks.hand.shadow_hand import JOINTS, NUM_JOINTS
from resdex_tasks.objects.dexgraspnet.restricted_pickle import read_object_items
from resdex_tasks.objects.geometry.convex import mass_centre, quick_convex_piece, spans_volume
from resdex_tasks.objects.geometry.stable_poses import rest_poses, rotation_to_up
from resdex_tasks.objects.loading import Unusable
from resdex_tasks.objects.object_set import CODE_SIZE, ConvexPiece, GraspProposals
from resdex_tasks.utils.disk_cache import ArrayCache, Arrays, cache_key
from resdex_tasks.utils.errors import UserError, one_line

JOINT_KEYS = tuple(f"robot0:{joint}" for joint in JOINTS)
ROTATION_KEYS = ("WRJRx", "WRJRy", "WRJRz")
TRANSLATION_KEYS = ("WRJTx", "WRJTy", "WRJTz")
QPOS_KEYS = (*JOINT_KEYS, *ROTATION_KEYS, *TRANSLATION_KEYS)
_EULER, _POSITION = slice(NUM_JOINTS, NUM_JOINTS + 3), slice(NUM_JOINTS + 3, NUM_JOINTS + 6)

SAME_SCALE = 1e-4
"""Relative tolerance: the scales of the grasps were stored as float32."""
MAX_DEPTH = 0.01
"""m that a hand may reach into the table: nine in ten of UniDexGrasp's grasps on a table reach less deep."""
MIN_TIP_DEGREES = 3.0
"""degrees, least tilt at which an object falls out of a pose that is computed for it; where there is no such pose, the
likeliest is used."""

PALM_FACE = (0.0, -1.0, 0.0)
"""Direction in which the palm looks, in the hand root's frame."""


class _Grasps(NamedTuple):
    """N grasps of one object, at any scale."""

    scale: np.ndarray
    """(N,)"""
    qpos: np.ndarray
    """(N, 28) in the order of `QPOS_KEYS`."""
    plane: np.ndarray
    """(N, 4) with a unit normal; (N, 0): there is no table."""

    @property
    def rotation(self) -> Rotation:
        return Rotation.from_euler("xyz", self.qpos[:, _EULER])  # lower case: fixed axes

    @property
    def translation(self) -> np.ndarray:
        return self.qpos[:, _POSITION]

    @property
    def joint_pos(self) -> np.ndarray:
        return self.qpos[:, :NUM_JOINTS]

    def take(self, which: np.ndarray) -> "_Grasps":
        return _Grasps(self.scale[which], self.qpos[which], self.plane[which])


class Layout:
    """The interface of both layouts.

    Its methods raise `Unusable`, which names the file, for an object that cannot be read.

    Args:
        grasp_root: folder of the grasps.
        mesh_root: folder of the meshes.
        max_rest_height: m; poses in which the object's frame lies higher are not used.
    """

    def __init__(self, grasp_root: Path, mesh_root: Path, max_rest_height: float) -> None:
        for folder in (grasp_root, mesh_root):
            if not folder.is_dir():
                raise UserError(f"there is no folder {folder}")
        self.grasp_root, self.mesh_root, self.max_rest_height = grasp_root, mesh_root, max_rest_height
        # an object is asked for at one scale after the other
        self._unit_pieces: Callable[[str], Tuple[ConvexPiece, ...]] = lru_cache(maxsize=1)(self._read_pieces)
        self._grasps: Callable[[str], _Grasps] = lru_cache(maxsize=1)(self._read_grasps)

    def codes(self) -> List[str]:
        """The codes of all objects that have grasps, sorted."""
        raise NotImplementedError

    def _read_pieces(self, code: str) -> Tuple[ConvexPiece, ...]:
        raise NotImplementedError

    def _read_grasps(self, code: str) -> _Grasps:
        raise NotImplementedError

    def _rest(self, code: str, grasps: _Grasps) -> Tuple[np.ndarray, np.ndarray, str]:
        """(N,) bool, which grasps of one scale can be used, (N, 3) the object's direction that is up for each, and the
        reason, in words, where none can be."""
        raise NotImplementedError

    @property
    def _too_high(self) -> str:
        return f"has no grasp for a rest height of at most {self.max_rest_height:g} m"

    def shape_code(self, code: str, scale: float) -> Optional[np.ndarray]:
        """(64,) shape code, or None where there is none."""
        return None

    def pieces(self, code: str, scale: float) -> Tuple[ConvexPiece, ...]:
        """Convex pieces in metres."""
        return tuple(ConvexPiece(scale * piece.vertices, piece.faces) for piece in self._unit_pieces(code))

    def proposals(self, code: str, scale: float) -> GraspProposals:
        """The grasps at a scale that can be used on a table, the most overhead one first.

        The task's hand comes from above, palm down, so the grasp that it can best imitate stands first.
        """
        grasps = self._grasps(code)
        grasps = grasps.take(np.isclose(grasps.scale, scale, rtol=SAME_SCALE, atol=0.0))
        if len(grasps.scale) == 0:
            raise Unusable(f"{code}@{scale:g}", "has no grasp at its scale")
        usable, up, reason = self._rest(code, grasps)
        if not usable.any():
            raise Unusable(f"{code}@{scale:g}", reason)
        grasps, up = grasps.take(usable), up[usable]
        face_up = np.sum(grasps.rotation.apply(PALM_FACE) * up, axis=1)  # -1: straight down on the table
        order = np.argsort(face_up, kind="stable")
        grasps = grasps.take(order)
        return GraspProposals(
            rotation=grasps.rotation.as_quat(),
            translation=grasps.translation,
            joint_pos=grasps.joint_pos,
            rest_rotation=np.stack([rotation_to_up(normal) for normal in up[order]]),
        )


class UniDexGraspLayout(Layout):
    """UniDexGrasp's layout: one file for each grasp, with its table."""

    def __init__(self, root: Path, max_rest_height: float, cache: ArrayCache) -> None:
        super().__init__(root / "datasetv4.1", root / "meshdatav3_scaled", max_rest_height)
        self.code_root, self.cache = root / "meshdatav3_pc_feat", cache

    def codes(self) -> List[str]:
        return sorted(p.relative_to(self.grasp_root).as_posix() for p in self.grasp_root.glob("*/*") if p.is_dir())

    def _read_pieces(self, code: str) -> Tuple[ConvexPiece, ...]:
        """The pieces in the order of their numbers."""
        folder = _existing(self.mesh_root / code / "coacd")
        numbered = {}
        for path in folder.glob("coacd_convex_piece_*.obj"):
            match = re.search(r"_(\d+)$", path.stem)
            if match:
                numbered[int(match.group(1))] = path
        if not numbered:
            raise Unusable(folder, "has no coacd_convex_piece_*.obj")
        return tuple(_hull(np.concatenate(_vertex_groups(path)), path) for _, path in sorted(numbered.items()))

    def _read_grasps(self, code: str) -> _Grasps:
        """Opening hundreds of files is slow, so their content is cached for as long as none of them changes."""
        folder = _existing(self.grasp_root / code)
        with os.scandir(str(folder)) as entries:
            files = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries if e.name[-4:] == ".npz")
        key = cache_key(["grasps 1", str(folder.resolve()), *files])
        arrays = self.cache.load(key)
        if arrays is None:
            arrays = _stacked([_read_npz(folder / name) for name, _, _ in files])
            self.cache.store(key, arrays)
        return _Grasps(arrays["scale"], arrays["qpos"], arrays["plane"])

    def _rest(self, code: str, grasps: _Grasps) -> Tuple[np.ndarray, np.ndarray, str]:
        return grasps.plane[:, 3] <= self.max_rest_height, grasps.plane[:, :3], self._too_high

    def shape_code(self, code: str, scale: float) -> Optional[np.ndarray]:
        path = self.code_root / code / f"pc_feat_{round(100 * scale):03d}.npy"
        if not path.is_file():
            return None
        try:
            values = np.load(path, allow_pickle=False).astype(np.float64)
        except Exception as error:  # ValueError, EOFError, OSError and what the header's parser raises
            raise Unusable(path, "is not a readable shape code", one_line(error)) from error
        if values.shape != (CODE_SIZE,) or not np.isfinite(values).all():
            raise Unusable(path, f"is not a shape code of {CODE_SIZE} finite numbers")
        return values


class ReleaseLayout(Layout):
    """DexGraspNet's own layout: one file for all grasps of an object, and no table, so stable poses are computed."""

    def __init__(self, root: Path, max_rest_height: float) -> None:
        super().__init__(root / "dataset", root / "meshdata", max_rest_height)
        self._poses = lru_cache(maxsize=1)(self._find_poses)

    def codes(self) -> List[str]:
        return sorted(path.stem.replace("-", "/", 1) for path in self.grasp_root.glob("*-*.npy"))

    def _read_pieces(self, code: str) -> Tuple[ConvexPiece, ...]:
        path = self.mesh_root / code.replace("/", "-", 1) / "coacd" / "decomposed.obj"
        return tuple(_hull(vertices, path) for vertices in _vertex_groups(path))

    def _read_grasps(self, code: str) -> _Grasps:
        path = self.grasp_root / f"{code.replace('/', '-', 1)}.npy"
        try:
            with path.open("rb") as file:
                items = read_object_items(file)
        except Exception as error:  # the npy header and the pickle each fail in their own ways
            raise Unusable(path, "is not a readable file of grasps", one_line(error)) from error
        grasps = []
        for item in items:
            if not isinstance(item, dict) or not _is_number(item.get("scale")) or not item["scale"] > 0.0:
                raise Unusable(path, "has a grasp without a positive scale")
            grasps.append({"scale": item["scale"], "qpos": _qpos_values(item.get("qpos"), path)})
        arrays = _stacked(grasps)
        return _Grasps(arrays["scale"], arrays["qpos"], np.zeros((len(grasps), 0)))

    def _rest(self, code: str, grasps: _Grasps) -> Tuple[np.ndarray, np.ndarray, str]:
        """For each grasp, the pose in which the palm looks down most, among those that keep the hand out of the table.

        Grasps whose palm looks up, or whose hand would reach deeper into the table than `MAX_DEPTH`, cannot be used.
        """
        up, unit_height = self._poses(code)
        height = float(grasps.scale[0]) * unit_height
        low = height <= self.max_rest_height
        up, height = up[low], height[low]
        if len(up) == 0:
            reason = f"rests higher than {self.max_rest_height:g} m in every stable pose"
            return np.zeros(len(grasps.scale), dtype=bool), np.zeros((len(grasps.scale), 3)), reason
        centres, radii = hand_hull(grasps.rotation.as_quat(), grasps.translation, grasps.joint_pos)
        clearance = (centres @ up.T - radii[:, None]).min(axis=1) + height  # (N, poses)
        face_up = grasps.rotation.apply(PALM_FACE) @ up.T
        free, down = clearance >= -MAX_DEPTH, face_up < 0.0
        reason = "has no grasp with the palm down and the hand out of the table"
        if not free.any():
            reason = "has no grasp whose hand stays out of the table"
        elif not down.any():
            reason = "has no grasp with the palm down"
        face_up = np.where(free & down, face_up, np.inf)
        return face_up.min(axis=1) < np.inf, up[face_up.argmin(axis=1)], reason

    def _find_poses(self, code: str) -> Tuple[np.ndarray, np.ndarray]:
        """(P, 3) the object's direction that is up in each stable pose, and (P,) the origin's height in it, at unit
        size."""
        pieces = self._unit_pieces(code)
        centre = mass_centre(pieces)
        vertices = np.concatenate([piece.vertices for piece in pieces]) - centre
        poses = rest_poses(vertices, min_tip_degrees=MIN_TIP_DEGREES)
        count = len(poses)
        if count == 0:
            poses, count = rest_poses(vertices), 1
        return poses.up[:count], (poses.height - poses.up @ centre)[:count]


def open_layout(root: Path, max_rest_height: float, cache: ArrayCache) -> Layout:
    """The layout that the folder `root` has.

    Raises:
        UserError: it has neither layout, or half of one is missing.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    if (root / "datasetv4.1").is_dir() or (root / "meshdatav3_scaled").is_dir():
        return UniDexGraspLayout(root, max_rest_height, cache)
    if (root / "dataset").is_dir() or (root / "meshdata").is_dir():
        return ReleaseLayout(root, max_rest_height)
    raise UserError(
        f"{root} has neither datasetv4.1 and meshdatav3_scaled (UniDexGrasp's layout) nor dataset and meshdata "
        "(DexGraspNet's own)"
    )


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise Unusable(folder, "is a missing folder")
    return folder


def _vertex_groups(path: Path) -> List[np.ndarray]:
    """Vertices (V, 3) of each object or group in an obj file that has any.

    Faces are not read: a piece is the hull of its vertices.
    """
    groups: List[List[List[str]]] = [[]]
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("v "):
                    groups[-1].append(line.split()[1:4])
                elif line.startswith(("o ", "g ")) and groups[-1]:
                    groups.append([])
        arrays = [np.array(group, dtype=np.float64) for group in groups if group]
    except FileNotFoundError as error:
        raise Unusable(path, "is a missing file") from error
    except (OSError, ValueError) as error:
        raise Unusable(path, "is not a readable mesh", one_line(error)) from error
    if not arrays or any(a.ndim != 2 or a.shape[1] != 3 for a in arrays):
        raise Unusable(path, "is not a readable mesh", "it has no vertices with three coordinates")
    return arrays


def _hull(vertices: np.ndarray, path: Path) -> ConvexPiece:
    if not np.isfinite(vertices).all():
        raise Unusable(path, "has a vertex that is not a finite number")
    if not spans_volume(vertices):
        raise Unusable(path, "has a piece without a volume")
    return quick_convex_piece(vertices)


def _read_npz(path: Path) -> Dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("qpos.npy") as file:
                (qpos,) = read_object_items(file)
            inverse_scale = _read_numbers(archive, "scale", ())
            plane = _read_numbers(archive, "plane", (4,))
    except Exception as error:  # zip, zlib, npy header and pickle each fail in their own ways
        raise Unusable(path, "is not a readable grasp", one_line(error)) from error
    if not inverse_scale > 0.0:
        raise Unusable(path, "has a scale that is not positive", f"{inverse_scale:g}")
    length = np.linalg.norm(plane[:3])
    if length < 1e-6:
        raise Unusable(path, "has a plane without a normal")
    return {"scale": 1.0 / inverse_scale, "qpos": _qpos_values(qpos, path), "plane": plane / length}


def _read_numbers(archive: zipfile.ZipFile, name: str, shape: Tuple[int, ...]) -> np.ndarray:
    """A plain array of finite numbers; `read_array` refuses pickled objects."""
    with archive.open(f"{name}.npy") as file:
        values = np.lib.format.read_array(file, allow_pickle=False).astype(np.float64)
    if values.shape != shape:
        raise ValueError(f"its {name} has shape {values.shape}, not {shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"its {name} is not a finite number")
    return values


def _qpos_values(qpos: Any, path: Path) -> np.ndarray:
    """(28,) values in the order of `QPOS_KEYS`."""
    if not isinstance(qpos, dict):
        raise Unusable(path, "has a grasp whose qpos is not a dictionary")
    for key in QPOS_KEYS:
        if key not in qpos:
            raise Unusable(path, "lacks a number in its qpos", key)
        if not _is_number(qpos[key]):
            raise Unusable(path, "has something in its qpos that is not a finite number", key)
    return np.array([float(qpos[key]) for key in QPOS_KEYS])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _stacked(grasps: Sequence[Dict[str, Any]]) -> Arrays:
    """One array for each field of N grasps, N >= 0."""
    empty = {"scale": np.zeros(0), "qpos": np.zeros((0, len(QPOS_KEYS))), "plane": np.zeros((0, 4))}
    return {field: np.array([g[field] for g in grasps], dtype=np.float64) for field in grasps[0]} if grasps else empty
