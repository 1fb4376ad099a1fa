"""The file of grasp proposals."""

import dataclasses

import numpy as np
import pytest
from helpers.grasps import candidates_of, zoo_trio
from scipy.spatial.transform import Rotation

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.dexgraspnet.source import read_dexgraspnet
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.proposals import file as proposals_file
from resdex_tasks.proposals.file import (
    COLUMNS,
    grasp_dicts,
    proposals_for,
    read_proposals,
    with_proposals,
    write_proposals,
)
from resdex_tasks.utils.errors import UserError


def a_file(path):
    objects = zoo_trio()
    rolled = np.array([False, False, False, True, True])
    records = [proposals_for(obj, 12, candidates_of(obj, 5), rolled) for obj in objects]
    records[-1] = proposals_for(objects[-1], 12, None)
    write_proposals(path, records, {"settings": {"seed": 0}})
    return records


def test_the_file_brings_back_what_was_written(tmp_path):
    path = tmp_path / "proposals.npz"
    written = a_file(path)
    found, made_by = read_proposals(path)
    assert made_by == {"settings": {"seed": 0}}
    assert list(found) == zoo_trio().names
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
        np.testing.assert_allclose(two.squeeze, one.squeeze, atol=1e-6)
        assert one.squeeze.max() > 0


def test_a_file_of_the_version_before_has_its_squeeze_in_q(tmp_path):
    path = tmp_path / "proposals.npz"
    written = a_file(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "squeeze"}
    np.savez(path, **{**arrays, "version": np.array(2)})
    found, _ = read_proposals(path)
    for record in written[:-1]:
        back = found[record.name].proposals
        np.testing.assert_allclose(back.joint_pos, record.proposals.joint_pos, atol=1e-6)
        assert not back.squeeze.any()


def test_its_grasps_read_like_those_of_dexgraspnet(tmp_path):
    """Written one by one in the layout that UniDexGrasp releases, the reader of that layout brings them back."""
    obj = zoo_trio()[0]
    record = proposals_for(obj, 5, candidates_of(obj, 5))
    meshes, grasps = tmp_path / "meshdatav3_scaled/zoo/bottle/coacd", tmp_path / "datasetv4.1/zoo/bottle"
    meshes.mkdir(parents=True)
    grasps.mkdir(parents=True)
    for i, piece in enumerate(obj.pieces):
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
    cfg = {"source": "zoo", "names": zoo_trio().names, "proposals": str(path)}
    objects = make_objects(cfg)
    np.testing.assert_allclose(objects[0].proposals.translation, records[0].proposals.translation, atol=1e-6)
    np.testing.assert_array_equal(objects[-1].proposals.translation, zoo_trio()[-1].proposals.translation)
    assert "1 of 3 objects keep their own proposals" in capsys.readouterr().out
    assert make_objects({**cfg, "proposals": None}).names == zoo_trio().names


def test_the_shipped_file_leaves_other_shapes_alone(tmp_path, monkeypatch, capsys):
    path = tmp_path / "shipped.npz"
    records = a_file(path)
    monkeypatch.setattr(proposals_file, "SHIPPED_PROPOSALS", path)
    cfg = {"source": "zoo", "names": zoo_trio().names, "proposals": "shipped"}
    np.testing.assert_allclose(make_objects(cfg)[0].proposals.translation, records[0].proposals.translation, atol=1e-6)
    assert capsys.readouterr().out == "1 of 3 objects keep their own proposals: the shipped file has none for them\n"
    other = {**cfg, "seed": 1}
    for obj, plain in zip(make_objects(other), make_objects({**other, "proposals": None})):
        np.testing.assert_array_equal(obj.proposals.translation, plain.proposals.translation)
    assert capsys.readouterr().out == "3 of 3 objects keep their own proposals: the shipped file has none for them\n"


def test_the_shipped_file_fits_the_zoo(capsys):
    found, made_by = read_proposals(proposals_file.SHIPPED_PROPOSALS)
    names = [name for name, record in found.items() if record.proposals is not None][:3]
    objects = make_objects({"source": "zoo", "names": names, "proposals": "shipped"})
    assert capsys.readouterr().out == ""
    for obj in objects:
        assert found[obj.name].fits(obj)
        assert 1 <= len(obj.proposals) <= made_by["settings"]["wanted"]


def test_a_file_for_other_shapes_is_refused(tmp_path):
    path = tmp_path / "proposals.npz"
    a_file(path)
    wider = [dataclasses.replace(p, vertices=1.1 * p.vertices) for p in zoo_trio()[0].pieces]
    other = ObjectSet([dataclasses.replace(zoo_trio()[0], pieces=tuple(wider))])
    with pytest.raises(UserError, match=r"proposals\.npz has proposals for an object 'bottle-0000' of another shape"):
        with_proposals(other, path)


def test_broken_files_are_one_sentence(tmp_path):
    path = tmp_path / "proposals.npz"
    with pytest.raises(UserError, match="there is no file"):
        read_proposals(path)
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"proposals\.npz is not readable as a file of grasp proposals"):
        read_proposals(path)
    a_file(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"proposals\.npz is not readable as a file of grasp proposals"):
        read_proposals(path)
    a_file(path)
    arrays = dict(np.load(path))
    for key, value, message in (
        ("version", np.array(99), "version 99"),
        ("plane", arrays["plane"][1:], "do not fit together"),
        ("rolled", arrays["rolled"][1:], "do not fit together"),
        ("qpos", arrays["qpos"] * np.nan, "not a finite number"),
        ("plane", 0 * arrays["plane"], "no unit normal"),
        ("object", arrays["object"] + 100, "a grasp of none"),
        ("names", arrays["names"][[0, 0, 1]], "two objects of one name"),
        ("names", np.array("one"), "not readable as a file"),
        ("qpos", np.array("words"), "not readable as a file"),
        ("version", np.array([2, 2]), "not readable as a file"),
        ("made_by", np.array("[1]"), "not readable as a file"),
        ("made_by", np.array("{"), "not readable as a file"),
    ):
        np.savez(path, **{**arrays, key: value})
        with pytest.raises(UserError, match=message):
            read_proposals(path)
    np.savez(path, **{k: v for k, v in arrays.items() if k != "columns"})
    with pytest.raises(UserError, match="columns"):
        read_proposals(path)
    with pytest.raises(UserError, match=r"objects\.proposals is 3"):
        make_objects({"source": "starter", "proposals": 3})


def test_of_two_searches_the_grasps_in_which_the_object_does_not_roll_come_first():
    obj = zoo_trio()[0]
    grasps = candidates_of(obj, 6)
    first = proposals_for(obj, 5, grasps.take(np.arange(3)), np.array([False, True, True]))
    second = proposals_for(obj, 7, grasps.take(np.arange(3, 6)), np.array([False, False, True]))
    both = first.joined(second, 4)
    assert both.tried == 12 and both.rolled.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(both.proposals.translation, grasps.translation[[0, 3, 4, 1]])
    np.testing.assert_array_equal(both.rest_height, proposals_for(obj, 0, grasps).rest_height[[0, 3, 4, 1]])
    nothing = proposals_for(obj, 9, None)
    for one in (nothing.joined(first, 4), first.joined(nothing, 4)):
        assert one.tried == 14 and one.count == 3 and one.rolled.tolist() == [False, True, True]
