"""MuJoCo Warp against MuJoCo, and what only this simulator has: graphs, shared buffers, a device."""

import importlib.util

import numpy as np
import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call
from helpers.driving import ALIKE, advance, curled, place, press, random_commands, snapshot
from helpers.simulators import mujoco_sim, needs_cuda, warp_sim

from resdex_tasks.utils.errors import UserError
from runners.config import load_config

pytest.importorskip("mujoco_warp")

pytestmark = pytest.mark.slow  # kernels compile for a minute


def agreement(device):
    from benchmarks import agreement

    return agreement.main(["--states", "1000", "--device", device])


def check_agreement(differences):
    """The medians measured on Warp's CPU device are below these; benchmarks/README.md has the table."""
    from benchmarks.agreement import VELOCITIES

    def median(name):
        return float(np.median(differences[name]))

    def share_above(name, bound):
        return float((differences[name].amax(dim=1) > bound).float().mean())

    assert len(differences[VELOCITIES]) >= 1000
    assert median(VELOCITIES) <= 1e-5
    for name, bound in (
        ("joint positions, rad", 1e-6),
        ("palm and root position, m", 1e-7),
        ("palm and root quaternion", 1e-6),
        ("fingertip positions, m", 1e-6),
        ("fingertip quaternions", 1e-6),
        ("fingertip velocities, m/s", 1e-5),
        ("fingertip forces, N", 1e-3),
        ("fingertip torques, Nm", 1e-5),
        ("object position, m", 1e-6),
        ("object quaternion", 1e-5),
        ("object velocity, m/s", 2e-5),
        ("observation", 1e-6),
        ("reward", 1e-5),
    ):
        assert median(name) <= bound, name
    # and the tails: a contact that opens in one engine and not in the other must stay rare
    assert share_above("reward", 1e-3) <= 0.02
    assert share_above("object position, m", 1e-3) <= 0.01
    assert share_above("object velocity, m/s", 0.05) <= 0.02
    assert share_above("fingertip forces, N", 1.0) <= 0.1


def test_one_step_from_a_thousand_states_in_contact_agrees_with_mujoco(capsys):
    """Eleven different objects in one batch; every tensor of the interface, the observation and the reward."""
    differences = agreement("cpu")
    assert "one of 11 objects" in capsys.readouterr().out
    check_agreement(differences)


def test_a_pressing_hand_feels_the_same_in_both_simulators():
    """At rest no rounding is enlarged: forces of newtons agree to millinewtons."""
    wrenches = []
    for make in (mujoco_sim, warp_sim):
        sim = make(["box"], [0] * 3)
        press(sim)
        wrenches.append(sim.state().fingertip_wrenches.clone())
    assert wrenches[0].abs().max() > 2.0
    torch.testing.assert_close(wrenches[1], wrenches[0], atol=0.02, rtol=0.01)


def test_the_captured_graph_computes_what_the_engine_does_call_by_call():
    """And goes on seeing what is written after the capture: commands, resets and other objects."""
    import warp as wp

    graph, calls = warp_sim(ALIKE), warp_sim(ALIKE)
    by_hand = {
        calls._step_graph: calls._physics,
        calls._observe_graph: calls._observe,
        calls._reset_graph: calls._reset,
    }

    def run(work):
        with wp.ScopedDevice(calls.warp_device):
            by_hand[work]()
        calls._state = None

    calls._run = run
    for sim in (graph, calls):
        sim.put_objects(torch.tensor([0]), torch.tensor([2]))
        place(sim, height=0.72, object_position=(0.0, -0.05, 0.64))
    for commands in random_commands(3, 30):
        graph.step(*commands)
        calls.step(*commands)
        assert torch.equal(snapshot(graph), snapshot(calls))


def test_the_tensors_are_the_engines_own_memory():
    sim = warp_sim(["box"])
    assert sim.arrays["qpos"].data_ptr() == sim.data.qpos.ptr
    sim.data.xfrc_applied.fill_(3.0)
    assert (sim._wrist_wrench == 3.0).all()
    assert sim._fields["geom_dataid"].data_ptr() == sim.model.geom_dataid.ptr


@pytest.mark.parametrize("num_envs", [1, 3])
def test_an_unused_piece_slot_touches_nothing(num_envs):
    """The box beside a mug of 12 pieces falls and rests as it does alone, also where there is one environment only."""
    padded, alone = warp_sim(["box", "mug"], [0] * num_envs), warp_sim(["box"], [0] * num_envs)
    for sim in (padded, alone):
        place(sim)
        advance(sim, 60)
    torch.testing.assert_close(padded.state().object[:, 2], torch.full((num_envs,), 0.635), atol=1e-3, rtol=0)
    torch.testing.assert_close(padded.state().object, alone.state().object, atol=1e-4, rtol=0)


def grab(sim):
    """Fingers and object pressed together on the table: many contacts."""
    place(sim, height=0.72, object_position=(0.0, -0.08, 0.64))
    advance(sim, 40, curled(sim.num_envs, 0.8), torch.tensor([[0.0, 0.0, -40.0]]).expand(sim.num_envs, 3))


def test_at_the_shipped_sizes_nothing_is_dropped():
    sim = warp_sim(["mug", "box", "sphere", "long_box"])
    grab(sim)
    for commands in random_commands(4, 60):
        sim.step(*commands)
    assert [overflow.count for overflow in sim.overflows()] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "sizes, dropped, key", [({"max_contacts": 3}, "contacts", "contactsPerEnv"),
                            ({"max_constraints": 50}, "constraints", "constraintsPerEnv")]
)  # fmt: skip
def test_a_buffer_that_is_too_small_is_counted_with_the_setting_to_raise(sizes, dropped, key):
    """In control steps: 5 in which one environment of two presses, none of 5 in which both hands float."""
    sim = warp_sim(["mug"], [0, 0], **sizes)

    def count():
        return {o.name: o for o in sim.overflows()}[dropped].count

    grab(sim)
    before = count()
    up = torch.tensor([[0.0, 0.0, 0.8, 0.7071068, 0.0, 0.0, 0.7071068]])
    away = torch.tensor([[0.0, 0.5, 5.0, 0.0, 0.0, 0.0, 1.0]])
    sim.reset(torch.tensor([0]), up, torch.zeros(1, 22), away)
    advance(sim, 5, curled(2, 0.8), torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -40.0]]))
    assert count() == before + 5
    both = torch.tensor([0, 1])
    sim.reset(both, up.expand(2, 7), torch.zeros(2, 22), away.expand(2, 7))
    advance(sim, 5)
    assert count() == before + 5
    (size,) = sizes.values()
    message = str({o.name: o for o in sim.overflows()}[dropped])
    assert f"raise sim.{key} above {size}" in message and str(before + 5) in message


def test_the_scene_is_left_as_it_was():
    """Simulators may share it; the mark of an absent piece is this engine's own."""
    sim = warp_sim(["box", "mug"])
    assert (sim.scene.tables["geom_dataid"] >= 0).all()
    assert (sim._fields["geom_dataid"][0, sim.scene.rows["geom_dataid"]] == -1).sum() == 11


WARP_TINY = (*(o for o in TINY if not o.startswith("sim")), "sim=mujoco_warp", "sim_device=cpu")


def test_training_and_evaluation_say_what_was_dropped(tmp_path):
    tight = (*WARP_TINY, "sim.contactsPerEnv=1", "task.env.episodeLength=40", "train.params.config.horizon_length=40")
    for more in (["experiment=run"], ["test=True", "checkpoint=runs/run/nn/last.pth", "episodes_per_object=2"]):
        outcome = call(tmp_path, *tight, *more)
        assert outcome.status == 0, outcome.err
        assert outcome.out.count("raise sim.contactsPerEnv above 1") == 1


def test_a_training_on_warp_resumes_bit_exactly(tmp_path):
    """Four iterations in one go, or in two halves: the same weights."""
    weights = []
    for pieces in ((4,), (2, 4)):
        folder = tmp_path / str(len(pieces))
        folder.mkdir()
        last = folder / "runs" / "run" / "nn" / "last.pth"
        for iterations in pieces:
            resume = [f"checkpoint={last}"] if last.exists() else []
            outcome = call(folder, *WARP_TINY, "experiment=run", f"max_iterations={iterations}", *resume)
            assert outcome.status == 0, outcome.err
        weights.append(torch.load(last, weights_only=True)["weights"])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(
    "override, culprits",
    [
        ("sim.contactsPerEnv=0", ("sim.contactsPerEnv", "0")),
        ("sim.constraintsPerEnv=many", ("sim.constraintsPerEnv", "many")),
        ("sim_device=cuda:99", ("sim_device", "cuda:99")),
        ("sim_device=gpu", ("sim_device", "gpu")),
        ("sim.numThreads=2", ("numThreads",)),
    ],
)
def test_bad_settings_give_one_sentence(tmp_path, override, culprits):
    assert_one_sentence(call(tmp_path, *WARP_TINY, override), *culprits)


@pytest.mark.parametrize("key", ["sim_device", "rl_device"])
def test_every_process_of_several_gpus_has_its_own(monkeypatch, key):
    """An explicit device would put all processes on one GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    overrides = ["multi_gpu=True", "experiment=x"]
    command = load_config(overrides).command
    assert command.sim_device == command.rl_device == "cuda:1"
    with pytest.raises(UserError, match=f"{key}=cuda:0"):
        load_config([*overrides, f"{key}=cuda:0"])
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="cuda:2"):
        load_config(overrides)


def test_a_checkpoint_from_another_kind_of_device_starts_new_episodes(tmp_path):
    """Its random numbers have another form there; the policy and the optimizer go on."""
    assert call(tmp_path, *WARP_TINY, "experiment=run").status == 0
    last = tmp_path / "runs" / "run" / "nn" / "last.pth"
    state = torch.load(last, weights_only=True)
    state["training"]["env_state"].update(device="cuda", generator=torch.zeros(16, dtype=torch.uint8))
    torch.save(state, last)
    outcome = call(tmp_path, *WARP_TINY, "experiment=run", f"checkpoint={last}", "max_iterations=3")
    assert outcome.status == 0, outcome.err
    assert "episodes start again" in outcome.out


def test_without_the_packages_the_extra_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "warp" else find(name))
    assert_one_sentence(call(tmp_path, *WARP_TINY), "resdex[warp]")


@pytest.mark.parametrize(
    "has_cuda, has_warp, overrides, sim, scale",
    [
        (True, True, [], "mujoco_warp", "paper"),
        (True, False, [], "mujoco", "cpu"),
        (False, True, [], "mujoco", "cpu"),
        (True, True, ["sim_device=cpu"], "mujoco", "cpu"),
        (True, True, ["sim=mujoco"], "mujoco", "cpu"),
        (False, True, ["sim=mujoco_warp"], "mujoco_warp", "cpu"),
        (True, True, ["sim=mujoco_warp", "sim_device=cpu"], "mujoco_warp", "cpu"),
        (True, True, ["scale=cpu"], "mujoco_warp", "cpu"),
    ],
)
def test_the_automatic_choice(monkeypatch, has_cuda, has_warp, overrides, sim, scale):
    """The GPU simulator where there are CUDA and its packages, and the paper's scale with it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(has_cuda))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "warp" and not has_warp else find(name)
    )
    config = load_config(overrides)
    assert config.sim_name == sim
    assert config.command.num_envs == (4096 if scale == "paper" else 256)
    assert config.command.sim_device == (
        "cuda:0" if sim == "mujoco_warp" and has_cuda and "sim_device=cpu" not in overrides else "cpu"
    )
    if has_cuda and not has_warp:
        assert "resdex[warp]" in config.notice


@needs_cuda
def test_one_step_on_a_gpu_agrees_with_mujoco():
    check_agreement(agreement("cuda:0"))


@needs_cuda
def test_a_gpu_steps_thousands_of_environments_without_dropping_anything():
    sim = warp_sim(["mug", "box", "sphere", "long_box"], [i % 4 for i in range(4096)], device="cuda:0")
    generator = torch.Generator("cuda:0").manual_seed(0)
    pose = torch.tensor([0.0, 0.0, 0.8, 0.7071068, 0.0, 0.0, 0.7071068], device="cuda:0").expand(4096, 7)
    obj = torch.tensor([0.0, -0.05, 0.66, 0.0, 0.0, 0.0, 1.0], device="cuda:0").expand(4096, 7)
    sim.reset(torch.arange(4096, device="cuda:0"), pose, torch.zeros(4096, 22, device="cuda:0"), obj)
    for _ in range(60):
        targets = torch.rand(4096, 18, device="cuda:0", generator=generator) * 1.5
        down = torch.tensor([0.0, 0.0, -40.0], device="cuda:0").expand(4096, 3)
        sim.step(targets, down, torch.zeros(4096, 3, device="cuda:0"))
    assert sim.state().finite().all() and not sim.overflows()
    assert sim.state().fingertip_wrenches.abs().amax(dim=(1, 2)).gt(0.1).float().mean() > 0.5
