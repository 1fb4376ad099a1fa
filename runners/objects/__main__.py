"""One tool for objects: `python -m runners.objects COMMAND objects=zoo objects.count=60 ...` (or `resdex-objects`).

The objects are chosen as for train.py, by the group `objects` of the configuration.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any, Optional, Sequence

from resdex_tasks.objects.sources import ObjectsConfig
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.overrides import called_as
from resdex_tasks.utils.printing import for_a_reader, printable_output
from runners.config import load_config
from runners.objects import inspect, propose, report, shapes

PROGRAM = called_as("resdex-objects", "python -m runners.objects")


def objects_config(overrides: Sequence[str]) -> ObjectsConfig:
    """The configuration's group `objects` after `key=value` overrides, which may set nothing else."""
    for override in overrides:
        if not override.startswith(("objects=", "objects.")):
            raise UserError(f"'{override}' does not choose objects; objects=NAME and objects.KEY=VALUE do")
    return load_config(["sim=mujoco", "scale=cpu", *overrides]).objects


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    commands = out.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Any, help: str, read: Any = objects_config) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.add_argument("overrides", nargs="*", default=[], help="as for train.py: objects=zoo objects.split=all")
        command.set_defaults(run=run, read=read)
        return command

    add(
        "build",
        inspect.build_objects,
        "make or import a whole set: its caches are filled, what cannot be used is named",
    )
    listing = add("list", inspect.list_objects, "print the objects of a set")
    listing.add_argument("--all", action="store_true", help=f"also beyond the first {inspect.LISTED}")
    showing = add("show", inspect.show_objects, "draw a contact sheet of a set, as PNG")
    showing.add_argument("--out", type=Path, default=Path("objects.png"))
    showing.add_argument("--limit", type=_positive, default=60, help="objects on the sheet, evenly over the set")
    showing.add_argument("--columns", type=_positive, default=10)
    showing.add_argument("--grasps", action="store_true", help="with the hand in the first grasp proposal of each")
    splitting = add(
        "splits", inspect.list_splits, "list which object of the zoo is in which split: objects=zoo objects.seed=1"
    )
    splitting.add_argument("--out", type=Path, required=True, help=".yaml")
    shapes.add_commands(add)
    proposing = add("propose", propose.command, "find grasp proposals in a simulator, for any set", load_config)
    propose.add_arguments(proposing)
    joining = commands.add_parser(
        "join-proposals", help="one file of those of several searches, each for objects of its own"
    )
    joining.add_argument("overrides", nargs="+", metavar="FILE", help="that propose made")
    joining.add_argument("--out", type=Path, required=True, help=".npz")
    joining.set_defaults(run=propose.join_command, read=list)
    reporting = add(
        "report",
        report.command,
        "write a page on a folder of meshes: what came in, how, its grasps, and what the shipped policy does with it",
        load_config,
    )
    report.add_arguments(reporting)
    return out


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, 2 after bad input, 130 after Ctrl-C."""
    printable_output()
    argv = list(sys.argv[1:] if argv is None else argv)
    # argparse takes the key=value arguments of a subcommand only in one piece: the others are left over
    args, more = parser().parse_known_args(argv)
    unknown = [argument for argument in more if argument.startswith("-")]
    if unknown:
        parser().error(f"unrecognized arguments: {' '.join(unknown)}")
    args.overrides += more
    args.command_line = " ".join([PROGRAM, *map(shlex.quote, argv)])
    try:
        args.config = args.read(args.overrides)
        with for_a_reader():
            args.run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
