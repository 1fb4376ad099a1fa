"""A folder that is owned is refused to every other process, until its owner ends, however that is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.locks import kept, owned

REPOSITORY = Path(__file__).resolve().parents[2]
OWNER = """
import sys, time
from pathlib import Path
from resdex_tasks.utils.locks import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def owner(tmp_path):
    """Another process that owns the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout.readline() == "owned\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_refused_until_the_owner_ends(tmp_path, owner):
    with pytest.raises(UserError, match=f"another process is at work in {tmp_path}: wait for it, or name another"):
        owned(tmp_path).__enter__()
    owner.communicate("\n")
    with owned(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_killed_owner_leaves_nothing(tmp_path, owner):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with owned(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_one_process_may_own_a_folder_again(tmp_path):
    with owned(tmp_path), owned(tmp_path / "." / ".." / tmp_path.name):
        pass
    with owned(tmp_path):
        pass


def refused_elsewhere(folder):
    code = "from pathlib import Path; from resdex_tasks.utils.locks import owned; owned(Path('.')).__enter__()"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return (
        subprocess.call([sys.executable, "-c", code], cwd=str(folder), stderr=subprocess.DEVNULL, env=environment) != 0
    )


def test_what_is_kept_stays_owned_between_two_works(tmp_path):
    with kept():
        with owned(tmp_path):
            pass
        assert refused_elsewhere(tmp_path)
        with owned(tmp_path):
            pass
    assert not refused_elsewhere(tmp_path)
