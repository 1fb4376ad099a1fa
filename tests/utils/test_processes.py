"""A process of its own: how it ends."""

import pytest

from resdex_tasks.utils.processes import ProcessFailed, run_module


def test_one_that_ends_well_says_nothing(capfd):
    run_module("timeit", ["-n1", "-r1", "pass"])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "statement, status, said",
    [
        ("import os; os._exit(7)", 7, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + 9, "python -m timeit was ended by a signal"),
    ],
)
def test_one_that_fails_gives_the_status_that_a_shell_gives(capfd, statement, status, said):
    with pytest.raises(ProcessFailed) as failure:
        run_module("timeit", ["-n1", "-r1", statement])
    assert failure.value.status == status and said in capfd.readouterr().err
