"""`python -m runners.objects`: what it prints, draws and refuses."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.proposals.file import proposals_for, read_proposals, write_proposals
from resdex_tasks.utils.sequences import evenly
from runners.objects import __main__ as tool
from runners.objects.inspect import TILE


def call(capsys, *argv):
    status = tool.main(list(argv))
    out, err = capsys.readouterr()
    return status, out, err


def test_list_shows_every_object_and_the_counts(capsys):
    status, out, _ = call(capsys, "list", "objects=starter", "objects.names=null")
    assert status == 0
    for obj in starter_objects():
        assert f"\n{obj.name} " in out
    assert "\nbox " in out and "6.0 x 6.0 x 7.0" in out
    assert "11 objects: 11 train" in out and "box 5" in out


def test_a_long_list_is_cut_unless_it_is_wanted(capsys):
    _, short, _ = call(capsys, "list", "objects=zoo", "objects.count=45")
    _, whole, _ = call(capsys, "list", "objects=zoo", "objects.count=45", "--all")
    assert "... and 5 more" in short and "more" not in whole
    assert len(whole.splitlines()) == len(short.splitlines()) + 4


def test_options_and_settings_may_stand_in_any_order(capsys):
    _, first, _ = call(capsys, "list", "--all", "objects=zoo", "objects.count=45")
    status, second, _ = call(capsys, "list", "objects=zoo", "--all", "objects.count=45")
    assert status == 0 and second == first
    with pytest.raises(SystemExit):
        tool.main(["list", "objects=zoo", "--alls", "objects.count=45"])
    assert "unrecognized arguments: --alls" in capsys.readouterr().err


def test_build_makes_the_whole_set_and_counts_it(capsys):
    status, out, _ = call(capsys, "build", "objects=zoo", "objects.split=all", "objects.count=60")
    assert status == 0 and "60 objects in" in out and "unseen_category" in out and "at most in one object" in out


def test_build_tells_whether_two_sets_have_the_same_shapes(capsys):
    def shapes(*choice):
        _, out, _ = call(capsys, "build", "objects=zoo", *choice)
        return next(line for line in out.splitlines() if line.startswith("shapes "))

    first = shapes("objects.split=all", "objects.count=108")
    assert shapes("objects.split=all", "objects.count=108") == first, "the zoo is built bit-identically"
    assert shapes("objects.split=all", "objects.count=107") != first
    assert shapes("objects.count=5", "objects.seed=1") != shapes("objects.count=5")


def test_build_names_every_object_that_is_left_out(capsys, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.obj").write_text("no mesh")
    trimesh.creation.box((1.0, 1.0, 1.0)).export(str(tmp_path / "box.stl"))
    status, out, _ = call(capsys, "build", "objects=meshes", f"objects.root={tmp_path}", "objects.size=null")
    assert status == 2, "a box of a metre is too large"
    status, out, _ = call(capsys, "build", "objects=meshes", f"objects.root={tmp_path}")
    lines = [line for line in out.splitlines() if line.startswith("left out: ")]
    assert status == 0 and len(lines) == 2 and "one.obj" in lines[0] and "two.obj" in lines[1]
    assert "left out 2 of the 3 objects" in out
    _, out, _ = call(capsys, "list", "objects=meshes", f"objects.root={tmp_path}")
    assert "left out: " not in out


def test_show_draws_a_sheet_of_evenly_chosen_objects(capsys, tmp_path):
    pytest.importorskip("mujoco", minversion="3.17")
    path = tmp_path / "sheet.png"
    status, out, _ = call(capsys, "show", "objects=starter", "objects.names=null", "--limit", "3", "--columns", "2",
                          "--out", str(path))  # fmt: skip
    assert status == 0 and "3 objects (8 more" in out
    assert Image.open(path).size == (2 * TILE, 2 * TILE)
    chosen = [obj.name for obj in evenly(starter_objects(), 3)]
    assert chosen[0] == "box" and chosen[-1] == "mug"


@pytest.mark.slow
def test_show_draws_the_hand_where_the_proposal_has_it(capsys, tmp_path):
    pytest.importorskip("mujoco.batch")

    def orange(*more):
        path = tmp_path / "sheet.png"
        status, out, _ = call(capsys, "show", "objects=starter", "objects.names=[box,can]", "--out", str(path), *more)
        assert status == 0 and "2 objects" in out
        image = np.asarray(Image.open(path)).astype(int)
        assert image.shape[:2] == (TILE, 2 * TILE)
        left, right = np.split(image[..., 0] - image[..., 2] > 60, 2, axis=1)
        return left.mean(), right.mean()

    with_hand = orange("--grasps")
    assert min(with_hand) > 0.005, "both objects are seen"
    assert max(with_hand) < min(orange()) / 2, "and smaller than alone, as the hand is in the picture, too"


def test_the_whole_object_is_in_the_middle_of_its_portrait_and_stands_on_the_table():
    """Its colour reaches as far down as up: a table through the object would hide its lower half."""
    pytest.importorskip("mujoco", minversion="3.17")
    from resdex_tasks.sims.object_picture import portrait

    for name in ("cube", "sphere", "can", "long_box"):
        image = portrait(starter_objects().select([name])[0], 120, 120).astype(int)
        object_here = image[..., 0] - image[..., 2] > 60
        rows = np.flatnonzero(object_here.any(axis=1))
        columns = np.flatnonzero(object_here.any(axis=0))
        assert abs(rows[0] - (119 - rows[-1])) <= 12, name
        assert abs(columns[0] - (119 - columns[-1])) <= 12, name
        assert rows[0] > 2 and columns[0] > 2 and object_here.mean() > 0.05, name


def searched(path, objects, seed=0):
    """As `propose` leaves it."""
    records = [proposals_for(obj, 3, obj.proposals) for obj in objects]
    write_proposals(path, records, {"settings": {"seed": seed}, "searches": [{"command": path.name}]})
    return str(path)


def test_files_of_several_searches_become_one(capsys, tmp_path):
    objects, out = starter_objects(), tmp_path / "all.npz"
    parts = [searched(tmp_path / f"{i}.npz", objects[2 * i : 2 * i + 2]) for i in range(2)]
    status, said, _ = call(capsys, "join-proposals", *parts, "--out", str(out))
    found, made_by = read_proposals(out)
    assert status == 0 and said == f"4 objects in {out}\n" and list(found) == objects.names[:4]
    assert made_by == {"settings": {"seed": 0}, "searches": [{"command": "0.npz"}, {"command": "1.npz"}]}
    for part in parts:
        for name, record in read_proposals(part)[0].items():
            np.testing.assert_array_equal(found[name].proposals.joint_pos, record.proposals.joint_pos)


def test_searches_that_do_not_belong_together_are_not_joined(capsys, tmp_path):
    objects, out = starter_objects(), tmp_path / "all.npz"
    first, again = (searched(tmp_path / name, objects[:2]) for name in ("first.npz", "again.npz"))
    other = searched(tmp_path / "other.npz", objects[2:4], seed=1)
    for files, culprits in (
        ((first, again), ("again.npz", f"'{objects.names[0]}'")),
        ((first, other), ("other.npz was made with seed=1", "first.npz with 0")),
        ((first, "nowhere.npz"), ("nowhere.npz",)),
    ):
        status, _, err = call(capsys, "join-proposals", "--out", str(out), *files)
        assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
        assert all(culprit in err for culprit in culprits) and not out.exists()
    out.write_bytes(b"mine")
    assert call(capsys, "join-proposals", "--out", str(out), first)[0] == 2 and out.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "argv, culprit",
    [
        (["list", "objects=nothing"], "nothing"),
        (["list", "objects=zoo", "objects.count=0"], "objects.count"),
        (["list", "num_envs=3"], "num_envs=3"),
        (["show", "objects=starter", "--out", "sheet.jpg"], "sheet.jpg"),
        (["show", "objects=starter", "--out", "no/such/folder/sheet.png"], "no/such/folder"),
    ],
)
def test_bad_input_gives_one_sentence(capsys, tmp_path, monkeypatch, argv, culprit):
    if argv[0] == "show":
        pytest.importorskip("mujoco.batch")
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, *argv)
    assert status == 2 and culprit in err and err.startswith("error: ") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "runners.objects", "list", "objects=starter"],
        ["-m", "runners.launch", "--list"],
        ["-m", "runners.policies.cards", "base_box"],
    ],
    ids=lambda command: command[1],
)
def test_a_reader_that_has_seen_enough_ends_it_quietly(command):
    """`... | head -1`: the pipe is closed before all is written."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, *command],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    os.close(writing)
    assert process.returncode == 0 and b"Broken pipe" not in process.stderr
    if sys.version_info >= (3, 10):  # below it, Gym and its robots say what they think as they are imported
        assert process.stderr == b""


def test_the_tool_calls_itself_as_it_was_called(capsys):
    with pytest.raises(SystemExit):
        tool.main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m runners.objects")
