"""The real, unmodified IsaacGymEnvs trains, plays and makes our tasks, on the double of Isaac Gym."""

import importlib.util
import xml.etree.ElementTree as ET

import pytest
from helpers.isaacgymenvs import IsaacGymEnvs, find_isaacgymenvs

from resdex_tasks.hand.description import describe_hand
from resdex_tasks.hand.shadow_hand import asset_root
from runners.policies.checkpoint import Checkpoint

pytestmark = pytest.mark.slow
SMALL = (
    "num_envs=4",
    "sim_device=cpu",
    "rl_device=cpu",
    "pipeline=cpu",
    "headless=True",
    "max_iterations=3",
    "task.env.episodeLength=6",
    "train.params.network.mlp.units=[16,16]",
)
HYPER = ("task=ResDexHyper", "cfg/objects@task.objects=starter", "task.objects.names=[box,sphere]", *SMALL)


@pytest.fixture()
def isaacgymenvs(tmp_path):
    return IsaacGymEnvs(find_isaacgymenvs(), tmp_path)


def test_the_base_task_trains_with_rl_games_own_agent(isaacgymenvs, tmp_path):
    printed = isaacgymenvs.train("task=ResDexBase", *SMALL)
    assert "epoch: 3/3" in printed
    (written,) = tmp_path.glob("runs/ResDexBase_*/nn/last_ResDexBase_ep_3_*.pth")
    printed = isaacgymenvs.train(
        "task=ResDexBase", *SMALL, "test=True", f"checkpoint={written}", "train.params.config.player.games_num=4"
    )
    assert "steps: 6.0" in printed


def test_the_hyper_task_trains_through_the_launcher(isaacgymenvs, tmp_path):
    printed = isaacgymenvs.launch(*HYPER, "experiment=run")
    assert "iteration 3/3" in printed and "learns mixture weights and a residual" in printed
    last = tmp_path / "runs" / "run" / "nn" / "last.pth"
    checkpoint = Checkpoint.read(last)
    assert checkpoint.made_by.iterations == 3 and checkpoint.spec.experts.count == 4
    assert checkpoint.sim["name"] == "isaacgym" and checkpoint.objects == ("box", "sphere")
    printed = isaacgymenvs.launch(*HYPER, "test=True", f"checkpoint={last}")
    assert "4 episodes of 2 objects" in printed and (tmp_path / "runs" / "run" / "evaluation.json").exists()


MAKE = """
import isaacgym, isaacgymenvs, torch
envs = isaacgymenvs.make(seed=0, task="ResDexBase", num_envs=3, sim_device="cpu", rl_device="cpu", headless=True)
assert envs.observation_space.shape == (153,) and envs.action_space.shape == (24,)
obs = envs.reset()
ended = torch.zeros(3, dtype=torch.long)
for _ in range(201):
    obs, reward, done, extras = envs.step(2 * torch.rand(3, 24) - 1)
    assert obs["obs"].shape == (3, 153) and obs["obs"].isfinite().all() and reward.shape == (3,)
    assert torch.equal(done.bool(), extras["time_outs"])  # nothing else ends an episode
    ended += done
assert (ended >= 1).all() and (ended <= 2).all(), ended
print("stepped")
"""


def test_make_gives_an_environment_that_steps(isaacgymenvs):
    assert "stepped" in isaacgymenvs.script(MAKE)


def test_its_hand_is_ours(monkeypatch):
    """Where gymnasium-robotics is missing, the hand's files are found there."""
    package = find_isaacgymenvs()
    if not (package.parent / "assets").is_dir():
        pytest.skip("this IsaacGymEnvs has no assets beside it")

    def described():
        hand = describe_hand(1.0)
        parts = [hand.palm, hand.defaults, hand.contact, *hand.tendons, *hand.actuators]
        return [ET.tostring(part, encoding="unicode").split() for part in parts]

    ours = described()
    monkeypatch.syspath_prepend(str(package.parent))
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gymnasium_robotics" else real(name))
    assert "open_ai_assets" in str(asset_root()) and described() == ours
