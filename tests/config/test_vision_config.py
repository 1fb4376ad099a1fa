"""What the configuration says of the vision policy: scales, presets, and what follows a hyper-policy."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.command_line import TINY, assert_one_sentence, call

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import flat
from runners import launch
from runners.config import load_config
from runners.policies.checkpoint import first_difference


def loaded(*overrides):
    return load_config(["sim=mujoco", "sim_device=cpu", "task=ResDexVision", *overrides])


def test_a_student_meets_the_objects_and_starts_of_its_teacher():
    """All but what it sees is the second stage's task; it imitates the shipped hyper-policy, which sees codes."""
    ours, theirs = (load_config(["sim=mujoco", f"task={task}"]) for task in ("ResDexVision", "ResDexHyperStage2"))
    env, teachers = (flat(config.plain["task"]["env"]) for config in (ours, theirs))
    differing = {key for key in env if env[key] != teachers[key]}
    assert (
        differing <= {"observation", "numEnvs", "vision.numPoints", "vision.poolPoints"} and "observation" in differing
    )
    assert ours.plain["objects"] == theirs.plain["objects"] and ours.plain["objects"]["codes"] == "shipped"
    assert ours.command.teacher == "hyper_stage2" and ours.imitates and ours.task.stage is None


def test_at_the_papers_scale():
    config = loaded("scale=paper")
    vision, params = config.task.env.vision, config.params
    assert (vision.source, vision.surface, vision.frame) == ("mesh", "outer", "yaw")
    assert (vision.num_points, vision.pool_points) == (512, 1024)
    network = params["network"]
    assert (network["cloud"]["pointUnits"], network["cloud"]["codeUnits"]) == ([128, 256], [256, 128])
    assert network["cloud"]["pooling"] == "max_mean" and network["mlp"]["units"] == [1024, 1024, 512, 512]
    assert (network["cloud"]["pointScale"], network["cloud"]["centroid"]) == (10.0, True)


def test_unidexgrasps_cameras():
    camera = loaded("scale=paper").task.env.vision.camera
    above, *sides = camera.eyes
    assert above == [0, 0, 0.55]
    assert sorted(sides) == sorted([x, y, 0.05] for x, y in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)))
    assert (camera.occlusion, camera.noise, camera.dropout, camera.lost) == ("fast", 0.002, 0.1, "hold")


def test_on_a_cpu_points_and_network_are_fewer():
    config = loaded("scale=cpu")
    vision, network = config.task.env.vision, config.params["network"]
    assert config.command.num_envs == 256 and (vision.num_points, vision.pool_points) == (64, 256)
    assert (network["cloud"]["pointUnits"], network["cloud"]["codeUnits"]) == ([32, 64], [64, 64])
    assert network["mlp"]["units"] == [256, 256, 128]
    learned_from = config.params["config"]
    assert learned_from["updates"] > 0 and learned_from["buffer_steps"] % learned_from["horizon_length"] == 0
    # nothing of PPO's normalisations, which scale=cpu switches on for the others: the network has its own
    assert not any(learned_from[key] for key in ("normalize_input", "normalize_value", "value_bootstrap"))
    given = loaded("scale=cpu", "task.env.vision.numPoints=32", "max_iterations=9")
    assert given.task.env.vision.num_points == 32 and given.params["config"]["max_epochs"] == 9


@pytest.mark.parametrize("scale", ["paper", "cpu"])
def test_the_official_preset_has_what_the_methods_code_does(scale):
    """At every scale: squared errors to unclamped actions, a fixed rate, no share of the teacher's, no clipping."""
    config = loaded("preset=official", f"scale={scale}")
    vision, cloud, learned = config.task.env.vision, config.params["network"]["cloud"], config.params["config"]
    assert (vision.surface, vision.frame) == ("pieces", "world")
    assert (cloud["pointScale"], cloud["centroid"]) == (1.0, False)
    assert (learned["huber_delta"], learned["clamp_labels"], learned["truncate_grads"]) == (None, False, False)
    assert learned["learning_rate"] == learned["final_learning_rate"] == 1e-3
    assert learned["teacher_share"] == learned["final_teacher_share"] == 0.0
    assert (learned["horizon_length"], learned["buffer_steps"], learned["minibatch_steps"], learned["updates"]) == (
        1,
        8,
        2,
        20,
    )
    ours = loaded(f"scale={scale}").task.env.vision
    assert (vision.num_points, vision.pool_points) == (ours.num_points, ours.pool_points)


SEEING = ("ResDexVision", "ResDexVisionSpecialist", "ResDexVisionGeneralist")


@pytest.mark.parametrize("preset", ["default", "official"])
@pytest.mark.parametrize("scale", ["paper", "cpu"])
def test_all_that_see_the_same_see_it_through_the_same(scale, preset):
    """Clouds and PointNet; who learns by PPO goes on from who learned by imitation."""
    chosen = {
        task: load_config([f"task={task}", f"scale={scale}", f"preset={preset}", "sim=mujoco"]) for task in SEEING
    }
    clouds = [flat(config.plain["task"]["env"]["vision"]) for config in chosen.values()]
    nets = [config.params["network"]["cloud"] for config in chosen.values()]
    assert clouds[0] == clouds[1] == clouds[2] and nets[0] == nets[1] == nets[2]
    student, *rounds = chosen.values()
    assert first_difference(rounds[0].policy_spec, rounds[1].policy_spec) is None
    assert [config.imitates for config in rounds] == [False, True]
    lengths = [
        c.command.num_envs * c.params["config"]["horizon_length"] * c.params["config"]["max_epochs"] for c in rounds
    ]
    theirs = (
        student.command.num_envs * student.params["config"]["horizon_length"] * student.params["config"]["max_epochs"]
    )
    assert lengths[0] == lengths[1] and (scale == "cpu" or lengths[0] == 1024 * 8 * 15_000 > theirs)


BAD = [
    ("train.params.config.buffer_steps=0", "buffer_steps is 0"),
    ("train.params.config.minibatch_steps=many", "minibatch_steps is 'many'"),
    ("train.params.config.teacher_share=1.5", "teacher_share is 1.5"),
    ("train.params.config.final_teacher_share=-1", "final_teacher_share is -1"),
    ("train.params.config.teacher_decay=2", "teacher_decay is 2"),
    ("train.params.config.huber_delta=0", "huber_delta is 0"),
    ("train.params.config.final_learning_rate=0", "final_learning_rate is 0"),
    ("train.params.config.clamp_labels=maybe", "clamp_labels is 'maybe'"),
    ("train.params.config.bufer_steps=8", "bufer_steps"),
    ("train.params.network.cloud.pointUnits=[]", "pointUnits is []"),
    ("train.params.config.normalize_input=true", "normalize_input is true", "normalize_input=false"),
    ("task.env.vision.source=eyes", "task.env.vision.source is 'eyes'", "mesh", "camera"),
    ("task.env.vision.frame=palm", "task.env.vision.frame is 'palm'"),
    ("task.env.vision.camera.eyes=3", "task.env.vision.camera.eyes is 3"),
    ("teacher=3", "teacher is 3"),
]


@pytest.mark.parametrize("override, culprits", [pytest.param(b[0], b[1:], id=b[0]) for b in BAD])
def test_bad_input_gives_one_sentence_and_leaves_nothing(tmp_path, override, culprits):
    common = [o for o in TINY if not o.startswith("train.params.config.final_max_lr")]
    outcome = call(tmp_path, *common, "task=ResDexVision", "objects=starter", "experiment=run", override)
    assert_one_sentence(outcome, *culprits)
    assert list(tmp_path.iterdir()) == []


def test_noise_that_depends_on_what_is_seen_cannot_be_set():
    changed = "train.params.network.space.continuous.fixed_sigma=false"
    with pytest.raises(UserError, match=r"start_sigma is 0\.25; .*fixed_sigma=true, or start_sigma=null"):
        load_config(["sim=mujoco", "task=ResDexVisionSpecialist", changed])


# What follows


@pytest.fixture()
def commands(monkeypatch, tmp_path):
    """Trainings and evaluations are stand-ins, which only note for what task they were done."""
    done = []

    def train(config, objects=None):
        done.append(("train", config.task.name))
        folder = Path(config.command.runs_dir) / config.command.experiment
        (folder / "nn").mkdir(parents=True)
        return SimpleNamespace(last=folder / "nn" / "last.pth", folder=folder, objects=None)

    def evaluate(config, objects=None):
        done.append(("evaluate", config.task.name))

    def changed(self, values, without=()):
        """Without reading the checkpoint, which nobody has written."""
        return load_config(self.overrides.without(*without, "checkpoint").having({**values, "checkpoint": ""}))

    monkeypatch.setattr(launch, "train", train)
    monkeypatch.setattr(launch, "_evaluate", evaluate)
    monkeypatch.setattr(launch.RunConfig, "changed", changed)
    return done


SMALL = ("sim=mujoco", "scale=cpu", "objects=starter", "experiment=mine")


def test_a_hyper_policys_command_ends_with_the_command_that_imitates_it(tmp_path, commands):
    outcome = call(tmp_path, *SMALL, "task=ResDexHyper")
    assert outcome.status == 0, outcome.err
    assert commands == [("train", "ResDexHyper"), ("train", "ResDexHyperStage2"), ("evaluate", "ResDexHyperStage2")]
    last = outcome.out.splitlines()[-1]
    assert last == "what follows: python train.py task=ResDexVision teacher=runs/mine_stage2/nn/last.pth"


@pytest.mark.parametrize(
    "overrides, done",
    [
        (["task=ResDexVision", "teacher=base_box"], [("train", "ResDexVision"), ("evaluate", "ResDexVision")]),
        (["task=ResDexVision", "follow_up=false"], [("train", "ResDexVision")]),
        (["task=ResDexBase"], [("train", "ResDexBase")]),
    ],
)
def test_no_others_does(tmp_path, commands, overrides, done):
    """A student is evaluated after its training, unless told not to."""
    outcome = call(tmp_path, *SMALL, *overrides)
    assert outcome.status == 0, outcome.err
    assert commands == done and "what follows" not in outcome.out
