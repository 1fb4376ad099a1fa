import numpy as np
import pytest
from helpers.object_checks import assert_closed_convex_outward, beyond_joint_limits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from resdex_tasks.factory import make_objects
from resdex_tasks.hand.shadow_hand import PALM_CENTRE
from resdex_tasks.objects.geometry.convex import convex_piece, mass_centre, quick_convex_piece
from resdex_tasks.objects.geometry.stable_poses import rotation_to_up
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.utils.errors import UserError
from runners.config import load_config

STARTER = list(starter_objects())
MILLIMETRE = 1e-3

starter = pytest.mark.parametrize("obj", STARTER, ids=lambda obj: obj.name)


@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.floats(0.01, 0.3))
@settings(max_examples=30)
def test_a_convex_piece_is_the_closed_outward_hull_of_its_points(seed, count, size):
    points = np.random.default_rng(seed).normal(size=(count, 3)) * size
    piece = convex_piece(points)
    assert_closed_convex_outward(piece)
    np.testing.assert_allclose(piece.vertices.min(0), points.min(0))
    np.testing.assert_allclose(piece.vertices.max(0), points.max(0))


@given(st.integers(0, 2**32 - 1), st.integers(4, 40))
@settings(max_examples=30)
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
def test_starter_pieces_are_closed_convex_and_outward(obj):
    for piece in obj.pieces:
        assert_closed_convex_outward(piece)


@starter
def test_starter_shape_rests_on_the_table_under_its_centre_of_mass(obj):
    np.testing.assert_allclose(mass_centre(obj.pieces), 0.0, atol=1e-9)
    np.testing.assert_array_equal(obj.proposals.rest_rotation, [[0, 0, 0, 1]])
    vertices = obj.vertices
    support = vertices[vertices[:, 2] < vertices[:, 2].min() + 1e-6, :2]
    if np.linalg.matrix_rank(support - support[0], tol=1e-6) < 2:  # round shapes rest on a point or a line
        np.testing.assert_allclose((support.min(0) + support.max(0)) / 2, 0.0, atol=1e-6)
    else:
        assert (ConvexHull(support).equations[:, 2] < -5 * MILLIMETRE).all()  # edges at least 5 mm around the origin


@starter
def test_starter_shape_fits_the_hand(obj):
    assert np.sort(np.ptp(obj.vertices, axis=0))[0] <= 0.08


@starter
def test_starter_proposal_holds_the_palm_just_above_the_top(obj):
    proposals = obj.proposals
    hand = Rotation.from_quat(proposals.rotation[0])
    palm = hand.apply(PALM_CENTRE) + proposals.translation[0]
    np.testing.assert_allclose(palm, [0.0, 0.0, obj.vertices[:, 2].max() + 0.02], atol=1e-9)
    np.testing.assert_allclose(hand.apply([0.0, -1.0, 0.0]), [0.0, 0.0, -1.0], atol=1e-9)
    assert beyond_joint_limits(proposals.joint_pos).max() == 0.0


def test_the_default_box_is_6_by_6_by_7_cm():
    (box,) = make_objects(load_config(["sim=mujoco", "objects=starter"]).objects)
    assert (box.name, box.split) == ("box", "train")
    np.testing.assert_allclose(np.ptp(box.vertices, axis=0), [0.06, 0.06, 0.07])


def test_mug_pieces_do_not_overlap():
    (mug,) = [obj for obj in STARTER if obj.name == "mug"]
    inside = np.zeros(4000, dtype=int)
    low, high = mug.vertices.min(0), mug.vertices.max(0)
    points = np.random.default_rng(0).uniform(low, high, (len(inside), 3))
    for piece in mug.pieces:
        equations = ConvexHull(piece.vertices).equations
        inside += (points @ equations[:, :3].T + equations[:, 3] < -1e-9).all(axis=1)
    assert inside.max() == 1


@given(st.permutations([obj.name for obj in STARTER]), st.integers(1, len(STARTER)))
@settings(max_examples=20)
def test_names_choose_objects_in_their_order(order, count):
    assert ObjectSet(STARTER).select(order[:count]).names == order[:count]


@pytest.mark.parametrize(
    "cfg, words",
    [
        ({"source": "zoos"}, r"objects\.source is 'zoos'; the sources are starter, zoo, dexgraspnet, meshes"),
        ({}, r"objects\.source is None; the sources are starter, zoo, dexgraspnet, meshes"),
        (
            {"source": "starter", "scael": 1},
            r"unknown key objects\.scael; the keys are codes, names, proposals, source",
        ),
        ({"source": "starter", "scales": [0.08]}, r"unknown key objects\.scales; the keys are codes, names"),
        ({"source": "starter", "names": ["teapot"]}, r"no object 'teapot'"),
        ({"source": "starter", "names": []}, r"empty"),
        ({"source": "starter", "names": "box"}, r"objects\.names is 'box'; it must be a list of strings or null"),
        (
            {"source": "starter", "names": [["box"]]},
            r"objects\.names is \[\['box'\]\]; it must be a list of strings or null",
        ),
        (
            {"source": "dexgraspnet", "root": ".", "scales": ["0.08"]},
            r"objects\.scales is \['0\.08'\]; it must be .*list of numbers",
        ),
        ({"source": "dexgraspnet"}, r"objects\.root"),
        ({"source": "dexgraspnet", "root": "???"}, r"objects\.root"),
        ({"source": "dexgraspnet", "root": "nowhere"}, r"no folder nowhere"),
    ],
)
def test_a_wrong_choice_is_named(cfg, words):
    with pytest.raises(UserError, match=words) as error:
        make_objects(cfg)
    assert "\n" not in str(error.value)


@given(st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda n: np.linalg.norm(n) > 0.1))
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
