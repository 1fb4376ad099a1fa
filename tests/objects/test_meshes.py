import importlib.util
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.command_line import assert_one_sentence, call, train
from helpers.object_checks import assert_closed_convex_outward
from scipy.spatial.transform import Rotation

from resdex_tasks.factory import make_objects
from resdex_tasks.objects import meshes
from resdex_tasks.objects.geometry.convex import few_vertices, mass_centre
from resdex_tasks.objects.meshes import MAX_VERTICES, mesh_objects
from resdex_tasks.utils.config_reader import shown
from resdex_tasks.utils.errors import UserError
from runners.config import load_config


def star() -> trimesh.Trimesh:
    """A flat star with five points: closed, not convex."""
    angle = np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2, 0.4, 1.0)
    rim = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    vertices = [[*point, z] for z in (-0.15, 0.15) for point in rim] + [[0, 0, -0.15], [0, 0, 0.15]]
    faces = []
    for i in range(10):
        j = (i + 1) % 10
        faces += [[i, j, j + 10], [i, j + 10, i + 10], [20, j, i], [21, i + 10, j + 10]]
    return trimesh.Trimesh(vertices, faces)


def box(*extents: float) -> trimesh.Trimesh:
    return trimesh.creation.box(extents, trimesh.transformations.translation_matrix([5, 6, 7]))


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "meshes"
    folder.mkdir()
    box(3, 2, 1).export(str(folder / "brick_07.stl"))
    return folder


@pytest.fixture
def halved(monkeypatch):
    """In place of CoACD: every mesh falls into its left and its right half. Lists the meshes that it was asked for."""
    asked = []

    def halve(vertices, faces, path, max_pieces):
        asked.append(path.name)
        middle = vertices[:, 0].mean()
        return [
            np.where(side * (vertices - [middle, 0, 0]) > 0, vertices, [middle, 0, 0] + vertices * [0, 1, 1])
            for side in ([1, 0, 0], [-1, 0, 0])
        ]

    monkeypatch.setattr(meshes, "_run_coacd", halve)
    return asked


def read_error(root: Path, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        mesh_objects(root, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_mesh_is_brought_to_its_size_about_its_centre_of_mass(root):
    (brick,) = mesh_objects(root)
    assert (brick.name, brick.category, brick.split, brick.code) == ("brick_07.stl", "brick", "train", None)
    np.testing.assert_allclose(np.ptp(brick.vertices, axis=0), [0.1, 0.2 / 3, 0.1 / 3], rtol=1e-6)
    np.testing.assert_allclose(mass_centre(brick.pieces), 0.0, atol=1e-9)
    assert_closed_convex_outward(brick.pieces[0])
    flat = Rotation.from_quat(brick.proposals.rest_rotation[0]).apply(brick.vertices)
    assert np.ptp(flat[:, 2]) == pytest.approx(0.1 / 3), "on its largest side"


def test_without_a_size_the_files_metres_count(root):
    box(0.03, 0.04, 0.05).export(str(root / "brick_07.stl"))
    (brick,) = mesh_objects(root, size=None)
    np.testing.assert_allclose(np.ptp(brick.vertices, axis=0), [0.03, 0.04, 0.05], rtol=1e-4)


@pytest.mark.parametrize("suffix", ["obj", "stl", "ply", "glb", "STL"])
def test_every_format_gives_the_same_object(tmp_path, suffix):
    box(3, 2, 1).export(str(tmp_path / f"brick.{suffix}"), file_type=suffix.lower())
    (brick,) = mesh_objects(tmp_path)
    (piece,) = brick.pieces
    assert len(piece.vertices) == 8
    np.testing.assert_allclose(np.sort(np.ptp(piece.vertices, axis=0)), [0.1 / 3, 0.2 / 3, 0.1], rtol=1e-6)


def test_folders_are_searched_and_name_the_category(root):
    (root / "cups" / "a").mkdir(parents=True)
    box(1, 1, 1).export(str(root / "cups" / "a" / "model.obj"))
    (root / "notes.txt").write_text("no mesh")
    objects = mesh_objects(root)
    assert objects.names == ["brick_07.stl", "cups/a/model.obj"]
    assert [obj.category for obj in objects] == ["brick", "cups"]
    assert mesh_objects(root, names=["cups/a/model.obj"]).names == ["cups/a/model.obj"]
    assert "'cup'" in read_error(root, names=["cup"])


def test_the_parts_of_a_scene_are_one_object(tmp_path, halved):
    trimesh.Scene([box(1, 1, 1), trimesh.creation.box((1, 1, 4))]).export(str(tmp_path / "two.glb"))
    (two,) = mesh_objects(tmp_path)
    assert np.ptp(two.vertices, axis=0).max() == pytest.approx(0.1)
    assert halved == ["two.glb"]


def test_a_dirty_mesh_is_cleaned(tmp_path):
    lines = trimesh.creation.box((3, 2, 1)).export(file_type="obj").splitlines()
    lines += ["v nan 0 0", "v 9 9 9", "f 1 2 9", "f 1 1 2", lines[-1]]
    (tmp_path / "dirty.obj").write_text("\n".join(lines))
    (dirty,) = mesh_objects(tmp_path)
    assert len(dirty.pieces) == 1 and len(dirty.pieces[0].vertices) == 8


def test_a_round_mesh_keeps_few_vertices_and_its_shape(tmp_path):
    trimesh.creation.icosphere(subdivisions=4).export(str(tmp_path / "ball.ply"))
    (ball,) = mesh_objects(tmp_path)
    assert len(ball.pieces[0].vertices) == MAX_VERTICES
    assert trimesh.Trimesh(ball.pieces[0].vertices, ball.pieces[0].faces).volume > 0.85 * np.pi / 6 * 0.1**3
    assert len(ball.proposals) >= 1


def test_a_decomposition_is_made_once_for_all_sizes(root, tmp_path, halved):
    star().export(str(root / "star.stl"))
    cache = tmp_path / "cache"
    first = mesh_objects(root, cache=cache)
    assert halved == ["star.stl"]
    again = mesh_objects(root, cache=cache)
    larger = mesh_objects(root, cache=cache, size=0.12)
    assert halved == ["star.stl"]
    for one, other in zip(first, again):
        for a, b in zip(one.pieces, other.pieces):
            assert a.vertices.tobytes() == b.vertices.tobytes() and a.faces.tobytes() == b.faces.tobytes()
    np.testing.assert_allclose(larger[1].vertices, 1.2 * first[1].vertices)
    mesh_objects(root, cache=cache, max_pieces=3)
    assert halved == ["star.stl"] * 2, "other settings, other pieces"
    (root / "star.stl").write_bytes((root / "star.stl").read_bytes()[:-2] + b"xx")
    mesh_objects(root, cache=cache)
    assert halved == ["star.stl"] * 3, "another file, other pieces"


def test_an_interrupted_run_resumes_where_it_stopped(root, tmp_path, halved, monkeypatch):
    for name in ("star_1.stl", "star_2.stl", "star_3.stl"):
        mesh = star()
        mesh.apply_scale(int(name[5]))
        mesh.export(str(root / name))
    halve = meshes._run_coacd

    def interrupted(vertices, faces, path, max_pieces):
        if path.name == "star_2.stl":
            raise KeyboardInterrupt
        return halve(vertices, faces, path, max_pieces)

    with monkeypatch.context() as patch:
        patch.setattr(meshes, "_run_coacd", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mesh_objects(root, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert len(mesh_objects(root, cache=tmp_path / "cache")) == 4
    assert halved == ["star_1.stl", "star_2.stl", "star_3.stl"]


def test_a_broken_cache_is_replaced(root, tmp_path, halved):
    star().export(str(root / "star.stl"))
    (first,) = mesh_objects(root, names=["star.stl"], cache=tmp_path / "cache")
    for entry in (tmp_path / "cache").rglob("*.npz"):
        entry.write_bytes(entry.read_bytes()[:50])
    (again,) = mesh_objects(root, names=["star.stl"], cache=tmp_path / "cache")
    np.testing.assert_array_equal(first.vertices, again.vertices)


def test_coacd_cuts_a_star_into_convex_pieces(tmp_path):
    pytest.importorskip("coacd")
    star().export(str(tmp_path / "star.stl"))
    (obj,) = mesh_objects(tmp_path, max_pieces=8)
    assert 3 <= len(obj.pieces) <= 8
    for piece in obj.pieces:
        assert_closed_convex_outward(piece)
        assert len(piece.vertices) <= MAX_VERTICES
    volume = sum(trimesh.Trimesh(piece.vertices, piece.faces).volume for piece in obj.pieces)
    true = star()
    assert volume == pytest.approx(true.volume * (0.1 / true.extents.max()) ** 3, rel=0.25)


def without_coacd(monkeypatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "coacd" else find_spec(name, *rest)
    )


@pytest.mark.parametrize("kind, times", [(meshes.Unusable, 2), (meshes.Hopeless, 1)])
def test_a_hopeless_mesh_is_not_tried_again(root, tmp_path, monkeypatch, kind, times):
    star().export(str(root / "star.stl"))
    asked = []

    def fail(vertices, faces, path, max_pieces):
        asked.append(path.name)
        raise kind(path, "took too long", "a detail")

    monkeypatch.setattr(meshes, "_run_coacd", fail)
    messages = []
    for _ in range(2):
        mesh_objects(root, cache=tmp_path / "cache", report=messages.append)
    assert asked == times * ["star.stl"]
    assert messages[0] == messages[1] and "star.stl took too long: a detail" in messages[0]


@pytest.mark.parametrize("turn", [0.0, 0.3, 1.1])
@pytest.mark.parametrize("sides", [70, 80, 200])
def test_a_cone_whose_extreme_points_lie_in_its_base_is_cut_to_few_vertices(sides, turn):
    cone = trimesh.creation.cone(1, 0.3, sections=sides)
    cone.apply_transform(trimesh.transformations.euler_matrix(turn, 2 * turn, 3 * turn))
    few = few_vertices(cone.vertices, meshes.MAX_VERTICES)
    assert len(few) == MAX_VERTICES
    assert trimesh.convex.convex_hull(few).volume > 0.95 * cone.volume


def test_without_coacd_convex_meshes_work_and_others_say_what_to_install(root, tmp_path, monkeypatch):
    without_coacd(monkeypatch)
    assert len(mesh_objects(root, cache=tmp_path / "cache")) == 1
    star().export(str(root / "star.stl"))
    message = read_error(root, cache=tmp_path / "cache")
    assert "star.stl" in message and "pip install 'resdex[meshes]'" in message


def test_a_crash_of_coacd_is_reported(root, monkeypatch, tmp_path):
    star().export(str(root / "star.stl"))
    worker = tmp_path / "coacd_worker.py"
    worker.write_text("import os\nos.abort()")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
    monkeypatch.setattr(meshes, "COACD_WORKER", worker)
    messages = []
    assert mesh_objects(root, cache=tmp_path / "cache", report=messages.append).names == ["brick_07.stl"]
    assert "star.stl cannot be cut into convex pieces: exit status -6" in messages[0]


HOPELESS = {
    "empty": (b"", "empty.obj"),
    "words": (b"v a b c\nf 1 2 3\n", "words.obj"),
    "points": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n", "points.obj"),
    "flat": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 2 4 3\n", "spans no volume"),
    "nan": (b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "finite numbers"),
    "thin": (box(1, 1, 0.001).export(file_type="obj").encode(), "thinner than 0.002"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_a_hopeless_mesh_is_named_and_left_out(root, name):
    content, words = HOPELESS[name]
    (root / f"{name}.obj").write_bytes(content)
    messages = []
    assert mesh_objects(root, report=messages.append).names == ["brick_07.stl"]
    assert len(messages) == 1 and "\n" not in messages[0]
    assert "left out 1 of the 2 objects" in messages[0] and f"{name}.obj" in messages[0] and words in messages[0]
    (root / "brick_07.stl").unlink()
    message = read_error(root)
    assert f"{name}.obj" in message and words in message


def test_a_mesh_too_large_for_the_task_is_named(root):
    message = read_error(root, size=1.0)
    assert "brick_07.stl" in message and "objects.size" in message and "100 cm" in message
    assert "brick_07.stl" in read_error(root, size=None)


@pytest.mark.parametrize(
    "key, value, expected",
    [
        *(("size", value, "a positive number or null") for value in (0, "big", True, float("nan"))),
        ("maxPieces", 0, "an integer of at least 1"),
        ("split", "test", "train, unseen_object or unseen_category"),
    ],
)
def test_a_senseless_setting_is_named(root, key, value, expected):
    with pytest.raises(UserError) as error:
        make_objects({"source": "meshes", "root": str(root), key: value})
    assert str(error.value) == f"objects.{key} is {shown(value)}; it must be {expected}"


def test_an_empty_and_a_missing_folder_are_named(tmp_path):
    assert str(tmp_path) in read_error(tmp_path)
    assert "nowhere" in read_error(tmp_path / "nowhere")


def test_the_base_task_trains_on_meshes(root, tmp_path):
    pytest.importorskip("mujoco.batch")
    trimesh.creation.cylinder(0.2, 1).export(str(root / "rod.ply"))
    run = train(tmp_path, "objects=meshes", f"objects.root={root}")
    assert (run / "nn" / "last.pth").exists()


def test_the_command_line_asks_for_the_folder(tmp_path):
    assert_one_sentence(call(tmp_path, "objects=meshes"), "objects.root")


def test_the_configuration_is_the_default(root):
    config = load_config(["sim=mujoco", "objects=meshes", f"objects.root={root}"])
    np.testing.assert_array_equal(make_objects(config.objects)[0].vertices, mesh_objects(root)[0].vertices)
