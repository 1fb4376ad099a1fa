"""Every file becomes the object that it means, or one sentence says why not; what was changed on the way is said."""

import json
import struct
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from resdex_tasks.objects.loading import Unusable
from resdex_tasks.objects.meshes.reading import SUFFIXES, read_triangles
from resdex_tasks.objects.meshes.record import Notes
from resdex_tasks.objects.meshes.solid import Solid, make_solid

BOX = trimesh.creation.box((1.0, 2.0, 3.0))
VERTICES = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 2) for z in (0, 3))
FACES = [(1, 2, 4), (1, 4, 3), (5, 7, 8), (5, 8, 6), (1, 5, 6), (1, 6, 2), (3, 4, 8), (3, 8, 7), (1, 3, 7), (1, 7, 5),
         (2, 6, 8), (2, 8, 4)]  # fmt: skip


def lines(faces: Sequence[Sequence[int]], shift: int = 0) -> str:
    return "".join("f " + " ".join(str(i + shift) for i in face) + "\n" for face in faces)


PLAIN = VERTICES + lines(FACES)


def solid_of(content, name="mesh.obj") -> Tuple[Solid, List[str]]:
    """What a file encloses, and what was said of it."""
    notes = Notes()
    content = content.encode() if isinstance(content, str) else content
    solid = make_solid(Path(name), read_triangles(Path(name), content, notes), notes)
    return solid, [str(finding) for finding in notes.findings()]


def refusal(content, name="mesh.obj") -> str:
    with pytest.raises(Unusable) as error:
        solid_of(content, name)
    assert "\n" not in str(error.value) and str(error.value).startswith(name)
    return str(error.value)


def assert_is_box(solid: Solid, extents=(1.0, 2.0, 3.0)) -> None:
    points = solid.length * solid.vertices
    np.testing.assert_allclose(np.ptp(points, axis=0), extents, rtol=1e-4)
    assert solid.volume is not None
    assert solid.volume * solid.length**3 == pytest.approx(np.prod(extents), rel=1e-3)


def stl(mesh: trimesh.Trimesh = BOX) -> bytes:
    return mesh.export(file_type="stl")


def turned(face):
    return face[::-1]


SAME_BOX = {
    "byte-order mark": "\ufeff" + PLAIN,
    "latin-1": "# Sägewerk\n".encode("latin-1") + PLAIN.encode(),
    "utf-16": PLAIN.encode("utf-16"),
    "tabs": PLAIN.replace(" ", "\t"),
    "continued lines": PLAIN.replace("f 1 2 4", "f 1 \\\n2 4"),
    "old line ends": PLAIN.replace("\n", "\r"),
    "colours": PLAIN.replace("\nf", " 1 0 0\nf", 1),
    "texture and normals": VERTICES + "".join("f " + " ".join(f"{i}/1/1" for i in face) + "\n" for face in FACES),
    "relative indices": VERTICES + lines(FACES, shift=-9),
    "large": "".join(f"v {x}e200 {y}e200 {z}e200\n" for x in (0, 1) for y in (0, 2) for z in (0, 3)) + lines(FACES),
    "far from the origin": "".join(f"v {x + 5e5} {y + 4e6} {z}\n" for x in (0, 1) for y in (0, 2) for z in (0, 3))
    + lines(FACES),
}


@pytest.mark.parametrize("kind", SAME_BOX)
def test_an_obj_is_read_however_it_is_written(kind):
    solid, said = solid_of(SAME_BOX[kind])
    scale = 1e200 if kind == "large" else 1.0
    assert_is_box(Solid(solid.closed, solid.open, solid.length / scale))
    assert not said


def test_parts_of_an_obj_that_count_back_are_where_they_belong():
    second = VERTICES.replace("v 1", "v 4").replace("v 0", "v 3")
    solid, _ = solid_of(VERTICES + lines(FACES, -9) + second + lines(FACES, -9))
    np.testing.assert_allclose(np.ptp(solid.vertices, axis=0) * solid.length, [4, 2, 3], rtol=1e-6)
    assert len(solid.closed) == 2


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_a_hollow_polygon_is_the_same_wherever_it_begins(first, suffix):
    outline = [(0, 0), (3, 0), (3, 1), (1, 1), (1, 3), (0, 3)]
    corners = [(*p, z) for z in (0, 1) for p in outline]
    bottom, top = [5, 4, 3, 2, 1, 0], [6, 7, 8, 9, 10, 11]
    polygons = [bottom[first:] + bottom[:first], top[first:] + top[:first]]
    polygons += [[i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6] for i in range(6)]
    if suffix == "obj":
        content = "".join(f"v {x} {y} {z}\n" for x, y, z in corners) + lines(polygons, 1)
    else:
        rows = [" ".join(map(str, c)) for c in corners] + [" ".join(map(str, [len(p), *p])) for p in polygons]
        content = (
            f"ply\nformat ascii 1.0\nelement vertex {len(corners)}\nproperty float x\nproperty float y\n"
            f"property float z\nelement face {len(polygons)}\nproperty list uchar int vertex_indices\nend_header\n"
        ) + "\n".join(rows)
    solid, said = solid_of(content, f"mesh.{suffix}")
    assert not said and solid.volume * solid.length**3 == pytest.approx(5.0)


REFUSED = {
    "counts from 0": (VERTICES + lines(FACES, -1), "OBJ counts from 1"),
    "names too much": (PLAIN + "f 1 2 99", "vertex 99, and there are 8"),
    "counts back too far": (VERTICES + "f -1 -2 -99", "vertex -99"),
    "decimal comma": (PLAIN.replace("v 1 2 3", "v 1,5 2 3"), "decimal point"),
    "two numbers": (PLAIN.replace("v 1 2 3", "v 1 2"), "line 8"),
    "lines": (VERTICES + "l 1 2 3\n", "has no triangles: 1 line"),
    "points": (VERTICES, "8 vertices without a face"),
    "prose": ("shopping list\nmilk\n", "no line of it"),
    "web page": ("\n<!DOCTYPE html><html>404</html>", "is a web page"),
    "lfs": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "zip": (b"PK\x03\x04abc", "is a zip archive"),
    "binary": (b"\x00\x01\x02", "binary"),
    "blank": (" \n\n", "is empty"),
    "flat": ("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 2 4 3\n", "spans no volume"),
    "one place": ("v 1 1 1\n" * 3 + "f 1 2 3\n", "spans no volume"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_mesh_is_refused_with_the_true_reason(kind):
    content, words = REFUSED[kind]
    assert words in refusal(content)


# stl


@pytest.mark.parametrize(
    "content, said",
    [
        (stl(), []),
        (b"solid but binary" + stl()[16:], []),
        (stl() + b"the end", ["left out: 7 bytes after the last triangle"]),
        (
            stl()[:80] + struct.pack("<I", 0) + stl()[84:],
            ["repaired: the head counts 0 triangles, and the file has 12"],
        ),
        (
            stl()[:80] + b"\xff" * 4 + stl()[84:],
            ["repaired: the head counts 4294967295 triangles, and the file has 12"],
        ),
        (stl() + stl()[84:134], ["left out: 50 bytes after the last triangle"]),
        (BOX.export(file_type="stl_ascii").upper().encode(), []),
        (BOX.export(file_type="stl_ascii").replace("endsolid", "").encode(), []),
        ("solid Gehäuse\n".encode("latin-1") + BOX.export(file_type="stl_ascii").split("\n", 1)[1].encode(), []),
    ],
)
def test_an_stl_is_read_and_a_wrong_count_is_named(content, said):
    solid, findings = solid_of(content, "mesh.stl")
    assert_is_box(solid)
    assert findings == said


@pytest.mark.parametrize(
    "content",
    [stl()[:-20], stl()[:-50], stl()[:84], stl()[:60], BOX.export(file_type="stl_ascii")[:700].encode()],
)
def test_an_stl_that_is_cut_short_is_refused(content):
    assert "cut short" in refusal(content, "mesh.stl") or "bytes" in refusal(content, "mesh.stl")


def test_a_shape_that_single_precision_has_lost_is_noted():
    mesh = BOX.copy()
    mesh.apply_translation([5e5, 4e6, 0])
    _, said = solid_of(stl(mesh), "mesh.stl")
    assert any("steps" in text for text in said)


# glb and ply


def test_a_compressed_glb_says_so():
    content = BOX.export(file_type="glb")
    size = struct.unpack("<I", content[12:16])[0]
    header = json.loads(content[20 : 20 + size])
    header["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 4)
    body = struct.pack("<I", len(packed)) + content[16:20] + packed + content[20 + size :]
    changed = content[:8] + struct.pack("<I", 12 + len(body)) + body
    assert "export it without compression" in refusal(changed, "mesh.glb")


@pytest.mark.parametrize("suffix", ["glb", "ply", "stl"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_file_that_is_cut_short_says_so(suffix, part):
    content = BOX.export(file_type=suffix)
    refusal(content[: int(part * len(content))], f"mesh.{suffix}")


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
@pytest.mark.parametrize("quads", [True, False])
def test_a_ply_is_read_with_faces_of_different_lengths(encoding, quads):
    rows = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4)]
    rows += [(1, 5, 7, 3)] if quads else [(1, 5, 7), (1, 7, 3)]
    points = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
    form = "ascii" if encoding == "ascii" else "binary_big_endian"
    head = (
        f"ply\nformat {form} 1.0\ncomment made by hand\nelement vertex 8\nproperty double x\nproperty double y\n"
        f"property double z\nproperty uchar red\nelement face {len(rows)}\n"
        "property list uchar int vertex_index\nend_header\n"
    ).encode()
    if encoding == "ascii":
        body = "\n".join(
            [*(f"{x} {y} {z} 255" for x, y, z in points), *(f"{len(r)} {' '.join(map(str, r))}" for r in rows)]
        )
        content = head + body.encode()
    else:
        body = b"".join(struct.pack(">dddB", *p, 255) for p in points)
        content = head + body + b"".join(struct.pack(f">B{len(r)}i", len(r), *r) for r in rows)
    solid, said = solid_of(content, "mesh.ply")
    assert_is_box(solid)
    assert not said


# bodies


def second_box(shift, scale=1.0, flip=False) -> str:
    points = [(scale * x + shift, scale * y + shift, scale * z + shift) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
    faces = [turned(f) for f in FACES] if flip else FACES
    return "".join(f"v {x} {y} {z}\n" for x, y, z in points) + lines(faces, 8)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift, scale", [(0.0, 1.0), (1e-9, 1.0), (0.2, 0.5), (1e-4, 0.9999)])
def test_a_body_that_is_there_twice_or_inside_another_counts_once(shift, scale, flip):
    solid, said = solid_of(PLAIN + second_box(shift, scale, flip))
    assert len(solid.closed) == 1
    assert_is_box(solid)
    assert said


def test_bodies_that_overlap_are_united_and_weigh_once():
    solid, said = solid_of(PLAIN + second_box(0.5))
    assert solid.volume * solid.length**3 == pytest.approx(12 - 0.5 * 1.5 * 2.5, rel=1e-6)
    assert said == ["repaired: 1 body overlapped others, and was united with them"]


def test_a_shape_that_is_there_twice_keeps_its_hole():
    ring = trimesh.creation.annulus(0.5, 1.0, 0.4)
    other = ring.copy()
    other.apply_transform(trimesh.transformations.euler_matrix(0, 0, 0.1))
    once, _ = solid_of(stl(ring), "mesh.stl")
    twice, _ = solid_of(stl(trimesh.util.concatenate([ring, other])), "mesh.stl")
    assert twice.volume * twice.length**3 == pytest.approx(once.volume * once.length**3, rel=0.01)


@pytest.mark.parametrize("diagonal", [0, 1])
@pytest.mark.parametrize("flip", [False, True])
def test_the_wall_between_two_halves_goes(diagonal, flip):
    """Whether the halves cut their common side along the same diagonal or not, and whichever way they face."""
    wall = [(5, 7, 8), (5, 8, 6)] if diagonal else [(5, 7, 6), (6, 7, 8)]
    left = [f for f in FACES if f not in ((5, 7, 8), (5, 8, 6))] + wall
    right = [tuple({1: 5, 2: 6, 3: 7, 4: 8}.get(i, i + 4) for i in f) for f in FACES]
    right = [turned(f) for f in right] if flip else right
    content = VERTICES + "".join(f"v 2 {y} {z}\n" for y in (0, 2) for z in (0, 3)) + lines(left + right)
    solid, _ = solid_of(content)
    assert_is_box(solid, (2.0, 2.0, 3.0))
    assert len(solid.closed) == 1


REPAIRED = {
    "double-sided": (PLAIN + lines([turned(f) for f in FACES]), "12 triangles were there more than once"),
    "each face and its back": (VERTICES + lines([g for f in FACES for g in (f, turned(f))]), "more than once"),
    "inside out": (VERTICES + lines([turned(f) for f in FACES]), "12 triangles faced inwards, and were turned"),
    "mixed": (VERTICES + lines([turned(f) if i % 2 else f for i, f in enumerate(FACES)]), "6 triangles faced inwards"),
    "a triangle missing": (VERTICES + lines(FACES[1:]), "1 hole in the surface was closed"),
    "no lid": (VERTICES + lines(FACES[2:]), "1 hole in the surface was closed"),
    "a fin": (PLAIN.replace("f ", "v 0 -2 0\nf ", 1) + "f 1 2 9\n", "1 triangle that hangs at an edge"),
    "a stray triangle": (
        PLAIN.replace("f ", "v 900 0 0\nv 900 .1 0\nv 900 0 .1\nf ", 1) + "f 9 10 11\n",
        "1 loose triangle, which has no volume",
    ),
    "an inner wall": (PLAIN + "f 1 3 8\nf 1 8 6\n", "cover their convex hull"),
}


@pytest.mark.parametrize("kind", REPAIRED)
def test_a_fault_is_repaired_and_said(kind):
    content, words = REPAIRED[kind]
    solid, said = solid_of(content)
    assert_is_box(solid)
    assert any(words in text for text in said), said


def test_triangles_that_go_with_a_corner_and_the_gap_that_is_left_are_said():
    solid, said = solid_of(PLAIN.replace("v 1 2 3", "v nan 2 3"))
    assert solid.volume is None
    assert said[0] == "left out: 6 of 12 triangles, with a corner that is no finite number"
    assert "its surface is open (6 edges with one triangle)" in said[1]


def test_an_open_bowl_is_not_taken_for_its_hull():
    bowl = trimesh.creation.icosphere(subdivisions=2)
    bowl.update_faces(bowl.triangles_center[:, 2] < 0)
    solid, said = solid_of(bowl.export(file_type="ply"), "mesh.ply")
    assert solid.volume is None and "open" in said[-1]


# any bytes


@given(st.sampled_from(SUFFIXES), st.binary(max_size=400))
def test_any_bytes_are_one_object_or_one_sentence(suffix, content):
    check_any(suffix, content)


@given(
    st.sampled_from(["stl", "ply", "glb", "obj"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0.2, 1),
)
def test_a_damaged_file_is_one_object_or_one_sentence(suffix, bytes_, part):
    content = bytearray(BOX.export(file_type=suffix) if suffix != "obj" else PLAIN.encode())
    for where, value in bytes_:
        content[int(where * (len(content) - 1))] = value
    check_any(f".{suffix}", bytes(content[: int(part * len(content))]))


COORDINATES = st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 1e-9, 1e300, float("nan"), float("inf")])


@given(st.lists(st.tuples(*3 * [COORDINATES]), min_size=3, max_size=9), st.data())
def test_any_triangles_are_one_object_or_one_sentence(points, data):
    corner = st.integers(1, len(points))
    faces = data.draw(st.lists(st.lists(corner, min_size=2, max_size=5), min_size=1, max_size=12))
    check_any(".obj", ("".join(f"v {x} {y} {z}\n" for x, y, z in points) + lines(faces)).encode())


def check_any(suffix: str, content: bytes) -> None:
    try:
        solid, _ = solid_of(content, f"mesh{suffix}")
    except Unusable as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(solid.vertices).all() and np.ptp(solid.vertices, axis=0).max() == pytest.approx(1.0)
        assert all(body.volume > 0 for body in solid.closed)
