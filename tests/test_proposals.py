import dataclasses
import json

import numpy as np
import pytest
import torch
from fakes import mujoco_sim
from grasp_checks import OBJECTS, candidates_of, make_sim
from hypothesis import given, settings
from hypothesis import strategies as st
from object_checks import vertices_of
from scipy.spatial.transform import Rotation

from resdex_tasks.errors import UserError
from resdex_tasks.hand_shape import hand_hull, hand_spheres, joint_ranges
from resdex_tasks.objects import make_objects, proposals_file
from resdex_tasks.objects.dexgraspnet import read_dexgraspnet
from resdex_tasks.objects.dexgraspnet_files import MAX_DEPTH
from resdex_tasks.objects.object_set import GraspProposals, ObjectSet
from resdex_tasks.objects.proposals import depth_in_table, sample_candidates, vary_candidates
from resdex_tasks.objects.proposals_file import COLUMNS, found_for, grasp_dicts, read_found, with_proposals, write_found
from resdex_tasks.objects.rest import rest_heights
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.objects.surface import TurnedSurface
from resdex_tasks.shadow_hand import FINGERS, JOINTS
from resdex_tasks.sims.base import TABLE_HEIGHT
from runners import propose as propose_module
from runners.grasp_trials import (
    DOWN_IN_HAND,
    FULL_COURSE,
    QUICK_COURSE,
    Outcomes,
    Stage,
    holds,
    replay_trials,
    run_trials,
)
from runners.objects import main
from runners.propose import HELD, MAX_UNLIKE, STABLE, Settings, _Search, _Tried, propose, run, strays

QUICK = Settings(candidates=16, variations=6, rounds=4, parents=3, wanted=3)
MILLIMETRE = 1e-3


def hands_on_table(thing, grasps):
    """Each hand's rotation and position (P, 3), with the object at rest on z = 0."""
    rest = Rotation.from_quat(grasps.rest_rotation)
    height = rest_heights(vertices_of(thing), grasps.rest_rotation)
    position = rest.apply(grasps.translation) + height[:, None] * [0, 0, 1]
    return rest * Rotation.from_quat(grasps.rotation), position


def test_the_hands_spheres_are_where_mujoco_has_its_collision_shapes():
    mujoco = pytest.importorskip("mujoco")
    model = mujoco_sim(["box"]).scene.model
    data = mujoco.MjData(model)
    low, high = joint_ranges().T
    q = low + np.random.default_rng(0).random((3, len(JOINTS))) * (high - low)
    spheres = hand_spheres(q)
    for k in range(3):
        data.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
        for value, name in zip(q[k], JOINTS):
            data.qpos[model.joint(name).qposadr[0]] = value
        mujoco.mj_kinematics(model, data)
        capsules = [g for g in range(model.ngeom) if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_CAPSULE]
        assert len(capsules) == 15
        for g in capsules:
            distance = np.linalg.norm(spheres.centres[k] - data.geom_xpos[g], axis=1)
            assert distance.min() < 1e-9
            assert spheres.radii[distance.argmin()] == model.geom_size[g, 0]
    np.testing.assert_allclose(joint_ranges(), mujoco_sim(["box"]).joint_limits.numpy(), atol=1e-6)
    assert set(spheres.finger) == {-1, *range(len(FINGERS))}


@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: thing.category)
def test_candidates_are_hands_over_the_table_that_face_the_object(thing):
    grasps = candidates_of(thing)
    assert len(grasps) == 12
    low, high = joint_ranges().T
    assert (grasps.joint_pos >= low - 1e-9).all() and (grasps.joint_pos <= high + 1e-9).all()
    hand, position = hands_on_table(thing, grasps)
    # the palm's face, or the fingers beyond it, look at the object
    to_object = -position + [0, 0, np.ptp(vertices_of(thing), axis=0).max() / 4]
    to_object /= np.linalg.norm(to_object, axis=1, keepdims=True)
    looks = hand.apply([0.0, -1.0, 1.0]) / np.sqrt(2)
    assert (np.sum(looks * to_object, axis=1) > 0.3).all()
    spheres = hand_spheres(grasps.joint_pos)
    palm = np.einsum("kij,ksj->ksi", hand.as_matrix(), spheres.centres[:, spheres.finger < 0]) + position[:, None]
    assert (palm[..., 2] - spheres.radii[spheres.finger < 0]).min() > 0.0
    rests = {tuple(np.round(r, 6)) for r in grasps.rest_rotation}
    assert rests == {tuple(np.round(r, 6)) for r in thing.proposals.rest_rotation}


@given(seed=st.integers(0, 2**31))
@settings(max_examples=2)
def test_candidates_and_variations_are_finite_and_drawn_from_their_generator_alone(seed):
    box = starter_objects()[0]
    parents = candidates_of(box, 3, seed)  # GraspProposals itself refuses what is not finite or not a rotation
    for make in (lambda rng: sample_candidates(box, 3, rng), lambda rng: vary_candidates(box, parents, 5, rng)):
        one, two = (make(np.random.default_rng(seed)) for _ in range(2))
        for field in ("rotation", "translation", "joint_pos", "rest_rotation"):
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    varied = vary_candidates(box, parents, 3, np.random.default_rng(seed))
    assert np.linalg.norm(varied.translation - parents.translation, axis=1).max() < 0.06


def test_how_deep_a_hand_reaches_into_the_table():
    thing = starter_objects().select(["box"])[0]
    height = rest_heights(vertices_of(thing), thing.proposals.rest_rotation[:1])[0]
    flat = dataclasses.replace(thing.proposals.take(np.arange(1)), joint_pos=np.zeros((1, len(JOINTS))))

    def depth_at(z):
        return depth_in_table(thing, dataclasses.replace(flat, translation=np.array([[0.0, 0.0, z - height]])))[0]

    assert depth_at(0.1) < -0.05 and depth_at(0.02) == pytest.approx(depth_at(0.1) + 0.08)
    bent = dataclasses.replace(flat, joint_pos=np.deg2rad([[80.0 if j == "FFJ2" else 0.0 for j in JOINTS]]))
    assert depth_in_table(thing, bent) > depth_in_table(thing, flat) + 0.04, "a finger that points down"
    hand, position = hands_on_table(thing, bent)
    spheres = hand_spheres(bent.joint_pos)
    inside = np.einsum("kij,ksj->ksi", hand.as_matrix(), spheres.centres)[..., 2] + position[:, 2:] - spheres.radii
    assert depth_in_table(thing, bent)[0] == pytest.approx(-inside.min(), abs=0.004)


@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: thing.category)
def test_hands_stay_out_of_the_table_even_where_those_they_vary_did_not(thing):
    candidates = candidates_of(thing)
    assert depth_in_table(thing, candidates).max() < MAX_DEPTH
    down = Rotation.from_quat(candidates.rest_rotation).inv().apply([0.0, 0.0, -0.03])
    deep = dataclasses.replace(candidates, translation=candidates.translation + down)
    assert depth_in_table(thing, deep).max() > 0.02
    varied = vary_candidates(thing, deep, 24, np.random.default_rng(1))
    assert depth_in_table(thing, varied).max() < MAX_DEPTH


def test_gravity_pulls_from_six_directions_of_the_hand():
    turn = Rotation.from_quat(FULL_COURSE.turn.numpy())
    down = turn.inv().apply([0.0, 0.0, -1.0])
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        assert (down @ direction).max() > 1 - 1e-5
    assert len({*DOWN_IN_HAND}) == 6
    assert float(FULL_COURSE.height[-1]) == pytest.approx(0.2)
    step = (turn[1:] * turn[:-1].inv()).magnitude()
    assert step.max() < np.radians(5), "the hand turns smoothly"


@pytest.fixture(scope="module")
def found():
    """What a short search finds for a box."""
    objects = starter_objects().select(["box"])
    return objects, propose(make_sim, objects, QUICK, num_envs=16)


def test_a_box_gets_proposals_that_hold(found):
    objects, records = found
    box = records[0]
    assert box.name == "box" and 16 <= box.tried <= 16 + 4 * 6
    assert 1 <= len(box.proposals) <= QUICK.wanted
    held = holds(make_sim(objects[:1], 4), objects[:1], [box.proposals])[0]
    assert held.mean() > 0.7


def test_bad_grasps_do_not_hold(found):
    objects, records = found
    good = records[0].proposals
    away = dataclasses.replace(good, translation=good.translation + np.array([0.0, 0.0, 0.3]))
    spread = np.tile(np.deg2rad([25.0 if j == "THJ3" else 0.0 for j in JOINTS]), (len(good), 1))
    opened = dataclasses.replace(good, joint_pos=spread)
    box = objects[:1]
    sim = make_sim(box, 4)
    assert not holds(sim, box, [away])[0].any()
    assert not holds(sim, box, [opened])[0].any()
    outcomes = run_trials(sim, replay_trials(sim, box, [away]), FULL_COURSE)
    assert (outcomes.lasted < FULL_COURSE.num_steps).all(), "a dropped object ends its trial"
    assert torch.isinf(outcomes.slip).all()


def test_a_trial_does_not_depend_on_its_neighbours(found):
    box, records = found
    both = ObjectSet([*OBJECTS[:1], *box])
    sim = make_sim(both, 3)
    trials = replay_trials(sim, both, [OBJECTS[0].proposals, records[0].proposals])
    together = run_trials(sim, trials, FULL_COURSE)
    sim = make_sim(box, 2)
    alone = run_trials(sim, replay_trials(sim, box, [records[0].proposals]), FULL_COURSE)
    count = len(records[0].proposals)
    torch.testing.assert_close(together.lasted[-count:], alone.lasted)
    torch.testing.assert_close(together.slip[-count:], alone.slip, rtol=0, atol=1e-6)


def test_the_object_begins_at_rest_on_the_table():
    sim = make_sim(OBJECTS, 3)
    trials = replay_trials(sim, OBJECTS, [candidates_of(thing, 4) for thing in OBJECTS])
    for i, thing in enumerate(OBJECTS):
        for pose in trials.object_pose[trials.object_index == i].double().numpy():
            lowest = Rotation.from_quat(pose[3:]).apply(vertices_of(thing))[:, 2].min() + pose[2]
            assert lowest == pytest.approx(TABLE_HEIGHT, abs=1e-6)


def test_the_open_hand_begins_above_the_table_and_comes_down_as_it_closes():
    thing = starter_objects().select(["flat_box"])[0]
    grasps = candidates_of(thing, 24)
    # beside the object, and the closed hand just above the table
    away = np.stack([np.full(24, 0.3), np.zeros(24), depth_in_table(thing, grasps) + 0.002], axis=1)
    away = Rotation.from_quat(grasps.rest_rotation).inv().apply(away)
    grasps = dataclasses.replace(grasps, translation=grasps.translation + away)
    things = ObjectSet([thing])
    sim = make_sim(things, len(grasps))
    trials = replay_trials(sim, things, [grasps])
    assert trials.rise.min() >= 0.0 and 0.003 < trials.rise.max() < 0.1
    stage = Stage(sim)
    stage.add(trials, FULL_COURSE)
    stage._fill()
    start = sim.state()
    torch.testing.assert_close(start.root_pose[:, 2], trials.root_pose[:, 2] + trials.rise)
    root = start.root_pose.double().numpy()
    centres, radii = hand_hull(root[:, 3:], root[:, :3], start.joint_pos.double().numpy())
    assert (centres[..., 2] - radii).min() > TABLE_HEIGHT
    for _ in range(FULL_COURSE.close_steps):
        stage.advance()
    left = sim.state().root_pose[:, 2] - trials.root_pose[:, 2]
    assert left.median().abs() < 0.004, "fingers that close beyond q may press on the table"


def test_a_trial_begins_with_the_hand_outside_the_object():
    sim = make_sim(OBJECTS, 3)
    for i, thing in enumerate(OBJECTS):
        trials = replay_trials(sim, OBJECTS, [candidates_of(thing, 24)], [i])
        spheres = hand_spheres(trials.joint_pos.double().numpy())
        root, pose = trials.root_pose.double().numpy(), trials.object_pose.double().numpy()
        root[:, 2] += trials.rise.double().numpy()
        hand, to_object = Rotation.from_quat(root[:, 3:]), Rotation.from_quat(pose[:, 3:]).inv()
        at = np.einsum("kij,ksj->ksi", hand.as_matrix(), spheres.centres) + (root[:, :3] - pose[:, :3])[:, None]
        at = np.einsum("kij,ksj->ksi", to_object.as_matrix(), at)
        reach = np.full(at.shape[:2], -np.inf)  # into the convex pieces
        for piece in thing.pieces:
            corner, second, third = np.moveaxis(piece.vertices[piece.faces], 1, 0)
            normal = np.cross(second - corner, third - corner)
            normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            outside = np.einsum("ksi,fi->ksf", at, normal) - np.sum(normal * corner, axis=1)
            reach = np.maximum(reach, spheres.radii - outside.max(axis=2))
        assert (reach.max(axis=1) > 4 * MILLIMETRE).mean() < 0.1, thing.name


def test_what_rolls_is_told_from_what_is_turned():
    ball, can = (TurnedSurface(thing) for thing in starter_objects().select(["sphere", "can"]))
    degrees = np.arange(15.0, 181.0, 15.0)[:, None]
    about_x, about_z = (Rotation.from_rotvec(degrees * axis, degrees=True) for axis in ([1.0, 0, 0], [0, 0, 1.0]))
    assert ball.unlike(about_x).max() < MAX_UNLIKE
    assert can.unlike(about_z).max() < MAX_UNLIKE, "about its length"
    across = can.unlike(about_x)
    assert across[degrees[:, 0] == 90] > MAX_UNLIKE and across[-1] < MAX_UNLIKE, "upside down it is the same"


def outcomes_of(grasps, held, turned_deg, slip):
    """Of trials in which the object turned by so much about its z axis."""
    turn = Rotation.from_rotvec(np.outer(turned_deg, [0.0, 0.0, 1.0]), degrees=True)
    rotation = torch.tensor((turn * Rotation.from_quat(grasps.rotation)).as_quat())
    lasted = torch.tensor(np.where(held, 100, 40))
    return Outcomes(torch.tensor(held), torch.tensor(slip), rotation, torch.zeros(len(grasps), 3), lasted)


class NoStage:
    """Counts trials and runs none."""

    def __init__(self):
        self.added = []

    def add(self, trials, course):
        begin = sum(count for count, _ in self.added)
        self.added.append((len(trials), "quick" if course is QUICK_COURSE else "full"))
        return slice(begin, begin + len(trials))


def test_a_search_takes_what_rolls_when_its_rounds_are_over_and_after_all_others():
    objects = starter_objects().select(["box"])
    search = _Search(make_sim(objects, 1), objects, 0, Settings(6, variations=4, rounds=1, parents=2, wanted=4), ())
    stage, tried = NoStage(), []
    while search.go_on(stage):
        count, course = stage.added[-1]
        rolls = [0.0] + (count - 1) * [60.0 if course == "quick" else 0.0]  # in all trials but the first of a round
        times = len(search.rows)
        twice = GraspProposals.joined(times * [search.grasps])
        ended = outcomes_of(twice, np.ones(len(twice), dtype=bool), times * rolls, np.zeros(len(twice)))
        search.rows = [slice(i * count, (i + 1) * count) for i in range(times)]
        stage.outcomes = ended
        tried.append(search.grasps)
    assert stage.added == [(6, "quick"), (4, "quick"), *2 * [(2, "full")], *2 * [(3, "full")]]
    found = search.found()
    assert found.count == 4 and found.tried == 10
    unrolled = {tuple(tried[i].translation[0]) for i in (0, 1)}
    assert {tuple(t) for t in found.proposals.translation[:2]} == unrolled, "the best, and tried again alone"


def test_grasps_whose_object_rolls_come_last():
    box = starter_objects().select(["box"])[0]
    grasps = candidates_of(box, 5)
    tried = _Tried(box)
    held = np.array([False, True, True, True, True])
    tried.add(grasps, outcomes_of(grasps, held, [0, 50, 0, 20, 10], [np.inf, 0.0, 0.02, 0.0, 0.0]), slice(0, 5))
    assert (tried.count(HELD, only_true=True), tried.count(HELD, only_true=False)) == (3, 4)
    # 20 degrees cost as much as 17 mm of slip
    assert tried.best(5).tolist() == [4, 3, 2, 1, 0]
    assert tried.best(5, HELD, only_true=True).tolist() == [4, 3, 2]
    again = np.array([1, 3, 4])
    chosen, two = tried.take(again), np.array([True, True, False, True, True, True])
    twice = GraspProposals.joined([chosen, chosen])
    tried.confirm(again, chosen, outcomes_of(twice, two, 6 * [0], 6 * [0.001]), [slice(0, 3), slice(3, 6)])
    assert tried.best(5, STABLE).tolist() == [3, 1], "to hold again is to hold in both"
    assert tried.count(STABLE, only_true=True) == 1, "it rolled once"


def test_how_far_an_object_strays():
    ball, box = starter_objects().select(["sphere", "box"])
    for thing, expected in ((box, [True, True, False]), (ball, [True, True, True])):
        grasps = candidates_of(thing, 3)
        closed = outcomes_of(grasps, np.ones(3, dtype=bool), [0, -25, 40], np.zeros(3)).rotation.numpy()
        angle, true = strays(TurnedSurface(thing), grasps, closed)
        np.testing.assert_allclose(np.degrees(angle), [0, 25, 40], atol=1e-4)
        assert true.tolist() == expected


def a_file(path, objects=OBJECTS):
    rolled = np.array([False, False, False, True, True])
    records = [found_for(thing, 12, candidates_of(thing, 5), rolled) for thing in objects]
    records[-1] = found_for(objects[-1], 12, None)
    write_found(path, records, {"settings": {"seed": 0}})
    return records


def test_the_file_brings_back_what_was_written(tmp_path):
    path = tmp_path / "proposals.npz"
    written = a_file(path)
    found, made_by = read_found(path)
    assert made_by == {"settings": {"seed": 0}}
    assert list(found) == OBJECTS.names
    for record in written:
        back = found[record.name]
        assert back.tried == 12
        if record.proposals is None:
            assert back.proposals is None
            continue
        one, two = record.proposals, back.proposals
        np.testing.assert_allclose(two.translation, one.translation, atol=1e-6)
        np.testing.assert_allclose(two.joint_pos, one.joint_pos, atol=1e-6)
        turned = Rotation.from_quat(one.rotation).inv() * Rotation.from_quat(two.rotation)
        assert turned.magnitude().max() < 1e-5
        ups = [Rotation.from_quat(p.rest_rotation).as_matrix()[:, 2] for p in (one, two)]
        np.testing.assert_allclose(*ups, atol=1e-6)
        np.testing.assert_allclose(back.rest_height, record.rest_height, atol=1e-6)
        assert back.rolled.tolist() == record.rolled.tolist()


def test_its_grasps_read_like_those_of_dexgraspnet(tmp_path):
    """Written one by one in the layout that UniDexGrasp releases, the reader of that layout brings them back."""
    thing = OBJECTS[0]
    record = found_for(thing, 5, candidates_of(thing, 5))
    meshes, grasps = tmp_path / "meshdatav3_scaled/zoo/bottle/coacd", tmp_path / "datasetv4.1/zoo/bottle"
    meshes.mkdir(parents=True)
    grasps.mkdir(parents=True)
    for i, piece in enumerate(thing.pieces):
        lines = [f"v {x} {y} {z}" for x, y, z in piece.vertices / 0.08]
        (meshes / f"coacd_convex_piece_{i}.obj").write_text("\n".join(lines))
    for i, grasp in enumerate(grasp_dicts(record)):
        assert set(grasp["qpos"]) == set(COLUMNS) and grasp["scale"] == 1.0
        np.savez(grasps / f"{i:05d}.npz", qpos=grasp["qpos"], plane=grasp["plane"], scale=1 / 0.08)
    (back,) = read_dexgraspnet(tmp_path, scales=[0.08], max_rest_height=1.0)
    order = np.argsort(record.proposals.translation[:, 0])
    again = np.argsort(back.proposals.translation[:, 0])
    for field in ("translation", "joint_pos"):
        one, two = getattr(record.proposals, field)[order], getattr(back.proposals, field)[again]
        np.testing.assert_allclose(two, one, atol=1e-9)
    one, two = (Rotation.from_quat(p.rotation[o]) for p, o in ((record.proposals, order), (back.proposals, again)))
    assert (one.inv() * two).magnitude().max() < 1e-9


def test_objects_take_the_proposals_of_a_file(tmp_path, capsys):
    path = tmp_path / "proposals.npz"
    records = a_file(path)
    cfg = {"source": "zoo", "names": OBJECTS.names, "proposals": str(path)}
    objects = make_objects(cfg)
    np.testing.assert_allclose(objects[0].proposals.translation, records[0].proposals.translation, atol=1e-6)
    np.testing.assert_array_equal(objects[-1].proposals.translation, OBJECTS[-1].proposals.translation)
    assert "1 of 3 objects keep their own proposals" in capsys.readouterr().out
    assert make_objects({**cfg, "proposals": None}).names == OBJECTS.names


def test_the_shipped_file_is_no_matter_to_other_shapes(tmp_path, monkeypatch, capsys):
    path = tmp_path / "shipped.npz"
    records = a_file(path)
    monkeypatch.setattr(proposals_file, "SHIPPED_PROPOSALS", path)
    cfg = {"source": "zoo", "names": OBJECTS.names, "proposals": "shipped"}
    np.testing.assert_allclose(make_objects(cfg)[0].proposals.translation, records[0].proposals.translation, atol=1e-6)
    assert capsys.readouterr().out == "1 of 3 objects keep their own proposals: the shipped file has none for them\n"
    other = {**cfg, "seed": 1}
    for thing, plain in zip(make_objects(other), make_objects({**other, "proposals": None})):
        np.testing.assert_array_equal(thing.proposals.translation, plain.proposals.translation)
    assert capsys.readouterr().out == "3 of 3 objects keep their own proposals: the shipped file has none for them\n"


def test_what_is_shipped_fits_the_zoo(capsys):
    found, made_by = read_found(proposals_file.SHIPPED_PROPOSALS)
    names = [name for name, record in found.items() if record.proposals is not None][:3]
    objects = make_objects({"source": "zoo", "names": names, "proposals": "shipped"})
    assert capsys.readouterr().out == ""
    for thing in objects:
        assert found[thing.name].fits(thing)
        assert 1 <= len(thing.proposals) <= made_by["settings"]["wanted"]


def test_a_file_for_other_shapes_is_refused(tmp_path):
    path = tmp_path / "proposals.npz"
    a_file(path)
    wider = [dataclasses.replace(p, vertices=1.1 * p.vertices) for p in OBJECTS[0].pieces]
    other = ObjectSet([dataclasses.replace(OBJECTS[0], pieces=tuple(wider))])
    with pytest.raises(UserError, match=r"proposals\.npz has proposals for an object 'bottle-0000' of another shape"):
        with_proposals(other, path)


def test_broken_files_are_one_sentence(tmp_path):
    path = tmp_path / "proposals.npz"
    with pytest.raises(UserError, match="there is no file"):
        read_found(path)
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"proposals\.npz is not a readable file of grasp proposals"):
        read_found(path)
    a_file(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"proposals\.npz is not a readable file of grasp proposals"):
        read_found(path)
    a_file(path)
    arrays = dict(np.load(path))
    for key, value, message in (
        ("version", np.array(99), "version 99"),
        ("plane", arrays["plane"][1:], "do not fit together"),
        ("rolled", arrays["rolled"][1:], "do not fit together"),
        ("qpos", arrays["qpos"] * np.nan, "not a finite number"),
        ("made_by", np.array("{"), "not a readable file"),
    ):
        np.savez(path, **{**arrays, key: value})
        with pytest.raises(UserError, match=message):
            read_found(path)
    np.savez(path, **{k: v for k, v in arrays.items() if k != "columns"})
    with pytest.raises(UserError, match="columns"):
        read_found(path)
    with pytest.raises(UserError, match=r"objects\.proposals is 3"):
        make_objects({"source": "starter", "proposals": 3})


def test_a_run_goes_on_with_the_objects_that_are_missing(tmp_path, monkeypatch):
    asked, began_with = [], []

    def instant(make_sim, objects, settings, num_envs, examples, progress):
        asked.append(objects.names)
        began_with.append([example.name for example in examples])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return [found_for(thing, 7, candidates_of(thing, 2)) for thing in objects]

    monkeypatch.setattr(propose_module, "propose", instant)
    path = tmp_path / "out.npz"
    with pytest.raises(KeyboardInterrupt):
        run(path, make_sim, OBJECTS, QUICK, batch=1, quiet=True)
    assert list(read_found(path)[0]) == OBJECTS.names[:1]
    found = run(path, make_sim, OBJECTS, QUICK, batch=1, quiet=True)
    assert asked[2:] == [[name] for name in OBJECTS.names[1:]]
    assert began_with[2:] == [OBJECTS.names[:1], OBJECTS.names[:2]], "each batch begins with what is found already"
    assert [f.name for f in found] == OBJECTS.names
    assert read_found(path)[1]["settings"] == dataclasses.asdict(QUICK)
    with pytest.raises(UserError, match="was made with seed=0, not 5"):
        run(path, make_sim, OBJECTS, dataclasses.replace(QUICK, seed=5), quiet=True)
    other = tmp_path / "other.npz"
    run(other, make_sim, OBJECTS[1:], QUICK, quiet=True, like=path)
    assert began_with[-1] == OBJECTS.names
    with pytest.raises(UserError, match=r"other\.npz was begun with another file of --like, or with none"):
        run(other, make_sim, OBJECTS, QUICK, quiet=True)
    with pytest.raises(UserError, match=r"--like and --out are both .*out\.npz"):
        run(path, make_sim, OBJECTS, QUICK, quiet=True, like=path)
    assert not list(tmp_path.glob(".*"))


def test_objects_with_few_proposals_are_searched_again_and_keep_what_both_found(tmp_path, monkeypatch):
    asked, counts = [], iter([4, 2, 0, 3, 1])

    def instant(make_sim, objects, settings, num_envs, examples, progress):
        asked.append((objects.names, sorted(example.name for example in examples)))
        return [found_for(t, 7, candidates_of(t, n) if n else None) for t, n in zip(objects, counts)]

    monkeypatch.setattr(propose_module, "propose", instant)
    path = tmp_path / "out.npz"
    run(path, make_sim, OBJECTS, QUICK, quiet=True)
    found = run(path, make_sim, OBJECTS, QUICK, quiet=True, at_least=4)
    assert asked == [(OBJECTS.names, []), (OBJECTS.names[1:], sorted(OBJECTS.names))]
    assert [(f.count, f.tried) for f in found] == [(4, 7), (3, 14), (1, 14)]
    counts = iter([1, 0])
    found = run(path, make_sim, OBJECTS, QUICK, quiet=True, at_least=4)
    assert [f.count for f in found] == [4, 3, 1], "what is there is not lost"


def test_of_two_searches_the_grasps_in_which_the_object_does_not_roll_come_first():
    thing = OBJECTS[0]
    grasps = candidates_of(thing, 6)
    first = found_for(thing, 5, grasps.take(np.arange(3)), np.array([False, True, True]))
    second = found_for(thing, 7, grasps.take(np.arange(3, 6)), np.array([False, False, True]))
    both = first.joined(second, 4)
    assert both.tried == 12 and both.rolled.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(both.proposals.translation, grasps.translation[[0, 3, 4, 1]])
    np.testing.assert_array_equal(both.rest_height, found_for(thing, 0, grasps).rest_height[[0, 3, 4, 1]])
    nothing = found_for(thing, 9, None)
    for one in (nothing.joined(first, 4), first.joined(nothing, 4)):
        assert one.tried == 14 and one.count == 3 and one.rolled.tolist() == [False, True, True]


def test_the_command_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mujoco.batch")
    out = tmp_path / "out.npz"
    few = ["--candidates=4", "--variations=2", "--rounds=0", "--num_envs=4", "sim=mujoco", "sim.numThreads=1"]
    assert main(["propose", f"--out={out}", *few, "objects=starter", "objects.names=[box,sphere]"]) == 0
    said = capsys.readouterr().out
    assert "2 objects" in said and "8 or more" in said
    made_by = json.loads(str(np.load(out)["made_by"]))
    assert made_by["objects"]["names"] == ["box", "sphere"] and made_by["settings"]["candidates"] == 4
    for arguments, message in (
        ([f"--out={out}", "--candidates=0"], "--candidates is 0"),
        ([f"--out={tmp_path / 'none' / 'out.npz'}"], "there is no folder"),
        ([f"--out={out}", "--num_envs=0"], "--num_envs is 0"),
        ([f"--out={out}", "--wanted=3", "--at_least=4"], "--at_least is 4; it must be 0 to 3"),
        ([f"--out={tmp_path / 'new.npz'}", f"--like={tmp_path / 'no.npz'}"], "there is no file"),
    ):
        assert main(["propose", *arguments]) == 2
        assert message in capsys.readouterr().err
