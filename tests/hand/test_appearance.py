"""The hand's meshes, against what MuJoCo draws."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from helpers.configs import physics
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.appearance import hand_meshes
from resdex_tasks.hand.geometry import BodyPoses, body_names


def test_the_meshes_at_their_bodies_poses_are_those_that_mujoco_draws():
    mujoco = pytest.importorskip("mujoco", minversion="3.17")
    from resdex_tasks.sims import mujoco_scene

    xml = mujoco_scene.hand_xml(physics())
    xml.remove(xml.find("sensor"))  # some of them need an object
    model = mujoco.MjModel.from_xml_string(ET.tostring(xml, encoding="unicode"))
    data = mujoco.MjData(model)
    joint_pos, root = np.random.default_rng(0).uniform(-0.2, 1.2, 22), np.array([0.1, -0.2, 0.9, 0.5, 0.5, -0.5, 0.5])
    data.qpos[:7] = root[[0, 1, 2, 6, 3, 4, 5]]
    data.qpos[mujoco_scene.joint_qpos_columns(model)] = joint_pos
    mujoco.mj_kinematics(model, data)

    as_tensors = (torch.tensor(values, dtype=torch.float32)[None] for values in (root, joint_pos))
    poses = dict(zip(body_names(), BodyPoses(torch.device("cpu"))(*as_tensors)[0].numpy()))
    meshes, drawn = hand_meshes(), np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)
    assert {model.body(model.geom_bodyid[geom]).name for geom in drawn} == set(meshes)
    for geom in drawn:
        name, mesh = model.body(model.geom_bodyid[geom]).name, model.geom_dataid[geom]
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        axes = data.geom_xmat[geom].reshape(3, 3)
        theirs = data.geom_xpos[geom] + model.mesh_vert[first : first + count] @ axes.T
        ours = poses[name][:3] + Rotation.from_quat(poses[name][3:]).apply(meshes[name].vertices)
        for some, others in ((ours, theirs), (theirs, ours)):
            assert cKDTree(others).query(some)[0].max() < 1e-5, name


def test_every_face_has_its_corners():
    for mesh in hand_meshes().values():
        assert mesh.faces.min() == 0 and mesh.faces.max() == len(mesh.vertices) - 1
