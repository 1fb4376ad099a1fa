"""DexGraspNet in the layout of its own release."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.dexgraspnet_layouts import (
    CODE,
    SAMPLE_CODES,
    qpos_of,
    read_error,
    release_files,
    write_object,
    write_release,
)
from helpers.object_checks import assert_closed_convex_outward, beyond_joint_limits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import hand_hull
from resdex_tasks.objects.dexgraspnet.files import MAX_DEPTH
from resdex_tasks.objects.dexgraspnet.lists import SCALES
from resdex_tasks.objects.dexgraspnet.source import read_dexgraspnet
from resdex_tasks.objects.geometry.convex import mass_centre


@pytest.fixture
def release(tmp_path) -> Path:
    write_release(tmp_path, [{"qpos": qpos_of(0.1), "scale": np.float64(np.float32(0.08))}])
    return tmp_path


def test_a_release_is_read_with_the_poses_in_which_its_objects_rest(release):
    (crate,) = read_dexgraspnet(release)
    assert (crate.name, crate.category, crate.code, len(crate.pieces)) == (f"{CODE}@0.08", "crate", None, 2)
    np.testing.assert_allclose(np.ptp(crate.vertices, axis=0), 0.08)
    np.testing.assert_allclose(crate.proposals.translation, [[0.0, 0.0, 0.1]])
    np.testing.assert_allclose(crate.proposals.rest_rotation, [[0, 0, 0, 1]], atol=1e-9)


def test_each_grasp_takes_the_pose_in_which_the_hand_is_above_the_object(release):
    turns = Rotation.random(20, random_state=3)
    grasps = []
    for turn in turns:
        euler = (turn * Rotation.from_euler("x", np.pi / 2)).as_euler("xyz")
        palm = turn.apply([0.0, 0.0, 0.12])
        pose = {**dict(zip(("WRJRx", "WRJRy", "WRJRz"), euler)), **dict(zip(("WRJTx", "WRJTy", "WRJTz"), palm))}
        grasps.append({"qpos": qpos_of(0.0, **pose), "scale": 0.08})
    write_release(release, grasps)
    (crate,) = read_dexgraspnet(release)
    proposals = crate.proposals
    assert len(proposals) > 10
    rest = Rotation.from_quat(proposals.rest_rotation)
    faces = (rest * Rotation.from_quat(proposals.rotation)).apply([0, -1, 0])[:, 2]
    assert (faces <= -1 / 3**0.5 + 1e-9).all(), "of a cube's six sides, one is within 55 degrees of every direction"
    assert (np.diff(faces) >= -1e-9).all()


def test_a_hand_that_would_reach_into_the_table_is_dropped(release):
    overhead = {"qpos": qpos_of(0.03), "scale": 0.08}
    around_the_edge = {"qpos": qpos_of(-0.05, WRJRx=0.0, WRJRz=np.pi / 2, WRJTx=-0.1), "scale": 0.08}
    write_release(release, [around_the_edge, overhead, around_the_edge], thickness=0.02)
    (plate,) = read_dexgraspnet(release)
    np.testing.assert_allclose(plate.proposals.translation, [[0.0, 0.0, 0.03]])
    write_release(release, [around_the_edge], thickness=0.02)
    assert "core/crate-0@0.08 has no grasp whose hand stays out of the table" in read_error(release)


def test_a_grasp_for_a_pose_too_high_is_dropped(release):
    assert len(read_dexgraspnet(release, max_rest_height=0.041)) == 1
    assert "rests higher than 0.03 m in every stable pose" in read_error(release, max_rest_height=0.03)


def test_a_code_may_be_written_either_way_in_either_layout(release, tmp_path):
    write_object(tmp_path / "other")
    for root in (release, tmp_path / "other"):
        assert (
            read_dexgraspnet(root, ["core-crate-0"]).names == read_dexgraspnet(root, [CODE]).names == [f"{CODE}@0.08"]
        )


@pytest.mark.parametrize("folder", ["dataset", "meshdata", "meshdata/core-crate-0"])
def test_a_missing_folder_of_a_release_is_named(release, folder):
    shutil.rmtree(release / folder)
    assert folder in read_error(release)


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_truncated_grasps_of_a_release_are_named(release, data):
    write_release(release, [{"qpos": qpos_of(0.1), "scale": 0.08}])
    path = release_files(release)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert path.name in read_error(release)


@pytest.mark.parametrize(
    "grasp",
    [7, {}, {"qpos": qpos_of(0.1)}, {"qpos": 1, "scale": 0.08}, {"qpos": {}, "scale": 0.08}]
    + [{"qpos": qpos_of(0.1), "scale": scale} for scale in (0.0, np.float64("nan"), "0.08", np.complex128(1))]
    + [{"qpos": qpos_of(float("nan")), "scale": 0.08}],
    ids=repr,
)
def test_a_broken_grasp_of_a_release_is_named(release, grasp):
    write_release(release, [grasp])
    assert "core-crate-0.npy" in read_error(release)


@pytest.mark.parametrize(
    "content",
    ["o a\nv nan 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n", "o a\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\n", "o a\nv 0 0\n", ""],
    ids=["nan", "flat", "two coordinates", "empty"],
)
def test_a_broken_mesh_of_a_release_is_named(release, content):
    path = release_files(release)[0]
    path.write_text(content)
    assert f"core-crate-0{path.anchor}" in read_error(release) and "decomposed.obj" in read_error(release)


@pytest.fixture(scope="module")
def released(sample_data):
    return read_dexgraspnet(sample_data / "dexgraspnet_layout", scales=SCALES, report=lambda _: None)


def test_released_sample_is_read(released):
    assert {obj.category for obj in released} == {"mug", "banana"}
    assert "core/mug-8570d9a8d24cb0acbebd3c0c0c70fb03@0.08" in released.names
    for obj in released:
        for piece in obj.pieces:
            assert_closed_convex_outward(piece)
        assert (beyond_joint_limits(obj.proposals.joint_pos) < 0.05).mean() > 0.97


def test_released_samples_hands_are_above_the_table_and_look_down(released):
    for obj in released:
        proposals, vertices = obj.proposals, obj.vertices
        centres, radii = hand_hull(proposals.rotation, proposals.translation, proposals.joint_pos)
        for i, rest in enumerate(Rotation.from_quat(proposals.rest_rotation)):
            table = rest.apply(vertices)[:, 2].min()
            assert -table <= 0.05 + 1e-9
            assert (rest.apply(centres[i])[:, 2] - radii).min() >= table - MAX_DEPTH - 1e-9
            assert (rest * Rotation.from_quat(proposals.rotation[i])).apply([0, -1, 0])[2] < 0


def test_both_layouts_give_the_same_object(sample_data, tmp_path):
    """The sample has one file of all pieces beside the files of single ones, so it can be laid out the other way."""
    code, root = SAMPLE_CODES[0], sample_data / "unidexgrasp_layout"
    mesh, dataset = release_files(tmp_path, code)
    for path in (mesh, dataset):
        path.parent.mkdir(parents=True)
    shutil.copy(str(root / "meshdatav3_scaled" / code / "coacd" / "decomposed.obj"), str(mesh))
    grasps = []
    for path in sorted((root / "datasetv4.1" / code).glob("*.npz")):
        with np.load(path, allow_pickle=True) as grasp:
            grasps.append({"qpos": grasp["qpos"].item(), "scale": 1.0 / float(grasp["scale"])})
    np.save(dataset, np.array(grasps, dtype=object))
    (one,) = read_dexgraspnet(root, [code], scales=[0.06])
    (other,) = read_dexgraspnet(tmp_path, scales=[0.06])
    assert (one.name, one.category, len(one.pieces)) == (other.name, other.category, len(other.pieces))
    np.testing.assert_allclose(mass_centre(one.pieces), mass_centre(other.pieces), atol=1e-9)
    for a, b in zip(one.pieces, other.pieces):
        np.testing.assert_allclose(a.vertices, b.vertices, atol=1e-9)
    # and most of the grasps that it has with a table are found to be of use on one
    shared = cKDTree(other.proposals.joint_pos).query(one.proposals.joint_pos)[0] < 1e-9
    assert shared.mean() > 0.5
