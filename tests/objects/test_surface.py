"""Points on the surface of objects."""

import dataclasses

import numpy as np
import pytest
from helpers.boxes import boxes

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.geometry.surface import depth_inside, shape_hash, surface_points
from resdex_tasks.objects.starter import starter_objects

STARTER = starter_objects()


def test_points_of_a_box_lie_on_its_faces_in_proportion_to_their_areas():
    points = surface_points(boxes(((0, 0, 0), (0.1, 0.06, 0.02))), 20_000, seed=1)
    assert points.shape == (20_000, 3) and points.dtype == np.float32
    on = np.isclose(np.abs(points), [0.05, 0.03, 0.01], atol=1e-7)
    assert on.any(axis=1).all()
    assert (np.abs(points) <= np.array([0.05, 0.03, 0.01]) + 1e-7).all()
    pairs = np.array([0.06 * 0.02, 0.1 * 0.02, 0.1 * 0.06])  # areas of the faces across x, y and z
    np.testing.assert_allclose(on.mean(axis=0), pairs / pairs.sum(), atol=0.01)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-3)  # and evenly within each


def test_what_one_piece_hides_of_another_is_no_surface():
    """Two cubes of edge 2 that overlap in half: one box of 3 x 2 x 2, whose six faces have an area of 32."""
    two = boxes(((-0.005, 0, 0), (0.02, 0.02, 0.02)), ((0.005, 0, 0), (0.02, 0.02, 0.02)))
    points = surface_points(two, 20_000)
    on = np.isclose(np.abs(points), [0.015, 0.01, 0.01], atol=1e-7)
    assert on.any(axis=1).all()
    np.testing.assert_allclose(on.mean(axis=0), [8 / 32, 12 / 32, 12 / 32], atol=0.012)
    on_top = points[np.isclose(points[:, 2], 0.01, atol=1e-7)]
    middle = np.abs(on_top[:, 0]) < 0.005  # where the flush tops of both lie
    assert middle.mean() == pytest.approx(1 / 3, abs=0.02), "twice as dense where two faces coincide, or empty"


@pytest.mark.parametrize("gap", [0.0, 5e-6, -5e-6], ids=["touching", "hair's breadth apart", "overlapping a little"])
def test_faces_with_which_pieces_touch_are_inside(gap):
    two = boxes(((-0.01 - gap / 2, 0, 0), (0.02, 0.02, 0.02)), ((0.01 + gap / 2, 0, 0), (0.02, 0.02, 0.02)))
    points = surface_points(two, 4_000)
    within = (np.abs(points[:, 1:]) < 0.0099).all(axis=1)
    assert np.abs(points[within, 0]).min() > 0.019


def test_points_of_real_shapes_lie_on_a_piece_and_inside_none():
    for obj in (STARTER.select(["mug"])[0], *make_objects({"source": "zoo", "count": 12})):
        points = surface_points(obj, 512).astype(float)
        depth = []
        for piece in obj.pieces:
            corners = piece.vertices[piece.faces]
            normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            depth.append((points @ normals.T - np.sum(normals * corners[:, 0], axis=1)).max(axis=1))
        nearest = np.min(depth, axis=0)
        assert np.abs(nearest).max() < 1e-6, obj.name


def test_how_deep_a_point_is_inside():
    """A box of 4 x 2 x 2 cm beside one of 2 x 2 x 6 cm, which it touches."""
    two = boxes(((0, 0, 0), (0.04, 0.02, 0.02)), ((0.03, 0, 0), (0.02, 0.02, 0.06)))
    points = [[0, 0, 0], [0, 0, 0.007], [0.02, 0, 0], [0.03, 0, 0.025], [0, 0, 0.015], [0.05, 0, 0], [0.05, 0.02, 0]]
    depth = [0.01, 0.003, 0.0, 0.005, -0.005, -0.01, -0.01]
    np.testing.assert_allclose(depth_inside(two, np.array(points)), depth, atol=1e-9)
    assert depth_inside(two, np.zeros((3, 5, 3))).shape == (3, 5)


def test_the_points_depend_on_shape_and_seed_alone():
    mug = STARTER.select(["mug"])[0]
    points = surface_points(mug, 300, seed=3)
    np.testing.assert_array_equal(points, surface_points(dataclasses.replace(mug, name="cup"), 300, seed=3))
    assert not np.array_equal(points, surface_points(mug, 300, seed=4))
    with pytest.raises(ValueError, match="n is 0"):
        surface_points(mug, 0)


def test_the_hash_tells_shapes_apart_and_nothing_else():
    hashes = [shape_hash(obj) for obj in STARTER]
    assert len(set(hashes)) == len(STARTER)
    box = STARTER[0]
    assert shape_hash(dataclasses.replace(box, name="other", category="other", split="unseen_object")) == hashes[0]
    longer = dataclasses.replace(box.pieces[0], vertices=box.pieces[0].vertices * 1.001)
    assert shape_hash(dataclasses.replace(box, pieces=(longer,))) != hashes[0]
