"""Small objects and grasps in both of DexGraspNet's layouts, and what their reader says of broken ones."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from resdex_tasks.hand.shadow_hand import JOINTS
from resdex_tasks.objects.dexgraspnet.source import read_dexgraspnet
from resdex_tasks.utils.errors import UserError

CODE = "core/crate-0"
SAMPLE_CODES = ("core/bottle-70172e6afe6aff7847f90c1ac631b97f", "sem/Car-669043a8ce40d9d78781f76a6db4ab62")
QPOS_NAMES = [f"robot0:{joint}" for joint in JOINTS] + [f"WRJ{kind}{axis}" for kind in "RT" for axis in "xyz"]


def write_grasp(path: Path, scale: float = 0.08, plane=(0.0, 0.0, 1.0, 0.04), qpos=None, **changes) -> None:
    if qpos is None:
        qpos = {name: 0.01 * i for i, name in enumerate(QPOS_NAMES)}
    qpos.update(changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, qpos=np.array(qpos), scale=np.float32(1 / scale), plane=np.array(plane, dtype=np.float32))


def write_object(root: Path, code: str = CODE, **grasp) -> None:
    """A unit crate of two halves that rests as it stands, with one grasp."""
    folder = root / "meshdatav3_scaled" / code / "coacd"
    folder.mkdir(parents=True)
    for i, centre in ((2, 0.25), (10, -0.25)):
        box = trimesh.creation.box((0.5, 1.0, 1.0), trimesh.transformations.translation_matrix([centre, 0, 0]))
        (folder / f"coacd_convex_piece_{i}.obj").write_text(box.export(file_type="obj"))
    write_grasp(grasp_file(root, code), **grasp)


def grasp_file(root: Path, code: str = CODE, number: int = 0) -> Path:
    return root / "datasetv4.1" / code / f"{number:05d}.npz"


def read_error(root: Path, *args, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        read_dexgraspnet(root, *args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def release_files(root: Path, code: str = CODE):
    """Mesh and grasps of an object in the layout of DexGraspNet's own release."""
    name = code.replace("/", "-", 1)
    return root / "meshdata" / name / "coacd" / "decomposed.obj", root / "dataset" / f"{name}.npy"


def qpos_of(palm_z: float, **changes) -> dict:
    """The hand above the origin, palm down, fingers straight."""
    qpos = {**dict.fromkeys(QPOS_NAMES, 0.0), "WRJRx": np.pi / 2, "WRJTz": palm_z}
    return {**qpos, **changes}


def write_release(root: Path, grasps, code: str = CODE, thickness: float = 1.0) -> None:
    """A crate of two halves, 1 by 1 by `thickness`."""
    mesh, dataset = release_files(root, code)
    for path in (mesh, dataset):
        path.parent.mkdir(parents=True, exist_ok=True)
    lines, first = [], 0
    for i, centre in enumerate((0.25, -0.25)):
        box = trimesh.creation.box((0.5, 1.0, thickness), trimesh.transformations.translation_matrix([centre, 0, 0]))
        lines += [f"o convex_{i}", *("v {} {} {}".format(*vertex) for vertex in box.vertices)]
        lines += ["f {} {} {}".format(*(face + 1 + first)) for face in box.faces]
        first += len(box.vertices)
    mesh.write_text("\n".join(lines))
    np.save(dataset, np.array(grasps, dtype=object))
