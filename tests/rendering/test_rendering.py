"""Pictures without OpenGL, and the files made of them."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from resdex_tasks.rendering.images import add_label, fitted, tile, write_gif, write_strip
from resdex_tasks.rendering.raycast import Camera, _Caster, camera_rays, render
from resdex_tasks.utils.errors import UserError

mujoco = pytest.importorskip("mujoco", minversion="3.17")

RED = "0.8 0.1 0.1 1"
SIDE = Camera((1.0, 0.0, 0.5), (0.0, 0.0, 0.5), fov=40)


def scene(bodies):
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{bodies}</worldbody></mujoco>")
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return model, data


def ball(position, rgba=RED, radius=0.1, extra=""):
    return f'<geom type="sphere" size="{radius}" pos="{position}" rgba="{rgba}" {extra}/>'


PLANE = '<geom type="plane" size="0 0 1" rgba="0.8 0.8 0.8 1"/>'


def reddish(image):
    image = image.astype(int)
    return image[..., 0] > 1.5 * np.maximum(image[..., 1], image[..., 2])


def bluish(image):
    image = image.astype(int)
    return image[..., 2] > 1.5 * np.maximum(image[..., 0], image[..., 1])


def test_a_red_ball_is_red_on_a_light_background():
    image = render(*scene(PLANE + ball("0 0 0.5")), SIDE, 64, 48)
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8
    assert reddish(image)[24, 32]
    assert not reddish(image)[:, :8].any()
    assert image[0].min() > 200


@pytest.mark.parametrize("supersample", [1, 2])
def test_silhouette_has_the_area_of_the_projected_sphere(supersample):
    image = render(*scene(ball("0 0 0.5")), SIDE, 240, 180, supersample=supersample)
    distance, radius = 1.0, 0.1
    pixels_per_unit_slope = 90 / np.tan(np.radians(20))
    expected = np.pi * (pixels_per_unit_slope * radius / np.sqrt(distance**2 - radius**2)) ** 2
    assert reddish(image).sum() == pytest.approx(expected, rel=0.04)


def test_the_picture_is_upright_and_not_mirrored():
    # From +x, looking along -x: world +y is to the right, +z is up.
    image = render(*scene(ball("0 0.15 0.6", radius=0.05)), SIDE, 80, 60)
    rows, columns = np.nonzero(reddish(image))
    assert rows.mean() < 25 and columns.mean() > 45


def test_straight_down_puts_world_x_to_the_right():
    rays = camera_rays(Camera((0, 0, 1), (0, 0, 0)), 4, 4)
    assert rays[0, 3, 0] > 0 and rays[0, 3, 1] > 0 and (rays[..., 2] < 0).all()


def test_the_nearer_ball_hides_the_farther_one():
    model, data = scene(ball("0.3 0 0.5") + ball("-0.3 0 0.5", "0.1 0.1 0.8 1"))
    front = render(model, data, SIDE, 64, 48)
    back = render(model, data, Camera((-1.0, 0.0, 0.5), SIDE.target), 64, 48)
    assert reddish(front)[24, 32] and not bluish(front).any()
    assert bluish(back)[24, 32] and not reddish(back).any()


def test_a_floating_box_shades_the_table():
    camera = Camera((0.9, 0.0, 0.9), (0.0, 0.0, 0.0))
    box = '<geom type="box" size="0.12 0.12 0.01" pos="0 0 0.3" rgba="0.8 0.1 0.1 1" group="2"/>'
    lit = render(*scene(PLANE), camera, 80, 60).astype(int)
    image = render(*scene(PLANE + box), camera, 80, 60).astype(int)
    table = ~reddish(image)
    darker = (lit - image).max(-1)[table]
    assert darker.max() > 40  # the core of the shadow
    assert 0.01 < (darker > 40).mean() < 0.2  # which is about as large as the box, not the whole table
    assert np.abs(lit - image)[:, :6].max() <= 12  # far from the box, the table is as before


def test_geomgroup_hides_geoms():
    model, data = scene(ball("0 0 0.5", extra='group="4"') + ball("0 0 0.5", "0.1 0.1 0.8 1", 0.05, 'group="1"'))
    assert reddish(render(model, data, SIDE, 40, 30)).any()
    visual = render(model, data, SIDE, 40, 30, geomgroup=[1, 1, 1, 0, 0, 0])
    assert bluish(visual)[15, 20] and not reddish(visual).any()
    assert list(model.geom_group) == [4, 1]


def test_a_material_colours_a_geom_without_a_colour_of_its_own():
    xml = """<mujoco><asset><material name="red" rgba="0.8 0.1 0.1 1"/></asset><worldbody>
        <geom type="sphere" size="0.1" pos="0 -0.15 0.5" material="red"/>
        <geom type="sphere" size="0.1" pos="0 0.15 0.5" material="red" rgba="0.1 0.1 0.8 1"/></worldbody></mujoco>"""
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    image = render(model, data, SIDE, 80, 60)
    assert reddish(image)[:, :40].any() and not reddish(image)[:, 40:].any()
    assert bluish(image)[:, 40:].any() and not bluish(image)[:, :40].any()


def test_the_same_scene_gives_the_same_picture_and_an_empty_one_a_background():
    model, data = scene(PLANE + ball("0 0 0.5"))
    first = render(model, data, SIDE, 90, 70)
    assert np.array_equal(first, render(model, data, SIDE, 90, 70))
    empty = render(*scene(ball("0 0 -9")), SIDE, 20, 10)
    assert empty.min() > 200


def test_hits_are_those_of_mj_ray():
    """mj_multiRay alone loses hits, on long off-centre meshes above all."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 3)) * [0.3, 0.05, 0.05] + [0.4, 0.1, 0]
    mesh = " ".join(f"{x:.4f}" for x in points.ravel())
    xml = f"""<mujoco><asset><mesh name="long" vertex="{mesh}"/></asset><worldbody>
        <geom type="plane" size="0 0 1" pos="0 0 -0.5"/>
        <geom type="box" size="0.5 0.4 0.05" pos="0 0 -0.4" euler="0 0 20"/>
        <body pos="0.1 0 0.2" euler="10 20 70"><geom type="mesh" mesh="long" mass="1"/>
        <geom type="capsule" size="0.05 0.2" pos="0 0.3 0" euler="40 0 0" mass="1"/></body>
        <body pos="0 -0.3 0.1"><geom type="ellipsoid" size="0.1 0.2 0.05" mass="1"/></body></worldbody></mujoco>"""
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    bundles = []
    for origin in rng.uniform(-1, 1, (12, 3)):
        rays = camera_rays(Camera(tuple(origin), (0.1, 0.0, 0.1), fov=rng.uniform(5, 90)), 12, 12).reshape(-1, 3)
        bundles.append((origin, rays))
    with _Caster(model, data, None) as caster:
        found = caster.cast(bundles)
    geom, hits = np.zeros(1, np.int32), 0
    for (origin, rays), (ids, depths, _) in zip(bundles, found):
        for ray, number, depth in zip(rays, ids, depths):
            assert depth == pytest.approx(mujoco.mj_ray(model, data, origin, ray, None, 1, -1, geom))
            assert number == geom[0]
            hits += number > 0
    assert hits > 300


def frames(count):
    ramp = np.linspace(20, 235, count).astype(np.uint8)
    return [np.full((30, 40, 3), level, np.uint8) for level in ramp]


@pytest.mark.parametrize("fps, expected_count", [(30, 12), (60, 6)])
def test_gif_keeps_size_count_and_duration(tmp_path, fps, expected_count):
    path = tmp_path / "a.gif"
    write_gif(path, frames(12), fps)
    with Image.open(path) as gif:
        assert gif.size == (40, 30) and gif.n_frames == expected_count and gif.info["loop"] == 0
        total = 0
        for i in range(gif.n_frames):
            gif.seek(i)
            total += gif.info["duration"]
        assert total == pytest.approx(1000 * 12 / fps, abs=10)
        assert gif.convert("RGB").getpixel((20, 15))[0] > 190
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]


def test_strip_shows_evenly_spaced_frames(tmp_path):
    path = tmp_path / "strip.png"
    shots = frames(11)
    write_strip(path, shots, count=3)
    strip = np.asarray(Image.open(path))
    assert strip.shape == (30, 120, 3)
    assert np.array_equal(strip, np.concatenate([shots[0], shots[5], shots[10]], axis=1))
    write_strip(path, shots[:2])
    assert Image.open(path).size == (80, 30)


def test_strip_labels_are_visible_and_leave_the_frames_alone(tmp_path):
    path = tmp_path / "strip.png"
    shots = frames(5)
    before = [shot.copy() for shot in shots]
    write_strip(path, shots, count=2, labels=[f"t = {i / 2:.2f} s" for i in range(5)])
    strip = np.asarray(Image.open(path))
    assert (strip[:, :40] != 20).any() and (strip[:, 40:] != 235).any()
    assert all(np.array_equal(a, b) for a, b in zip(shots, before))
    with pytest.raises(ValueError, match="labels"):
        write_strip(path, shots, labels=["one"])


@pytest.mark.parametrize("text", ["core/bottle-70172e6afe6aff7847f90c1ac631b97f: success", "x" * 300, "W"])
def test_a_label_that_is_too_long_keeps_its_beginning_and_its_end(text):
    font = ImageFont.load_default(10)
    short = fitted(text, font, 120)
    assert font.getlength(short) <= 120
    before, _, after = short.partition("...")
    assert text.startswith(before) and text.endswith(after)
    assert len(before) - len(after) in (0, 1) or short == text
    longer = f"{text[: len(before) + 1]}...{text[len(text) - len(after) - 1 :]}"
    assert short == text or font.getlength(longer) > 120  # no more would fit


def test_no_label_runs_over_the_edge_of_its_picture():
    picture = np.zeros((64, 64, 3), np.uint8)
    labelled = add_label(picture, "core/bottle-70172e6afe6aff7847f90c1ac631b97f: dropped")
    assert labelled.any() and not labelled[:, -4:].any()


def test_tile_fills_rows_first():
    a, b, c = frames(3)
    sheet = tile([a, b, c], columns=2)
    assert sheet.shape == (60, 80, 3)
    assert (sheet[:30, 40:] == b).all() and (sheet[30:, :40] == c).all() and (sheet[30:, 40:] == 255).all()


@pytest.mark.parametrize("name", ["missing/a.gif", "a.txt", "folder.gif"])
def test_bad_paths_are_explained(tmp_path, name):
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(UserError, match=name.split("/")[-1]):
        write_gif(tmp_path / name, frames(2), 10)
    with pytest.raises(UserError, match="no frames"):
        write_strip(tmp_path / "a.png", [])
    assert [p.name for p in tmp_path.iterdir()] == ["folder.gif"]
