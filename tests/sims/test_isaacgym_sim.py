"""Isaac Gym's adapter beyond the contract: what only this engine asks of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call
from helpers.driving import ALIKE, advance, place, random_commands, snapshot
from helpers.simulators import isaacgym_double, isaacgym_sim

from resdex_tasks.factory import make_objects
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS, PALM_DOWN_QUAT
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.sims import registry
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import read_json
from resdex_tasks.utils.overrides import Overrides
from runners.config import load_config
from runners.config.machine import automatic_choices
from runners.evaluation.intervals import wilson_interval
from runners.evaluation.playing import evaluation_task
from runners.evaluation.rollout import run_episodes
from runners.evaluation.summary import EvaluationResult
from runners.learning import vec_env
from runners.policies.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
DOUBLE = ROOT / "tests" / "helpers" / "isaacgym_double"
SIM = "sim=isaacgym"
SMALL = tuple(value for value in TINY if not value.startswith(("sim=", "sim.")))


@pytest.fixture(autouse=True)
def double():
    isaacgym_double()
    from isaacgym import engine, settings

    from resdex_tasks.sims.isaacgym_sim import IsaacGymSim

    before = dict(vars(settings))
    engine.existing.clear()
    IsaacGymSim.made.clear()
    yield settings
    engine.existing.clear()
    IsaacGymSim.made.clear()
    vars(settings).update(before)


def some_steps(sim):
    place(sim, height=0.72, object_position=(0.0, -0.05, 0.64))
    for commands in random_commands(sim.num_envs, 20):
        sim.step(*commands)
    return snapshot(sim)


def test_joints_and_bodies_are_found_by_name(double):
    """However the importer numbers them."""
    plain = some_steps(isaacgym_sim(["box"]))
    double.permute = True
    sim = isaacgym_sim(["box"])
    names = sim.gym.get_asset_dof_names(sim._scene._hand)
    assert names != list(JOINTS) and sorted(names) == sorted(JOINTS)
    torch.testing.assert_close(some_steps(sim), plain, atol=1e-4, rtol=1e-4)


def test_what_prepare_sim_moved_is_put_right(double):
    plain = some_steps(isaacgym_sim(["box"]))
    double.noise = 0.01
    torch.testing.assert_close(some_steps(isaacgym_sim(["box"])), plain, atol=1e-5, rtol=1e-5)


def test_a_force_that_acts_in_one_substep_is_measured_and_made_up_for(double):
    double.force_in_every_substep = False
    sim = isaacgym_sim(["box"], [0] * 3)
    assert sim.gains == pytest.approx([2.0, 2.0], rel=0.05)
    place(sim)
    poses = advance(sim, 40, force=sim.wrist_law.max_force * torch.eye(3))
    velocity = (poses[-1, :, :3] - poses[-2, :, :3]) * 60
    torch.testing.assert_close(velocity, 0.28037 * torch.eye(3), atol=0.02 * 0.28037, rtol=0)


def test_a_wrist_that_does_not_answer_is_refused(monkeypatch):
    from isaacgym import gymapi

    monkeypatch.setattr(gymapi.Gym, "apply_rigid_body_force_tensors", lambda *arguments: True)
    with pytest.raises(UserError, match=r"moves the wrist at .* under full force, not at 0\.28"):
        isaacgym_sim(["box"])


def test_resets_between_two_steps_are_one(double):
    """The engine takes each setter once."""
    sim = isaacgym_sim(ALIKE)
    place(sim)
    advance(sim, 2)
    pose = torch.tensor([[0.0, 0.1, 1.0, *PALM_DOWN_QUAT]])
    away = torch.tensor([[0.0, 0.6, 0.7, 0.0, 0.0, 0.0, 1.0]])
    for env in (0, 2, 0):
        sim.reset(torch.tensor([env]), pose, torch.zeros(1, 22), away)
    before = sim.state().root_pose.clone()
    torch.testing.assert_close(before[[0, 2]], pose.expand(2, 7))
    advance(sim, 1)
    torch.testing.assert_close(sim.state().root_pose, before, atol=1e-4, rtol=0)


def test_joint_properties_are_read_back(monkeypatch):
    from isaacgym import gymapi

    real = gymapi.Gym.get_actor_dof_properties

    def forgetful(*arguments):
        props = real(*arguments)
        props["stiffness"] *= 2
        return props

    monkeypatch.setattr(gymapi.Gym, "get_actor_dof_properties", forgetful)
    with pytest.raises(UserError, match="did not take the hand's joint properties: stiffness"):
        isaacgym_sim(["box"])


def test_the_hand_is_imported_whole():
    sim = isaacgym_sim(["box"])
    hand, gym = sim._scene._hand, sim.gym
    assert gym.get_asset_rigid_body_count(hand) == 23 and gym.get_asset_rigid_shape_count(hand) == 18
    driven = {gym.get_asset_actuator_joint_name(hand, i) for i in range(gym.get_asset_actuator_count(hand))}
    assert driven == set(ACTUATED)


def test_objects_stay_where_they_are():
    sim = isaacgym_sim(ALIKE, [0, 1, 2, 0])
    sim.put_objects(torch.tensor([3, 1]), torch.tensor([0, 1]))
    with pytest.raises(UserError, match=r"task\.env\.objectSampling=fixed"):
        sim.put_objects(torch.tensor([3, 1]), torch.tensor([0, 2]))
    with pytest.raises(UserError, match="casts no rays"):
        sim.sees(torch.zeros(1, 3), torch.zeros(4, 1, 3))
    with pytest.raises(UserError, match="makes no pictures"):
        sim.render(0, 8, 8)


def test_a_saved_state_goes_on_nearly_the_same():
    saved = isaacgym_sim(ALIKE)
    some_steps(saved)
    state = saved.get_state()
    commands = list(random_commands(3, 5, seed=3))
    for c in commands:
        saved.step(*c)
    expected = saved.state().root_pose.clone()
    other = isaacgym_sim(ALIKE)
    other.set_state(state)
    for c in commands:
        other.step(*c)
    torch.testing.assert_close(other.state().root_pose, expected, atol=2e-3, rtol=0)


def test_another_may_own_the_engine_and_step_it():
    """As IsaacGymEnvs' tasks do: commands are handed over, then the owner simulates."""
    from isaacgym import gymapi

    from resdex_tasks.sims.isaacgym_scene import sim_params
    from resdex_tasks.sims.isaacgym_sim import SharedIsaacGymSim

    own = isaacgym_sim(["box"])
    expected = some_steps(own)
    config, objects, law = own.config, starter_objects().select(["box"]), own.wrist_law
    from isaacgym import engine

    engine.existing.clear()
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, sim_params(config, torch.device("cpu")))
    shared = SharedIsaacGymSim(gym, sim, objects, torch.tensor([0]), config, law)
    gym.prepare_sim(sim)
    shared.ready()
    place(shared, height=0.72, object_position=(0.0, -0.05, 0.64))
    for commands in random_commands(1, 20):
        frames = gym.get_frame_count(sim)
        shared.step(*commands)
        assert gym.get_frame_count(sim) == frames
        gym.simulate(sim)
        gym.fetch_results(sim, True)
        shared.refresh()
    assert torch.equal(snapshot(shared), expected)


def test_a_process_makes_one(tmp_path):
    settings = load_config([SIM, "num_envs=1", "scale=cpu"])
    first = settings.make_task()
    with pytest.raises(UserError, match="one simulator in a process"):
        settings.make_task()
    assert first.num_envs == 1


def test_without_the_package_one_sentence_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "installed", lambda name: False)
    assert_one_sentence(call(tmp_path, SIM, "num_envs=4"), "Isaac Gym Preview 4", "pip install")


def test_it_is_never_chosen(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("runners.config.machine.installed", lambda name: name == "isaacgym")
    chosen, _ = automatic_choices(Overrides([]))
    assert chosen["sim"] == "mujoco"


@pytest.mark.parametrize(
    "overrides, culprits",
    [
        (["task.env.objectSampling=random"], ["sim=isaacgym", "task.env.objectSampling=fixed"]),
        (["objects.names=[box,cube,can,cone,mug]"], ["num_envs=4", "num_envs=5"]),
        (["capture_video=true"], ["sim=isaacgym", "pictures"]),
    ],
)
def test_what_it_cannot_do_is_one_sentence(tmp_path, overrides, culprits):
    outcome = call(tmp_path, *SMALL, SIM, *overrides)
    vec_env.release()
    outcome = outcome._replace(err=outcome.err.splitlines()[-1] + "\n")  # after what differs from the training's task
    assert_one_sentence(outcome, *culprits)


def in_processes(folder: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    """`python train.py`, with Isaac Gym's own rule about torch."""
    env = {k: v for k, v in os.environ.items() if k != "ISAACGYM_DOUBLE_ANY_ORDER"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(DOUBLE)])
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, SIM, *overrides]
    return subprocess.run(command, cwd=str(folder), env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_base_policy_trains_and_is_evaluated(tmp_path):
    done = in_processes(tmp_path, "task=ResDexBase", "experiment=run")
    assert done.returncode == 0, done.stderr
    last = tmp_path / "runs" / "run" / "nn" / "last.pth"
    three = ("objects.names=[box,cube,can]", "num_envs=2", "episodes_per_object=3")
    done = in_processes(tmp_path, "test=true", f"checkpoint={last}", *three)
    assert done.returncode == 0, done.stderr
    # more objects than environments: a part at a time
    assert "objects 1 to 2 of 3\n6 episodes of 2 objects, 2 at a time" in done.stdout
    assert "objects 3 to 3 of 3\n4 episodes of 1 objects, 2 at a time" in done.stdout  # at least as many as asked for
    result = EvaluationResult.from_json(read_json(tmp_path / "runs" / "run" / "evaluation.json"))
    assert [(row.name, row.episodes) for row in result.summary.objects] == [("box", 3), ("cube", 3), ("can", 4)]


@pytest.mark.slow
def test_both_stages_and_the_evaluation_follow_each_other_in_processes_of_their_own(tmp_path):
    two = ("objects=starter", "objects.names=[box,sphere]", "task.env.objectSampling=fixed")
    done = in_processes(tmp_path, "task=ResDexHyper", "experiment=run", "episodes_per_object=2", *two)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "run_stage2" / "evaluation.json").exists()
    again = in_processes(tmp_path, "task=ResDexHyper", "experiment=again", *two, "experts=[nothing.pth]")
    assert again.returncode == 2


def test_a_follow_up_that_fails_gives_its_status(tmp_path, monkeypatch):
    from resdex_tasks.utils import processes

    class Failed:
        def __init__(self, command):
            assert f"stage1={Path('runs', 'run', 'nn', 'last.pth')}" in command

        def wait(self):
            return 2

    monkeypatch.setattr(processes.subprocess, "Popen", Failed)
    two = ("objects=starter", "objects.names=[box,sphere]", "task.env.objectSampling=fixed")
    outcome = call(tmp_path, *SMALL, SIM, "experiment=run", "task=ResDexHyper", *two)
    assert outcome.status == 2, outcome.err


@pytest.mark.slow
def test_a_shipped_expert_plays_as_on_mujoco(double):
    """Where contact forces have the friction in them that it was trained with; docs/isaacgym.md has the numbers."""
    double.friction_in_contacts = True
    successes = []
    for sim in ("mujoco", "isaacgym"):
        settings = ["task=ResDexBase", f"sim={sim}", "sim.numThreads=1", "sim_device=cpu", "rl_device=cpu"]
        jar = ["objects=zoo", "objects.names=[jar-0070]", "checkpoint=zoo_expert_jar-0070"]
        config = load_config([*settings, *jar])
        task = evaluation_task(config, make_objects(config.objects), 40)
        done = run_episodes(task, Policy.load(config.checkpoint), seed=1)
        successes.append(int(done.success_at_end.sum()))
    assert successes[1] / 40 >= wilson_interval(successes[0], 40)[0], successes
