"""The 227 numbers: where each lies, how it is scaled, and that none depends on how the scene is turned about z."""

import copy
import math

import numpy as np
import pytest
import torch
from helpers.fake_sim import fake_task
from hypothesis import assume, given
from hypothesis import strategies as st

from resdex_tasks.observations import BLOCKS, SIZES, full_observation, layout, narrow
from resdex_tasks.sims.base import SimState
from resdex_tasks.utils.rotations import quat_mul, quat_rotate, yaw_quat

N = 2
GOAL = torch.tensor([0.0, 0.0, 0.8], dtype=torch.float64)
LIMITS = torch.stack((-0.02 * torch.arange(1.0, 23.0), 0.05 * torch.arange(1.0, 23.0)), dim=1).double()


def random_state(seed):
    """Two environments with nothing at rest, nothing aligned and unit quaternions, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def pose(*shape):
        quat = draw(*shape, 4)
        return torch.cat((draw(*shape, 3), quat / quat.norm(dim=-1, keepdim=True)), dim=-1)

    return SimState(
        joint_pos=draw(N, 22),
        joint_vel=draw(N, 22),
        palm_pose=pose(N),
        root_pose=pose(N),
        fingertips=torch.cat((pose(N, 5), draw(N, 5, 6)), dim=-1),
        fingertip_wrenches=draw(N, 5, 6),
        object=torch.cat((pose(N), draw(N, 6)), dim=-1),
    )


def turned(state, angle):
    """The same scene turned about z by `angle`: all that is measured in the world frame turns, the rest stays."""
    q = yaw_quat(torch.tensor(angle, dtype=torch.float64))

    def pose(p):
        return torch.cat((quat_rotate(q, p[..., :3]), quat_mul(q.expand((*p.shape[:-1], 4)), p[..., 3:7])), dim=-1)

    def moving(p):
        return torch.cat((pose(p), quat_rotate(q, p[..., 7:10]), quat_rotate(q, p[..., 10:])), dim=-1)

    return SimState(
        joint_pos=state.joint_pos,
        joint_vel=state.joint_vel,
        palm_pose=pose(state.palm_pose),
        root_pose=pose(state.root_pose),
        fingertips=moving(state.fingertips),
        fingertip_wrenches=state.fingertip_wrenches,
        object=moving(state.object),
    )


def observe(state, yaw=0.0, action=None, code=None, goal=GOAL):
    action = torch.zeros(N, 24, dtype=torch.float64) if action is None else action
    code = torch.zeros(N, 64, dtype=torch.float64) if code is None else code
    return full_observation(state, LIMITS, torch.full((N,), yaw, dtype=torch.float64), action, goal, code)


def block(obs, name):
    return obs[:, BLOCKS[name].slice]


def test_sizes_are_those_of_the_paper():
    assert BLOCKS["last_action"].start == 123, "the paper's J"
    assert SIZES == {"proprioception": 123 + 24, "base": 153, "full": 227}


@pytest.mark.parametrize("group", SIZES)
def test_a_group_is_narrowed_from_every_larger_one(group):
    full = torch.arange(2 * 227.0).reshape(2, 227)
    seen = narrow(full, group)
    assert seen.shape == (2, SIZES[group]) and sum(layout(group).values()) == SIZES[group]
    for name in layout(group):
        assert torch.equal(block(seen, name), block(full, name))
    assert torch.equal(narrow(seen, group), seen)
    with pytest.raises(ValueError, match="full"):
        narrow(full[:, :200], "full")


def test_blocks_follow_each_other_in_the_designs_order():
    sizes = [
        ("joint_pos", 22),
        ("fingertips", 65),
        ("fingertip_wrenches", 30),
        ("palm_pos", 3),
        ("root_euler", 3),
        ("last_action", 24),
        ("object_pos", 3),
        ("goal_offset", 3),
        ("object_quat", 4),
        ("object_lin_vel", 3),
        ("object_ang_vel", 3),
        ("object_code", 64),
    ]
    assert [(name, b.size) for name, b in BLOCKS.items()] == sizes
    starts = [0, *np.cumsum([size for _, size in sizes])]
    assert [b.start for b in BLOCKS.values()] == starts[:-1] and starts[-1] == 227
    assert all(b.slice == slice(b.start, b.start + b.size) for b in BLOCKS.values())


def test_every_number_stands_in_its_block():
    """At yaw 0 the frame is the world's: each block holds its quantity of the state, scaled as the design says."""
    state, action = random_state(0), torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(N, 24)
    code = torch.arange(128.0, dtype=torch.float64).reshape(N, 64)
    obs = observe(state, action=action, code=code)
    assert obs.shape == (N, 227)
    sign = torch.where(state.object[:, 6:7] < 0, -1.0, 1.0)
    for name, expected in {
        "fingertips": state.fingertips.reshape(N, 65),
        "fingertip_wrenches": 10 * state.fingertip_wrenches.reshape(N, 30),
        "palm_pos": state.palm_pose[:, :3],
        "last_action": action,
        "object_pos": state.object[:, :3],
        "goal_offset": GOAL - state.object[:, :3],
        "object_quat": sign * state.object[:, 3:7],
        "object_lin_vel": state.object[:, 7:10],
        "object_ang_vel": 0.2 * state.object[:, 10:],
        "object_code": code,
    }.items():
        torch.testing.assert_close(block(obs, name), expected, msg=lambda text, name=name: f"{name}: {text}")


def test_joints_are_scaled_by_their_limits():
    state = random_state(1)
    for position, expected in ((LIMITS[:, 0], -1.0), (LIMITS[:, 1], 1.0), (LIMITS.mean(dim=1), 0.0)):
        state.joint_pos = position.expand(N, 22)
        scaled = block(observe(state), "joint_pos")
        torch.testing.assert_close(scaled, torch.full_like(scaled, expected))


def test_euler_angles_are_those_of_the_root():
    """Roll, pitch, yaw of the hand's root: not of the palm, whose body another simulator may turn differently."""
    state = random_state(2)
    half = 0.5**0.5
    state.root_pose[:, 3:] = torch.tensor([half, 0.0, 0.0, half])  # palm down
    euler = block(observe(state), "root_euler")
    torch.testing.assert_close(euler, torch.tensor([[math.pi / 2, 0.0, 0.0]] * N, dtype=torch.float64))


def test_the_object_quaternion_has_one_sign():
    state, flipped = random_state(3), random_state(3)
    flipped.object[:, 3:7] *= -1
    torch.testing.assert_close(observe(state), observe(flipped))
    assert (block(observe(state), "object_quat")[:, 3] >= 0).all()


def test_the_frame_turns_against_the_yaw():
    """Seen by a hand turned a quarter to the left, an object at world +y lies straight ahead, at +x."""
    state = random_state(4)
    state.object[:, :3] = torch.tensor([0.0, 0.3, 0.7])
    state.object[:, 7:10] = torch.tensor([-0.5, 0.0, 0.0])
    obs = observe(state, yaw=math.pi / 2)
    expected = torch.tensor([[0.3, 0.0, 0.7]] * N, dtype=torch.float64)
    torch.testing.assert_close(block(obs, "object_pos"), expected, atol=1e-7, rtol=0)
    expected = torch.tensor([[0.0, 0.5, 0.0]] * N, dtype=torch.float64)
    torch.testing.assert_close(block(obs, "object_lin_vel"), expected, atol=1e-7, rtol=0)


@given(st.integers(0, 2**31), st.floats(-math.pi, math.pi), st.floats(-2 * math.pi, 2 * math.pi))
def test_turning_the_scene_about_z_changes_nothing(seed, yaw, angle):
    state = random_state(seed)
    state.object[:, :2] *= 0.5
    before = observe(state, yaw)
    # at half a turn the canonical sign of the object's quaternion jumps, as it must
    assume(block(before, "object_quat")[:, 3].min() > 1e-6)
    after = observe(turned(state, angle), yaw + angle)
    difference = after - before
    euler = difference[:, BLOCKS["root_euler"].slice]
    difference[:, BLOCKS["root_euler"].slice] = torch.remainder(euler + math.pi, 2 * math.pi) - math.pi
    assert difference.abs().max() < 1e-7


@given(st.integers(0, 2**31), st.floats(0.1, math.pi))
def test_turning_the_scene_under_a_fixed_frame_shows(seed, angle):
    """The counterpart of the invariance: the frame is the episode's yaw, not the current direction of the hand."""
    state = random_state(seed)
    assume(state.object[:, :2].norm(dim=1).min() > 0.1)
    difference = observe(turned(state, angle)) - observe(state)
    assert (difference[:, BLOCKS["object_pos"].slice].abs().max(dim=1).values > 1e-3).all()


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_the_base_observation_is_a_prefix_of_the_full_one(preset):
    base, full = (fake_task(4, preset=preset, seed=5, observation=kind) for kind in ("base", "full"))
    first, second = base.reset()["base"], full.reset()["full"]
    assert first.shape == (4, 153) and second.shape == (4, 227)
    assert torch.equal(first, second[:, :153])
    action = torch.linspace(-1, 1, 96).reshape(4, 24)
    assert torch.equal(base.step(action)[0]["base"], full.step(action)[0]["full"][:, :153])


def test_observations_are_clipped_at_five():
    """A wrench of a few newtons times ten would otherwise drown everything else."""

    def press(sim):
        sim.now.fingertip_wrenches[0] = 3.0
        sim.now.fingertip_wrenches[1] = -3.0

    task = fake_task(2, press, observation="full")
    task.reset()
    obs = task.step(torch.zeros(2, 24))[0]["full"]
    assert (block(obs, "fingertip_wrenches")[0] == 5).all() and (block(obs, "fingertip_wrenches")[1] == -5).all()
    assert obs.abs().max() == 5


def test_observing_leaves_the_state_alone():
    state = random_state(6)
    before = copy.deepcopy(state)
    observe(state, yaw=1.0)
    assert all(torch.equal(a, b) for a, b in zip(vars(state).values(), vars(before).values()))
