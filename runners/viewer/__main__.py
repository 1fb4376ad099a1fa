"""The viewer: `python -m runners.viewer checkpoint=hyper_stage2` plays in a browser, live.

    python -m runners.viewer [key=value ...]

  checkpoint=FILE               who acts: a checkpoint, by its path or as a shipped one (default: hyper_stage2)
  agent=trained|zero|random     or nobody: all actions 0, or random ones; to look at a task before a training
  objects=zoo                   which objects (cfg/objects); objects.names=[NAME] is shown first
  task=  preset=  sim=  seed=   and all other keys as for train.py
  host=localhost                whom the page is for: 0.0.0.0 is everybody who can reach this machine
  port=8080                     where it is; if it is taken, the next free one

It needs the package viser: pip install 'resdex[viewer]'.
"""

import errno
import importlib.util
import signal
import socket
import sys
from typing import Any, Optional, Sequence

from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.overrides import Overrides, read_overrides
from resdex_tasks.utils.printing import printable_output
from runners.config import load_config
from runners.viewer.session import RANDOM, ZERO, Session

SHOWN = "hyper_stage2"
"""The checkpoint of a command line that names nobody."""
TRAINED = "trained"
OWN_KEYS = ("agent", "host", "port")
PORTS_TRIED = 20


def free_port(host: str, port: int) -> int:
    """The first port from `port` on that can be listened on.

    Raises:
        UserError: none of the next `PORTS_TRIED` can, or the host is none of this machine's.
    """
    for tried in range(port, min(port + PORTS_TRIED, 2**16)):
        try:
            with socket.create_server((host, tried)):
                return tried
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise UserError(f"host={host} cannot be listened on: {one_line(error)}") from error
    raise UserError(f"port={port} and those after it are taken; another port=N may be free")


def where(host: str, port: int) -> str:
    """What to open, and how from another machine."""
    here = "localhost" if host in ("localhost", "127.0.0.1", "0.0.0.0") else host
    lines = [f"open http://{here}:{port}"]
    if here == "localhost" and host != "0.0.0.0":
        lines.append(
            f"from another machine: ssh -L {port}:localhost:{port} {socket.gethostname()}, then the same address there"
        )
    else:
        lines.append(f"whoever reaches this machine can open http://{socket.gethostname()}:{port}")
    return "\n".join([*lines, "Ctrl-C ends it"])


def make_session(given: Overrides) -> Session:
    """The session that a command line describes, without its `host` and `port`.

    Raises:
        UserError: it cannot be played.
    """
    agent = given.value("agent")
    if agent not in ("", TRAINED, ZERO, RANDOM):
        raise UserError(f"agent is {agent!r}; it is {TRAINED}, {ZERO} or {RANDOM}")
    given = given.without(*OWN_KEYS)
    if agent in ("", TRAINED) and not given.get("checkpoint"):
        if given.get("task"):
            raise UserError("who acts? checkpoint=FILE, or agent=zero, or agent=random")
        given = given.having({"checkpoint": SHOWN})
    return Session(load_config(given), "" if agent == TRAINED else agent)


def _port(given: Overrides) -> int:
    port = given.value("port", 8080)
    if type(port) is not int or not 1 <= port < 2**16:
        raise UserError(f"port is {given.get('port')}; it is a number from 1 to {2**16 - 1}")
    return port


def run(given: Overrides) -> None:
    """Serve the page until Ctrl-C or a SIGTERM."""
    if importlib.util.find_spec("viser") is None:
        raise UserError("the viewer needs the package viser: pip install 'resdex[viewer]'")
    from runners.viewer.page import Page

    host, asked = str(given.value("host", "localhost")), _port(given)
    port = free_port(host, asked)
    session = make_session(given)
    page = Page(session, host, port)
    try:
        if page.port != asked:
            print(f"port {asked} is taken")
        print(where(host, page.port), flush=True)
        page.run()
    finally:
        page.close()
        session.close()


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0 after Ctrl-C, which is how it ends, or 2 after bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__)
        return 0
    printable_output()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        run(read_overrides(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print()
    return 0


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
