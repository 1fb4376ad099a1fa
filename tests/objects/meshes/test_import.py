import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.command_line import assert_one_sentence, call, train
from helpers.configs import physics, wrist_law
from helpers.object_checks import assert_closed_convex_outward
from scipy.spatial.transform import Rotation

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.geometry.convex import few_vertices, mass_centre
from resdex_tasks.objects.loading import Unusable
from resdex_tasks.objects.meshes import cutting
from resdex_tasks.objects.meshes.cutting import MAX_VERTICES, Cutter, Hopeless
from resdex_tasks.objects.meshes.sizes import length_of
from resdex_tasks.objects.meshes.source import import_meshes
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.sims.base import OBJECT_DENSITY
from resdex_tasks.utils.config_reader import shown
from resdex_tasks.utils.errors import UserError
from runners.config import load_config


def mesh_objects(root: Path, report=print, **settings) -> ObjectSet:
    """The usable meshes of a folder."""
    return import_meshes(root, **settings).objects(report)


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


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("RESDEX_CACHE", str(tmp_path / "cache of the user"))


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

    def halve(cutter, bodies, max_pieces, path):
        asked.append(path.name)
        vertices = bodies[0].vertices
        middle = vertices[:, 0].mean()
        return [
            np.where(side * (vertices - [middle, 0, 0]) > 0, vertices, [middle, 0, 0] + vertices * [0, 1, 1])
            for side in ([1, 0, 0], [-1, 0, 0])
        ]

    monkeypatch.setattr(Cutter, "_coacd", halve)
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


def test_the_parts_of_a_scene_are_one_object_and_gaps_between_them_are_said(tmp_path):
    trimesh.Scene([trimesh.creation.box((1, 1, 1)), box(1, 1, 4)]).export(str(tmp_path / "two.glb"))
    (record,) = import_meshes(tmp_path).records
    assert len(record.obj.pieces) == 2
    assert [finding.text for finding in record.findings] == [
        "it has 2 parts that do not touch, and counts as one rigid object"
    ]


@pytest.mark.parametrize("turn", [0.0, 0.4, np.pi / 4])
def test_the_size_is_along_the_objects_own_axes(tmp_path, turn):
    rod = trimesh.creation.box((6, 2, 1), trimesh.transformations.euler_matrix(turn, turn, turn))
    rod.export(str(tmp_path / "rod.stl"))
    (obj,) = mesh_objects(tmp_path)
    assert trimesh.convex.convex_hull(obj.vertices).volume == pytest.approx(0.1**3 * 12 / 6**3, rel=1e-3)


@pytest.mark.parametrize("unit, metres", [("cm", 0.01), ("mm", 0.001), ("inch", 0.0254), ("m", 1.0), (0.5, 0.5)])
def test_a_unit_keeps_the_sizes_of_the_files(tmp_path, unit, metres):
    trimesh.creation.box(np.array([0.06, 0.04, 0.02]) / metres).export(str(tmp_path / "brick.stl"))
    config = load_config(["sim=mujoco", "objects=meshes", f"objects.root={tmp_path}", f"objects.unit={unit}"])
    np.testing.assert_allclose(np.ptp(make_objects(config.objects)[0].vertices, axis=0), [0.06, 0.04, 0.02], rtol=1e-5)


@pytest.mark.parametrize("in_file, extents", [("cm", (12, 6, 4)), ("mm", (120, 60, 40)), ("inch", (5, 2.5, 2))])
def test_a_wrong_unit_is_seen_before_anything_is_cut_and_the_likely_one_is_named(tmp_path, halved, in_file, extents):
    mesh = star()
    mesh.apply_scale(np.array(extents) / mesh.extents)
    mesh.export(str(tmp_path / "star.stl"))
    message = read_error(tmp_path, size=None)
    assert "star.stl is too large" in message and f"objects.unit={in_file}" in message and not halved
    assert "too small" in read_error(tmp_path, unit=1e-5) and not halved
    assert len(mesh_objects(tmp_path, unit=in_file)) == 1


def test_a_unit_and_a_size_exclude_each_other(root):
    assert "objects.unit=cm" in read_error(root, unit="cm", size=0.2)


def test_links_to_folders_are_followed_once_and_circles_end(root, tmp_path):
    (tmp_path / "elsewhere" / "cups").mkdir(parents=True)
    box(1, 1, 1).export(str(tmp_path / "elsewhere" / "cups" / "cup.stl"))
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(tmp_path / "elsewhere" / "cups")
    (root / "circle").symlink_to(root)
    names = mesh_objects(root).names
    assert names == ["again/cup.stl", "brick_07.stl"]


def test_files_of_other_formats_are_counted(root):
    for name in ("a.fbx", "b.FBX", "c.dae", "readme.txt"):
        (root / name).write_text("")
    messages = []
    mesh_objects(root, report=messages.append)
    assert messages == [f"not read in {root}: 1 .dae, 2 .fbx"]
    (root / "brick_07.stl").unlink()
    assert "1 .dae, 2 .fbx" in read_error(root)


def test_what_was_changed_is_said_in_one_line_and_by_build_for_each_file(root, capsys):
    for name in ("one", "two"):
        trimesh.Trimesh(box(1, 1, 1).vertices, box(1, 1, 1).faces[:-1], process=False).export(str(root / f"{name}.stl"))
    messages = []
    mesh_objects(root, report=messages.append)
    assert len(messages) == 1 and "2 of 3 meshes" in messages[0] and "2 repaired" in messages[0]
    lines = import_meshes(root).lines()
    assert lines == [f"{name}.stl: repaired: 1 hole in the surface was closed" for name in ("one", "two")]


def test_what_was_found_is_told_again_from_the_cache(root, tmp_path):
    trimesh.Trimesh(box(1, 1, 1).vertices, box(1, 1, 1).faces[:-1], process=False).export(str(root / "open.stl"))
    first, again = (import_meshes(root, cache=tmp_path / "cache").lines() for _ in range(2))
    assert first == again and len(first) == 1


def test_an_object_weighs_what_its_solid_weighs_however_much_its_pieces_overlap(root, halved):
    mesh = star()
    mesh.export(str(root / "star.stl"))
    star_ = next(obj for obj in mesh_objects(root) if obj.name == "star.stl")
    weighed = star_.solid_fraction * sum(piece.volume for piece in star_.pieces)
    scale = 0.1 / length_of(mesh.vertices)
    assert weighed == pytest.approx(mesh.volume * scale**3, rel=1e-6)
    mujoco_scene = pytest.importorskip("resdex_tasks.sims.mujoco_scene")
    scene = mujoco_scene.build_scene(ObjectSet([star_]), physics(), wrist_law(), 1 / 120)
    assert scene.tables["body_mass"].item() == pytest.approx(OBJECT_DENSITY * weighed, rel=1e-3)


def test_an_error_in_one_thread_ends_the_others(root, tmp_path, monkeypatch):
    """Ctrl-C while CoACD runs does not wait for it."""
    started = []

    def run(self, path, command):
        started.append(path.name)
        if len(started) == 2:
            raise KeyboardInterrupt
        Cutter_run(self, path, [sys.executable, "-c", "import time; time.sleep(1000)"])

    Cutter_run = Cutter._run
    monkeypatch.setattr(Cutter, "_run", run)
    monkeypatch.setattr(cutting, "check_coacd", lambda path: None)
    monkeypatch.setattr("resdex_tasks.objects.meshes.source.available_cores", lambda: 2)
    for scale in (1, 2):
        star().apply_scale(scale).export(str(root / f"star_{scale}.stl"))
    with pytest.raises(KeyboardInterrupt):
        mesh_objects(root, cache=tmp_path / "cache")
    assert len(started) == 2


def test_a_dirty_mesh_is_cleaned(tmp_path):
    """A corner that is no number, an unused corner, triangles without an area, one that stands there twice."""
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
    content = (root / "star.stl").read_bytes()
    (root / "star.stl").write_bytes(b"another head" + content[12:])
    mesh_objects(root, cache=cache)
    assert halved == ["star.stl"] * 3, "another file, other pieces"


def test_an_interrupted_run_resumes_where_it_stopped(root, tmp_path, halved, monkeypatch):
    for name in ("star_1.stl", "star_2.stl", "star_3.stl"):
        mesh = star()
        mesh.apply_scale(int(name[5]))
        mesh.export(str(root / name))
    halve = Cutter._coacd

    def interrupted(cutter, bodies, max_pieces, path):
        if path.name == "star_2.stl":
            raise KeyboardInterrupt
        return halve(cutter, bodies, max_pieces, path)

    with monkeypatch.context() as patch:
        patch.setattr(Cutter, "_coacd", interrupted)
        patch.setattr("resdex_tasks.objects.meshes.source.available_cores", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            mesh_objects(root, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert len(mesh_objects(root, cache=tmp_path / "cache")) == 4
    assert sorted(halved) == ["star_1.stl", "star_2.stl", "star_3.stl"], "each once"


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


@pytest.mark.parametrize("kind, times", [(Unusable, 2), (Hopeless, 1)])
def test_a_hopeless_mesh_is_not_tried_again(root, tmp_path, monkeypatch, kind, times):
    star().export(str(root / "star.stl"))
    asked = []

    def fail(cutter, bodies, max_pieces, path):
        asked.append(path.name)
        raise kind(path, "took too long", "a detail")

    monkeypatch.setattr(Cutter, "_coacd", fail)
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
    few = few_vertices(cone.vertices, MAX_VERTICES)
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
    monkeypatch.setattr(cutting, "COACD_WORKER", worker)
    messages = []
    assert mesh_objects(root, cache=tmp_path / "cache", report=messages.append).names == ["brick_07.stl"]
    assert "star.stl cannot be cut into convex pieces: exit status -6" in messages[0]


HOPELESS = {
    "empty": (b"", "is empty"),
    "words": (b"v a b c\nf 1 2 3\n", "line 1: 'a b c' is no vertex"),
    "points": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n", "4 vertices without a face"),
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
