"""scripts/check_isaacgym.py finds the double as it expects the engine to be, and what is wrong where it is not."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.simulators import isaacgym_double, isaacgym_sim

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "check_isaacgym.py"


@pytest.fixture()
def double():
    isaacgym_double()
    from isaacgym import settings

    before = dict(vars(settings))
    yield settings
    vars(settings).update(before)


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("check_isaacgym", str(SCRIPT))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wrong(findings):
    return [finding.what for finding in findings if not finding.fits]


@pytest.mark.parametrize("part", ["wrist", "fingers", "contact", "hulls", "recovery"])
def test_the_double_is_as_expected(check, double, part):
    sim = isaacgym_sim(check.ROUND, [0, 1] * 3)
    findings = getattr(check, f"check_{part}")(sim)
    assert findings and not wrong(findings), findings


def test_sensors_at_rest_are_as_expected(check, double):
    assert not wrong(check.check_sensor(isaacgym_sim(["box"], [0, 0], fingertip_wrenches="sensor")))


def test_a_force_that_acts_in_one_substep_is_found(check, double):
    double.force_in_every_substep = False
    findings = check.check_wrist(isaacgym_sim(check.ROUND, [0, 1] * 3))
    assert [what.split(",")[0] for what in wrong(findings)[:2]] == ["response to a force", "response to a torque"]
    assert findings[0].measured.startswith("0.5")


def test_contact_forces_that_stick_are_found(check, double, monkeypatch):
    from resdex_tasks.sims.isaacgym_sim import SharedIsaacGymSim

    kept, real = {}, SharedIsaacGymSim._wrenches

    def sticky(self, quat):
        now = real(self, quat)
        kept["last"] = torch.where(now == 0, kept.get("last", now), now)
        return kept["last"]

    monkeypatch.setattr(SharedIsaacGymSim, "_wrenches", sticky)
    assert wrong(check.check_contact(isaacgym_sim(["box"], [0]))) == ["the same, lifted off again (a stuck one stays)"]


def test_joints_that_no_drive_holds_are_found(check, double):
    sim = isaacgym_sim(["box"], [0], finger_gain=0.05)
    assert wrong(check.check_fingers(sim))[0].startswith("joints from their targets")


def run(*arguments, double=True):
    env = {k: v for k, v in os.environ.items() if k != "ISAACGYM_DOUBLE_ANY_ORDER"}
    places = [str(ROOT), str(ROOT / "tests" / "helpers" / "isaacgym_double")]
    env["PYTHONPATH"] = os.pathsep.join(places[: 2 if double else 1])
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_without_the_engine_one_sentence_says_how_to_install_it():
    done = run("--device", "cpu", double=False)
    assert done.returncode == 2 and done.stderr.startswith("error: sim=isaacgym needs NVIDIA Isaac Gym Preview 4")


@pytest.mark.slow
def test_one_command_prints_everything_and_its_status_says_whether_it_fits(double):
    done = run("--device", "cpu", "--envs", "2", "--episodes", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("speed along x", "force sensors", "memory of 2 environments", "zoo_expert_jar-0070, 4 episodes"):
        assert part in done.stdout
    assert "are as expected" in done.stdout.splitlines()[-1]
    done = run("--device", "nowhere:0", "--envs", "2", "--episodes", "4")
    assert done.returncode == 1 and "part 'contact'" in done.stdout and "ended with status" in done.stdout
