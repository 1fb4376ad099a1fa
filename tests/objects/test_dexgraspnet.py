"""DexGraspNet in UniDexGrasp's layout, and the reader's behaviour in any layout."""

import dataclasses
import io
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.command_line import assert_one_sentence, call, train
from helpers.dexgraspnet_layouts import (
    CODE,
    QPOS_NAMES,
    SAMPLE_CODES,
    grasp_file,
    read_error,
    write_grasp,
    write_object,
)
from helpers.object_checks import assert_closed_convex_outward, beyond_joint_limits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.factory import make_objects
from resdex_tasks.hand.shadow_hand import PALM_CENTRE
from resdex_tasks.objects.dexgraspnet.lists import SCALES, read_object_list
from resdex_tasks.objects.dexgraspnet.restricted_pickle import read_object_items
from resdex_tasks.objects.dexgraspnet.source import read_dexgraspnet
from resdex_tasks.objects.object_set import GraspObject
from resdex_tasks.utils.config_reader import shown
from resdex_tasks.utils.errors import UserError
from runners.config import load_config

MILLIMETRE = 1e-3


@pytest.fixture
def root(tmp_path) -> Path:
    write_object(tmp_path)
    return tmp_path


def test_an_object_is_read_at_its_scale(root):
    (crate,) = read_dexgraspnet(root, [CODE], scales=[0.08])
    assert (crate.name, crate.category, crate.split) == ("core/crate-0@0.08", "crate", "train")
    np.testing.assert_allclose(np.ptp(crate.vertices, axis=0), 0.08)
    assert [piece.vertices[:, 0].mean() > 0 for piece in crate.pieces] == [True, False], "pieces in numeric order"
    np.testing.assert_allclose(crate.proposals.joint_pos[0], 0.01 * np.arange(22))
    np.testing.assert_allclose(crate.proposals.translation[0], [0.25, 0.26, 0.27])
    x, y, z = (Rotation.from_euler(axis, angle) for axis, angle in zip("xyz", (0.22, 0.23, 0.24)))
    difference = Rotation.from_quat(crate.proposals.rotation[0]) * (z * y * x).inv()
    np.testing.assert_allclose(difference.magnitude(), 0.0, atol=1e-9)


def test_only_grasps_of_the_scale_with_a_low_rest_height_are_kept(root):
    write_grasp(grasp_file(root, number=1), scale=0.06)
    write_grasp(grasp_file(root, number=2), plane=(0, 0, 1, 0.051))
    write_grasp(grasp_file(root, number=3), **{"robot0:FFJ3": 0.3})
    (crate,) = read_dexgraspnet(root)
    assert crate.proposals.joint_pos[:, 0].tolist() == [0.0, 0.3]
    assert len(read_dexgraspnet(root, max_rest_height=0.06)[0].proposals) == 3


def test_every_object_at_every_scale_is_an_object_of_its_own(root):
    write_grasp(grasp_file(root, number=1), scale=0.15)
    small, large = read_dexgraspnet(root, scales=[0.08, 0.15])
    assert (small.name, large.name) == (f"{CODE}@0.08", f"{CODE}@0.15")
    np.testing.assert_allclose(large.vertices, small.vertices * 0.15 / 0.08)
    assert read_dexgraspnet(root, scales=[0.08, 0.15], names=[large.name]).names == [large.name]
    assert f"{CODE}@0.1'" in read_error(root, scales=[0.08], names=[f"{CODE}@0.1"])


def test_what_is_left_out_is_counted_once_with_the_reasons(root):
    write_object(root, "core/pot-1", scale=0.06)
    write_object(root, "core/pot-2", plane=(0, 0, 1, 0.2))
    for number in (3, 4):
        write_object(root, f"core/pot-{number}")
        grasp_file(root, f"core/pot-{number}").write_bytes(b"no archive")
    messages = []
    assert read_dexgraspnet(root, report=messages.append).names == [f"{CODE}@0.08"]
    (sentence,) = messages
    assert sentence.startswith(f"left out 4 of the 5 objects in {root}: ")
    assert "core/pot-3/00000.npz is not a readable grasp: File is not a zip file (and 1 more)" in sentence
    assert "core/pot-1@0.08 has no grasp at its scale" in sentence
    assert "core/pot-2@0.08 has no grasp for a rest height of at most 0.05 m" in sentence
    assert "core/pot-4" not in sentence and "\n" not in sentence


def test_none_left_is_an_error(root):
    assert "core/crate-0@0.1 has no grasp at its scale" in read_error(root, scales=[0.1])
    write_object(root, "core/pot-1")
    assert "none of the 2 objects" in read_error(root, scales=[0.1])


def test_what_was_read_of_the_grasps_is_cached_until_a_file_changes(root, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    (first,) = read_dexgraspnet(root, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr("resdex_tasks.objects.dexgraspnet.files.zipfile", None)
        (again,) = read_dexgraspnet(root, cache=cache)
    for field in ("rotation", "translation", "joint_pos", "rest_rotation"):
        np.testing.assert_array_equal(getattr(again.proposals, field), getattr(first.proposals, field))
    write_grasp(grasp_file(root, number=1))
    assert len(read_dexgraspnet(root, cache=cache)[0].proposals) == 2
    for entry in cache.rglob("*.npz"):
        entry.write_bytes(entry.read_bytes()[:100])
    assert len(read_dexgraspnet(root, cache=cache)[0].proposals) == 2, "a broken cache is not used"


def test_a_cache_that_cannot_be_written_is_named(root, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "objects.cache" in read_error(root, cache=tmp_path / "file" / "cache")


def write_code(root: Path, values, scale: str = "008") -> None:
    path = root / "meshdatav3_pc_feat" / CODE / f"pc_feat_{scale}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def test_an_object_brings_the_code_of_its_scale(root):
    assert read_dexgraspnet(root)[0].code is None
    write_code(root, np.arange(64, dtype=np.float32), "006")
    assert read_dexgraspnet(root)[0].code is None
    write_code(root, np.arange(64, dtype=np.float32))
    np.testing.assert_array_equal(read_dexgraspnet(root)[0].code, np.arange(64))


@pytest.mark.parametrize("values", [np.zeros(63), np.full(64, np.nan), np.array({})], ids=["short", "nan", "pickle"])
def test_a_broken_code_is_named(root, values):
    write_code(root, values)
    assert "pc_feat_008.npy" in read_error(root)


LISTS = {
    "strings": f"object_code_list: [{CODE}, core/pot-1]",
    "the method's": f"object_code_list:\n- {CODE}: [0.06]\n- core/pot-1: [0.08]\n- {CODE}: [0.08]",
    "dictionary": f"object_code_dict: {{{CODE}: [0.06, 0.08], core/pot-1: [0.08]}}",
    "bare": f"{CODE}:\n- 0.06\n- 0.08\ncore/pot-1:\n- 0.08",
    "bare list": f"- {CODE}\n- core/pot-1",
    "pasted lines": f"    '{CODE}':[0.06],\n    'core/pot-1':[0.08],\n    '{CODE}':[0.08],\n",
    "pasted results": f"    '{CODE}':[0.06, 0.08],[0.9, 1.0],\n\n# new\n    'core-pot-1':[0.08],[0.998],  # good\n",
    "with a mark": f"\ufeffobject_code_dict: {{{CODE}: [0.06, 0.08], core/pot-1: [0.08]}}",
    "below env": f"env:\n  object_code_dict: {{'{CODE}': [0.06, 0.08], 'core-pot-1': [0.08]}}",
}


@pytest.mark.parametrize("content", LISTS.values(), ids=LISTS)
def test_object_lists_of_every_kind(root, content):
    write_grasp(grasp_file(root, number=1), scale=0.06)
    write_object(root, "core/pot-1")
    write_object(root, "core/unlisted-1")
    path = root / "train_set.yaml"
    path.write_text(content)
    expected = {CODE: [0.06, 0.08], "core/pot-1": [0.08]}
    if "0.0" not in content:
        expected = {key: [0.08] for key in expected}
    assert read_object_list(path, [0.08]) == expected
    names = [f"{code}@{scale:g}" for code, scales in expected.items() for scale in scales]
    assert read_dexgraspnet(root, object_list=path).names == names


def test_entries_that_are_there_twice_are_said(root):
    path = root / "list.yaml"
    for content in (f"{CODE}: [0.06, 0.08]\n{CODE}: [0.08, 0.1]", f"'{CODE}':[0.06, 0.08, 0.08],\n'{CODE}':[0.1],"):
        path.write_text(content)
        said = []
        assert read_object_list(path, [0.08], said.append) == {CODE: [0.06, 0.08, 0.1]}
        assert said == [f"{path} lists {CODE}@0.08 repeatedly; each counts once"]
    path.write_text("\n".join(f"- core/pot-{i % 9}" for i in range(18)))
    said = []
    assert len(read_object_list(path, [0.08], said.append)) == 9
    names = "core/pot-0@0.08, core/pot-1@0.08, core/pot-2@0.08 and 6 more"
    assert said == [f"{path} lists {names} repeatedly; each counts once"]


def test_listed_objects_that_are_not_there_are_left_out(root):
    path = root / "list.yaml"
    path.write_text(f"object_code_list: [{CODE}, core/none-1]")
    messages = []
    assert read_dexgraspnet(root, object_list=path, report=messages.append).names == [f"{CODE}@0.08"]
    assert "1 of the 2" in messages[0] and "datasetv4.1/core/none-1 is a missing folder" in messages[0]


@pytest.mark.parametrize(
    "content, words",
    [
        ("object_code_list: [", "list.yaml"),
        ("objects: [core/crate-0]", "object_code_list"),
        ("object_code_list: []", "list.yaml"),
        ("just words", "list.yaml"),
        ("    'core/crate-0':[0.07],", "core/crate-0.*0.07"),
        ("core/crate-0: {a: 1}", "core/crate-0"),
        ("? [core, crate]\n: [0.08]", "list.yaml"),
        ("object_code_list: [7]", "list.yaml has the object 7"),
        ("object_code_list: [crate]", "'crate'"),
        ("object_code_list: [../../etc]", "'../../etc'"),
        ("object_code_dict: {core/crate-0: [0.07]}", "core/crate-0.*0.07"),
        ("object_code_dict: {core/crate-0: 0.08}", "core/crate-0.*0.08"),
    ],
)
def test_a_broken_object_list_is_named(root, content, words):
    path = root / "list.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=words) as error:
        read_dexgraspnet(root, object_list=path)
    assert "\n" not in str(error.value)


def test_a_missing_object_list_and_two_choices_are_named(root):
    assert "nowhere.yaml: No such file" in read_error(root, object_list=root / "nowhere.yaml")
    assert "objects.objectList" in read_error(root, [CODE], root / "nowhere.yaml")


@pytest.mark.parametrize("scales", [[0.07], [8], ["big"], [None], [True], 0.08, []], ids=repr)
def test_unknown_scales_are_named(root, scales):
    message = read_error(root, scales=scales)
    assert "objects.scales" in message and repr(scales[0] if scales and isinstance(scales, list) else scales) in message


@pytest.mark.parametrize("height", [0.0, -0.05, "low", None, True])
def test_a_senseless_rest_height_is_named(root, height):
    with pytest.raises(UserError) as error:
        make_objects({"source": "dexgraspnet", "root": str(root), "maxRestHeight": height})
    assert str(error.value) == f"objects.maxRestHeight is {shown(height)}; it must be a positive number"


@pytest.mark.parametrize("folder", ["datasetv4.1", "meshdatav3_scaled", f"meshdatav3_scaled/{CODE}"])
def test_a_missing_folder_is_named(root, folder):
    shutil.rmtree(root / folder)
    assert folder in read_error(root)


def test_a_root_in_neither_layout_is_named(tmp_path):
    message = read_error(tmp_path)
    assert str(tmp_path) in message and "datasetv4.1" in message and "meshdata" in message


def test_an_empty_root_is_named(root):
    shutil.rmtree(root / "datasetv4.1" / "core")
    assert "no object" in read_error(root)


def test_an_unknown_split_is_named(root):
    assert "'test'" in read_error(root, split="test")
    assert read_dexgraspnet(root, split="unseen_object")[0].split == "unseen_object"


def test_an_unknown_object_is_named(root):
    assert "core/none-0" in read_error(root, ["core/none-0"])


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_grasp_is_named(root, data):
    path = grasp_file(root, number=1)
    whole = grasp_file(root).read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert path.name in read_error(root)


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_grasp_with_altered_pickle_is_read_or_named(root, data):
    altered = grasp_file(root, number=1)
    with zipfile.ZipFile(grasp_file(root)) as source, zipfile.ZipFile(altered, "w") as target:
        for name in source.namelist():
            content = bytearray(source.read(name))
            if name == "qpos.npy":
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            target.writestr(name, bytes(content))  # with a checksum that fits, so that the change reaches the unpickler
    try:
        read_dexgraspnet(root)
    except UserError as error:
        assert altered.name in str(error)


class RunsCode:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_a_pickle_that_would_run_code_does_not(root, tmp_path):
    trace = tmp_path / "ran"
    pickle.loads(pickle.dumps(RunsCode(trace)))
    assert trace.exists(), "the pickle does run code where nothing stops it"
    trace.unlink()
    write_grasp(grasp_file(root), **{"robot0:FFJ3": RunsCode(trace)})
    message = read_error(root)
    assert not trace.exists()
    assert "00000.npz" in message and "not allowed" in message


def test_a_pickle_that_would_corrupt_memory_is_refused():
    """With numpy's own functions, these two states make an array take bytes for an object's address."""
    dtype = np.dtype("O")
    state = (3, "|", None, None, None, -1, -1, 0)

    class Dtype:
        def __reduce__(self):
            return np.dtype, ("O", False, True), state

    class Array:
        def __reduce__(self):
            reconstruct, arguments, _ = np.empty((), dtype).__reduce__()
            return reconstruct, arguments, (1, (), Dtype(), False, b"A" * 8)

    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    file.write(pickle.dumps(Array()))
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="not an array of objects"):
        read_object_items(file)


def test_a_missing_joint_is_named(root):
    names = [name for name in QPOS_NAMES if name != "robot0:LFJ4"]
    write_grasp(grasp_file(root), qpos=dict.fromkeys(names, 0.0))
    assert "robot0:LFJ4" in read_error(root)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.1", None, [0.1]])
def test_a_joint_that_is_no_number_is_named(root, value):
    write_grasp(grasp_file(root), **{"robot0:THJ0": value})
    assert "robot0:THJ0" in read_error(root)


@pytest.mark.parametrize("plane", [(0, 0, 0, 0.04), (0, 0, 1), (0, 0, 1, np.nan)])
def test_a_broken_plane_is_named(root, plane):
    write_grasp(grasp_file(root), plane=plane)
    assert "00000.npz" in read_error(root) and "plane" in read_error(root)


@pytest.mark.parametrize(
    "content",
    ["v nan 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n", "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\n", "v 0 0\n", "v a b c\n", ""],
    ids=["nan", "flat", "two coordinates", "words", "empty"],
)
def test_a_broken_mesh_is_named(root, content):
    (path,) = root.glob("**/coacd_convex_piece_2.obj")
    path.write_text(content)
    assert path.name in read_error(root)


KEPT = {  # grasps of each object at each of SCALES that rest no higher than 0.05 m
    SAMPLE_CODES[0]: (120, 70, 0, 0, 0),
    SAMPLE_CODES[1]: (51, 47, 45, 30, 6),
}
KEPT_CASES = [(code, scale, kept) for code, counts in KEPT.items() for scale, kept in zip(SCALES, counts)]


@pytest.fixture(scope="module", params=[c for c in KEPT_CASES if c[2] > 0], ids=lambda case: f"{case[0][:8]}-{case[1]}")
def sample(request, sample_data) -> GraspObject:
    code, scale, kept = request.param
    (obj,) = read_dexgraspnet(sample_data / "unidexgrasp_layout", [code], scales=[scale])
    assert len(obj.proposals) == kept
    return obj


@pytest.mark.parametrize("code, scale", [case[:2] for case in KEPT_CASES if case[2] == 0])
def test_sample_without_a_low_enough_rest_is_named(sample_data, code, scale):
    assert code in read_error(sample_data / "unidexgrasp_layout", [code], scales=[scale])


def test_sample_pieces_are_closed_convex_and_outward(sample):
    for piece in sample.pieces:
        assert_closed_convex_outward(piece)


def test_sample_joints_are_within_the_limits_but_for_a_few_outliers(sample):
    """The published grasps come from an optimiser with soft limits: some joints of some grasps are beyond."""
    beyond = beyond_joint_limits(sample.proposals.joint_pos)
    assert (beyond < 1e-3).mean() > 0.97
    assert beyond.max() < 0.6


def test_sample_rests_at_its_planes_height(sample, sample_data):
    code, scale = sample.name.split("@")[0], float(sample.name.split("@")[1])
    heights = []
    for path in sorted((sample_data / "unidexgrasp_layout" / "datasetv4.1" / code).glob("*.npz")):
        with np.load(path, allow_pickle=False) as grasp:
            if abs(1 / grasp["scale"] - scale) < 1e-4 and grasp["plane"][3] <= 0.05:
                heights.append(grasp["plane"][3])
    lowest = [Rotation.from_quat(q).apply(sample.vertices)[:, 2].min() for q in sample.proposals.rest_rotation]
    np.testing.assert_allclose(np.sort(np.negative(lowest)), np.sort(heights), atol=0.01 * MILLIMETRE)


def test_samples_first_proposal_is_the_most_overhead_one(sample):
    """The task's hand starts palm down, and `proposal: first` should be what it can best imitate."""
    proposals = sample.proposals
    in_world = Rotation.from_quat(proposals.rest_rotation) * Rotation.from_quat(proposals.rotation)
    downward = -in_world.apply([0.0, -1.0, 0.0])[:, 2]
    assert downward[0] == pytest.approx(downward.max())
    assert (np.diff(downward) <= 1e-9).all()


def test_sample_hand_is_near_the_surface_and_faces_the_object(sample):
    hand = Rotation.from_quat(sample.proposals.rotation)
    palms = sample.proposals.translation + hand.apply(PALM_CENTRE)
    meshes = [trimesh.Trimesh(p.vertices, p.faces, process=False) for p in sample.pieces]
    surface = cKDTree(np.concatenate([trimesh.sample.sample_surface(m, 300, seed=0)[0] for m in meshes]))
    assert surface.query(sample.proposals.translation)[0].max() < 0.20
    assert surface.query(palms)[0].max() < 0.06
    to_object = -palms / np.linalg.norm(palms, axis=1, keepdims=True)
    assert np.einsum("pi,pi->p", hand.apply([0.0, -1.0, 0.0]), to_object).mean() > 0.5


def test_sample_hands_root_is_above_the_table(sample):
    rest = Rotation.from_quat(sample.proposals.rest_rotation)
    table = [turn.apply(sample.vertices)[:, 2].min() for turn in rest]
    assert (rest.apply(sample.proposals.translation)[:, 2] > table).all()


def test_whole_sample_is_read_by_configuration(sample_data, capsys):
    root = f"objects.root={sample_data / 'unidexgrasp_layout'}"
    config = load_config(["sim=mujoco", "objects=dexgraspnet", root]).objects
    assert make_objects(config).names == [f"{code}@0.08" for code in SAMPLE_CODES]
    assert {obj.category for obj in make_objects(config)} == {"bottle", "car"}
    config = dataclasses.replace(config, scales=[0.12])
    assert make_objects(config).names == [f"{SAMPLE_CODES[1]}@0.12"]
    assert "left out 1 of the 2" in capsys.readouterr().out


def test_samples_code_is_that_of_its_scale(sample, sample_data):
    code, scale = sample.name.split("@")
    folder = sample_data / "unidexgrasp_layout" / "meshdatav3_pc_feat" / code
    np.testing.assert_array_equal(sample.code, np.load(folder / f"pc_feat_{round(100 * float(scale)):03d}.npy"))


@pytest.mark.parametrize("layout", ["unidexgrasp_layout", "dexgraspnet_layout"])
def test_the_base_task_trains_on_the_sample(sample_data, tmp_path, layout):
    pytest.importorskip("mujoco.batch")
    run = train(tmp_path, "objects=dexgraspnet", f"objects.root={sample_data / layout}", "objects.scales=[0.06,0.08]")
    assert (run / "nn" / "last.pth").exists()


def test_a_dataset_on_the_command_line_is_checked(root, tmp_path):
    for override, words in (("scales=0.08", "objects.scales"), ("objectList=[a]", "objects.objectList")):
        outcome = call(tmp_path, "objects=dexgraspnet", f"objects.root={root}", f"objects.{override}")
        assert_one_sentence(outcome, words)
