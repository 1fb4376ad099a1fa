"""Benchmarks that are runs of the pipeline: their tables and their picture. Trainings and tests are stand-ins."""

from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import TINIER
from helpers.pipelines import replace_work

from resdex_tasks.utils.files import read_json
from runners.pipeline.__main__ import main as pipeline

ROOT = Path(__file__).resolve().parents[1]
SMALL = [argument for argument in TINIER if not argument.startswith(("out=", "jobs="))]


class InProcess:
    """A launcher that does its jobs here."""

    threads = None

    def __init__(self):
        self.names = []

    def run(self, jobs):
        for job in jobs:
            self.names.append(job.name)
            assert job.target == "pipeline" and pipeline(job.arguments) == 0


@pytest.fixture
def launcher(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)
    replace_work(monkeypatch, {})
    from benchmarks import pipelines

    launcher = InProcess()
    monkeypatch.setattr(pipelines, "make_launcher", lambda *settings: launcher)
    return launcher


@pytest.mark.slow
def test_methods_are_trained_at_one_budget_and_told_side_by_side(launcher, tmp_path, monkeypatch):
    from benchmarks import methods

    curve = {"steps": np.array([16.0]), "minutes": np.array([0.1]), "at_end": np.array([0.5])}
    monkeypatch.setattr(methods, "read_run", lambda folder: {**curve, "folder": folder.name})
    methods.main(["--out=made", "--budget=400", "--methods", "ppo", "--seeds", "1", "2", "--", *SMALL])
    assert launcher.names == ["ppo_seed1", "ppo_seed2"]
    text = (tmp_path / "made" / "methods.md").read_text()
    state, vision = text.split("## Policies that know the state")[1].split("## Policies that see")
    for part in (state, vision):
        assert "| PPO" in part and "100.0 ± 0.0 (n = 2)" in part and "published" in part
    assert (tmp_path / "made" / "methods.png").stat().st_size > 1000
    settings = read_json(tmp_path / "made" / "ppo_seed2" / "vision_mesh" / "step.json")["settings"]
    assert settings["seed"] == 2
    # a stand-in takes no steps: the student has the whole budget
    assert settings["train"]["params"]["config"]["max_epochs"] == 400 // 16


@pytest.mark.slow
def test_curves_and_points_lie_where_the_method_had_come_to(launcher, tmp_path, monkeypatch):
    from benchmarks import methods

    run = methods.PipelineRun.__new__(methods.PipelineRun)
    run.folder = tmp_path
    names = [("expert_a", 30, False), ("stage1", 20, True), ("stage2", 50, True), ("vision_mesh", 10, True)]
    run.results = {"trained": [{"name": n, "steps": s, "everything": e} for n, s, e in names], "tests": {}}
    monkeypatch.setattr(methods, "read_run", lambda folder: {"steps": np.array([0, 20]), "name": folder.name})
    assert run.ends == {"expert_a": 30, "stage1": 50, "stage2": 100, "vision_mesh": 110} and run.steps == 110
    curves = methods.curves(run)
    assert [(c["name"], c["steps"].tolist()) for c in curves] == [("stage1", [30, 50]), ("stage2", [50, 70])]


@pytest.mark.slow
def test_the_ablations_are_told_by_k_and_by_kind_of_base(launcher, tmp_path):
    from benchmarks import ablations

    ablations.main(["stages", "--out=stages", "--budget=400", "--ks", "2", "--", *SMALL])
    text = (tmp_path / "stages" / "stages.md").read_text()
    for words in ("k = 2, stage 1", "k = 2, stage 2", "D (Unseen category)"):
        assert words in text
    launcher.names.clear()
    ablations.main(["bases", "--out=bases", "--budget=400", "--objects=2", "--", *SMALL])
    assert launcher.names == ["unaware_seed42", "full_obs_seed42", "full_pose_seed42"]
    text = (tmp_path / "bases" / "bases.md").read_text()
    assert "Full Obs" in text and text.count("100.0 [0.0, 100.0]") == 12, "two objects, two measures, three kinds"


@pytest.mark.slow
def test_a_setting_for_one_run_alone(launcher, tmp_path, monkeypatch):
    from benchmarks import methods

    monkeypatch.setattr(methods, "curves", lambda run: [])
    methods.main(["--out=made", "--budget=400", "--methods", "ppo", "--", *SMALL, "ppo:students=[]", "resdex:k=9"])
    assert "## Policies that see" not in (tmp_path / "made" / "methods.md").read_text()
