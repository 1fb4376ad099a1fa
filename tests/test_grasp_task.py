"""One step of the task: on a simulator without physics for exact answers, on MuJoCo where physics matters."""

import copy
import math

import numpy as np
import pytest
import torch
from helpers.configs import task_config
from helpers.fake_sim import FakeSim, fake_task
from helpers.simulators import mujoco_task
from scipy.spatial.transform import Rotation

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS, PALM_DOWN_QUAT
from resdex_tasks.objects.object_set import GraspObject, GraspProposals, ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.observations import BLOCKS
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.rotations import quat_mul, yaw_quat

GOAL = torch.tensor([0.0, 0.0, 0.8])
DRIVEN = [JOINTS.index(name) for name in ACTUATED]


def idle(n):
    return torch.zeros(n, 24)


def seen(observations):
    """The policy's group."""
    (only,) = observations.values()
    return only


def run(task, steps, action=None):
    """The last `steps` results of a constant action, as lists of observations, rewards, dones and extras."""
    action = idle(task.num_envs) if action is None else action
    return tuple(zip(*[task.step(action) for _ in range(steps)]))


@pytest.mark.parametrize("value, share", [(-1.0, 0.0), (0.0, 0.5), (0.5, 0.75), (1.0, 1.0), (7.0, 1.0), (-7.0, 0.0)])
def test_joint_actions_span_the_joint_limits(value, share):
    """Only the 18 driven joints have targets, and each its own limits."""
    task = fake_task(2)
    task.reset()
    action = idle(2)
    action[:, 6:] = value
    task.step(action)
    lower, upper = task.sim.joint_limits[DRIVEN].unbind(1)
    torch.testing.assert_close(task.sim.commands["joints"], (lower + share * (upper - lower)).expand(2, 18))


def test_each_joint_action_drives_its_own_joint():
    task = fake_task(18)
    task.reset()
    action = idle(18)
    action[:, 6:] = 2 * torch.eye(18) - 1
    task.step(action)
    lower, upper = task.sim.joint_limits[DRIVEN].unbind(1)
    torch.testing.assert_close(task.sim.commands["joints"], torch.where(torch.eye(18) == 1, upper, lower))


def test_wrist_actions_live_in_the_yaw_aligned_frame():
    """For a hand turned a quarter to the left, 'ahead' (x) is the world's y; up stays up. Full action is 60 N, 5 Nm."""
    task = fake_task(2)
    task.reset()
    task.yaw = torch.tensor([0.0, math.pi / 2])
    action = idle(2)
    action[:, :6] = torch.tensor([1.0, 0.5, -1.0, 0.5, -1.0, 1.0])
    task.step(action)
    torch.testing.assert_close(task.sim.commands["force"], torch.tensor([[60.0, 30.0, -60.0], [-30.0, 60.0, -60.0]]))
    torch.testing.assert_close(task.sim.commands["torque"], torch.tensor([[2.5, -5.0, 5.0], [5.0, 2.5, 5.0]]))


def test_wrist_actions_are_clamped_in_the_hands_frame():
    """Clamped before they are turned, so that the limit does not depend on the yaw."""
    task = fake_task(1)
    task.reset()
    task.yaw = torch.tensor([math.pi / 4])
    action = idle(1)
    action[:, :3] = torch.tensor([9.0, 0.0, -9.0])
    task.step(action)
    torch.testing.assert_close(task.sim.commands["force"], torch.tensor([[60 * 0.5**0.5, 60 * 0.5**0.5, -60.0]]))


def test_zero_force_is_no_force():
    task = fake_task(1)
    task.reset()
    task.step(idle(1))
    assert not task.sim.commands["force"].any() and not task.sim.commands["torque"].any()


@pytest.mark.parametrize("a_z, expected", [(1.0, 0.2), (0.0, 0.1), (-1.0, 0.0), (5.0, 0.2)])
def test_the_lift_term_reads_the_wrists_upward_force(a_z, expected):
    def grasp(sim):
        sim.now.palm_pose[:, :3] = sim.now.object[:, :3]
        sim.now.fingertips[..., :3] = sim.now.object[:, None, :3]

    task = fake_task(1, grasp, reward={"terms": ["lift"]})
    task.reset()
    action = torch.full((1, 24), -0.3)
    action[:, 2] = a_z
    assert task.step(action)[1].item() == pytest.approx(expected)


def test_the_observed_last_action_is_the_clamped_one_in_the_hands_frame():
    task = fake_task(2)
    assert not task.reset()["base"][:, BLOCKS["last_action"].slice].any()
    action = torch.linspace(-2, 2, 48).reshape(2, 24)
    obs = task.step(action)[0]
    torch.testing.assert_close(obs["base"][:, BLOCKS["last_action"].slice], action.clamp(-1, 1))


def test_an_episode_ends_at_step_200_everywhere_and_not_before():
    task = fake_task(3)
    task.reset()
    for _ in range(2):  # the second episode is as long as the first
        _, _, dones, extras = run(task, 200)
        assert not torch.stack(dones[:199]).any() and dones[199].all()
        assert not torch.stack([e["time_outs"] for e in extras[:199]]).any() and extras[199]["time_outs"].all()
    assert task.sim.resets == [[0, 1, 2]] * 3


def test_success_does_not_end_an_episode():
    def at_goal(sim):
        sim.now.object[:, :3] = GOAL

    task = fake_task(2, at_goal)
    task.reset()
    assert not torch.stack(run(task, 199)[2]).any()


def test_staggered_episodes_spread_the_first_ends_only():
    task = fake_task(64, staggerEpisodes=True, episodeLength=10)
    task.reset()
    dones = torch.stack(run(task, 20)[2])
    assert (dones.sum(dim=0) == 2).all()
    first, second = dones.int().argmax(dim=0), 19 - dones.flip(0).int().argmax(dim=0)
    assert (second - first == 10).all()
    assert len(first.unique()) > 5


def test_the_observation_after_an_end_is_the_next_episodes_first():
    task = fake_task(2, episodeLength=3)
    task.reset()
    obs = seen(run(task, 3, torch.ones(2, 24))[0][-1])
    assert not obs[:, BLOCKS["last_action"].slice].any()
    torch.testing.assert_close(obs[:, BLOCKS["object_pos"].slice], torch.tensor([[0.0, 0.0, 0.7]] * 2))
    torch.testing.assert_close(obs[:, BLOCKS["palm_pos"].slice], torch.tensor([[0.0, 0.0, 0.8]] * 2))


def at_goal_during(schedule, distance=0.0):
    """Put the object of environment i `distance` m beside the goal at the steps schedule[i] (from 1), else far off."""

    def on_step(sim):
        for env, steps in enumerate(schedule):
            sim.now.object[env, :3] = GOAL + torch.tensor([distance if sim.steps in steps else 0.5, 0.0, 0.0])

    return on_step


def test_success_once_is_at_some_step_and_success_at_end_at_the_last():
    schedule = [{3}, {5}, set(), {1, 2, 3, 4, 5}, {3, 9}]
    task = fake_task(5, at_goal_during(schedule), episodeLength=5)
    task.reset()
    _, _, dones, extras = run(task, 10)
    assert extras[4]["success_once"].tolist() == [True, True, False, True, True]
    assert extras[4]["success_at_end"].tolist() == [False, True, False, True, False]
    assert extras[1]["success_once"].tolist() == [False, False, False, True, False]
    # the next episode starts from nothing; only the last environment reaches the goal in it
    assert dones[9].all()
    assert extras[9]["success_once"].tolist() == [False, False, False, False, True]
    assert not extras[9]["success_at_end"].any()


@pytest.mark.parametrize("distance, success", [(0.0499, True), (0.0501, False)])
def test_success_is_within_five_centimetres_of_the_goal(distance, success):
    task = fake_task(1, at_goal_during([{1}], distance), episodeLength=1)
    task.reset()
    extras = task.step(idle(1))[3]
    assert extras["success_once"].item() is success and extras["success_at_end"].item() is success
    assert extras["goal_distance"].item() == pytest.approx(distance, abs=1e-6)


@pytest.mark.parametrize("preset, height", [("paper", 0.8), ("official", 0.9)])
def test_the_goal_stands_above_the_table(preset, height):
    """20 cm in the paper, 30 cm in the official code, above a table of 60 cm."""
    assert fake_task(1, preset=preset).goal.tolist() == pytest.approx([0.0, 0.0, height])


def test_reward_sums_are_those_of_the_ended_episode():
    task = fake_task(2, episodeLength=4)
    task.reset()
    for _ in range(2):
        _, rewards, _, extras = run(task, 4)
        sums = extras[-1]["reward_sums"]
        assert set(sums) == {"pose", "reach", "lift", "move", "bonus"}
        torch.testing.assert_close(torch.stack(tuple(sums.values())).sum(dim=0), torch.stack(rewards).sum(dim=0))


def test_resets_are_reproducible_from_the_seed_alone():
    torch.manual_seed(1)
    first = fake_task(8, seed=3, observation="full", episodeLength=2)
    a = [first.reset(), *run(first, 6)[0]]
    torch.manual_seed(2)  # torch's own generator is the learner's business
    second = fake_task(8, seed=3, observation="full", episodeLength=2)
    b = [second.reset(), *run(second, 6)[0]]
    assert all(torch.equal(x["full"], y["full"]) for x, y in zip(a, b))
    assert not torch.equal(fake_task(8, seed=4, observation="full").reset()["full"], a[0]["full"])


def yaw_of(quat):
    return Rotation.from_quat(quat.numpy()).as_euler("xyz")[:, 2]


def test_objects_and_hands_start_at_any_yaw():
    """All quadrants, independently: nothing may favour one direction of the table."""
    task = fake_task(512)
    task.reset()
    now = task.sim.now
    hand = Rotation.from_quat(now.root_pose[:, 3:].numpy()) * Rotation.from_quat(PALM_DOWN_QUAT).inv()
    object_yaw, hand_yaw = yaw_of(now.object[:, 3:7]), hand.as_euler("xyz")[:, 2]
    np.testing.assert_allclose(hand_yaw, task.yaw.numpy(), atol=1e-4)
    for yaw in (object_yaw, hand_yaw, (object_yaw - hand_yaw + math.pi) % (2 * math.pi) - math.pi):
        counts = np.histogram(yaw, bins=4, range=(-math.pi, math.pi))[0]
        assert counts.min() > 512 / 4 - 50 and counts.sum() == 512  # 128 +- 5 standard deviations of 9.8


def test_a_reset_places_hand_and_object_as_the_paper_says():
    """Object 10 cm and hand 20 cm above the table, palm down, fingers straight."""
    task = fake_task(4)
    task.reset()
    now = task.sim.now
    torch.testing.assert_close(now.object[:, :3], torch.tensor([[0.0, 0.0, 0.7]] * 4))
    torch.testing.assert_close(now.root_pose[:, :3], torch.tensor([[0.0, 0.0, 0.8]] * 4))
    assert not now.joint_pos.any()
    palm_normal = Rotation.from_quat(now.root_pose[:, 3:].numpy()).apply([0.0, -1.0, 0.0])
    np.testing.assert_allclose(palm_normal, [[0.0, 0.0, -1.0]] * 4, atol=1e-6)
    # upright objects rest unturned: only their yaw is random
    np.testing.assert_allclose(
        Rotation.from_quat(now.object[:, 3:7].numpy()).apply([0.0, 0.0, 1.0]), [[0.0, 0.0, 1.0]] * 4, atol=1e-6
    )


def unit_quats(rng, count):
    quats = rng.normal(size=(count, 4))
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


def grasped_objects(num_proposals=4, joint_pos=0.5):
    """Two boxes of which each proposal has a hand and a resting pose of its own."""
    box, out = starter_objects().select(["box"])[0], []
    for k in range(2):
        rng = np.random.default_rng(k)
        proposals = GraspProposals(
            rotation=unit_quats(rng, num_proposals),
            translation=rng.normal(size=(num_proposals, 3)),
            joint_pos=np.full((num_proposals, 22), joint_pos) + np.arange(num_proposals)[:, None],
            rest_rotation=unit_quats(rng, num_proposals),
        )
        out.append(GraspObject(f"box{k}", "box", "train", box.pieces, proposals))
    return ObjectSet(out)


def grasped_task(num_envs, objects, **changes):
    return GraspTask(FakeSim(num_envs, len(objects)), objects, task_config(**changes), seed=0)


def test_the_hand_heads_as_in_the_proposal():
    """Seen from above, the start pose's fingers point where those of the proposal's hand on this object do."""
    objects = grasped_objects()
    task = grasped_task(64, objects, handYaw="proposal", proposal="random")
    task.reset()
    now, fingers = task.sim.now, [0.0, 0.0, 1.0]
    for env in range(64):
        obj, k = objects[env % 2], int(task.proposal_index[env]) - 4 * (env % 2)
        grasp = Rotation.from_quat(now.object[env, 3:7].numpy()) * Rotation.from_quat(obj.proposals.rotation[k])
        wanted = grasp.apply(fingers)[:2]
        start = Rotation.from_quat(now.root_pose[env, 3:].numpy()).apply(fingers)
        assert abs(start[2]) < 1e-6
        np.testing.assert_allclose(start[:2], wanted / np.linalg.norm(wanted), atol=1e-4)


def test_the_object_starts_in_the_proposals_resting_pose():
    """Its yaw is random, but its up direction and its resting height are those of the episode's proposal."""
    objects = grasped_objects()
    task = grasped_task(64, objects, proposal="random")
    task.reset()
    for env in range(64):
        obj, k = objects[env % 2], int(task.proposal_index[env]) - 4 * (env % 2)
        rest = Rotation.from_quat(obj.proposals.rest_rotation[k])
        quat = Rotation.from_quat(task.sim.now.object[env, 3:7].numpy())
        np.testing.assert_allclose(quat.inv().apply([0, 0, 1]), rest.inv().apply([0, 0, 1]), atol=1e-5)
        vertices = obj.vertices
        assert task.rest_height[env].item() == pytest.approx(0.6 - rest.apply(vertices)[:, 2].min(), abs=1e-5)


def test_first_takes_the_first_proposal_of_each_object_and_random_takes_all():
    objects = grasped_objects()
    first = grasped_task(64, objects, proposal="first")
    first.reset()
    assert first.proposal_index.tolist() == [0, 4] * 32
    task = grasped_task(64, objects, proposal="random")
    task.reset()
    assert set(task.proposal_index[::2].tolist()) == {0, 1, 2, 3}
    assert set(task.proposal_index[1::2].tolist()) == {4, 5, 6, 7}


def test_a_grasp_beyond_the_joint_limits_is_clipped_to_them():
    """Real grasps exceed the limits here and there; q* must stay reachable, or r_pose can never become 0."""
    task = grasped_task(2, grasped_objects(joint_pos=50.0), reward={"terms": ["pose"]})
    task.reset()
    upper = task.sim.joint_limits[:, 1]
    task.sim.on_step = lambda sim: sim.now.joint_pos.copy_(upper.expand(2, 22))
    assert task.step(idle(2))[1].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    task.sim.on_step = lambda sim: sim.now.joint_pos.copy_((upper - 0.1).expand(2, 22))
    assert task.step(idle(2))[1].tolist() == pytest.approx([-0.05 * 2.2] * 2, abs=1e-5)


def test_the_reward_uses_the_proposal_of_each_environments_object():
    """Environment i holds object i % 2 and is paid for the distance to that object's first grasp."""
    objects = grasped_objects()
    task = grasped_task(4, objects, proposal="first", reward={"terms": ["proposal"]})
    task.reset()

    def at_grasp_of_object_1(sim):
        proposals = objects[1].proposals
        quat = torch.tensor(proposals.rotation[0], dtype=torch.float32)
        root = torch.cat((torch.tensor(proposals.translation[0], dtype=torch.float32), quat))
        sim.now.object[:, :7] = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        sim.now.root_pose[:] = root
        lower, upper = sim.joint_limits.unbind(1)
        sim.now.joint_pos[:] = torch.full((22,), 0.5).clamp(lower, upper)

    task.sim.on_step = at_grasp_of_object_1
    reward = task.step(idle(4))[1]
    assert reward[1::2].abs().max() < 1e-2 and (reward[::2] < -0.1).all()


@pytest.mark.parametrize(
    "key, value",
    [("observation", "all"), ("proposal", "best"), ("handYaw", "north"), ("episodeLength", 0)],
)
def test_a_setting_that_cannot_be_is_named(key, value):
    with pytest.raises(UserError, match=f"task.env.{key}"):
        task_config(**{key: value})


def check_only_env_1_ended(task, result):
    obs, reward, done, extras = result
    assert done.tolist() == [False, True, False]
    assert extras["diverged"].tolist() == [False, True, False]
    assert not extras["time_outs"].any()
    assert reward[1] == 0 and torch.isfinite(reward).all()
    assert not extras["success_at_end"][1] and not extras["success_once"][1]
    assert task.num_diverged == 1
    assert torch.isfinite(seen(obs)).all()
    assert task.progress.tolist() == [3, 0, 3]
    assert task.sim.resets == [[0, 1, 2], [1]]
    # and life goes on
    obs, reward, done, extras = task.step(idle(3))
    assert torch.isfinite(seen(obs)).all() and torch.isfinite(reward).all()
    assert not done.any() and task.num_diverged == 1
    for total in extras["reward_sums"].values():
        assert torch.isfinite(total).all()


def break_at_step_3(task, breaking):
    task.sim.on_step = lambda sim: breaking(sim) if sim.steps == 3 else None
    task.reset()
    run(task, 2)
    return task.step(idle(3))


def test_a_diverged_environment_ends_alone_unpaid_and_unsuccessful():
    """Even where the engine's own reset state happens to lie at the goal."""

    def breaking(sim):
        sim.diverged[1] = True
        sim.now.object[1, :3] = GOAL

    task = fake_task(3, observation="full")
    check_only_env_1_ended(task, break_at_step_3(task, breaking))


def test_a_time_limit_reached_while_diverging_is_a_divergence():
    """Bootstrapping the value of a state that means nothing would poison the critic."""
    task = fake_task(3, episodeLength=3)
    extras = break_at_step_3(task, lambda sim: sim.diverged.__setitem__(1, True))[3]
    assert extras["time_outs"].tolist() == [True, False, True]


FIELDS = ["joint_pos", "palm_pose", "root_pose", "fingertips", "fingertip_wrenches", "object"]


def spoil(sim, field, columns=slice(None)):
    getattr(sim.now, field)[1, ..., columns] = math.nan


def test_a_state_all_nan_in_one_environment_ends_it_alone():
    def breaking(sim):
        for field in FIELDS:
            spoil(sim, field)

    task = fake_task(3, observation="full")
    check_only_env_1_ended(task, break_at_step_3(task, breaking))


def test_a_state_all_nan_ends_its_environment_whatever_the_reward_terms():
    def breaking(sim):
        for field in FIELDS:
            spoil(sim, field)

    task = fake_task(3, observation="full", reward={"terms": ["lift", "move", "bonus"]})
    check_only_env_1_ended(task, break_at_step_3(task, breaking))


@pytest.mark.parametrize("field", ["joint_pos", "palm_pose", "object"])
def test_a_nan_in_what_is_paid_ends_its_environment(field):
    task = fake_task(3, observation="full")
    check_only_env_1_ended(task, break_at_step_3(task, lambda sim: spoil(sim, field)))


@pytest.mark.parametrize(
    "field, columns",
    [
        ("root_pose", slice(None)),
        ("fingertips", slice(7, 13)),  # velocities
        ("fingertip_wrenches", slice(None)),
        ("object", slice(7, 13)),
    ],
)
def test_a_nan_in_what_is_only_observed_ends_its_environment(field, columns):
    task = fake_task(3, observation="full")
    check_only_env_1_ended(task, break_at_step_3(task, lambda sim: spoil(sim, field, columns)))


def reach_and_lift(step, n):
    """Go down and forward over the object, close the hand on it, and lift: every kind of contact in 80 steps."""
    action = torch.zeros(n, 24)
    action[:, 6:] = -0.2 if step < 40 else 0.5
    action[:, 5] = 0.1
    if step < 45:
        action[:, 1] = 0.45
        action[:, 2] = -0.75 if step < 38 else 0.0
    elif step >= 60:
        action[:, 2] = 0.5
    return action


def test_turning_the_whole_scene_changes_neither_observation_nor_reward():
    """The same scene at five yaws, driven by the same actions, through contact, grasp and lift.

    Measured over 90 steps: 2.5e-4 in the observation (the wrenches, x 10, at first contact), 2e-7 in the reward, 6e-5
    and less once the grip has settled; float32 rounding of the start poses alone is 1e-7.
    """
    yaws, n = torch.tensor([0.0, 0.5, 2.0, -2.9, math.pi / 2]), 5
    task = mujoco_task(n, observation="full", clipObservations=1000.0)
    task.reset()

    def position(z):
        return torch.tensor([0.0, 0.0, z]).expand(n, 3)

    palm_down = torch.tensor(PALM_DOWN_QUAT).expand(n, 4)
    task.sim.reset(
        torch.arange(n),
        root_pose=torch.cat((position(0.8), quat_mul(yaw_quat(yaws), palm_down)), dim=1),
        joint_pos=torch.zeros(n, 22),
        object_pose=torch.cat((position(0.65), yaw_quat(yaws + 0.4)), dim=1),
    )
    task.yaw = yaws
    for step in range(80):
        observations, reward, _, _ = task.step(reach_and_lift(step, n))
        obs = seen(observations)
        assert (obs - obs[:1]).abs().max() < 1e-2, step
        assert (reward - reward[0]).abs().max() < 1e-4, step
    # the test means nothing unless the hand really held the object
    assert (task.sim.state().object[:, 2] > task.rest_height + 0.02).all()
    assert (task.sim.state().fingertip_wrenches[..., :3].norm(dim=-1).sum(dim=1) > 1.0).all()


@pytest.mark.parametrize("fresh", [False, True], ids=["same task", "new task"])
def test_a_saved_state_continues_bit_exactly(fresh):
    """Through contact, ends of episodes and random resets; also in a new process, which knows only the checkpoint."""
    generator = torch.Generator().manual_seed(0)
    actions = [torch.rand(3, 24, generator=generator) * 2 - 1 for _ in range(60)]
    settings = {"names": ("box", "cube"), "observation": "full", "episodeLength": 25, "staggerEpisodes": True}
    task = mujoco_task(3, seed=1, **settings)
    task.reset()
    for action in actions[:30]:
        action[:, 2] = -1.0
        task.step(action)
    saved = copy.deepcopy(task.get_state())
    wanted = [task.step(action) for action in actions[30:]]
    if fresh:
        task = mujoco_task(3, seed=9, **settings)
        task.reset()
    task.set_state(saved)
    assert torch.equal(task.obs["full"], saved["obs"]["full"])
    assert any(w[2].any() for w in wanted)
    for action, (obs, reward, done, extras) in zip(actions[30:], wanted):
        again = task.step(action)
        assert torch.equal(again[0]["full"], obs["full"])
        assert torch.equal(again[1], reward) and torch.equal(again[2], done)
        assert torch.equal(again[3]["success_once"], extras["success_once"])
        for name, total in extras["reward_sums"].items():
            assert torch.equal(again[3]["reward_sums"][name], total)


@pytest.mark.parametrize("name", starter_objects().names)
def test_objects_come_to_rest_at_their_resting_height(name):
    """The lift clearance of the official preset is 3 mm, so the resting height must be right to well below that."""
    task = mujoco_task(2, [name])
    task.reset()
    for _ in range(60):
        task.step(idle(2))
    obj = task.sim.state().object
    torch.testing.assert_close(obj[:, 2], task.rest_height, atol=1e-3, rtol=0)
    assert obj[:, 7:10].abs().max() < 0.02
