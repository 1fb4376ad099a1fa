import io
import pickle
import shutil
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from object_checks import assert_closed_convex_outward, vertices_of
from scipy.spatial import ConvexHull, cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.errors import UserError
from resdex_tasks.objects import make_objects
from resdex_tasks.objects.convex import convex_piece, mass_centre, quick_convex_piece
from resdex_tasks.objects.dexgraspnet import SCALES, read_unidexgrasp
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.objects.rest import rotation_to_up
from resdex_tasks.objects.restricted_pickle import read_object_items
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.shadow_hand import JOINTS, PALM_CENTRE, asset_root

CFG = Path(__file__).resolve().parents[1] / "cfg" / "objects"
STARTER = list(starter_objects())
CODE = "core/crate-0"
SAMPLE_CODES = ("core/bottle-70172e6afe6aff7847f90c1ac631b97f", "sem/Car-669043a8ce40d9d78781f76a6db4ab62")
MILLIMETRE = 1e-3

starter = pytest.mark.parametrize("thing", STARTER, ids=lambda thing: thing.name)


def beyond_joint_limits(joint_pos: np.ndarray) -> np.ndarray:
    """(P, 22) how far each joint position is outside the range in the hand's own model, rad; 0 inside."""
    ranges = {j.get("name"): j.get("range") for j in ET.parse(str(asset_root() / "hand" / "robot.xml")).iter("joint")}
    low, high = np.array([ranges[f"robot0:{joint}"].split() for joint in JOINTS], dtype=float).T
    return np.maximum(0.0, np.maximum(low - joint_pos, joint_pos - high))


@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.floats(0.01, 0.3))
@settings(deadline=None, max_examples=30)
def test_a_convex_piece_is_the_closed_outward_hull_of_its_points(seed, count, size):
    points = np.random.default_rng(seed).normal(size=(count, 3)) * size
    piece = convex_piece(points)
    assert_closed_convex_outward(piece)
    np.testing.assert_allclose(piece.vertices.min(0), points.min(0))
    np.testing.assert_allclose(piece.vertices.max(0), points.max(0))


@given(st.integers(0, 2**32 - 1), st.integers(4, 40))
@settings(deadline=None, max_examples=30)
def test_the_quick_hull_is_the_same_body(seed, count):
    points = np.random.default_rng(seed).normal(size=(count, 3))
    quick, plain = quick_convex_piece(points), convex_piece(points)
    assert_closed_convex_outward(quick)
    np.testing.assert_array_equal(quick.vertices, plain.vertices)
    np.testing.assert_allclose(mass_centre([quick]), mass_centre([plain]))


def test_flat_points_are_no_convex_piece():
    with pytest.raises(ValueError, match="span no volume"):
        convex_piece(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]))


@starter
def test_starter_pieces_are_closed_convex_and_outward(thing):
    for piece in thing.pieces:
        assert_closed_convex_outward(piece)


@starter
def test_starter_shape_rests_on_the_table_under_its_centre_of_mass(thing):
    np.testing.assert_allclose(mass_centre(thing.pieces), 0.0, atol=1e-9)
    np.testing.assert_array_equal(thing.proposals.rest_rotation, [[0, 0, 0, 1]])
    vertices = vertices_of(thing)
    support = vertices[vertices[:, 2] < vertices[:, 2].min() + 1e-6, :2]
    if np.linalg.matrix_rank(support - support[0], tol=1e-6) < 2:  # round shapes rest on a point or a line
        np.testing.assert_allclose((support.min(0) + support.max(0)) / 2, 0.0, atol=1e-6)
    else:
        assert (ConvexHull(support).equations[:, 2] < -5 * MILLIMETRE).all()  # edges at least 5 mm around the origin


@starter
def test_starter_shape_fits_the_hand(thing):
    assert np.sort(np.ptp(vertices_of(thing), axis=0))[0] <= 0.08


@starter
def test_starter_proposal_holds_the_palm_just_above_the_top(thing):
    proposals = thing.proposals
    hand = Rotation.from_quat(proposals.rotation[0])
    palm = hand.apply(PALM_CENTRE) + proposals.translation[0]
    np.testing.assert_allclose(palm, [0.0, 0.0, vertices_of(thing)[:, 2].max() + 0.02], atol=1e-9)
    np.testing.assert_allclose(hand.apply([0.0, -1.0, 0.0]), [0.0, 0.0, -1.0], atol=1e-9)
    assert beyond_joint_limits(proposals.joint_pos).max() == 0.0


def test_the_default_box_is_6_by_6_by_7_cm():
    (box,) = make_objects(yaml.safe_load((CFG / "starter.yaml").read_text()))
    assert (box.name, box.split) == ("box", "train")
    np.testing.assert_allclose(np.ptp(vertices_of(box), axis=0), [0.06, 0.06, 0.07])


def test_mug_pieces_do_not_overlap():
    (mug,) = [thing for thing in STARTER if thing.name == "mug"]
    inside = np.zeros(4000, dtype=int)
    low, high = vertices_of(mug).min(0), vertices_of(mug).max(0)
    points = np.random.default_rng(0).uniform(low, high, (len(inside), 3))
    for piece in mug.pieces:
        equations = ConvexHull(piece.vertices).equations
        inside += (points @ equations[:, :3].T + equations[:, 3] < -1e-9).all(axis=1)
    assert inside.max() == 1


@given(st.permutations([thing.name for thing in STARTER]), st.integers(1, len(STARTER)))
@settings(deadline=None, max_examples=20)
def test_names_choose_objects_in_their_order(order, count):
    assert ObjectSet(STARTER).select(order[:count]).names == order[:count]


@pytest.mark.parametrize(
    "cfg, words",
    [
        ({"source": "zoos"}, r"'zoos'.*starter, unidexgrasp, zoo"),
        ({}, r"starter, unidexgrasp"),
        ({"source": "starter", "scael": 1}, r"objects\.scael"),
        ({"source": "starter", "scale": 0.08}, r"objects\.scale.*starter"),
        ({"source": "starter", "names": ["teapot"]}, r"no object 'teapot'"),
        ({"source": "starter", "names": []}, r"empty"),
        ({"source": "starter", "names": "box"}, r"objects\.names.*list"),
        ({"source": "unidexgrasp"}, r"objects\.root"),
        ({"source": "unidexgrasp", "root": "???"}, r"objects\.root"),
        ({"source": "unidexgrasp", "root": "nowhere"}, r"no folder nowhere"),
    ],
)
def test_a_wrong_choice_is_named(cfg, words):
    with pytest.raises(UserError, match=words) as error:
        make_objects(cfg)
    assert "\n" not in str(error.value)


def write_grasp(path: Path, scale: float = 0.08, plane=(0.0, 0.0, 1.0, 0.04), qpos=None, **changes) -> None:
    if qpos is None:
        names = [f"robot0:{joint}" for joint in JOINTS] + [f"WRJ{kind}{axis}" for kind in "RT" for axis in "xyz"]
        qpos = {name: 0.01 * i for i, name in enumerate(names)}
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


@pytest.fixture
def root(tmp_path) -> Path:
    write_object(tmp_path)
    return tmp_path


def read_error(root: Path, *args, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        read_unidexgrasp(root, *args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_object_is_read_at_its_scale(root):
    (crate,) = read_unidexgrasp(root, [CODE], scale=0.08)
    assert (crate.name, crate.category, crate.split) == ("core/crate-0-008", "crate", "train")
    np.testing.assert_allclose(np.ptp(vertices_of(crate), axis=0), 0.08)
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
    (crate,) = read_unidexgrasp(root)
    assert crate.proposals.joint_pos[:, 0].tolist() == [0.0, 0.3]
    assert len(read_unidexgrasp(root, max_rest_height=0.06)[0].proposals) == 3


def test_objects_without_a_usable_grasp_are_skipped_and_counted(root, capsys):
    write_object(root, "core/pot-1", scale=0.06)
    assert read_unidexgrasp(root).names == [f"{CODE}-008"]
    assert "skipped 1 of 2 objects" in capsys.readouterr().out
    assert "core/pot-1" in read_error(root, ["core/pot-1"])
    assert "scale 0.1 " in read_error(root, scale=0.1)


@given(st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda n: np.linalg.norm(n) > 0.1))
@settings(deadline=None)
def test_rotation_to_up_is_the_smallest_that_raises_the_normal(normal):
    normal = np.array(normal) / np.linalg.norm(normal)
    rotation = Rotation.from_quat(rotation_to_up(normal))
    np.testing.assert_allclose(rotation.apply(normal), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(rotation.magnitude(), np.arctan2(np.linalg.norm(normal[:2]), normal[2]), atol=1e-6)


@pytest.mark.parametrize("off", [0.0, 1e-17, -1e-16, 1e-12, 1e-9])
def test_rotation_to_up_of_straight_down_is_half_a_turn(off):
    """-1 + 1e-16 is a cosine that rounding makes; what is left of the axis then is noise."""
    down = np.array([off, 0, -1.0 + 1e-16])
    np.testing.assert_allclose(Rotation.from_quat(rotation_to_up(down)).apply([0, 0, -1]), [0, 0, 1], atol=1e-7)


@pytest.mark.parametrize("scale", [0.07, 8, "big", None])
def test_an_unknown_scale_is_named(root, scale):
    assert repr(scale) in read_error(root, scale=scale)


@pytest.mark.parametrize("height", [0.0, -0.05, "low", None])
def test_a_senseless_rest_height_is_named(root, height):
    assert repr(height) in read_error(root, max_rest_height=height)


@pytest.mark.parametrize("folder", ["datasetv4.1", "meshdatav3_scaled", f"meshdatav3_scaled/{CODE}"])
def test_a_missing_folder_is_named(root, folder):
    shutil.rmtree(root / folder)
    assert folder in read_error(root)


def test_an_unknown_object_is_named(root):
    assert "core/none-0" in read_error(root, ["core/none-0"])


@given(data=st.data())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_grasp_is_named(root, data):
    path = grasp_file(root, number=1)
    whole = grasp_file(root).read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert path.name in read_error(root)


@given(data=st.data())
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_grasp_with_altered_pickle_is_read_or_named(root, data):
    altered = grasp_file(root, number=1)
    with zipfile.ZipFile(grasp_file(root)) as source, zipfile.ZipFile(altered, "w") as target:
        for name in source.namelist():
            content = bytearray(source.read(name))
            if name == "qpos.npy":
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            target.writestr(name, bytes(content))  # with a checksum that fits, so that the change reaches the unpickler
    try:
        read_unidexgrasp(root)
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
    names = [f"robot0:{joint}" for joint in JOINTS if joint != "LFJ4"]
    write_grasp(grasp_file(root), qpos=dict.fromkeys(names + [f"WRJ{k}{a}" for k in "RT" for a in "xyz"], 0.0))
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
    (thing,) = read_unidexgrasp(sample_data / "unidexgrasp_layout", [code], scale=scale)
    assert len(thing.proposals) == kept
    return thing


@pytest.mark.parametrize("code, scale", [case[:2] for case in KEPT_CASES if case[2] == 0])
def test_sample_without_a_low_enough_rest_is_named(sample_data, code, scale):
    assert code in read_error(sample_data / "unidexgrasp_layout", [code], scale=scale)


def test_sample_pieces_are_closed_convex_and_outward(sample):
    for piece in sample.pieces:
        assert_closed_convex_outward(piece)


def test_sample_joints_are_within_the_limits_but_for_a_few_outliers(sample):
    """The published grasps come from an optimiser with soft limits: some joints of some grasps are beyond."""
    beyond = beyond_joint_limits(sample.proposals.joint_pos)
    assert (beyond < 1e-3).mean() > 0.97
    assert beyond.max() < 0.6


def test_sample_rests_at_its_planes_height(sample, sample_data):
    code, scale = sample.name.rsplit("-", 1)[0], int(sample.name[-3:]) / 100
    heights = []
    for path in sorted((sample_data / "unidexgrasp_layout" / "datasetv4.1" / code).glob("*.npz")):
        with np.load(path, allow_pickle=False) as grasp:
            if abs(1 / grasp["scale"] - scale) < 1e-4 and grasp["plane"][3] <= 0.05:
                heights.append(grasp["plane"][3])
    lowest = [Rotation.from_quat(q).apply(vertices_of(sample))[:, 2].min() for q in sample.proposals.rest_rotation]
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
    table = [turn.apply(vertices_of(sample))[:, 2].min() for turn in rest]
    assert (rest.apply(sample.proposals.translation)[:, 2] > table).all()


def test_whole_sample_is_read_by_configuration(sample_data, capsys):
    cfg = yaml.safe_load((CFG / "unidexgrasp.yaml").read_text())
    cfg["root"] = str(sample_data / "unidexgrasp_layout")
    assert make_objects(cfg).names == [f"{code}-008" for code in SAMPLE_CODES]
    cfg["scale"] = 0.12
    assert make_objects(cfg).names == [f"{SAMPLE_CODES[1]}-012"]
    assert "skipped 1 of 2" in capsys.readouterr().out
