"""multi_gpu=True: one process a GPU, here two on the CPU (see helpers/one_rank.py)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command_line import STUDENT, TINY

from runners.policies.checkpoint import Checkpoint

TESTS = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def run_two(folder, *overrides, nodes=1):
    """Both processes of a training, on one node or two: their results, and what each printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(2):
        local_rank = rank % (2 // nodes)
        env = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(local_rank), "WORLD_SIZE": "2",
               "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
               "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}  # fmt: skip
        script, result = TESTS / "helpers" / "one_rank.py", folder / f"rank{rank}.json"
        command = [sys.executable, str(script), str(result), *TINY, "multi_gpu=True", "sim_device=cpu",
                   "rl_device=cpu", "experiment=both", *overrides]  # fmt: skip
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=env, cwd=str(folder), **pipes))
    printed = [p.communicate(timeout=240) for p in processes]
    for process, (out, err) in zip(processes, printed):
        assert process.returncode == 0, out + err
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)], [out for out, _ in printed]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def trained(folder):
    pytest.importorskip("mujoco.batch")
    return run_two(folder)


def test_both_learn_one_policy_from_episodes_of_their_own(trained):
    (first, second), _ = trained
    assert (first["rank"], second["rank"]) == (0, 1)
    assert first["weights"] == second["weights"]
    assert first["obs"] != second["obs"]


def test_both_act_through_the_same_running_statistics(trained):
    """Normalisation is part of the policy: gradients of two different policies would be averaged otherwise."""
    (first, second), _ = trained
    assert len(first["statistics"]) == 2 and first["statistics"] == second["statistics"]
    assert first["statistics"][0] != first["statistics"][1]


def test_what_goes_wrong_in_any_process_is_reported(trained):
    """One divergence in the first, two in the second (one_rank.py pretends so)."""
    (first, second), (out, _) = trained
    assert first["diverged"] == second["diverged"] == 3
    assert "3 diverged" in out


def test_only_the_first_writes_and_speaks(trained, folder):
    _, (first, second) = trained
    assert [p.name for p in (folder / "runs").iterdir()] == ["both"]
    assert "done: success once" in first and "done:" not in second and "environments, objects" not in second
    assert (folder / "runs" / "both" / "nn" / "last.pth").exists()


def test_a_resumed_training_goes_on_together(trained, folder):
    """The second process starts episodes of its own, not copies of the first's."""
    last = folder / "runs" / "both" / "nn" / "last.pth"
    assert Checkpoint.read(last).made_by.iterations == 2
    (first, second), (out, _) = run_two(folder, f"checkpoint={last}", "max_iterations=4")
    assert "resumed" in out
    assert Checkpoint.read(last).made_by.iterations == 4
    assert first["weights"] == second["weights"] and first["weights"] != trained[0][0]["weights"]
    assert first["obs"] != second["obs"]


def test_a_hyper_policy_learns_on_two_nodes_and_says_what_follows(folder):
    pytest.importorskip("mujoco.batch")
    hyper = ["task=ResDexHyper", "objects=starter", "objects.names=[box,sphere]", "experiment=hyper"]
    (first, second), (out, other) = run_two(folder, *hyper, nodes=2)
    assert first["weights"] == second["weights"]
    assert first["statistics"] == second["statistics"]
    assert "task=ResDexHyperStage2 stage1=runs/hyper/nn/last.pth" in out and "Stage2" not in other


def test_a_student_learns_from_both(folder):
    pytest.importorskip("mujoco.batch")
    (first, second), (out, other) = run_two(folder, *STUDENT, "experiment=student")
    assert first["weights"] == second["weights"] and first["obs"] != second["obs"]
    assert len(first["statistics"]) == 2 and first["statistics"] == second["statistics"]
    assert first["statistics"][0] != first["statistics"][1]
    assert "imitates base_box" in out and "imitates" not in other
