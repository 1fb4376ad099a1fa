"""The benchmarks run and add up; their numbers are nobody's business here."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.command_line import STUDENT, TINIER
from helpers.policies import cloud_settings
from helpers.simulators import mujoco_task

from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.networks.point_cloud import PointCloudConfig
from resdex_tasks.observations import SIZES
from resdex_tasks.utils.config_reader import read_config
from runners.policies.policy import PolicyOutput

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(monkeypatch):
    """Makes `benchmarks` importable wherever the tests run."""
    monkeypatch.syspath_prepend(str(ROOT))


def run(script, *args):
    out = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *args], capture_output=True, text=True, cwd=str(ROOT)
    )
    assert out.returncode == 0, out.stderr
    return out.stdout


def shares(text, header):
    """The '%' column of the table whose header starts so."""
    lines = text[text.index(f"| {header}") :].splitlines()
    column = [cell.strip() for cell in lines[0].split("|")].index("%")
    rows = []
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        rows.append(float(line.split("|")[column]))
    return rows


def table_of(text, header):
    """The cells of the rows of the table whose header starts so."""
    lines = text[text.index(f"| {header}") :].splitlines()
    return [line.strip("|").split("|") for line in lines[2:] if line.startswith("|")]


@pytest.mark.slow
def test_env_step_replays_the_same_trajectory_on_both_sides():
    pytest.importorskip("mujoco.batch")
    # a wrong replay raises; so many environments that episodes end within the block
    text = run("env_step.py", "--num-envs=64", "--steps=6", "--block=3", "--repeats=1", "--threads=2")
    assert "ratio " in text
    assert sum(shares(text, "part of GraspTask.step")) == pytest.approx(100, abs=1)


def test_what_experts_cost_is_told_beside_one_expert(checkout, capsys):
    from benchmarks import composition

    composition.main(["--num-envs=3", "--units", "8", "4", "--repeats=3", "--no-step"])
    rows = [line for line in capsys.readouterr().out.splitlines() if "ratio to k = 1" in line]
    assert [row.split("|")[1].split(",")[0].strip() for row in rows] == ["composition", "composition", "policy"]
    assert all(row.split("|")[2].strip() == "1.00" for row in rows)


def test_the_loop_over_experts_and_the_batched_product_agree(checkout):
    from benchmarks import composition

    model = composition.hyper_model(3, [8, 4], "cpu")
    obs = torch.randn(5, SIZES["full"])
    torch.testing.assert_close(composition.one_by_one(model, obs), model.a2c_network.experts(obs))


@pytest.mark.slow
def test_training_shares_add_up():
    pytest.importorskip("mujoco.batch")
    text = run("training_shares.py", "--num-envs=8", "--iterations=1", "--warmup=1")
    *parts, whole = shares(text, "share")
    assert sum(parts) == pytest.approx(100, abs=1)
    assert whole == 100


@pytest.mark.slow
def test_shares_of_a_students_training_add_up_with_its_clouds_and_its_teacher():
    pytest.importorskip("mujoco.batch")
    options = ["--num-envs=8", "--iterations=1", "--warmup=1", "sim=mujoco", "sim.numThreads=1", "task=ResDexVision"]
    student = [o for o in STUDENT if not o.startswith("task=")]
    text = run("training_shares.py", *options, *student, "task.env.vision.source=camera")
    *parts, whole = shares(text, "share")
    assert sum(parts) == pytest.approx(100, abs=1) and whole == 100
    names = [line.split("|")[1].strip() for line in text[text.index("| share") :].splitlines() if line.startswith("|")]
    told = dict(zip(names[2:], parts))
    assert list(told) == [
        "physics", "observation, reward, reset", "clouds", "inference", "teacher", "update", "other",
    ]  # fmt: skip
    assert min(told[name] for name in ("clouds", "inference", "teacher", "update")) > 0


@pytest.fixture
def watched_task(checkout):
    """A task of four episodes of 6 steps that cameras watch, and what it sees of them."""
    env = {"source": "camera", "numPoints": 16, "poolPoints": 32}
    return mujoco_task(4, ("box", "mug"), observation="vision", vision=env, episodeLength=6)


def falling(obs):
    """What a policy does that lets everything fall."""
    return PolicyOutput(torch.zeros(len(obs["proprioception"]), NUM_ACTIONS), None)


def test_fast_occlusion_is_told_beside_exact_rays(watched_task):
    from benchmarks import vision

    head, one, all_ = vision.occlusion_rows(watched_task, watched_task.clouds, falling, every=2)
    assert head == ("seen by", "wrongly visible, %", "wrongly hidden, %")
    assert (one[0], all_[0]) == ("one camera", "any camera")
    assert all(0 <= float(cell) < 20 for cell in (*one[1:], *all_[1:])) and float(one[2]) > 0


def test_what_the_fast_occlusion_gets_wrong_by_hand(watched_task, monkeypatch):
    """Of two cameras and four points, one says 5 are visible, of which 2 are hidden, and hides 1 of 4 visible ones;
    said to be seen by any are 4, of which 1 is by none; all 3 that are seen are said to be."""
    from benchmarks import vision

    said = torch.tensor([[[1, 1, 0, 1], [1, 0, 1, 0]]], dtype=torch.bool)
    true = torch.tensor([[[1, 0, 0, 1], [0, 0, 1, 1]]], dtype=torch.bool)
    monkeypatch.setattr(watched_task.clouds, "visible", lambda sim, points: said)
    monkeypatch.setattr(watched_task.sim, "sees", lambda eyes, points: true)
    _, one, all_ = vision.occlusion_rows(watched_task, watched_task.clouds, falling, every=2)
    assert (one[1:], all_[1:]) == (("40.0", "25.0"), ("25.0", "0.0"))


def test_the_cost_of_clouds_and_of_their_encoder_is_told(watched_task):
    from benchmarks import vision

    head, *rows = vision.cloud_rows(watched_task, watched_task.clouds, repeats=1)
    assert len(head) == 2 and len(rows) == 4 and all(float(cost.replace(",", "")) > 0 for _, cost in rows)
    config = read_config(PointCloudConfig, cloud_settings(), "cloud")
    assert [row[0] for row in vision.encoder_rows(config, repeats=1)] == ["points", "64", "128", "256", "512"]


@pytest.mark.slow
def test_the_gpu_benchmark_rehearses_on_the_cpu(tmp_path):
    """On Warp's CPU device: tables come, and the trained expert is kept. The other parts are tested by themselves."""
    pytest.importorskip("mujoco_warp")
    sizes = ["--worlds=4", "--objects=1", "--steps=2", "--warmup=1", "--episodes=4"]
    small = ["num_envs=4", "train.params.network.mlp.units=[8]", "task.env.episodeLength=4", "max_iterations=3"]
    parts = ["--parts", "steps", "expert"]
    text = run("gpu.py", "--device=cpu", f"--out={tmp_path}", *sizes, "--train-overrides", *small, *parts)
    assert "failed" not in text
    assert "| 1 x 4 " in text and "| box " in text
    assert (tmp_path / "base_box_gpu.pth").is_file()
    assert (tmp_path / "report.md").read_text().count("## ") == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_without_a_gpu_the_gpu_benchmark_says_so(checkout, capsys):
    from benchmarks import gpu

    with pytest.raises(SystemExit) as end:
        gpu.main([])
    assert end.value.code == 2 and "no CUDA device" in capsys.readouterr().err


@pytest.mark.slow
def test_shipped_proposals_hold_when_they_are_replayed():
    pytest.importorskip("mujoco.batch")
    chosen = ["objects=zoo", "objects.names=[apple-0000]", "objects.proposals=shipped"]
    text = run("proposals.py", "--num_envs=10", "sim=mujoco", "sim.numThreads=1", *chosen)
    row = next(line for line in text.splitlines() if line.startswith("| apple"))
    count, *numbers = (float(cell) for cell in row.split("|")[3:-1])
    hold, displaced, unrolled, *_ = (count * number / 100 for number in numbers)
    assert count == 12 and hold >= 10 and displaced >= 7 and unrolled >= 7


@pytest.mark.slow
def test_table_4_and_learning_curves_come_out_of_a_training(tmp_path):
    pytest.importorskip("mujoco.batch")
    sizes = ["--iterations=3", "--episodes=2", "--test-objects=1", "--jobs=1", "--variants", "moe_res_k1"]
    small = ["num_envs=4", "train.params.network.mlp.units=[8]", "task.env.episodeLength=4"]
    text = run("residual.py", f"--out={tmp_path}", *sizes, "--", *small, "objects.names=[apple-0000]")
    assert "moe_res_k1: success at end " in text
    assert (tmp_path / "table4.md").read_text().strip() in text
    picture = tmp_path / "curve.png"
    text = run("learning_curves.py", str(tmp_path / "moe_res_k1"), f"--out={picture}")
    assert "| moe_res_k1 | 0.00 M | " in text
    assert picture.is_file()


@pytest.mark.slow
def test_nothing_is_lost_by_kills_a_full_disk_or_damaged_files(tmp_path):
    pytest.importorskip("mujoco.batch")
    options = ["--kills=2", "--longest=15", "--saves=8", "--files=8", f"--out={tmp_path}"]
    text = run("robustness.py", *options, *(o for o in TINIER if not o.startswith("out=")), "students=[]")
    rows = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in table_of(text, "fault")}
    assert [row[0] for name, row in rows.items() if name.startswith("policy's file")] == ["8"] * 4
    assert all(row[1] == "0 taken for good, 0 executed" for name, row in rows.items() if name.startswith("policy's"))
    (saves,) = (row for name, row in rows.items() if name.startswith("saves that met a full disk"))
    assert int(saves[0]) > 0 and saves[1] == "0 iterations"
    (kills,) = (row for name, row in rows.items() if name.startswith("pipeline killed"))
    assert kills[0] == "2" and kills[1].startswith("0 of ")


@pytest.mark.parametrize(
    "script, arguments, complaint",
    [
        ("settle", ["objects=dexgraspnet", "objects.root={}"], "{} has neither"),
        ("proposals", ["objects=dexgraspnet", "objects.root={}"], "{} has neither"),
        ("learning_curves", ["{}", "--out={}/curves.png"], "{} is no folder of a run"),
    ],
)
def test_bad_input_is_one_sentence(script, arguments, complaint, tmp_path, checkout, capsys):
    from benchmarks import report

    main = importlib.import_module(f"benchmarks.{script}").main
    with pytest.raises(SystemExit) as end:
        report.run(lambda: main([argument.format(tmp_path) for argument in arguments]))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {complaint.format(tmp_path)}") and error.count("\n") == 1


def test_settle_tells_what_lies_still_from_what_still_falls(checkout, capsys):
    pytest.importorskip("mujoco.batch")
    from benchmarks import settle

    assert settle.main(["objects.names=[box,mug,can]", "--batch=2", "--seconds=0.8"]) == 1.0
    text = capsys.readouterr().out
    assert "3 objects, 3 drops" in text
    assert shares(text, "drops") == [0, 0, 0, 0, 0, 100]
    assert settle.main(["objects.names=[box]", "--seconds=0.1"]) == 0.0
    text = capsys.readouterr().out
    assert shares(text, "drops") == [100, 0, 0, 0, 0, 0]
    assert shares(text, "category") == [100]


@pytest.mark.slow
def test_the_encoders_benchmark_gives_tables_and_pictures(tmp_path, monkeypatch):
    pytest.importorskip("mujoco", minversion="3.17")
    monkeypatch.setenv("RESDEX_CACHE", str(tmp_path))
    text = run("encoder.py", "--count=6", f"--images={tmp_path}")
    (code,) = [line for line in text.splitlines() if line.startswith("| **the code, decoded**")]
    (surface,) = [line for line in text.splitlines() if line.startswith("| surface")]
    for ours, least in zip(code.split("|")[2:5], surface.split("|")[2:5]):
        assert float(ours.split()[0]) > 0.9 * float(least.split()[0]) > 1.0
    assert text.count("[") > 5  # the intervals
    assert {p.name for p in tmp_path.glob("*.png")} == {"reconstructions.png"}


def test_what_the_viewer_costs_is_told_with_and_without_somebody_who_looks(checkout, capsys):
    pytest.importorskip("viser")
    from benchmarks import viewer

    head, *rows = viewer.main(["--steps=3", "checkpoint=base_box", "sim=mujoco", "sim.numThreads=1"])
    assert [row[0].split()[-1] for row in rows] == ["session", "page", "looks"]
    for _, milliseconds, of_a_core, _ in rows:
        assert float(milliseconds) * float(of_a_core) == pytest.approx(1000, rel=0.1)
    assert " ".join(head) in " ".join(capsys.readouterr().out.replace("|", " ").split())


def test_exclusive_timer_counts_each_moment_once(checkout):
    from benchmarks.exclusive_timer import ExclusiveTimer

    class Work:
        def outer(self):
            time.sleep(0.02)
            self.inner()

        def inner(self):
            time.sleep(0.03)

    timer, work = ExclusiveTimer(), Work()
    timer.wrap(work, "outer", "outer")
    timer.wrap(work, "inner", "inner")
    timer.reset()
    start = time.perf_counter()
    work.outer()
    seconds = timer.stop()
    elapsed = time.perf_counter() - start
    assert seconds["inner"] >= 0.03
    assert seconds["outer"] >= 0.02
    assert sum(seconds.values()) == pytest.approx(elapsed, abs=0.01)
