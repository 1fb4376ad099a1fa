"""A training's curves: read by TensorBoard, and never in the way of the training."""

import errno
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runners.learning import log
from runners.learning.log import TrainingLog


def scalars(folder, name):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


class FullDisk:
    """Stands for `open`: a write puts `half` bytes on the disk, until it is no longer `full`."""

    def __init__(self, half):
        self.half, self.full = half, True

    def __call__(self, path, mode, **named):
        file, disk = open(path, mode, **named), self  # noqa: SIM115

        class File:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, content):
                if not disk.full:
                    return file.write(content)
                if not disk.half:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return file.write(content[: disk.half])

        return File()


def test_tensorboard_reads_what_is_logged(tmp_path):
    events = TrainingLog(str(tmp_path / "summaries"))
    for step in range(3):
        events.add_scalar("success/once", step / 4, 100 * step)
    events.close()
    assert scalars(tmp_path / "summaries", "success/once") == [(0, 0.0), (100, 0.25), (200, 0.5)]


@pytest.mark.parametrize("half", [0, 7, 60])
def test_a_full_disk_is_said_once_and_what_waited_is_there_when_it_has_room(tmp_path, monkeypatch, capsys, half):
    disk = FullDisk(half)
    monkeypatch.setattr(log, "open", disk, raising=False)
    events = TrainingLog(str(tmp_path))
    for step in range(5):
        events.add_scalar("success/once", 0.5, step)
        events.flush()
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.startswith(f"warning: cannot write {events.path}: No space left on device; the training goes on")
    disk.full = False
    events.add_scalar("success/once", 0.75, 5)
    events.close()
    events.close()
    assert scalars(tmp_path, "success/once") == [*((step, 0.5) for step in range(5)), (5, 0.75)]


def test_what_waits_for_a_full_disk_has_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "open", FullDisk(0), raising=False)
    monkeypatch.setattr(log, "LARGEST_BACKLOG", 1000)
    events = TrainingLog(str(tmp_path))
    for step in range(1000):
        events.add_scalar("success/once", 0.5, step)
    assert events._size <= 1000


def test_a_resumed_curve_has_no_step_twice(tmp_path):
    """What was logged after the checkpoint is not shown, in whichever file it lies."""
    first = TrainingLog(str(tmp_path))
    for step in (10, 20, 30, 40):
        first.add_scalar("a", float(step), step)
    first.close()
    second = TrainingLog(str(tmp_path))
    second.start_at(30)
    for step in (30, 40, 50):
        second.add_scalar("a", step / 2, step)
    second.close()
    assert scalars(tmp_path, "a") == [(10, 10.0), (20, 20.0), (30, 15.0), (40, 20.0), (50, 25.0)]


@pytest.mark.parametrize("jump", [-(10**9), -3600, 3600], ids=["thirty years back", "an hour back", "an hour on"])
def test_a_clock_that_jumps_changes_no_curve(tmp_path, monkeypatch, jump):
    """Not even of a training that is resumed afterwards, whose file is read after those before it."""
    first = TrainingLog(str(tmp_path))
    for step in (10, 20, 30):
        first.add_scalar("a", float(step), step)
    first.close()
    now, now_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + jump * 10**9)
    for begin in (20, 30):
        later = TrainingLog(str(tmp_path))
        later.start_at(begin)
        for step in (begin, begin + 10):
            later.add_scalar("a", step / 2, step)
        later.close()
    assert scalars(tmp_path, "a") == [(10, 10.0), (20, 10.0), (30, 15.0), (40, 20.0)]


def test_rl_games_copies_by_iteration_and_by_seconds_are_left_out(tmp_path):
    events = TrainingLog(str(tmp_path))
    for name in ("rewards/step", "rewards/iter", "rewards/time"):
        events.add_scalar(name, 1.0, 1)
    events.close()
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert read.Tags()["scalars"] == ["rewards/step"]


def test_the_mirror_gets_the_points_of_an_iteration(tmp_path, capsys):
    seen, events = [], TrainingLog(str(tmp_path))
    events.mirror = seen.append
    events.add_scalar("a", 1.0, 10)
    events.add_scalar("b", 2.0, 10)
    events.end_iteration(10)
    events.add_scalar("a", 3.0, 20)
    events.end_iteration(20)
    assert seen == [{"a": 1.0, "b": 2.0, "global_step": 10}, {"a": 3.0, "global_step": 20}]

    def unreachable(points):
        raise ConnectionError("no route to host")

    events.mirror = unreachable
    for step in (30, 40):
        events.add_scalar("a", 4.0, step)
        events.end_iteration(step)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "no route to host; the training goes on" in said
    events.close()
    assert [step for step, _ in scalars(tmp_path, "a")] == [10, 20, 30, 40]
