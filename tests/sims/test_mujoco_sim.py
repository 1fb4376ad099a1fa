"""What only MuJoCo's own lists and models can show of the CPU simulator."""

import math

import numpy as np
import pytest
import torch
from helpers.driving import ALIKE, place, press, random_commands, snapshot, world_wrenches
from helpers.simulators import mujoco_sim

from resdex_tasks.objects.starter import starter_objects

mujoco = pytest.importorskip("mujoco", minversion="3.17")


@pytest.fixture(scope="module")
def pressing():
    """The hand presses on the table with the tips of its four curled fingers, in three environments."""
    sim = mujoco_sim(["box"], [0] * 3)
    press(sim)
    return sim


def external_contacts(sim, env):
    """Per body of the hand: world force and torque about that body's origin that contacts exert on it, from MuJoCo."""
    model, data = sim.batch.get_model(env), sim.batch.get_data(env)
    mujoco.mj_forward(model, data)
    out = {}
    for k in range(data.ncon):
        contact, wrench = data.contact[k], np.zeros(6)
        mujoco.mj_contactForce(model, data, k, wrench)
        axes = contact.frame.reshape(3, 3)  # rows; the first is the normal, from geom 0 to geom 1
        force, torque = axes.T @ wrench[:3], axes.T @ wrench[3:]
        for geom, sign in zip(contact.geom, (-1, 1)):
            body = model.geom_bodyid[geom]
            total = out.setdefault(model.body(body).name, np.zeros(6))
            total[:3] += sign * force
            total[3:] += sign * (torque + np.cross(contact.pos - data.xpos[body], force))
    return out


def test_a_pressing_hand_touches_with_its_tips_alone(pressing):
    """What the balance of forces on the fingertips takes for granted (test_sims.py)."""
    sim = pressing
    touching = {name for env in range(3) for name in external_contacts(sim, env)} - {"world", "object"}
    assert touching and all(name.endswith("distal") for name in touching)


def test_wrenches_are_the_sum_of_the_contacts_forces_and_levers(pressing):
    """Force and torque about the distal body's origin, in the body's frame, against MuJoCo's list of contacts."""
    sim = pressing
    force, torque = world_wrenches(sim.state())
    levers = 0
    for env in range(3):
        contacts = external_contacts(sim, env)
        for k, finger in enumerate(("ff", "mf", "rf", "lf", "th")):
            expected = contacts.get(f"{finger}distal", np.zeros(6))
            np.testing.assert_allclose(force[env, k], expected[:3], atol=0.02)
            np.testing.assert_allclose(torque[env, k], expected[3:], atol=0.001)
            levers += np.linalg.norm(expected[3:]) > 0.005
    assert levers >= 3, "without a lever its sign would not show"


def test_a_bystanding_object_is_no_touch(pressing):
    """Its weight rests on the table, not on the hand."""
    sim = pressing
    assert external_contacts(sim, 0)["object"][2] == pytest.approx(500 * 0.06 * 0.06 * 0.07 * 9.81, abs=0.02)


@pytest.mark.parametrize(
    "name, volume",
    [
        ("box", 0.06 * 0.06 * 0.07),
        ("flat_box", 0.09 * 0.06 * 0.03),
        ("cone", 0.08 * 0.035**2 * 16 * math.sin(math.pi / 16) / 3),
    ],
)
def test_mass_is_density_times_volume(name, volume):
    """500 kg/m3 (the cone's base is a regular polygon of 32 sides: 16 r^2 sin(pi / 16))."""
    model = mujoco_sim([name]).batch.get_model(0)
    assert model.body("object").mass[0] == pytest.approx(500 * volume, rel=1e-4)


def test_an_unused_piece_slot_weighs_and_touches_nothing():
    """The box beside a mug of 12 pieces gets 11 idle ones: mass, inertia and rest are those of the box alone."""
    from resdex_tasks.sims import mujoco_scene

    alone = mujoco_sim(["box"])
    config = alone.physics
    objects = starter_objects().select(["box", "mug"])
    padded = mujoco_scene.build_scene(objects, config, alone.wrist_law, 1 / 120).show(0)
    model = alone.batch.get_model(0)
    assert padded.ngeom == model.ngeom + 11
    np.testing.assert_allclose(padded.body("object").mass, model.body("object").mass, rtol=1e-9)
    np.testing.assert_allclose(sorted(padded.body("object").inertia), sorted(model.body("object").inertia), rtol=1e-9)
    data = mujoco.MjData(padded)
    data.qpos[int(padded.joint("root").qposadr[0]) + 2] = 2.0
    for _ in range(120):
        mujoco.mj_step(padded, data)
    assert data.body("object").xpos[2] == pytest.approx(0.635, abs=1e-3)


def test_the_number_of_threads_changes_nothing():
    results = []
    for threads in (1, 2):
        sim = mujoco_sim(ALIKE, [0, 1, 2, 0, 1], num_threads=threads)
        place(sim, height=0.72, object_position=(0.0, -0.05, 0.64))
        for commands in random_commands(5, 30):
            sim.step(*commands)
        results.append(snapshot(sim))
    assert torch.equal(*results)
