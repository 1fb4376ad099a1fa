"""The viewer's command line."""

import contextlib
import socket

import pytest
from helpers.viewing import QUICK

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.overrides import Overrides
from runners.viewer.__main__ import free_port, main, make_session, where
from runners.viewer.session import RANDOM, ZERO


def test_a_taken_port_gives_way_to_the_next_free_one():
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        found = free_port("localhost", port)
        assert found > port
        with socket.create_server(("localhost", found)):
            pass


def test_a_host_of_another_machine_is_refused():
    with pytest.raises(UserError, match=r"host=192\.0\.2\.1"):  # of nobody: RFC 5737
        free_port("192.0.2.1", 8080)
    with pytest.raises(UserError, match=r"host=no\.such\.host\.invalid"):
        free_port("no.such.host.invalid", 8080)


def test_the_address_comes_with_the_way_from_another_machine():
    lines = where("localhost", 8081).splitlines()
    assert lines[0] == "open http://localhost:8081"
    assert f"ssh -L 8081:localhost:8081 {socket.gethostname()}" in lines[1]
    everybody = where("0.0.0.0", 8081)
    assert "whoever reaches this machine" in everybody and "ssh" not in everybody


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["port=high"], "port is high"),
        (["port=70000"], "port is 70000"),
        (["agent=clever"], "agent is 'clever'"),
        (["task=ResDexBase"], "checkpoint=FILE"),
        (["checkpoint=nowhere"], "no checkpoint nowhere"),
        (["host=192.0.2.1"], "host=192.0.2.1"),
        (["nonsense"], "'nonsense'"),
    ],
)
def test_bad_input_is_one_sentence(arguments, named, capsys):
    pytest.importorskip("viser")
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and named in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("arguments", "agent"),
    [
        ([], "hyper_stage2"),
        (["checkpoint=base_box"], "base_box"),
        (["checkpoint=base_box", "agent=trained"], "base_box"),
        (["checkpoint=base_box", "agent=zero"], ZERO),
        (["task=ResDexBase", "agent=random"], RANDOM),
    ],
)
def test_who_acts(arguments, agent):
    session = make_session(Overrides([*QUICK, "host=localhost", *arguments]))
    with contextlib.closing(session):
        session.step()
        assert session.cast.choice.agent == agent


def test_help_says_every_key(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"{key}=" in said for key in ("checkpoint", "agent", "objects", "host", "port"))
