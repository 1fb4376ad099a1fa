"""The way in from Python, as the README shows it."""

import re
from pathlib import Path

import pytest
import torch

from runners import load_policy, make_task

pytest.importorskip("mujoco.batch")
README = Path(__file__).resolve().parents[1] / "README.md"


def test_a_task_and_a_policy_from_python():
    task = make_task("ResDexHyper", num_envs=4, sim="mujoco", **{"objects.count": 4, "task.env.episodeLength": 5})
    policy = load_policy("hyper_stage2")
    obs = task.reset()
    for _ in range(5):
        action, weights = policy(obs)
        obs, *_, extras = task.step(action)
    assert action.shape == (4, 24) and action.abs().max() <= 1
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert "success_once" in extras


@pytest.mark.slow
def test_the_readmes_snippet_runs(monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    exec(compile(code, "README.md", "exec"), {})
