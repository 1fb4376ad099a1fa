"""Jobs on this machine: processes that fail, are killed, or lose the pipeline that began them."""

import json
import stat
import sys
import threading
import time
from dataclasses import replace

import pytest

from resdex_tasks.utils.errors import UserError
from runners.pipeline.launchers import Job, LocalLauncher, make_launcher

COUNT = 'echo x >> "$0.count"; n=$(wc -l < "$0.count")\n'


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Makes a job of a shell script that stands where Python does: it reads the job, and ends as it likes."""

    def made(script, name="one"):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\nread -r job\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setattr(sys, "executable", str(path))
        return Job(name, "train", ("seed=1", "a={b: 1}"), str(tmp_path / "jobs" / f"{name}.log"))

    return made


def test_a_job_gets_its_target_and_arguments(job, tmp_path):
    one = job('echo "$job"')
    LocalLauncher(1, 0).run([one])
    told = json.loads((tmp_path / "jobs" / "one.log").read_text())
    assert (told["target"], told["arguments"]) == ("train", ["seed=1", "a={b: 1}"])


def test_a_killed_job_is_begun_again(job, tmp_path, capsys):
    LocalLauncher(1, 2).run([job(COUNT + '[ "$n" -lt 3 ] && kill -9 $$; exit 0')])
    assert (tmp_path / "python.count").read_text() == "x\n" * 3
    assert capsys.readouterr().out.count("one: begun again") == 2


def test_after_so_many_times_it_is_given_up(job, tmp_path):
    with pytest.raises(UserError, match=r"one was killed or failed 2 times: see .*one\.log"):
        LocalLauncher(1, 1).run([job(COUNT + "exit 1")])
    assert (tmp_path / "python.count").read_text() == "x\n" * 2


def test_bad_input_is_told_and_not_tried_again(job, tmp_path):
    with pytest.raises(UserError, match=r"^one: there is no key 'x'$"):
        LocalLauncher(1, 5).run([job(COUNT + "echo \"error: there is no key 'x'\"; exit 2")])
    assert (tmp_path / "python.count").read_text() == "x\n"


def test_where_one_fails_the_others_are_hung_up_and_waited_for(job, tmp_path):
    """The first waits until its input ends, as a training does; the second is bad input."""
    one = job(
        'case "$job" in *bad*) sleep 0.2; echo "error: bad"; exit 2;; esac; cat; sleep 0.1; touch "$0.ended"; exit 130'
    )
    bad = replace(one, name="bad", log=str(tmp_path / "jobs" / "bad.log"))
    with pytest.raises(UserError, match="bad: bad"):
        LocalLauncher(2, 3).run([one, bad])
    assert (tmp_path / "python.ended").exists()


def test_so_many_at_once_as_it_is_told(job, tmp_path):
    script = 'touch "$0.$$"; sleep 0.4; rm "$0.$$"'
    jobs = [replace(job(script), name=f"job{i}") for i in range(4)]
    seen = []

    def watch():
        while thread.is_alive():
            seen.append(len(list(tmp_path.glob("python.*"))))
            time.sleep(0.02)

    thread = threading.Thread(target=LocalLauncher(2, 0).run, args=(jobs,))
    thread.start()
    watch()
    assert max(seen) == 2


def test_a_submitit_parameter_that_there_is_not_is_one_sentence(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match=r"^submitit: .*nonsense"):
        make_launcher("submitit", None, {"cluster": "local", "nonsense": 1}, 0, tmp_path)
