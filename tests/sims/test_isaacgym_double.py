"""The double of Isaac Gym: the rules that it holds its users to, and a mistake that each of them catches."""

import ast
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.simulators import isaacgym_double, isaacgym_sim

from resdex_tasks.objects.geometry.convex import convex_piece
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.objects.starter import UNTURNED, starter_objects
from resdex_tasks.objects.top_down import top_down_proposals
from resdex_tasks.sims.isaacgym_assets import write_object

ROOT = Path(__file__).resolve().parents[2]
DOUBLE = ROOT / "tests" / "helpers" / "isaacgym_double"
TILTED = (0.0, 0.0, 0.6, 0.8)
"""xyzw: about z."""
MASS = 1000 * 0.06 * 0.06 * 0.07
"""kg, of a box of the default density."""


@pytest.fixture(autouse=True)
def double():
    isaacgym_double()
    from isaacgym import engine, settings

    before = dict(vars(settings))
    engine.existing.clear()
    yield
    engine.existing.clear()
    vars(settings).update(before)


def off_centre() -> GraspObject:
    """A box of 6 x 6 x 7 cm whose frame lies 5 cm beside its centre of mass."""
    corners = np.array(np.meshgrid((-0.03, 0.03), (-0.03, 0.03), (-0.035, 0.035))).reshape(3, -1).T
    vertices = corners + np.array([0.05, 0.0, 0.0])
    return GraspObject("beside", "box", "train", (convex_piece(vertices),), top_down_proposals(vertices, [UNTURNED]))


class Small:
    """Two environments, each with a box that floats or falls; by hand, as a user of the interface would make them."""

    def __init__(self, prepare=True, obj=None, contacts=None, gravity=0.0, **options):
        from isaacgym import gymapi

        self.gym = gymapi.acquire_gym()
        params = gymapi.SimParams()
        params.up_axis, params.gravity = gymapi.UP_AXIS_Z, gymapi.Vec3(0.0, 0.0, gravity)
        if contacts is not None:
            params.physx.contact_collection = contacts
        self.sim = self.gym.create_sim(0, -1, gymapi.SIM_PHYSX, params)
        path = write_object(obj or ObjectSet([starter_objects()[0]])[0], 64)
        asset_options = gymapi.AssetOptions()
        asset_options.angular_damping = 0.0
        for name, value in options.items():
            setattr(asset_options, name, value)
        self.asset = self.gym.load_asset(self.sim, str(path.parent), path.name, asset_options)
        self.actors = []
        for i in range(2):
            env = self.gym.create_env(self.sim, gymapi.Vec3(-1, -1, 0), gymapi.Vec3(1, 1, 2), 2)
            pose = gymapi.Transform(gymapi.Vec3(0.1, 0.2, 1.0), gymapi.Quat(*TILTED))
            handle = self.gym.create_actor(env, self.asset, pose, "box", i, 0, 0)
            self.actors.append(self.gym.get_actor_index(env, handle, gymapi.DOMAIN_SIM))
        if prepare:
            self.prepare()

    def prepare(self):
        from isaacgym import gymtorch

        self.gym.prepare_sim(self.sim)
        self.root = gymtorch.wrap_tensor(self.gym.acquire_actor_root_state_tensor(self.sim))
        self.refresh()

    def refresh(self):
        self.gym.refresh_actor_root_state_tensor(self.sim)

    def simulate(self):
        self.gym.simulate(self.sim)
        self.gym.fetch_results(self.sim, True)

    def step(self):
        self.simulate()
        self.refresh()

    def set_roots(self, values, ids=None, count=2):
        from isaacgym import gymtorch

        self.kept = values, ids
        if ids is None:
            return self.gym.set_actor_root_state_tensor(self.sim, gymtorch.unwrap_tensor(values))
        unwrapped = gymtorch.unwrap_tensor(values), gymtorch.unwrap_tensor(ids)
        return self.gym.set_actor_root_state_tensor_indexed(self.sim, *unwrapped, count)

    def push(self, force, torque=(0.0, 0.0, 0.0)):
        from isaacgym import gymapi, gymtorch

        self.wrench = [torch.tensor([values] * 2, dtype=torch.float32) for values in (force, torque)]
        self.gym.apply_rigid_body_force_tensors(
            self.sim, *(gymtorch.unwrap_tensor(part) for part in self.wrench), gymapi.ENV_SPACE
        )


def misuse(match=""):
    from isaacgym.structs import Misuse

    return pytest.raises(Misuse, match=match)


def moved(roots, z=0.5):
    roots = roots.clone()
    roots[:, 2] += z
    return roots


def test_tensors_change_only_when_they_are_refreshed():
    scene = Small(gravity=-9.81)
    before = scene.root.clone()
    scene.simulate()
    assert torch.equal(scene.root, before)
    scene.refresh()
    assert (scene.root[:, 2] < before[:, 2]).all()


def test_a_setter_takes_effect_in_the_next_simulate_and_not_before():
    scene = Small()
    before = scene.root.clone()
    scene.set_roots(moved(before))
    scene.refresh()
    assert torch.equal(scene.root, before)
    scene.step()
    torch.testing.assert_close(scene.root[:, 2], before[:, 2] + 0.5)


def test_indices_choose_actors():
    scene = Small()
    before = scene.root.clone()
    scene.set_roots(moved(before), torch.tensor([1], dtype=torch.int32), 1)
    scene.step()
    torch.testing.assert_close(scene.root[:, 2], before[:, 2] + torch.tensor([0.0, 0.5]))


def test_a_setter_counts_once_between_two_simulates():
    scene = Small()
    ids = [torch.tensor([i], dtype=torch.int32) for i in range(2)]
    scene.set_roots(moved(scene.root), ids[0], 1)
    with misuse("twice"):
        scene.set_roots(moved(scene.root), ids[1], 1)


@pytest.mark.parametrize(
    "ids, count, words",
    [
        (torch.tensor([0]), 1, "int32"),
        (torch.tensor([[0]], dtype=torch.int32), 1, "1-D"),
        (torch.tensor([2], dtype=torch.int32), 1, "no actor"),
        (torch.tensor([0], dtype=torch.int32), 2, "announced"),
    ],
)
def test_wrong_indices_are_refused(ids, count, words):
    with misuse(words):
        scene = Small()
        scene.set_roots(scene.root.clone(), ids, count)


def test_wrong_values_are_refused():
    scene = Small()
    with misuse("float32"):
        scene.set_roots(scene.root.double())
    with misuse("26"):
        scene.set_roots(torch.zeros(2, 12))


def test_actors_without_dofs_have_no_dof_state():
    from isaacgym import gymtorch

    sim = isaacgym_sim(["box"])
    dofs, ids = torch.zeros(22, 2), sim._rows.object
    with misuse("without DOFs"):
        sim.gym.set_dof_state_tensor_indexed(sim.sim, gymtorch.unwrap_tensor(dofs), gymtorch.unwrap_tensor(ids), 1)


def test_tensors_must_be_contiguous():
    from isaacgym import gymtorch

    with misuse("contiguous"):
        gymtorch.unwrap_tensor(torch.zeros(3, 2).t())


def test_what_is_set_must_live_until_simulate():
    from isaacgym import gymtorch

    scene = Small()
    scene.gym.set_actor_root_state_tensor(scene.sim, gymtorch.unwrap_tensor(scene.root.clone()))
    with misuse("freed"):
        scene.simulate()


def test_indices_must_live_until_simulate():
    from isaacgym import gymtorch

    scene, ids = Small(), torch.tensor([0, 1])
    values = scene.root.clone()
    scene.kept = values
    with misuse("freed"):
        scene.gym.set_actor_root_state_tensor_indexed(
            scene.sim, gymtorch.unwrap_tensor(values), gymtorch.unwrap_tensor(ids.to(torch.int32)), 2
        )
        scene.simulate()


def test_values_are_read_when_simulate_comes():
    """Whoever refreshes after writing into the engine's own tensor has lost what was written."""
    scene = Small()
    before = scene.root.clone()
    scene.root[:, 2] += 0.5
    scene.set_roots(scene.root)
    scene.refresh()
    scene.step()
    torch.testing.assert_close(scene.root, before)


def test_tensors_come_after_prepare_sim_and_nothing_is_made_after_it():
    from isaacgym import gymapi

    scene = Small(prepare=False)
    with misuse("after prepare_sim"):
        scene.gym.acquire_actor_root_state_tensor(scene.sim)
    with misuse("after prepare_sim"):
        scene.gym.simulate(scene.sim)
    scene.prepare()
    with misuse("before prepare_sim"):
        scene.gym.create_env(scene.sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    with misuse("before prepare_sim"):
        scene.gym.create_box(scene.sim, 1.0, 1.0, 1.0, gymapi.AssetOptions())


def test_a_process_has_one_sim():
    scene = Small()
    with misuse("one sim"):
        Small()
    scene.gym.destroy_sim(scene.sim)


def test_poses_are_those_in_the_environment_and_quaternions_end_with_w():
    """Though the second environment stands 2 m beside the first."""
    scene = Small()
    origins = [scene.gym.get_env_origin(env).x for env in scene.sim.envs]
    assert origins == [0.0, 2.0]
    torch.testing.assert_close(scene.root[:, :7], torch.tensor([[0.1, 0.2, 1.0, *TILTED]] * 2))


def test_velocities_are_those_of_the_centre_of_mass():
    """A box that spins about its centre, which lies 5 cm beside its frame's origin: the origin moves, the row does not
    say so."""
    scene = Small(obj=off_centre())
    state = scene.root.clone()
    state[:, 3:7] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    state[:, 12] = 2.0
    scene.set_roots(state)
    scene.step()
    first = scene.root.clone()
    scene.step()
    velocity = (scene.root[:, :3] - first[:, :3]) * 60
    assert scene.root[:, 7:10].abs().max() < 1e-3
    torch.testing.assert_close(velocity.norm(dim=1), torch.full((2,), 2.0 * 0.05), atol=1e-3, rtol=0)


def test_a_force_acts_at_the_centre_of_mass_in_both_substeps_of_one_simulate():
    scene = Small(obj=off_centre())
    scene.push((MASS, 0.0, 0.0))
    scene.step()
    torch.testing.assert_close(scene.root[:, 7], torch.full((2,), 1 / 60), rtol=1e-4, atol=0)
    assert scene.root[:, 10:].abs().max() < 1e-5
    speed = scene.root[:, 7].clone()
    scene.step()
    torch.testing.assert_close(scene.root[:, 7], speed)


def test_bodies_are_damped_explicitly_and_forces_with_them():
    scene = Small(linear_damping=30.0, angular_damping=60.0)
    state = scene.root.clone()
    state[:, 3:7] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    state[:, 7], state[:, 12] = 1.0, 1.0
    scene.set_roots(state)
    scene.step()
    torch.testing.assert_close(scene.root[:, 7], torch.full((2,), (1 - 30 / 120) ** 2))
    torch.testing.assert_close(scene.root[:, 12], torch.full((2,), (1 - 60 / 120) ** 2), rtol=1e-3, atol=0)
    for _ in range(40):
        scene.push((0.0, MASS, 0.0))
        scene.step()
    torch.testing.assert_close(scene.root[:, 8], torch.full((2,), (1 - 30 / 120) / 30), rtol=1e-3, atol=0)


def test_gravity_can_be_switched_off_for_an_asset():
    falling = Small(gravity=-9.81)
    falling.step()
    falling.gym.destroy_sim(falling.sim)
    floating = Small(gravity=-9.81, disable_gravity=True)
    floating.step()
    assert (falling.root[:, 9] < -0.1).all() and not floating.root[:, 9].any()


def test_on_the_cpu_results_are_fetched_before_they_are_read():
    scene = Small()
    scene.gym.simulate(scene.sim)
    with misuse("fetch_results"):
        scene.refresh()


def test_prepare_sim_may_move_things():
    from isaacgym import settings

    settings.noise = 1e-3
    torch.testing.assert_close(Small().root[0, :3], torch.tensor([0.1, 0.2, 1.0]) + 1e-3)


def test_contacts_are_collected_only_if_asked_for():
    from isaacgym import gymapi, gymtorch

    for collection, felt in ((gymapi.CC_NEVER, False), (gymapi.ContactCollection(1), True)):
        scene = Small(prepare=False, contacts=collection, gravity=-9.81)
        plane = gymapi.PlaneParams()
        plane.normal = gymapi.Vec3(0.0, 0.0, 1.0)
        scene.gym.add_ground(scene.sim, plane)
        scene.prepare()
        contact = gymtorch.wrap_tensor(scene.gym.acquire_net_contact_force_tensor(scene.sim))
        state = scene.root.clone()
        state[:, :7] = torch.tensor([0.0, 0.0, 0.035, 0.0, 0.0, 0.0, 1.0])
        scene.set_roots(state)
        for _ in range(60):
            scene.step()
        scene.gym.refresh_net_contact_force_tensor(scene.sim)
        torch.testing.assert_close(contact[:, 2], torch.full((2,), 9.81 * MASS * felt), rtol=0.02, atol=1e-6)
        scene.gym.destroy_sim(scene.sim)


def test_structures_know_their_attributes_and_types():
    from isaacgym import gymapi

    params = gymapi.SimParams()
    with pytest.raises(TypeError, match="ContactCollection"):
        params.physx.contact_collection = 1
    with pytest.raises(AttributeError, match="num_iterations"):
        params.physx.num_iterations = 4
    with pytest.raises(TypeError):
        params.use_gpu_pipeline = 1


def test_the_gpu_pipeline_needs_physx_on_the_gpu():
    from isaacgym import gymapi

    params = gymapi.SimParams()
    params.use_gpu_pipeline = True
    with misuse("GPU"):
        gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, params)


def test_a_force_sensor_reports_all_forces_on_its_body_along_its_axes():
    """Nothing at rest, mass times acceleration in free air: it is no contact sensor."""
    sim = isaacgym_sim(["box"], fingertip_wrenches="sensor")
    still, push = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 60.0]])
    for _ in range(60):
        sim.step(torch.zeros(1, 18), still, still)
    assert sim.state().fingertip_wrenches.abs().max() < 1e-3
    sim.step(torch.zeros(1, 18), push, still)
    force = sim.state().fingertip_wrenches[0, :, :3]
    assert (force.norm(dim=1) > 0.02).all()
    for _ in range(30):
        sim.step(torch.zeros(1, 18), push, still)
    assert sim.state().fingertip_wrenches.abs().max() < 1e-3  # at a steady speed


@pytest.mark.parametrize("tag, refused", [("position", False), ("general", True)])
def test_only_some_actuators_are_imported(tmp_path, tag, refused):
    from isaacgym.assets import load_mjcf

    path = tmp_path / "arm.xml"
    body = '<body name="a"><joint name="j" damping="2" range="-1 1"/><geom size="0.1"/></body>'
    actuator = f'<actuator><{tag} joint="j" {"kp" if tag == "position" else "gainprm"}="3"/></actuator>'
    path.write_text(f"<mujoco><worldbody>{body}</worldbody>{actuator}</mujoco>")
    if refused:
        with misuse("general"):
            load_mjcf(path, None)
        return
    props = load_mjcf(path, None).dof_props
    assert props["driveMode"][0] == 1 and props["stiffness"][0] == 3 and props["damping"][0] == 2
    assert not props["hasLimits"][0]  # the range is dropped


def test_a_file_has_one_root_body(tmp_path):
    from isaacgym.assets import load_mjcf

    path = tmp_path / "two.xml"
    path.write_text('<mujoco><worldbody><body name="a"/><body name="b"/></worldbody></mujoco>')
    with misuse("2 root bodies"):
        load_mjcf(path, None)


def test_hulls_have_few_corners():
    from isaacgym.assets import load_urdf

    sphere = starter_objects().select(["sphere"])[0]
    path = write_object(sphere, 255)
    assert len(load_urdf(path, None, on_gpu=False).pieces[0][0]) == 162
    with misuse("162 corners"):
        load_urdf(path, None, on_gpu=True)
    assert len(load_urdf(write_object(sphere, 64), None, on_gpu=True).pieces[0][0]) == 64


@pytest.mark.parametrize("bodies, shapes", [(0, 9), (9, 0)])
def test_an_aggregate_has_room_for_its_actors(bodies, shapes):
    from isaacgym import gymapi

    scene = Small(prepare=False)
    env = scene.gym.create_env(scene.sim, gymapi.Vec3(-1, -1, 0), gymapi.Vec3(1, 1, 2), 2)
    scene.gym.begin_aggregate(env, bodies, shapes, True)
    with misuse("aggregate"):
        scene.gym.create_actor(env, scene.asset, gymapi.Transform(), "box", 2, 0, 0)


def test_an_asset_is_closed_once_it_has_an_actor():
    scene = Small(prepare=False)
    with misuse("asset"):
        scene.gym.set_asset_rigid_shape_properties(scene.asset, [])


def test_torch_comes_second():
    env = {k: v for k, v in os.environ.items() if k != "ISAACGYM_DOUBLE_ANY_ORDER"}
    env["PYTHONPATH"] = str(DOUBLE)

    def run(code):
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)

    wrong = run("import torch; import isaacgym")
    assert wrong.returncode and "PyTorch was imported before isaacgym" in wrong.stderr
    assert run("import isaacgym; import torch").returncode == 0


def stub_classes():
    """Class -> (attributes, method -> arguments) of the interface's published stubs."""
    try:
        metadata.version("isaacgym-stubs")
    except metadata.PackageNotFoundError:
        pytest.skip("isaacgym-stubs is not installed: pip install isaacgym-stubs")
    path = next(f for f in metadata.files("isaacgym-stubs") if f.name == "gymapi.pyi").locate()
    text = Path(str(path)).read_text(encoding="utf-8").replace("def lambda(", "def lambda_(")  # no name in Python
    classes = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            attributes = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign)}
            methods = {n.name: n.args for n in node.body if isinstance(n, ast.FunctionDef)}
            classes[node.name] = attributes, methods
    return classes


def test_the_doubles_methods_take_what_the_stubs_say():
    import inspect

    from isaacgym import gymapi

    _, methods = stub_classes()["Gym"]
    for name, method in vars(gymapi.Gym).items():
        if name.startswith("_"):
            continue
        assert name in methods, name
        given, expected = list(inspect.signature(method).parameters.values()), methods[name]
        if expected.vararg is not None:
            continue  # the stubs know the name only
        assert [p.name for p in given] == [a.arg for a in expected.args], name
        optional = sum(p.default is not inspect.Parameter.empty for p in given)
        assert optional == len(expected.defaults), name


def test_the_doubles_structures_have_the_attributes_of_the_stubs():
    from isaacgym import structs

    classes = stub_classes()
    checked = 0
    for name, cls in vars(structs).items():
        if getattr(cls, "FIELDS", None):
            attributes = classes[name][0] - {"dtype"}
            assert set(cls.FIELDS) == attributes, name
            checked += 1
    assert checked > 10


def test_the_adapter_calls_nothing_that_the_stubs_do_not_know():
    from isaacgym import gymapi

    _, methods = stub_classes()["Gym"]
    for file in ("isaacgym_scene.py", "isaacgym_sim.py"):
        for node in ast.walk(ast.parse((ROOT / "resdex_tasks" / "sims" / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("gym", "self.gym"):
                assert node.attr in methods and hasattr(gymapi.Gym, node.attr), node.attr
