import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
import yaml
from helpers.command_line import train
from helpers.object_checks import assert_closed_convex_outward
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from resdex_tasks.factory import make_objects, make_task
from resdex_tasks.hand.shadow_hand import PALM_CENTRE
from resdex_tasks.objects.geometry.convex import mass_centre, quick_convex_piece
from resdex_tasks.objects.geometry.placements import grasp_width
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.zoo import solids
from resdex_tasks.objects.zoo.categories import CATEGORIES, SEEN, UNSEEN
from resdex_tasks.objects.zoo.instances import build_instance
from resdex_tasks.objects.zoo.splits import (
    SIZES,
    SPLITS_FILE,
    instance_name,
    parse_name,
    split_names,
    write_splits,
)
from resdex_tasks.utils.errors import UserError
from runners.config import load_config
from runners.objects import __main__ as tool

ROOT = Path(__file__).resolve().parents[2]
CFG = ROOT / "cfg" / "objects"
MILLIMETRE = 1e-3
ONE_OF_EACH = make_objects({"source": "zoo", "split": "all", "names": [f"{c}-0000" for c in CATEGORIES]})

each = pytest.mark.parametrize("obj", ONE_OF_EACH, ids=lambda obj: obj.category)


def assert_same_bits(one, other) -> None:
    assert (one.name, one.category, one.split) == (other.name, other.category, other.split)
    assert len(one.pieces) == len(other.pieces)
    arrays = [*vars(one.proposals).values(), *(a for p in one.pieces for a in vars(p).values())]
    others = [*vars(other.proposals).values(), *(a for p in other.pieces for a in vars(p).values())]
    for a, b in zip(arrays, others):
        np.testing.assert_array_equal(a, b)


def assert_graspable(obj, longest=0.15) -> None:
    """The size of everyday objects, and at rest: stable, within the hand's opening and reach, clear of the table."""
    vertices = obj.vertices
    assert np.isfinite(vertices).all()
    assert 0.06 - 1e-9 <= np.ptp(vertices, axis=0).max() <= longest + 1e-9
    np.testing.assert_allclose(mass_centre(obj.pieces), 0.0, atol=1e-9)
    assert 1 <= len(obj.proposals) <= 3
    for turn in Rotation.from_quat(obj.proposals.rest_rotation):
        rested = turn.apply(vertices)
        low, top = rested[:, 2].min(), rested[:, 2].max()
        assert -0.095 < low < 0.0 < top
        assert top - low >= 0.012 - 1e-9
        assert top <= 0.06 + 1e-9, "0.1 m above the table it would touch the waiting hand"
        angle = np.radians(np.arange(180))
        assert np.ptp(rested[:, :2] @ [np.cos(angle), np.sin(angle)], axis=0).min() <= 0.09 + 1e-9
        assert np.ptp(rested[:, 1]) <= 0.09 + 1e-9, "the narrow side lies along the fingers"
        support = rested[rested[:, 2] < low + 0.1 * MILLIMETRE, :2]
        inside = -ConvexHull(support).equations[:, 2]  # distance of the centre of mass from each edge
        assert inside.min() > 2 * MILLIMETRE
        assert np.degrees(np.arctan2(inside.min(), -low)) > 10, "it would tip over too easily"


def test_there_are_at_least_forty_categories_and_seven_reserved():
    assert len(SEEN) >= 40 and len(UNSEEN) >= 7
    assert not set(SEEN) & set(UNSEEN)
    assert f"{len(CATEGORIES)} categories" in (CFG / "zoo.yaml").read_text()


@each
def test_an_object_is_made_of_a_few_small_convex_pieces(obj):
    assert len(obj.pieces) <= 12
    for piece in obj.pieces:
        assert len(piece.vertices) <= 64
        assert_closed_convex_outward(piece)


def touch(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two solids of planes (F, 4) have a point in common, but for a tenth of a millimetre."""
    planes = np.concatenate([one, other])
    return linprog(np.zeros(3), planes[:, :3], 0.1 * MILLIMETRE - planes[:, 3], bounds=(None, None)).status == 0


@each
def test_an_object_holds_together(obj):
    loose = [ConvexHull(piece.vertices).equations for piece in obj.pieces]
    joined = [loose.pop()]
    for piece in joined:
        near = [touch(piece, other) for other in loose]
        joined += [other for other, is_near in zip(loose, near) if is_near]
        loose = [other for other, is_near in zip(loose, near) if not is_near]
    assert not loose


@each
def test_an_object_is_graspable_where_it_rests(obj):
    assert_graspable(obj)


@given(st.sampled_from(sorted(CATEGORIES)), st.integers(0, 2**40), st.integers(0, 10**6))
@settings(max_examples=80)
def test_any_instance_of_any_seed_is_graspable_and_the_same_again(category, seed, index):
    obj = build_instance(category, index, seed, "train")
    assert_graspable(obj)
    assert len(obj.pieces) <= 12
    assert max(len(piece.vertices) for piece in obj.pieces) <= 64
    assert_same_bits(obj, build_instance(category, index, seed, "train"))


def factor_of(twin, obj) -> float:
    """How many times as large as `obj` a twin of the same shape is."""
    assert len(twin.pieces) == len(obj.pieces)
    factor = np.ptp(twin.vertices, axis=0).max() / np.ptp(obj.vertices, axis=0).max()
    for one, other in zip(twin.pieces, obj.pieces):
        np.testing.assert_allclose(one.vertices, factor * other.vertices, atol=1e-9)
        np.testing.assert_array_equal(one.faces, other.faces)
    return factor


@given(st.sampled_from(sorted(CATEGORIES)), st.integers(0, 2**40), st.integers(0, 10**6))
@settings(max_examples=60)
def test_a_large_twin_has_the_same_shape_is_never_smaller_and_graspable(category, seed, index):
    obj, twin = (build_instance(category, index, seed, "unseen_object", large) for large in (False, True))
    assert factor_of(twin, obj) >= 1 - 1e-12
    assert_graspable(twin, longest=0.30)
    for rest in Rotation.from_quat(twin.proposals.rest_rotation):
        assert grasp_width(rest.apply(twin.vertices)) <= 0.09 + 1e-9
    # it rests as the other does first
    assert (twin.category, twin.split) == (obj.category, obj.split) and twin.name == f"{obj.name}-large"
    np.testing.assert_array_equal(twin.proposals.rest_rotation[0], obj.proposals.rest_rotation[0])
    assert_same_bits(twin, build_instance(category, index, seed, "unseen_object", large=True))


def test_large_twins_are_larger():
    """Most of them clearly, and many longer than anything small."""
    twins = [build_instance(obj.category, 0, 0, obj.split, large=True) for obj in ONE_OF_EACH]
    factors = np.array([factor_of(twin, obj) for twin, obj in zip(twins, ONE_OF_EACH)])
    assert np.median(factors) > 1.2 and (factors > 1.01).mean() > 0.9
    longest = np.array([np.ptp(twin.vertices, axis=0).max() for twin in twins])
    assert (longest > 0.16).mean() > 0.25


@each
def test_the_palm_is_just_above_the_top_in_every_pose(obj):
    proposals = obj.proposals
    rest, hand = Rotation.from_quat(proposals.rest_rotation), Rotation.from_quat(proposals.rotation)
    palm = rest.apply(hand.apply(PALM_CENTRE) + proposals.translation)
    top = [turn.apply(obj.vertices)[:, 2].max() for turn in rest]
    np.testing.assert_allclose(palm[:, :2], 0.0, atol=1e-9)
    np.testing.assert_allclose(palm[:, 2], np.add(top, 0.02), atol=1e-9)
    palm_faces = (rest * hand).apply([0.0, -1.0, 0.0])
    np.testing.assert_allclose(palm_faces, np.tile([0.0, 0.0, -1.0], (len(top), 1)), atol=1e-9)


def test_most_vessels_and_figures_stand_as_they_naturally_do():
    names = [f"{category}-{i:04d}" for category in ("bottle", "mug", "goblet", "pawn") for i in range(10)]
    standing = [build_instance(*parse_name(name), 0, "train").proposals.rest_rotation[0] for name in names]
    upright = Rotation.from_quat(standing).apply([0.0, 0.0, 1.0])[:, 2] > 0.99
    assert 0.6 < upright.mean() < 1.0


@pytest.mark.parametrize("category", sorted(CATEGORIES))
def test_instances_of_a_category_differ_in_shape_and_size(category):
    extents = np.array([np.ptp(build_instance(category, i, 0, "train").vertices, axis=0) for i in range(8)])
    shapes = np.log(extents / extents.max(axis=1, keepdims=True))
    difference = np.abs(shapes[:, None] - shapes[None]).max(axis=-1)
    assert np.median(difference[np.triu_indices(8, 1)]) > 0.1, "of the proportions, as a part"
    assert np.ptp(extents.max(axis=1)) > 5 * MILLIMETRE


def test_grasp_width_is_that_of_the_narrowest_direction():
    corners = solids.box(0.10, 0.04, 0.02)
    assert grasp_width(corners) == pytest.approx(0.04)
    assert grasp_width(Rotation.from_euler("z", 30, degrees=True).apply(corners)) == pytest.approx(0.04)
    assert grasp_width(Rotation.from_euler("x", 90, degrees=True).apply(corners)) == pytest.approx(0.02)


def test_an_object_alone_is_the_object_of_the_set():
    chosen = make_objects({"source": "zoo", "count": 60})
    for k in (0, 17, 59):
        (alone,) = make_objects({"source": "zoo", "names": [chosen[k].name]})
        assert_same_bits(alone, chosen[k])


def test_seed_and_index_change_the_object():
    one, *others = (build_instance("mug", i, s, "train").vertices for i, s in ((3, 0), (4, 0), (3, 1)))
    assert all(one.shape == other.shape and not np.allclose(one, other) for other in others)


@given(st.integers(0, 2**40))
@settings(max_examples=10)
def test_the_splits_are_disjoint_and_as_large_as_the_papers(seed):
    splits = split_names(seed)
    assert {split: len(names) for split, names in splits.items()} == SIZES
    assert SIZES == {"train": 3200, "unseen_object": 141, "unseen_category": 100}
    everything = [name for names in splits.values() for name in names]
    assert len(set(everything)) == len(everything)
    of = {split: {parse_name(name)[0] for name in names} for split, names in splits.items()}
    assert of == {"train": set(SEEN), "unseen_object": set(SEEN), "unseen_category": set(UNSEEN)}


def test_the_seed_chooses_what_is_held_out():
    assert split_names(0) == split_names(0)
    assert set(split_names(0)["unseen_object"]) != set(split_names(1)["unseen_object"])


def test_the_shipped_list_is_that_of_seed_0():
    assert yaml.safe_load(SPLITS_FILE.read_text()) == split_names(0)


def test_the_command_writes_the_list_of_a_seed(tmp_path, capsys):
    path = tmp_path / "zoo_7.yaml"
    assert tool.main(["splits", f"--out={path}", "objects=zoo", "objects.seed=7"]) == 0
    assert yaml.safe_load(path.read_text()) == split_names(7)
    for arguments, message in (
        ([f"--out={tmp_path / 'nowhere' / 'zoo.yaml'}", "objects=zoo"], "there is no folder"),
        ([f"--out={path}", "objects=zoo", "objects.seed=-1"], "objects.seed is -1"),
        ([f"--out={path}", "objects=starter"], "only the zoo has splits"),
    ):
        assert tool.main(["splits", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_a_list_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        write_splits(tmp_path / "nowhere" / "zoo.yaml", 0)


def test_a_small_count_takes_every_category_in_turn():
    names = make_objects({"source": "zoo", "count": len(SEEN) + 2}).names
    assert sorted(parse_name(name)[0] for name in names[: len(SEEN)]) == sorted(SEEN)
    assert [parse_name(name)[0] for name in names[len(SEEN) :]] == sorted(SEEN)[:2]


def test_categories_names_and_splits_choose_objects():
    cfg = {"source": "zoo", "split": "all", "categories": ["teapot", "mug"], "count": 6}
    assert [obj.category for obj in make_objects(cfg)] == 3 * ["mug", "teapot"]
    assert {obj.split for obj in make_objects({**cfg, "categories": ["teapot"]})} == {"unseen_category"}
    held_out = split_names(0)["unseen_object"][:3]
    unseen = make_objects({"source": "zoo", "split": "unseen_object", "names": held_out[::-1]})
    assert unseen.names == held_out[::-1]
    assert {obj.split for obj in unseen} == {"unseen_object"}


@pytest.mark.parametrize("split", ["train", "unseen_object", "unseen_category", "all"])
def test_sizes_are_of_the_same_objects_and_both_take_turns(split):
    small, large, both = (
        make_objects({"source": "zoo", "split": split, "sizes": sizes, "count": count})
        for sizes, count in (("small", 3), ("large", 3), ("both", 6))
    )
    assert small.names == make_objects({"source": "zoo", "split": split, "count": 3}).names
    assert large.names == [f"{name}-large" for name in small.names]
    assert both.names == [name for pair in zip(small.names, large.names) for name in pair]
    for one, other in zip(both, (obj for pair in zip(small, large) for obj in pair)):
        assert_same_bits(one, other)


def test_sizes_go_with_names_and_categories():
    names = ["mug-0003-large", "mug-0003", "mug-0004-large"]
    assert make_objects({"source": "zoo", "sizes": "both", "names": names}).names == names
    chosen = make_objects({"source": "zoo", "sizes": "large", "categories": ["mug"], "count": 2})
    assert [obj.category for obj in chosen] == ["mug", "mug"] and all(name.endswith("-large") for name in chosen.names)
    splits = {"source": "zoo", "split": ["train", "unseen_category"], "sizes": "both", "count": 2}
    assert [obj.split for obj in make_objects(splits)] == ["train"] * 2 + ["unseen_category"] * 2


@given(st.sampled_from(sorted(CATEGORIES)), st.integers(0, 10**6), st.booleans())
def test_a_name_tells_category_and_index(category, index, large):
    name = instance_name(category, index, large)
    assert parse_name(name) == (category, index) and name.endswith("-large") == large


def test_the_configuration_group_is_the_training_split():
    values = load_config(["sim=mujoco", "objects=zoo"]).plain["objects"]
    chosen = {key: value for key, value in values.items() if value is not None}
    assert chosen == {"source": "zoo", "split": "train", "sizes": "small", "seed": 0}
    assert load_config(["sim=mujoco", "objects=zoo", "objects.count=3"]).plain["objects"] == {**values, "count": 3}


@pytest.mark.parametrize(
    "cfg, words",
    [
        ({"split": "test"}, r"objects\.split.*'test'.*unseen_category"),
        ({"split": None}, r"objects\.split is null; it must be train, .*unseen_category"),
        ({"categories": ["mugs"]}, r"objects\.categories.*'mugs'.*mushroom"),
        ({"categories": [5]}, r"objects\.categories is \[5\]; it must be a list of strings or null"),
        ({"categories": []}, r"objects\.categories is empty"),
        ({"categories": "mug"}, r"objects\.categories is 'mug'; it must be a list of strings or null"),
        ({"categories": ["teapot"]}, r"objects\.categories.*'teapot'.*'train'"),
        ({"count": 0}, r"objects\.count is 0; it must be an integer of at least 1 or null"),
        ({"count": 3201}, r"objects\.count is 3201.*3200"),
        ({"count": 101, "split": "unseen_category"}, r"objects\.count is 101.*100"),
        ({"count": 2.5}, r"objects\.count is 2\.5; it must be an integer"),
        ({"count": True}, r"objects\.count is true; it must be an integer"),
        ({"seed": -1}, r"objects\.seed is -1; it must be an integer of at least 0"),
        ({"seed": 1.0}, r"objects\.seed is 1\.0; it must be an integer"),
        ({"seed": "one"}, r"objects\.seed is 'one'; it must be an integer"),
        ({"seed": None}, r"objects\.seed is null; it must be an integer"),
        ({"names": ["mug-9999"]}, r"objects\.names.*'mug-9999'"),
        ({"names": ["teapot-0000"]}, r"objects\.names.*'teapot-0000'.*'train'"),
        ({"names": [["mug-0000"]]}, r"objects\.names is \[\['mug-0000'\]\]; it must be a list of strings or null"),
        ({"names": []}, r"empty"),
        ({"names": ["mug-0000", "mug-0000"]}, r"twice: mug-0000"),
        ({"sizes": "huge"}, r"objects\.sizes is 'huge'; it must be small, large or both"),
        ({"sizes": ["large"]}, r"objects\.sizes is \['large'\]; it must be small, large or both"),
        ({"names": ["mug-0003-large"]}, r"objects\.names.*'mug-0003-large'.*3200 objects.*'train'"),
        ({"names": ["mug-0003"], "sizes": "large"}, r"objects\.names.*'mug-0003'.*apple-0000-large"),
        ({"count": 6401, "sizes": "both"}, r"objects\.count is 6401.*6400"),
        ({"size": 3}, r"unknown key objects\.size; the keys are categories, .*split"),
    ],
)
def test_a_wrong_choice_is_named(cfg, words):
    with pytest.raises(UserError, match=words) as error:
        make_objects({"source": "zoo", **cfg})
    assert "\n" not in str(error.value)


def volume(shape) -> float:
    pieces = [quick_convex_piece(points) for points in shape]
    return sum(trimesh.Trimesh(piece.vertices, piece.faces, process=False).volume for piece in pieces)


def most_pieces_at_a_point(shape, count=3000) -> int:
    points = np.concatenate(shape)
    samples = np.random.default_rng(0).uniform(points.min(axis=0), points.max(axis=0), (count, 3))
    planes = [ConvexHull(piece).equations for piece in shape]
    return max(sum((samples @ e[:, :3].T + e[:, 3] < -1e-9).all(axis=1).astype(int) for e in planes))


def frustum_volume(low, high, height, sides):
    """A regular polygon with corner radius r has the area sides / 2 sin(2 pi / sides) r^2."""
    return sides / 2 * np.sin(2 * np.pi / sides) * height * (low**2 + low * high + high**2) / 3


def test_a_lathe_cuts_where_its_profile_bends_inwards():
    profile = [(1.0, 0.0), (1.0, 1.0), (0.4, 1.5), (0.4, 2.0), (0.8, 2.0), (0.8, 2.5)]
    shape = solids.lathe(profile, sides=8)
    assert len(shape) == 3, "body and shoulder, neck, cap"
    parts = [(1.0, 1.0, 1.0), (1.0, 0.4, 0.5), (0.4, 0.4, 0.5), (0.8, 0.8, 0.5)]
    assert volume(shape) == pytest.approx(sum(frustum_volume(*part, 8) for part in parts))
    assert most_pieces_at_a_point(shape) == 1


def test_a_lathe_keeps_its_pieces_small():
    bulge = [(np.sin(a), -np.cos(a)) for a in np.linspace(0.2, 2.9, 14)]
    shape = solids.lathe(bulge, sides=16)
    assert max(len(points) for points in shape) <= solids.MAX_POINTS
    steps = zip(bulge, bulge[1:])
    assert volume(shape) == pytest.approx(sum(frustum_volume(a, b, y - x, 16) for (a, x), (b, y) in steps))


def test_a_shell_is_hollow_and_its_pieces_do_not_overlap():
    shape = solids.shell([(0.6, 0.0), (0.9, 0.5), (1.0, 1.2)], wall=0.1, segments=8)
    assert len(shape) == 9
    assert most_pieces_at_a_point(shape) == 1
    inside = np.array([0.0, 0.0, 0.6])
    assert not any((ConvexHull(p).equations @ [*inside, 1.0] < 0).all() for p in shape)
    assert np.concatenate(shape)[:, 2].max() == pytest.approx(1.2)


def test_a_closed_sweep_is_a_ring_of_pieces_that_touch():
    path = solids.in_plane(solids.polygon(1.0, 8), "xy")
    ring = solids.sweep(path, 0.2, (0.0, 0.0, 1.0), sides=4, closed=True)
    assert len(ring) == 8
    assert most_pieces_at_a_point(ring) == 1
    length = 8 * 2 * np.sin(np.pi / 8)  # of the path; a mitred bar is as large as a straight one of this length
    assert volume(ring) == pytest.approx(0.4**2 * length)


def test_halves_are_the_whole():
    for whole in (solids.blob(3.0, 2.0, 1.0, squareness=3.0), solids.slab(2.0, 1.0, 0.3, 0.2)):
        both = solids.halves(whole)
        assert volume(both) == pytest.approx(volume([whole]))
        assert [np.sign(half[:, 0].sum()) for half in both] == [1, -1]


def test_what_is_laid_points_along_x():
    (pencil,) = solids.laid(solids.lathe([(0.1, 0.0), (0.1, 3.0)], sides=8))
    np.testing.assert_allclose(np.ptp(pencil, axis=0)[0], 3.0)
    assert pencil[:, 0].min() == pytest.approx(0.0)


@pytest.fixture(scope="module")
def settle():
    pytest.importorskip("mujoco.batch")
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks import settle
    finally:
        sys.path.remove(str(ROOT))
    return settle


@pytest.fixture(scope="module")
def zoo_config():
    return load_config(["objects=zoo", "sim=mujoco", "num_envs=64"])


@pytest.mark.parametrize("sizes", ["small", "large"])
def test_objects_settle_as_they_were_meant_to(settle, zoo_config, sizes):
    chosen = [build_instance(obj.category, 0, 0, obj.split, sizes == "large") for obj in ONE_OF_EACH]
    drops = settle.drop(ObjectSet(chosen), zoo_config, first_only=True, seconds=1.0, seed=0)
    moves, wandered, fell, sank, wide = (fault for _, fault in drops.faults())
    assert len(drops.name) == len(CATEGORIES)
    assert not wide.any()
    assert (wandered | fell | sank).sum() <= 1
    assert moves.sum() <= 3


def test_an_object_too_wide_for_the_hand_is_reported(settle, zoo_config):
    obj = ONE_OF_EACH[0]
    rested = Rotation.from_quat(obj.proposals.rest_rotation[0]).apply(obj.vertices)
    factor = 0.1 / grasp_width(rested)
    pieces = [dataclasses.replace(piece, vertices=factor * piece.vertices) for piece in obj.pieces]
    large = dataclasses.replace(obj, name="large", pieces=tuple(pieces))
    drops = settle.drop(ObjectSet([obj, large]), zoo_config, first_only=True, seconds=1 / 60, seed=0)
    assert drops.width.tolist() == pytest.approx([grasp_width(rested), 0.1], abs=1e-6)
    (wide,) = [fault for what, fault in drops.faults() if "fit the hand" in what]
    assert wide.tolist() == [False, True]


def test_objects_fall_freely_below_the_waiting_hand(zoo_config):
    pytest.importorskip("mujoco.batch")
    env = zoo_config.task.env
    task = make_task(env, zoo_config.sim_name, zoo_config.sim, ONE_OF_EACH, len(ONE_OF_EACH), seed=0)
    task.reset()
    still = torch.zeros(task.num_envs, 3)
    for _ in range(2):
        task.sim.step(torch.zeros(task.num_envs, 18), still, still)
    velocity = task.sim.state().object[:, 7:10]
    falling = torch.tensor([0.0, 0.0, -2 / 60 * 9.81]).expand(task.num_envs, 3)
    torch.testing.assert_close(velocity, falling, atol=1e-4, rtol=0)


def test_a_list_of_splits_takes_at_most_count_of_each():
    objects = make_objects({"source": "zoo", "split": ["train", "unseen_category"], "count": 120})
    assert [o.split for o in objects] == ["train"] * 120 + ["unseen_category"] * 100
    assert objects.names[:120] == make_objects({"source": "zoo", "split": "train", "count": 120}).names


def test_the_base_task_trains_on_the_zoo(tmp_path):
    pytest.importorskip("mujoco.batch")
    run = train(tmp_path, "objects=zoo", "objects.count=2", "objects.proposals=shipped")
    assert (run / "nn" / "last.pth").exists()
