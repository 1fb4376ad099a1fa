import importlib.util
import os
import shlex
from pathlib import Path

import pytest
import torch
from helpers.command_line import TINY, assert_one_sentence, call
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import flat
from resdex_tasks.utils.overrides import Overrides, assignment
from runners.config import load_config
from runners.policies.checkpoint import find_checkpoint

BAD = [
    # what a person types, and what the answer must name
    ("task=ResDexBass", "ResDexBass", "ResDexBase"),
    ("preset=papers", "papers", "official"),
    ("sim=bullet", "bullet", "mujoco"),
    ("objects=start", "start", "starter"),
    ("scale=huge", "huge", "cpu"),
    ("train=ResDexPPO", "ResDexPPO", "ResDexBasePPO"),
    ("numenvs=4", "numenvs"),
    ("task.env.goalheight=0.3", "task.env.goalheight"),
    ("task.env.reward.liftWeight=2", "task.env.reward.liftWeight"),
    ("sim.physics.gravity=1", "sim.physics.gravity"),
    ("objects.size=2", "objects.size"),
    ("train.params.config.gama=0.9", "train.params.config.gama"),
    ("+task.env.extra=1", "task.env.extra"),
    ("+sim.physics.extra=1", "sim.physics.extra"),
    ("+sim.extra=1", "sim.extra"),
    ("+objects.extra=1", "objects.extra"),
    ("num_envs=0", "num_envs", "0"),
    ("num_envs=-3", "num_envs", "-3"),
    ("num_envs=abc", "num_envs", "abc"),
    ("num_envs=2.5", "num_envs", "2.5"),
    ("train.params.config.num_minibatches=7", "num_minibatches=7"),
    ("train.params.config.num_minibatches=0", "num_minibatches"),
    ("train.params.config.horizon_length=0", "horizon_length"),
    ("train.params.config.minibatch_size=7", "minibatch_size=7"),
    ("train.params.config.minibatch_size=0", "minibatch_size"),
    ("train.params.config.minibatch_size=abc", "minibatch_size"),
    ("train.params.config.gamma=abc", "gamma"),
    ("train.params.config.learning_rate=fast", "learning_rate"),
    ("train.params.network.mlp.activation=sigmoidal", "sigmoidal"),
    ("max_iterations=0", "max_iterations"),
    ("max_iterations=soon", "max_iterations", "soon"),
    ("seed=-5", "seed", "-5"),
    ("seed=abc", "seed", "abc"),
    ("seed=4294967296", "seed"),  # numpy's generator stops at 2**32 - 1
    ("episodes_per_object=0", "episodes_per_object"),
    ("rl_device=foo", "rl_device", "foo"),
    ("rl_device=0", "rl_device", "0"),
    ("sim_device=foo", "sim_device", "foo"),
    ("experiment", "experiment", "key=value"),
    ("experiment=[", "experiment"),
    ("task.env.episodeLength=0", "task.env.episodeLength"),
    ("task.env.episodeLength=long", "task.env.episodeLength", "long"),
    ("task.env.observation=all", "task.env.observation", "all"),
    ("task.env.reward.terms=[pose,pull]", "task.env.reward.terms", "pull"),
    ("objects.names=[box,boxx]", "boxx"),
    ("objects.names=box", "objects.names"),
    ("test=True", "checkpoint"),
    ("+foo=1", "+foo=1"),
    ("~objects", "~objects"),
    ("checkpoint=5", "checkpoint", "5"),
    ("experiment=a/../../b", "experiment"),
    ("seed=true", "seed"),
    ("objects.names=5", "objects.names", "5"),
    ("train.params.network.mlp.units=abc", "units", "abc"),
    ("train.params.network.mlp.units=[0]", "units"),
    ("train.params.network.name=foo", "train.params", "foo"),
    ("train.params.config.games_to_track=0", "games_to_track"),
    ("train.params.config.mini_epochs=0", "mini_epochs"),
    ("train.params.config.learning_rate=-1", "learning_rate"),
    ("task.env.goalHeight=nan", "goalHeight"),
    ("task.env.clipActions=0", "clipActions"),
    ("task.env.reward.terms=[]", "terms"),
    ("task.env.reward.palmPoint=[0,0]", "palmPoint"),
    ("task.env.wrist.linearDamping=-500", "linearDamping", "-500"),
    ("sim.numThreads=-1", "numThreads"),
    ("sim.physics.friction=[1.0]", "friction"),
    ("sim.physics.iterations=-3", "iterations"),
    ("objects.names=null", "num_envs=4", "11"),
    ("headless=false", "headless", "capture_video"),
    ("multi_gpu=true", "multi_gpu", "experiment"),
    ("num_envs='4'", "num_envs", "4"),
    ("task.env.numEnvs=7", "task.env.numEnvs is 7", "num_envs=4"),
    ("train.params.config.num_actors=8", "num_actors is 8", "num_envs=4"),
    ("train.params.config.num_actors=abc", "train.params.config.num_actors", "abc"),
    ("train.params.config=3", "train.params.config is 3", "group"),
    ("train.params.network=null", "train.params.network is null", "group"),
    ("train.params.network.mlp=null", "train.params.network.mlp is null", "group"),
    ("train.params=null", "train.params is null", "group"),
    ("train.params.network.separate=maybe", "train.params.network.separate", "maybe"),
    ("train.params.torch_threads=fast", "train.params.torch_threads", "fast"),
    ("task.env=3", "task.env is 3", "group"),
    ("task.env.reward.liftClearance=high", "task.env.reward.liftClearance", "high"),
    ("follow_up=maybe", "follow_up", "maybe"),
    ("experts=3", "experts is 3"),
]


@pytest.mark.parametrize("override, culprits", [pytest.param(b[0], b[1:], id=b[0]) for b in BAD])
def test_bad_input_gives_one_sentence_and_leaves_nothing(tmp_path, override, culprits):
    outcome = call(tmp_path, *TINY, override)
    assert_one_sentence(outcome, *culprits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("key", ["rl_device", "sim_device"])
def test_a_gpu_that_is_not_there_is_named(tmp_path, key):
    outcome = call(tmp_path, *TINY, f"{key}=cuda:0")
    assert_one_sentence(outcome, f"{key}=cuda:0", "CUDA")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("root", ["nowhere", "present"])
def test_a_missing_dataset_folder_is_named(tmp_path, root):
    (tmp_path / "present").mkdir()
    outcome = call(tmp_path, *TINY, "objects=dexgraspnet", f"objects.root={root}")
    assert_one_sentence(outcome, root)
    assert not (tmp_path / "runs").exists()


def test_a_dataset_without_a_root_asks_for_it(tmp_path):
    assert_one_sentence(call(tmp_path, *TINY, "objects=dexgraspnet"), "objects.root")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "package, overrides",
    [("wandb", ["wandb_activate=True"]), ("mujoco", []), ("gymnasium_robotics", [])],
)
def test_a_missing_package_is_named_with_its_installation(tmp_path, monkeypatch, package, overrides):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find_spec(name, *rest)
    )
    assert_one_sentence(call(tmp_path, *TINY, *overrides), "pip install " + package.replace("_", "-"))
    assert list(tmp_path.iterdir()) == []


def test_a_runs_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    assert_one_sentence(call(tmp_path, *TINY, "experiment=mine"), "runs/mine")
    assert (tmp_path / "runs").read_text() == "in the way"


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(self, *rest, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.touch", full)
    assert_one_sentence(call(tmp_path, *TINY, "experiment=mine"), "runs/mine", "No space left on device")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_the_usual_arguments(tmp_path, flag):
    outcome = call(tmp_path, flag)
    assert outcome.status == 0 and outcome.err == ""
    for argument in ("task=", "num_envs=", "max_iterations=", "checkpoint=", "test=True", "capture_video=True"):
        assert argument in outcome.out
    assert list(tmp_path.iterdir()) == []


@given(st.integers(1, 64), st.integers(1, 32), st.integers(1, 16))
@settings(max_examples=15)
def test_a_batch_is_cut_evenly_or_refused(num_envs, horizon, num_minibatches):
    overrides = [
        f"num_envs={num_envs}",
        f"train.params.config.horizon_length={horizon}",
        f"train.params.config.num_minibatches={num_minibatches}",
    ]
    if num_envs * horizon % num_minibatches:
        with pytest.raises(UserError, match=f"num_minibatches={num_minibatches}"):
            load_config(overrides)
    else:
        config = load_config(overrides).params["config"]
        assert config["minibatch_size"] * num_minibatches == config["num_actors"] * config["horizon_length"]
        assert config["num_actors"] == num_envs


@given(st.integers(-(2**40), -2))
@settings(max_examples=5)
def test_a_negative_seed_is_refused(seed):
    with pytest.raises(UserError, match=f"seed is {seed}"):
        load_config([f"seed={seed}"])


def seeds_of(override):
    """The seed wherever the configuration has it."""
    config = load_config([override])
    return {config.command.seed, config.params["seed"], config.plain["seed"], config.plain["train"]["params"]["seed"]}


def test_minus_one_is_a_new_seed_each_time_and_any_other_is_itself():
    drawn = [seeds_of("seed=-1") for _ in range(2)]
    assert drawn[0] != drawn[1] and all(len(seeds) == 1 and min(seeds) >= 1 for seeds in drawn)
    assert seeds_of("seed=7") == {7}
    # rl_games would leave 0 unseeded
    assert seeds_of("seed=0") == seeds_of("seed=0") and min(seeds_of("seed=0")) > 0


def test_what_is_chosen_for_the_machine_is_said_and_what_is_given_is_kept():
    config = load_config([])
    assert f"sim={config.sim_name}" in config.notice and "scale=" in config.notice
    config = load_config(["sim=mujoco", "scale=paper"])
    assert config.notice == "" and config.command.num_envs == 4096


@pytest.mark.parametrize("scale", ["cpu", "paper"])
def test_the_command_line_outranks_the_scale(scale):
    config = load_config([f"scale={scale}", "num_envs=12", "max_iterations=3", "train.params.network.mlp.units=[8]"])
    assert config.command.num_envs == config.params["config"]["num_actors"] == config.task.env.num_envs == 12
    assert config.params["config"]["max_epochs"] == 3
    assert config.params["network"]["mlp"]["units"] == [8]


def test_the_papers_table_6_stands_in_the_configuration():
    loaded = load_config(["scale=paper"])
    assert loaded.command.num_envs == 4096
    env = loaded.task.env
    assert (env.num_envs, env.episode_length, env.clip_observations, env.clip_actions) == (4096, 200, 5.0, 1.0)
    config = loaded.params["config"]
    assert config["num_actors"] == 4096
    assert config["horizon_length"] == 8
    assert config["mini_epochs"] == 5
    assert config["num_minibatches"] == 4
    assert config["minibatch_size"] == 4096 * 8 // 4
    assert config["truncate_grads"] and config["grad_norm"] == 1.0
    assert config["learning_rate"] == 3e-4
    assert config["gamma"] == 0.96
    assert config["tau"] == 0.95  # lambda
    assert config["e_clip"] == 0.2
    assert not config["normalize_input"]
    network = loaded.params["network"]
    assert network["separate"]  # actor and critic of the same layers
    assert network["mlp"]["units"] == [1024, 1024, 512, 512]
    assert network["mlp"]["activation"] == "elu"
    gaussian = network["space"]["continuous"]
    assert gaussian["fixed_sigma"]
    assert torch.tensor(gaussian["sigma_init"]["val"]).exp().item() == pytest.approx(0.8, abs=1e-4)


def test_the_default_is_the_papers_task_but_for_the_off_table_condition():
    default, paper = (flat(load_config([f"preset={name}"]).plain) for name in ("default", "paper"))
    assert {key for key in default if default[key] != paper[key]} == {"task.env.reward.liftClearance"}


def test_the_presets_differ_by_values_of_the_task_only():
    paper, official = (flat(load_config([f"preset={name}", "scale=paper"]).plain) for name in ("paper", "official"))
    assert paper.keys() == official.keys()
    differing = {key for key in paper if paper[key] != official[key]}
    assert differing and all(key.startswith("task.env.") for key in differing)
    # the table "official code against the paper"
    assert paper["task.env.goalHeight"] == 0.2 and official["task.env.goalHeight"] == 0.3
    assert "pose" in paper["task.env.reward.terms"] and "proposal" in official["task.env.reward.terms"]
    assert paper["task.env.reward.palmDistanceCap"] is None and official["task.env.reward.palmDistanceCap"] == 0.5
    assert paper["task.env.reward.fingersDistanceCap"] is None and official["task.env.reward.fingersDistanceCap"] == 3
    assert paper["task.env.reward.movePositionGate"] is None and official["task.env.reward.movePositionGate"] == 0.4
    assert paper["task.env.reward.moveRotationGate"] is None and official["task.env.reward.moveRotationGate"] == 1.0
    assert paper["task.env.reward.liftFlatHeight"] is None and official["task.env.reward.liftFlatHeight"] == 0.8


@pytest.mark.parametrize("preset, term", [("default", "pose"), ("paper", "pose"), ("official", "proposal")])
def test_every_preset_trains(tmp_path, preset, term):
    outcome = call(tmp_path, *TINY, "experiment=run", f"preset={preset}", "max_iterations=1")
    assert outcome.status == 0, outcome.err
    assert f"reward: {term} + " in outcome.out
    assert (tmp_path / "runs" / "run" / "nn" / "last.pth").is_file()
    saved = OmegaConf.load(tmp_path / "runs" / "run" / "config.yaml")
    assert saved.task.env.reward.terms[0] == term


# Names and folders of any letters

NAMES = st.text(st.sampled_from("ab ()[]{}=,#~&'\";!|:$%äß漢."), min_size=1, max_size=9).filter(lambda t: t[0] != ".")


@given(NAMES, NAMES)
@settings(max_examples=15)
def test_any_name_goes_through_a_printed_command_into_the_configuration(name, folder):
    base = Overrides(TINY)
    values = {"experiment": name, "runs_dir": f"runs/{folder}", "objects.codes": f"/data/{folder}"}
    program = shlex.split(base.having(values).command())
    assert program[:2] == ["python", "train.py"]
    config = load_config(program[2:])
    assert (config.command.experiment, config.command.runs_dir) == (name, f"runs/{folder}")
    assert config.objects.codes == f"/data/{folder}"


def test_a_home_folder_is_found_wherever_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mäsh").mkdir()
    (tmp_path / "mäsh" / "p.pth").write_bytes(Path(find_checkpoint("base_box")).read_bytes())
    config = load_config([*TINY, "runs_dir=~/runs", "checkpoint=~/mäsh/p.pth"])
    assert config.command.runs_dir == str(tmp_path / "runs")
    assert config.checkpoint.path == tmp_path / "mäsh" / "p.pth"


@pytest.mark.parametrize(
    "text, name", [("4711", "4711"), ("1e3", "1e3"), ("true", "true"), ("0x1F", "0x1F"), ("007", "007")]
)
def test_a_number_names_a_run(text, name):
    assert load_config([*TINY, f"experiment={text}"]).command.experiment == name


@pytest.mark.parametrize("value", ["[a]", "{a: 1}"])
def test_a_list_names_no_run_and_the_line_that_works_does(value):
    with pytest.raises(UserError, match="experiment takes one text") as caught:
        load_config([*TINY, f"experiment={value}"])
    (argument,) = shlex.split(str(caught.value).split("a text: ")[1])
    assert load_config([*TINY, argument]).command.experiment == value


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x00b", os.fsdecode(b"caf\xe9")])
def test_a_name_that_cannot_be_shown_is_refused(name):
    with pytest.raises(UserError, match=r"experiment (is|takes)|cannot be read"):
        load_config([*TINY, assignment("experiment", name)])


def test_a_folder_for_a_checkpoint_is_answered_with_what_it_holds(tmp_path):
    with pytest.raises(UserError, match=r"is a folder, not a checkpoint$"):
        load_config([*TINY, f"checkpoint={tmp_path}"])
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "last.pth").touch()
    with pytest.raises(UserError, match=rf"is a folder, not a checkpoint; it holds checkpoint={tmp_path}/nn/last.pth$"):
        load_config([*TINY, f"checkpoint={tmp_path}"])


def test_what_follows_is_checked_before_the_training(tmp_path):
    """The second stage's folder would have a name of more than a hundred letters."""
    outcome = call(tmp_path, *TINY, "task=ResDexHyper", "objects=starter", f"experiment={'n' * 98}")
    assert_one_sentence(outcome, "experiment is", "_stage2")
    assert list(tmp_path.iterdir()) == []
