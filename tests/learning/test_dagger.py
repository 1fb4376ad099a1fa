"""DAgger: what the student sees and what it never does, its labels, its buffer, its schedules, its checkpoints."""

import dataclasses
import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.command_line import STAGE1, STUDENT, TINY, assert_one_sentence, call, files, train
from helpers.configs import task_config
from helpers.equality import PROGRESS, assert_equal
from helpers.fake_sim import FakeSim
from helpers.policies import base_spec, checkpoint_of, network_of, student_spec
from hypothesis import given
from hypothesis import strategies as st

from resdex_tasks import grasp_task
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.object_set import CODE_SIZE, ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.observations import BLOCKS, SIZES, VIEWS, joined, layout
from runners.config import load_config
from runners.learning import dagger
from runners.learning.dagger import LabelBuffer, ResDexDagger, imitation_error
from runners.learning.monitor import TrainingMonitor
from runners.learning.train import ALGORITHMS
from runners.learning.vec_env import GraspVecEnv
from runners.policies.checkpoint import Checkpoint, PolicySpec
from runners.policies.policy import Policy

trains = pytest.mark.slow
PRIVILEGED = ("object_pos", "goal_offset", "object_quat", "object_lin_vel", "object_ang_vel", "object_code")
NUM, STEPS = 16, 6
"""Points of the clouds and steps played, where nothing is trained."""


# What the student never sees


def coded(value):
    """Three objects with the same codes everywhere."""
    objects = starter_objects().select(["mug", "box", "can"])
    return ObjectSet([dataclasses.replace(o, code=np.full(CODE_SIZE, value + i)) for i, o in enumerate(objects)])


def tossed(seed):
    """A simulator's step in which the hand does as it is told, and the object what it likes."""
    generator = torch.Generator().manual_seed(seed)

    def on_step(sim):
        now, n = sim.now, sim.num_envs
        now.joint_pos[:, :18] = sim.commands["joints"]
        now.palm_pose[:, :3] += 1e-4 * sim.commands["force"]
        now.object[:, :3] += 0.01 * torch.randn(n, 3, generator=generator)
        quat = now.object[:, 3:7] + 0.1 * torch.randn(n, 4, generator=generator)
        now.object[:, 3:7] = quat / quat.norm(dim=1, keepdim=True)
        now.object[:, 7:] = torch.randn(n, 6, generator=generator)

    return on_step


def played(policy, objects=None, on_step=None):
    """What a student and a teacher saw, and what the student did, in `STEPS` steps from the same start."""
    objects = coded(0.1) if objects is None else objects
    sim = FakeSim(5, len(objects), tossed(0) if on_step is None else on_step)
    config = task_config(observation="vision", episodeLength=4, objectSampling="random")
    task = GraspTask(sim, objects, config, seed=0, groups=[*VIEWS["vision"], *VIEWS["full"]])
    env = GraspVecEnv(task, "cpu", "full")
    seen, actions = [env.reset()], []
    for _ in range(STEPS):
        actions.append(policy(seen[-1]["obs"]).action)
        seen.append(env.step(actions[-1])[0])
    student, teacher = (torch.stack([s[name] for s in seen]) for name in ("obs", "states"))
    return student, teacher, torch.stack(actions)


@functools.lru_cache(maxsize=None)
def student():
    return Policy.load(checkpoint_of(student_spec(NUM, objectPosition=True)))


@pytest.fixture(scope="module")
def reference():
    return played(student())


def spoil(monkeypatch, block):
    """Random numbers in one block of what the simulator and the objects give."""
    original, generator = grasp_task.full_observation, torch.Generator().manual_seed(1)

    def spoiled(*args, **kwargs):
        full = original(*args, **kwargs).clone()
        full[:, BLOCKS[block].slice] = torch.randn(len(full), BLOCKS[block].size, generator=generator)
        return full

    monkeypatch.setattr(grasp_task, "full_observation", spoiled)


def test_privileged_is_all_that_is_no_proprioception():
    assert tuple(name for name in layout("full") if name not in layout("proprioception")) == PRIVILEGED
    assert list(layout("vision", NUM)) == [*layout("proprioception"), "cloud"]


@pytest.mark.parametrize("block", PRIVILEGED)
def test_no_privileged_number_reaches_the_student(reference, monkeypatch, block):
    """Whatever stands in it, the student sees and does the same to the bit; only its teacher sees the difference."""
    spoil(monkeypatch, block)
    seen, states, actions = played(student())
    assert seen.shape == (STEPS + 1, 5, 147 + 3 * NUM)
    assert torch.equal(seen, reference[0]) and torch.equal(actions, reference[2])
    changed = (states != reference[1]).any(dim=0).any(dim=0).nonzero()[:, 0].tolist()
    assert changed == list(range(227))[BLOCKS[block].slice]


@pytest.mark.parametrize("block", list(layout("proprioception")))
def test_every_block_of_the_proprioception_does(reference, monkeypatch, block):
    spoil(monkeypatch, block)
    seen, _, actions = played(student())
    assert not torch.equal(seen, reference[0]) and not torch.equal(actions, reference[2])


def test_what_the_objects_are_said_to_be_does_not_reach_the_student(reference):
    """Other codes, names, categories, splits and grasps; other velocities, and another goal."""
    rng = np.random.default_rng(0)

    def other(obj):
        grasps = obj.proposals
        moved = replace(grasps, translation=grasps.translation + 1, joint_pos=rng.normal(size=grasps.joint_pos.shape))
        named = {"name": f"my {obj.name}", "category": "thing", "split": "unseen_object", "proposals": moved}
        return dataclasses.replace(obj, **named, code=rng.normal(size=CODE_SIZE))

    toss, generator = tossed(0), torch.Generator().manual_seed(2)

    def on_step(sim):
        toss(sim)
        sim.now.object[:, 7:] = torch.randn(sim.num_envs, 6, generator=generator)

    goal = GraspTask.__init__

    def with_another_goal(self, *args, **kwargs):
        goal(self, *args, **kwargs)
        self.goal = self.goal + 0.1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GraspTask, "__init__", with_another_goal)
        seen, states, actions = played(student(), ObjectSet([other(obj) for obj in coded(0.1)]), on_step)
    assert torch.equal(seen, reference[0]) and torch.equal(actions, reference[2])
    for block in ("goal_offset", "object_lin_vel", "object_ang_vel", "object_code"):
        assert not torch.equal(states[..., BLOCKS[block].slice], reference[1][..., BLOCKS[block].slice]), block


def test_only_a_student_has_a_teacher():
    task = GraspTask(FakeSim(2), starter_objects().select(["box"]), task_config(), seed=0, groups=["base", "full"])
    alone, taught = GraspVecEnv(task, "cpu").reset(), GraspVecEnv(task, "cpu", "full").reset()
    assert list(alone) == ["obs"] and list(taught) == ["obs", "states", "object_index"]
    assert (taught["obs"].shape[1], taught["states"].shape[1]) == (SIZES["base"], SIZES["full"])


# Errors


@pytest.mark.parametrize(
    "action, label, error",
    [
        (0.3, 0.5, -0.2),
        (-0.9, 0.5, -1.4),
        (3.0, 0.5, 2.5),  # beyond the limit, where the teacher is not
        (1.0, 1.0, 0.0),
        (1.5, 1.0, 0.0),  # beyond the limit at which the teacher is: the environment clamps
        (-7.0, -1.0, 0.0),
        (0.8, 1.0, -0.2),
        (-0.8, -1.0, 0.2),
        (-1.5, 1.0, -2.5),  # beyond the other limit
        (1.5, -1.0, 2.5),
        (0.0, 0.0, 0.0),
    ],
)
def test_imitation_errors_by_hand(action, label, error):
    found = imitation_error(torch.tensor([[action]]), torch.tensor([[label]]))
    torch.testing.assert_close(found, torch.tensor([[error]]))


NUMBERS = st.floats(-3, 3, width=32)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=24))
def test_an_imitation_error_is_none_where_the_environment_does_the_same(pairs):
    action, teacher = torch.tensor(pairs)[None].unbind(-1)
    label = teacher.clamp(-1, 1)
    same = action.clamp(-1, 1) == label
    error = imitation_error(action, label)
    assert torch.equal(error == 0, same | (action == label))
    assert torch.equal(error[~same], (action - label)[~same])


# The buffer


def a_buffer(capacity):
    return LabelBuffer(capacity, {"obs": 3, "label": 2}, "cpu")


def samples(first, count):
    """Samples that are told apart by their number, in both columns."""
    number = torch.arange(first, first + count, dtype=torch.float32)[:, None]
    return {"obs": number * torch.tensor([1.0, 2.0, 3.0]), "label": -number.expand(count, 2)}


def held(buffer):
    """The numbers of the samples that it holds, having checked that both columns say the same."""
    rows = buffer.rows(torch.arange(len(buffer)))
    number = rows["obs"][:, 0]
    assert torch.equal(rows["obs"], number[:, None] * torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(rows["label"], -number[:, None].expand(-1, 2))
    return sorted(int(n) for n in number)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 20))
def test_the_buffer_holds_the_last_samples(count, steps, added):
    buffer = a_buffer(count * steps)
    for i in range(added):
        assert held(buffer) == list(range(max(0, i - steps) * count, i * count))
        buffer.add(**samples(i * count, count))
    assert len(buffer) == min(added, steps) * count
    assert held(buffer) == list(range(max(0, added - steps) * count, added * count))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 12), st.integers(0, 12))
def test_a_restored_buffer_goes_on_as_the_saved_one(count, steps, before, after):
    buffer, other = a_buffer(count * steps), a_buffer(count * steps)
    for i in range(before):
        buffer.add(**samples(i * count, count))
    other.set_state(buffer.get_state())
    for i in range(before, before + after):
        for each in (buffer, other):
            each.add(**samples(i * count, count))
    every = torch.arange(len(buffer))
    assert len(other) == len(buffer) and held(other) == held(buffer)
    assert_equal(other.rows(every), buffer.rows(every))


def test_a_saved_state_stays_as_it_was_when_the_buffer_goes_on():
    buffer, other = a_buffer(4), a_buffer(4)
    buffer.add(**samples(0, 2))
    state = buffer.get_state()
    for first in (2, 4):
        buffer.add(**samples(first, 2))
    other.set_state(state)
    assert held(other) == [0, 1] and held(buffer) == [2, 3, 4, 5]


def test_the_bytes_of_a_buffer():
    assert a_buffer(10).bytes == 10 * (3 + 2) * 4


# Success is the student's


def test_episodes_that_the_teacher_drove_are_counted_apart():
    monitor = TrainingMonitor()
    monitor.after_init(SimpleNamespace(games_to_track=10, writer=None))
    infos = {
        "time_outs": torch.tensor([True, True, True, False]),
        "by_teacher": torch.tensor([True, False, False, True]),
        "success_at_end": torch.tensor([True, False, False, True]),
        "success_once": torch.tensor([True, True, False, True]),
        "reward_sums": {"lift": torch.tensor([5.0, 1.0, 3.0, 9.0])},
        "goal_distance": torch.tensor([0.0, 0.2, 0.4, 0.0]),
    }
    monitor.process_infos(infos, torch.tensor([[0], [1], [2]]))
    own, teachers = monitor.window.means(), monitor.teacher_window.means()
    assert (own["success_at_end"], own["success_once"], own["reward/lift"]) == (0.0, 0.5, 2.0)
    assert (teachers["success_at_end"], teachers["success_once"], teachers["reward/lift"]) == (1.0, 1.0, 5.0)
    assert own["final_goal_distance"] == pytest.approx(0.3)


# Trainings


@pytest.fixture
def watched(monkeypatch):
    """What a training does, step by step and iteration by iteration; `stop_after` stops it as Ctrl-C does."""
    log = SimpleNamespace(steps=[], iterations=[], stop_after=None)

    class Watched(ResDexDagger):
        def env_step(self, actions):
            with torch.no_grad():
                own, _ = self.model.a2c_network.act(self.obs["obs"])
            step = {**self.obs, "action": actions.clone(), "own": own, "by_teacher": self.by_teacher.clone()}
            result = super().env_step(actions)
            log.steps.append({**step, "done": result[2].bool()})
            return result

        def iteration(self):
            result = super().iteration()
            (group,) = self.optimizer.param_groups
            now = {"epoch": self.epoch_num, "share": self.teacher_share, "lr": self.last_lr, "used": group["lr"]}
            log.iterations.append({**now, "loss": self.imitation_loss})
            self.stop_requested = log.stop_after == self.epoch_num
            return result

    monkeypatch.setitem(ALGORITHMS, "resdex_dagger", Watched)
    return log


def last_of(run):
    return Checkpoint.read(run / "nn" / "last.pth")


def buffer_of(run):
    return last_of(run).training["own"]["buffer"]["columns"]


@trains
@pytest.mark.parametrize(
    "teacher, clamp, tells", [("base_box", True, True), ("hyper_stage2", True, True), ("hyper_stage2", False, False)]
)
def test_labels_are_what_the_teacher_itself_does_there(watched, tmp_path, teacher, clamp, tells):
    """To the bit: a teacher of the base view and one of the full view, whose action is composed. Where the object is is
    kept for a student that learns to tell it."""
    position = f"train.params.network.cloud.objectPosition={tells}"
    codes = "objects.codes=shipped" if teacher == "hyper_stage2" else "objects.codes=null"
    clamping = f"train.params.config.clamp_labels={clamp}"
    run = train(tmp_path, *STUDENT, f"teacher={teacher}", codes, clamping, position, "max_iterations=3")
    buffer, policy = buffer_of(run), Policy.load(teacher)
    assert ("object" in buffer) == tells
    assert len(watched.steps) == 12 and len(buffer["label"]) == 8 * 4
    for i, step in list(enumerate(watched.steps))[-8:]:
        rows = slice(i % 8 * 4, i % 8 * 4 + 4)
        label = policy(step["states"], clamp=clamp).action
        assert torch.equal(buffer["label"][rows], label)
        assert torch.equal(buffer["obs"][rows], step["obs"])
        if tells:
            assert torch.equal(buffer["object"][rows], step["states"][:, BLOCKS["object_pos"].slice])
        assert torch.equal(step["action"], torch.where(step["by_teacher"][:, None], label, step["own"]))
    assert (buffer["label"].abs().max() > 1) == (not clamp)


@trains
@pytest.mark.parametrize("share, driven", [(0.0, 0), (1.0, 4)])
def test_without_a_share_the_student_acts_alone_and_with_all_of_it_the_teacher_does(watched, tmp_path, share, driven):
    config = "train.params.config."
    train(tmp_path, *STUDENT, f"{config}teacher_share={share}", f"{config}final_teacher_share={share}")
    assert all(int(step["by_teacher"].sum()) == driven for step in watched.steps)


@trains
def test_who_drives_is_drawn_when_an_episode_begins(watched, tmp_path):
    config = "train.params.config."
    train(tmp_path, *STUDENT, f"{config}teacher_share=0.5", f"{config}final_teacher_share=0.5", "max_iterations=8")
    driver, done = (torch.stack([step[name] for step in watched.steps]) for name in ("by_teacher", "done"))
    changed = driver[1:] != driver[:-1]
    assert changed.any() and not (changed & ~done[:-1]).any()
    assert 0.2 < driver.float().mean() < 0.8


@trains
def test_the_teachers_share_and_the_learning_rate_fall_as_configured(watched, tmp_path):
    config = "train.params.config."
    train(
        tmp_path, *STUDENT, "max_iterations=10", f"{config}horizon_length=1", f"{config}updates=1",
        f"{config}teacher_share=0.5", f"{config}final_teacher_share=0.1", f"{config}teacher_decay=0.4",
        f"{config}learning_rate=1e-2", f"{config}final_learning_rate=1e-4",
    )  # fmt: skip
    iterations = watched.iterations
    assert [i["epoch"] for i in iterations] == list(range(1, 11))
    assert [i["share"] for i in iterations] == pytest.approx([0.4, 0.3, 0.2, *[0.1] * 7])
    rates = [i["lr"] for i in iterations]
    assert rates == [i["used"] for i in iterations]
    assert rates[0] == pytest.approx(1e-2)
    factors = [after / before for before, after in zip(rates, rates[1:])]
    assert factors == pytest.approx([10**-0.2] * 9)
    assert rates[-1] * factors[-1] == pytest.approx(1e-4)


def teacher_of_proprioception():
    """A teacher that does 0.2 times the joint positions, but for two actions, at the upper and the lower limit."""
    checkpoint = checkpoint_of(base_spec(normalize_input=False))
    network = {**checkpoint.spec.network, "mlp": {**checkpoint.spec.network["mlp"], "units": [24]}}
    checkpoint = checkpoint_of(replace(checkpoint.spec, network=network))
    weights = {name: torch.zeros_like(value) for name, value in checkpoint.weights.items()}
    reads, acts = torch.zeros(24, SIZES["base"]), torch.eye(24)
    reads[:22, BLOCKS["joint_pos"].slice] = 0.2 * torch.eye(22)
    weights["a2c_network.actor_mlp.0.weight"] = reads
    weights["a2c_network.actor_mlp.0.bias"] = torch.ones(24)  # an elu is linear above 0
    weights["a2c_network.mu.weight"] = acts
    weights["a2c_network.mu.bias"] = torch.cat((-torch.ones(22), torch.tensor([4.0, -6.0])))
    return replace(checkpoint, weights={**checkpoint.weights, **weights})


@trains
def test_a_student_learns_what_a_teacher_does_that_it_can_imitate(watched, tmp_path):
    """And where the object is, within 2 cm of some 70 above the floor."""
    teacher_of_proprioception().write(tmp_path / "teacher.pth")
    run = train(
        tmp_path, *STUDENT, "teacher=teacher.pth", "num_envs=8", "task.env.episodeLength=20", "max_iterations=40",
        "train.params.config.updates=32", "train.params.config.buffer_steps=32",
        "train.params.network.cloud.objectPosition=true", "train.params.config.learning_rate=3e-3",
    )  # fmt: skip
    first, *_, last = (iteration["loss"] for iteration in watched.iterations)
    assert last < 1e-4 < 5e-3 < first
    buffer, policy = buffer_of(run), Policy.load(run / "nn" / "last.pth")
    assert imitation_error(policy(buffer["obs"], clamp=False).action, buffer["label"]).abs().mean() < 0.02
    with torch.no_grad():
        _, position = policy.model.a2c_network.act(buffer["obs"])
    assert (position - buffer["object"]).norm(dim=1).mean() < 0.02


FALLING = (
    "train.params.config.teacher_share=0.8",
    "train.params.config.final_teacher_share=0.2",
    "train.params.config.teacher_decay=1.0",
    "max_iterations=4",
)


@trains
def test_stopped_and_resumed_equals_uninterrupted(watched, tmp_path):
    """Learning rate, teacher's share, who drives and what is learned from go on where they were."""
    whole = last_of(train(tmp_path, *STUDENT, *FALLING, "experiment=whole").parent / "whole")
    watched.stop_after = 2
    assert call(tmp_path, *TINY, *STUDENT, *FALLING, "experiment=run").status == 130
    run = tmp_path / "runs" / "run"
    stopped = last_of(run)
    assert stopped.made_by.iterations == 2 and len(stopped.training["own"]["by_teacher"].unique()) == 2
    watched.stop_after = None
    train(tmp_path, *STUDENT, *FALLING, "checkpoint=runs/run/nn/last.pth")
    resumed = last_of(run)
    assert_equal(resumed.weights, whole.weights, "weights")
    for key in (*PROGRESS, "own"):
        assert_equal(resumed.training[key], whole.training[key], key)
    assert_equal(replace(resumed.made_by, command=""), replace(whole.made_by, command=""), "made_by")


@trains
def test_a_buffer_too_large_for_a_checkpoint_is_left_out_and_filled_anew(watched, tmp_path, monkeypatch):
    monkeypatch.setattr(dagger, "LARGEST_SAVED", 0)
    run = train(tmp_path, *STUDENT)
    own = last_of(run).training["own"]
    assert own["buffer"] is None and own["by_teacher"].shape == (4,)
    train(tmp_path, *STUDENT, "checkpoint=runs/run/nn/last.pth", "max_iterations=3")
    assert last_of(run).made_by.iterations == 3 and np.isfinite(watched.iterations[-1]["loss"])


@trains
@pytest.mark.parametrize(
    "override",
    ["task.env.vision.numPoints=12", "num_envs=8", "objects.names=[mug]", "teacher=zoo_expert_bottle-0035"],
)
def test_a_student_goes_on_with_another_task_or_teacher(tmp_path, override):
    """Of a cloud, any number of points will do."""
    run = train(tmp_path, *STUDENT)
    train(tmp_path, *STUDENT, "checkpoint=runs/run/nn/last.pth", "max_iterations=3", override)
    assert last_of(run).made_by.iterations == 3


@trains
def test_a_checkpoint_says_whom_its_policy_imitates(tmp_path):
    run = train(tmp_path, *STUDENT)
    for name in ("last.pth", "best.pth"):
        checkpoint = Checkpoint.read(run / "nn" / name)
        assert checkpoint.made_by.teacher == {"name": "base_box", "id": Checkpoint.read("base_box").id}
        assert checkpoint.spec.observation == "vision" and checkpoint.spec.observation_layout["cloud"] == 3 * 8
        assert not [weight for weight in checkpoint.weights if "teacher" in weight]
    assert checkpoint.training is None
    assert Checkpoint.read("base_box").made_by.teacher == {}


@trains
def test_a_student_plays_without_its_teacher(tmp_path):
    Checkpoint.read("base_box").write(tmp_path / "teacher.pth")
    run = train(tmp_path, *STUDENT, "teacher=teacher.pth")
    (tmp_path / "teacher.pth").unlink()
    # which is needed to learn on
    assert_one_sentence(
        call(tmp_path, *TINY, *STUDENT, "teacher=teacher.pth", "checkpoint=runs/run/nn/last.pth", "max_iterations=3"),
        "no checkpoint teacher.pth",
    )
    alone = [o for o in STUDENT if not o.startswith(("teacher", "train."))]
    outcome = call(tmp_path, *TINY, *alone, "test=True", "checkpoint=runs/run/nn/last.pth", "episodes_per_object=2")
    assert outcome.status == 0, outcome.err
    assert (run / "evaluation.json").exists()


@trains
def test_the_start_is_told(tmp_path):
    outcome = call(tmp_path, *TINY, *STUDENT, "experiment=run")
    assert outcome.status == 0 and outcome.err == ""
    for words in (
        "imitates base_box, and sees 8 points of the object",
        f"{147 + 24} observations",
        "(teacher ",
        "loss",
    ):
        assert words in outcome.out
    assert "exploration noise" not in outcome.out  # a student acts with its mean


# What cannot be


def swapped(checkpoint):
    """The same policy, said to see two blocks the other way round."""
    first, second, *others = checkpoint.spec.observation_layout.items()
    return replace(checkpoint, spec=replace(checkpoint.spec, observation_layout=dict([second, first, *others])))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoint_of(student_spec(8)).write(folder / "student.pth")
    flat = PolicySpec("vision", layout("vision", 8), network_of("actor_critic"), True, False)
    checkpoint_of(flat).write(folder / "flat.pth")
    swapped(Checkpoint.read("base_box")).write(folder / "swapped.pth")
    return folder


@pytest.mark.parametrize(
    "overrides, culprits",
    [
        (["teacher=swapped.pth"], ("swapped.pth sees fingertips, joint_pos", "here a 'base' policy sees")),
        (["teacher=nowhere.pth"], ("no checkpoint nowhere.pth", "hyper_stage2")),
        (["teacher=hyper_stage2"], ("1 of 1 objects have no shape code", "objects.codes=shipped")),
        (["checkpoint=base_box"], ("base_box holds a 'base' policy", "'vision'")),
        (["task.env.vision.numPoints=17"], ("task.env.vision.numPoints is 17", "task.env.vision.poolPoints=16")),
        (["train.params.network.cloud.pooling=mean"], ("train.params.network.cloud.pooling is 'mean'",)),
        (["train.params.config.updates=0"], ("train.params.config.updates is 0",)),
        (["task.env.observation=base"], ("task.env.observation is base", "train.params.network.cloud")),
    ],
)
def test_a_training_that_cannot_start_says_why(checkpoints, overrides, culprits):
    before = files(checkpoints)
    assert_one_sentence(call(checkpoints, *TINY, *STUDENT, "experiment=run", *overrides), *culprits)
    assert files(checkpoints) == before


@pytest.mark.parametrize("name", ["student.pth", "flat.pth"])
def test_what_sees_a_cloud_is_no_expert(checkpoints, name):
    """Neither a student, nor a policy that PPO taught to see the points as so many numbers."""
    before = files(checkpoints)
    outcome = call(checkpoints, *TINY, *STAGE1, "experiment=run", f"experts=[{name}]")
    assert_one_sentence(outcome, f"{name} holds a 'vision' policy", "expert")
    assert files(checkpoints) == before


def test_at_full_scale_it_is_the_papers():
    config = load_config(["task=ResDexVision", "scale=paper", "sim=mujoco", "sim_device=cpu"])
    assert config.imitates and not config.mixes
    assert config.task.env.observation == "vision" and config.task.env.vision.num_points == 512
    assert config.policy_spec.observation_size == 147 + 3 * 512
    assert not load_config(["task=ResDexHyper", "sim=mujoco"]).imitates


def test_the_student_sees_its_own_groups_alone(checkpoints):
    policy = Policy.load(checkpoints / "student.pth")
    assert policy.groups == ("proprioception", "cloud")
    groups = {"proprioception": torch.randn(2, 147), "cloud": torch.randn(2, 8, 3)}
    assert torch.equal(policy(groups).action, policy(joined(groups, "vision")).action)
