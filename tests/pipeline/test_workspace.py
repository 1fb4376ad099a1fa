"""Steps that are cached, resumed and rerun: with made-up work of a few small files."""

import errno
import os
import shutil
import subprocess
import sys

import pytest
from helpers.command_line import files
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.utils.errors import UserError
from runners.pipeline import workspace as steps
from runners.pipeline.workspace import LOCK, LOG, RECORD, Workspace, clear_all_but_record

KIND = {"work": "arithmetic"}
PARTS = 3
"""Files that a step writes one after the other, so that it can be interrupted between them."""


class Killed(BaseException):
    """A kill: nothing may catch it."""


class Fuse:
    """Burns down by one at every point of the work and of what the workspace writes; kills when it is down."""

    def __init__(self, length=None):
        self.left = length

    def burn(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


def work(folder, numbers, fuse=None, log=None):
    """Five steps: a and b; c of both; d of b; e of c and d. Returns the result; `log` gets what was really done."""
    fuse, log = fuse or Fuse(), [] if log is None else log

    def step(workspace, name, *inputs):
        def fill(target):
            value = numbers[name] + sum(int((a / "sum.txt").read_text()) for a in inputs)
            log.append(name)
            for index in range(PARTS):
                part = target / "parts" / f"{index}.txt"
                if not part.exists():
                    fuse.burn()
                    part.parent.mkdir(exist_ok=True)
                    part.write_text(f"{value}")
            fuse.burn()
            values = [int((target / "parts" / f"{index}.txt").read_text()) for index in range(PARTS)]
            (target / "sum.txt").write_text(f"{sum(values)}")

        return workspace.step(name, f"sum {name}", fill, ["sum.txt"], {"number": numbers[name]}, inputs)

    with Workspace(folder, KIND) as workspace:
        a, b = step(workspace, "a"), step(workspace, "b")
        c, d = step(workspace, "c", a, b), step(workspace, "d", b)
        e = step(workspace, "e", c, d)
        return (e / "sum.txt").read_text()


NUMBERS = dict.fromkeys("abcde", 1)
AFTER = {"a": {"a", "c", "e"}, "b": {"b", "c", "d", "e"}, "c": {"c", "e"}, "d": {"d", "e"}, "e": {"e"}}


def expected(numbers):
    a, b = 3 * numbers["a"], 3 * numbers["b"]
    c, d = 3 * (numbers["c"] + a + b), 3 * (numbers["d"] + b)
    return str(3 * (numbers["e"] + c + d))


def products(folder):
    """All that is left but the log and the lock."""
    return {name: content for name, content in files(folder).items() if name not in (LOG, LOCK)}


def fuse_in(monkeypatch):
    """Lets a fuse burn before and after every record, and within every removal of a step."""
    holder = {"fuse": Fuse()}
    write, remove = steps.write_json, steps._clear

    def write_json(*arguments):
        holder["fuse"].burn()
        write(*arguments)
        holder["fuse"].burn()

    def clear(folder):
        if folder.is_dir() and holder["fuse"].left == 0:
            (folder / RECORD).unlink(missing_ok=True)
            for path in sorted(folder.rglob("*.txt"))[:2]:
                path.unlink()
        holder["fuse"].burn()
        remove(folder)

    monkeypatch.setattr(steps, "write_json", write_json)
    monkeypatch.setattr(steps, "_clear", clear)
    return holder


@pytest.fixture()
def fused(monkeypatch):
    return fuse_in(monkeypatch)


def killed_at(folder, numbers, length, holder):
    """The work, killed when so many points are passed. Returns whether it was."""
    holder["fuse"] = Fuse(length)
    try:
        work(folder, numbers, holder["fuse"])
    except Killed:
        return True
    finally:
        holder["fuse"] = Fuse()
    return False


def test_killed_at_any_point_it_resumes_to_the_result_of_an_uninterrupted_run(fused, tmp_path):
    assert work(tmp_path / "whole", NUMBERS) == expected(NUMBERS)
    whole, kills = products(tmp_path / "whole"), 0
    while killed_at(tmp_path / f"{kills}", NUMBERS, kills, fused):
        assert work(tmp_path / f"{kills}", NUMBERS) == expected(NUMBERS)
        assert products(tmp_path / f"{kills}") == whole
        kills += 1
    assert kills > 5 * (PARTS + 3)


numbers = st.fixed_dictionaries(dict.fromkeys("abcde", st.integers(0, 3)))


@pytest.mark.slow
@settings(max_examples=60)
@given(history=st.lists(st.tuples(numbers, st.integers(0, 50)), min_size=1, max_size=5), last=numbers)
def test_result_after_any_history_of_kills_is_that_of_a_fresh_folder(tmp_path_factory, history, last):
    with pytest.MonkeyPatch.context() as patch:
        holder = fuse_in(patch)
        folder = tmp_path_factory.mktemp("work")
        for asked, length in history:
            killed_at(folder / "killed", asked, length, holder)
        assert work(folder / "killed", last) == work(folder / "fresh", last) == expected(last)
        assert products(folder / "killed") == products(folder / "fresh")
        shutil.rmtree(folder)


@pytest.mark.parametrize("changed", list("abcde"))
def test_changed_setting_reruns_its_step_and_those_after_it_alone(tmp_path, changed, capsys):
    work(tmp_path / "w", NUMBERS)
    capsys.readouterr()
    log, now = [], {**NUMBERS, changed: 7}
    assert work(tmp_path / "w", now, log=log) == expected(now)
    assert set(log) == AFTER[changed] and len(log) == len(set(log))
    out = capsys.readouterr().out
    assert f"[{changed}] sum {changed}: again, number changed" in out
    assert all(f"[{name}] done already" in out for name in set("abcde") - AFTER[changed])


def test_finished_steps_are_not_touched(tmp_path, capsys):
    work(tmp_path / "w", NUMBERS)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*") if p.name != LOCK}
    capsys.readouterr()
    log = []
    work(tmp_path / "w", NUMBERS, log=log)
    assert log == []
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*") if p.name != LOCK} == times
    assert capsys.readouterr().out == "".join(f"[{name}] done already\n" for name in "abcde")


def test_interrupted_step_resumes_from_its_own_files(fused, tmp_path, capsys):
    assert killed_at(tmp_path, NUMBERS, 2 + 1 + 2 + 2, fused)  # the mark, clearing, the record, two of three parts
    first = tmp_path / "a" / "parts" / "0.txt"
    made = first.stat().st_mtime_ns
    assert not (tmp_path / "a" / "parts" / "2.txt").exists()
    capsys.readouterr()
    work(tmp_path, NUMBERS)
    assert first.stat().st_mtime_ns == made
    assert "[a] sum a: resumed" in capsys.readouterr().out


def test_rerun_step_with_the_same_outcome_reruns_nothing_after_it(tmp_path):
    work(tmp_path / "w", NUMBERS)
    shutil.rmtree(tmp_path / "w" / "b")
    log = []
    work(tmp_path / "w", NUMBERS, log=log)
    assert log == ["b"]


def test_missing_output_is_made_again(tmp_path, capsys):
    work(tmp_path / "w", NUMBERS)
    (tmp_path / "w" / "d" / "sum.txt").unlink()
    log = []
    assert work(tmp_path / "w", NUMBERS, log=log) == expected(NUMBERS)
    assert log == ["d"] and "[d] sum d: again, sum.txt is gone" in capsys.readouterr().out


def test_output_changed_by_hand_is_rejected_and_kept(tmp_path):
    work(tmp_path / "w", NUMBERS)
    (tmp_path / "w" / "c" / "sum.txt").write_text("8")
    before = files(tmp_path)
    with pytest.raises(UserError, match=r"c.sum\.txt was changed"):
        work(tmp_path / "w", NUMBERS)
    assert files(tmp_path) == before


def test_fingerprint_depends_on_the_order_of_inputs(tmp_path):
    def two(order):
        with Workspace(tmp_path / "w", KIND) as workspace:
            made = [
                workspace.step(name, "", lambda folder: (folder / "x").write_text(folder.name), ["x"], {})
                for name in "ab"
            ]
            inputs = [made[i] for i in order]
            return workspace.step("c", "", lambda folder: (folder / "x").write_text(""), ["x"], {}, inputs).fingerprint

    assert two([0, 1]) != two([1, 0])


def test_invalid_input_in_a_new_folder_leaves_nothing(tmp_path):
    def fill(folder):
        raise UserError("no")

    with pytest.raises(UserError, match="no"), Workspace(tmp_path / "w", KIND) as workspace:
        workspace.step("a", "", fill, [], {})
    assert list(tmp_path.iterdir()) == []


def test_invalid_input_in_a_later_step_keeps_finished_ones(tmp_path):
    def fill(folder):
        raise UserError("no")

    with pytest.raises(UserError, match="no"), Workspace(tmp_path / "w", KIND) as workspace:
        workspace.step("a", "", lambda folder: (folder / "x").write_text("1"), ["x"], {})
        workspace.step("b", "", fill, [], {})
    assert (tmp_path / "w" / "a" / "x").exists() and not (tmp_path / "w" / "b").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_one_sentence_and_the_step_goes_on_later(tmp_path, number):
    disk = [number]

    def fill(folder):
        (folder / "first").write_text("1")
        if disk:
            raise OSError(disk.pop(), os.strerror(number), str(folder / "second"))
        (folder / "second").write_text("2")

    def step():
        with Workspace(tmp_path / "w", KIND) as workspace:
            workspace.step("a", "", lambda folder: (folder / "x").write_text("1"), ["x"], {})
            return workspace.step("b", "", fill, ["first", "second"], {})

    with pytest.raises(UserError, match=rf"cannot write .*second: {os.strerror(number)}; the same command goes on"):
        step()
    assert (tmp_path / "w" / "b" / "first").exists()
    assert step().files.keys() == {"first", "second"}


def test_a_log_that_cannot_be_written_ends_no_step(tmp_path):
    with Workspace(tmp_path / "w", KIND) as workspace:
        (tmp_path / "w" / LOG).mkdir()
        workspace.step("a", "", lambda folder: (folder / "x").write_text("1"), ["x"], {})


def test_step_without_its_output_is_not_finished(tmp_path):
    for _ in range(2):
        with pytest.raises(FileNotFoundError), Workspace(tmp_path / "w", KIND) as workspace:
            workspace.step("a", "", lambda folder: None, ["x"], {})


def test_folder_of_something_else_is_rejected(tmp_path):
    (tmp_path / "thesis.tex").write_text("text")
    before = files(tmp_path)
    with pytest.raises(UserError, match="holds something else"), Workspace(tmp_path, KIND):
        pass
    assert files(tmp_path) == before


def test_folder_of_another_kind_of_work_is_rejected(tmp_path):
    work(tmp_path / "w", NUMBERS)
    before = files(tmp_path)
    with pytest.raises(UserError, match="holds the work of work=arithmetic, this is work=poetry"):
        Workspace(tmp_path / "w", {"work": "poetry"}).__enter__()
    assert files(tmp_path) == before


def test_file_in_the_place_of_the_folder_is_rejected(tmp_path):
    (tmp_path / "w").write_text("")
    with pytest.raises(UserError, match="cannot write"), Workspace(tmp_path / "w", KIND):
        pass


def test_one_process_at_a_time_works_in_a_folder(tmp_path):
    script = (
        "import sys; from pathlib import Path; from runners.pipeline.workspace import Workspace\n"
        f"with Workspace(Path(sys.argv[1]), {KIND}): print('in', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "w")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"in\n"
        with pytest.raises(UserError, match="another process is at work"):
            work(tmp_path / "w", NUMBERS)
    finally:
        process.kill()
        process.wait()
    assert work(tmp_path / "w", NUMBERS) == expected(NUMBERS)  # a killed process holds nothing


def test_clearing_keeps_only_the_record(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in (RECORD, "x", "sub/y"):
        (tmp_path / name).write_text("")
    clear_all_but_record(tmp_path)
    assert list(files(tmp_path)) == [RECORD]
