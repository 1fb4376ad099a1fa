"""What is printed never ends a long work, and shows every name."""

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resdex_tasks.utils.printing import one_line_of, unfailing_output

REPOSITORY = Path(__file__).resolve().parents[2]


@given(st.text(st.characters()))
def test_any_name_is_one_printable_line(name):
    shown = one_line_of(name)
    assert shown.isprintable() and shown.encode("utf-8").decode() == shown
    if name.isprintable():
        assert shown == name


def test_bytes_that_are_no_utf_8_are_shown_as_their_code():
    assert one_line_of(os.fsdecode(b"mug\xe4\n2")) == "mug\\udce4\\n2"


def test_words_for_a_full_disk_or_a_closed_pipe_are_lost_and_nothing_else(capsys):
    class Full:
        encoding = "utf-8"

        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self):
            raise BrokenPipeError

    with contextlib.redirect_stdout(Full()), unfailing_output():
        print("iteration 1", flush=True)
        assert sys.stdout.encoding == "utf-8"
    with unfailing_output():
        print("iteration 2")
    assert capsys.readouterr().out == "iteration 2\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_the_output_ends_nothing():
    code = (
        "import sys; from resdex_tasks.utils.printing import unfailing_output\n"
        "with unfailing_output():\n  for i in range(2): print('a', flush=True)\n  sys.stderr.write('end'); sys.exit(3)"
    )
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    assert b"end" in process.stderr and b"Traceback" not in process.stderr
