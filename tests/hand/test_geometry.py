import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from helpers.configs import physics
from helpers.simulators import mujoco_sim
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import (
    PALM,
    BodyPoses,
    FingerSpheres,
    body_names,
    hand_hull,
    hand_spheres,
    joint_ranges,
    palm_boxes,
)
from resdex_tasks.hand.shadow_hand import FINGERS, JOINTS


@pytest.mark.parametrize("seed", range(3))
def test_the_spheres_are_where_mujoco_puts_capsules_and_boxes(seed):
    mujoco = pytest.importorskip("mujoco", minversion="3.17")
    from resdex_tasks.sims import mujoco_scene

    xml = mujoco_scene.hand_xml(physics())
    xml.remove(xml.find("sensor"))  # some of them need an object
    model = mujoco.MjModel.from_xml_string(ET.tostring(xml, encoding="unicode"))
    data = mujoco.MjData(model)
    rng = np.random.default_rng(seed)
    joint_pos, translation = rng.uniform(-0.5, 1.5, 22), rng.normal(size=3)
    rotation = Rotation.random(random_state=seed).as_quat()
    data.qpos[:3], data.qpos[3:7] = translation, rotation[[3, 0, 1, 2]]
    data.qpos[mujoco_scene.joint_qpos_columns(model)] = joint_pos
    mujoco.mj_kinematics(model, data)

    expected = []
    for geom in np.flatnonzero(model.geom_contype | model.geom_conaffinity):
        size, axes = model.geom_size[geom], data.geom_xmat[geom].reshape(3, 3)
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            offsets, radius = [(0, 0, -size[1]), (0, 0, size[1])], size[0]
        elif model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX:
            offsets, radius = size * np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T, 0.0
        else:
            continue  # the table
        expected += [(*(data.geom_xpos[geom] + axes @ offset), radius) for offset in offsets]
    centres, radii = hand_hull(rotation[None], translation[None], joint_pos[None])
    found = np.column_stack([centres[0], radii])
    assert len(found) == len(expected)
    np.testing.assert_allclose(_sorted(found), _sorted(np.array(expected)), atol=1e-9)


def _sorted(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.round(6).T)]


def test_the_spheres_have_the_scenes_capsules_among_them():
    mujoco = pytest.importorskip("mujoco", minversion="3.17")
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


@pytest.mark.parametrize("count", [1, 5])
def test_the_fingers_spheres_on_any_device_are_those_of_the_whole_hand(count):
    low, high = joint_ranges().T
    q = low + np.random.default_rng(count).random((count, len(JOINTS))) * (high - low)
    fingers = FingerSpheres(torch.device("cpu"))
    whole, found = hand_spheres(q), fingers(torch.from_numpy(q).float())
    ours = whole.finger != PALM
    assert found.dtype == fingers.radii.dtype == torch.float32 and 40 < ours.sum() < len(ours)
    np.testing.assert_allclose(fingers.radii.numpy(), whole.radii[ours], rtol=1e-6)
    np.testing.assert_allclose(found.numpy(), whole.centres[:, ours], atol=1e-6)


def test_every_sphere_of_the_palm_is_inside_one_of_its_boxes_and_fills_it():
    spheres, boxes = hand_spheres(np.zeros((1, len(JOINTS)))), palm_boxes()
    palm = spheres.finger == PALM
    centres, radii = spheres.centres[0, palm], spheres.radii[palm, None]
    low, high = boxes[:, None, 0] - 1e-9, boxes[:, None, 1] + 1e-9
    inside = ((centres - radii >= low) & (centres + radii <= high)).all(axis=-1)  # (B, S)
    assert inside.any(axis=0).all()
    for box, own in zip(boxes, inside):
        np.testing.assert_allclose((centres - radii)[own].min(axis=0), box[0], atol=1e-9)
        np.testing.assert_allclose((centres + radii)[own].max(axis=0), box[1], atol=1e-9)


def test_the_bodies_are_where_mujoco_puts_them():
    mujoco = pytest.importorskip("mujoco", minversion="3.17")
    model = mujoco_sim(["box"]).scene.model
    data = mujoco.MjData(model)
    low, high = joint_ranges().T
    rng = np.random.default_rng(0)
    joint_pos, translation = low + rng.random((3, len(JOINTS))) * (high - low), rng.normal(size=(3, 3))
    rotation = Rotation.random(3, random_state=0).as_quat()
    root = torch.tensor(np.concatenate([translation, rotation], axis=1), dtype=torch.float32)
    found = BodyPoses(torch.device("cpu"))(root, torch.tensor(joint_pos, dtype=torch.float32)).numpy()
    assert found.shape == (3, len(body_names()), 7)
    for k in range(3):
        data.qpos[:3], data.qpos[3:7] = translation[k], rotation[k][[3, 0, 1, 2]]
        for value, name in zip(joint_pos[k], JOINTS):
            data.qpos[model.joint(name).qposadr[0]] = value
        mujoco.mj_kinematics(model, data)
        for body, name in enumerate(body_names()):
            np.testing.assert_allclose(found[k, body, :3], data.body(name).xpos, atol=1e-6)
            expected = data.body(name).xquat[[1, 2, 3, 0]]
            assert abs(found[k, body, 3:] @ expected) > 1 - 1e-6, name
