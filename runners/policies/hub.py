"""Policies to and from a hub of models (huggingface-hub, the extra `hub`).

    python -m runners.policies.hub push hyper_stage2 OWNER/NAME      # log in before: hf auth login
    python -m runners.policies.hub push hyper_stage2 ./folder        # the same files, to look at first
    python -m runners.policies.hub pull OWNER/NAME policy.safetensors

What goes there: the part that plays, as policy.safetensors, and README.md, its card. The hub's address and token are
huggingface-hub's own: HF_ENDPOINT, HF_TOKEN.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional, Sequence

from resdex_tasks.utils.errors import UserError, exit_status, one_line
from resdex_tasks.utils.files import check_can_write, write_text
from resdex_tasks.utils.safetensors_file import SUFFIX
from runners.policies.cards import model_card
from runners.policies.checkpoint import Checkpoint

FILE, CARD = f"policy{SUFFIX}", "README.md"


def stage(checkpoint: Checkpoint, folder: Path, repository: str = "OWNER/NAME") -> None:
    """Write into a folder what goes to the hub.

    Raises:
        UserError: it cannot be written.
    """
    write_text(folder / CARD, model_card(checkpoint, repository))
    checkpoint.policy_only.write(folder / FILE)


def push(policy: str, target: str, private: bool = False) -> str:
    """Put a policy into a repository OWNER/NAME, which is made if need be, or into a folder. Returns where it is.

    Raises:
        UserError: there is no such policy, or the hub does not take it.
    """
    checkpoint = Checkpoint.read(policy)
    if _is_folder(target):
        stage(checkpoint, Path(target).expanduser())
        return target
    hub = _hub()
    with tempfile.TemporaryDirectory() as folder:
        stage(checkpoint, Path(folder), target)
        try:
            hub.create_repo(target, private=private, exist_ok=True)
            return str(hub.upload_folder(repo_id=target, folder_path=folder, commit_message=f"{checkpoint.name}"))
        except Exception as error:  # its own classes, the network's
            raise UserError(f"{target} cannot be pushed to: {one_line(error)}; `hf auth login` logs in") from error


def pull(source: str, target: Path) -> Checkpoint:
    """Get a policy from a repository, or from a folder that was pushed to; it is read and checked before it is written.

    Raises:
        UserError: it cannot be had, is no policy, or cannot be written.
    """
    check_can_write(target)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(source).expanduser() / FILE
        if not _is_folder(source):
            hub = _hub()
            try:
                path = Path(hub.hf_hub_download(source, FILE, local_dir=folder))
            except Exception as error:  # its own classes, the network's
                raise UserError(f"{source} cannot be pulled: {one_line(error)}") from error
        checkpoint = Checkpoint.read(path)
        checkpoint.write(target)
    return checkpoint


def _is_folder(place: str) -> bool:
    """Whether it is no OWNER/NAME."""
    return place.startswith((".", "/", "~")) or place.count("/") != 1


def _hub() -> Any:
    """The client of the hub."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UserError("this needs the package huggingface-hub: pip install 'resdex[hub]'")
    import huggingface_hub

    return huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="resdex")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, or 2 after bad input."""
    parser = argparse.ArgumentParser(prog="python -m runners.policies.hub", description=__doc__.split("\n\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    pushing = actions.add_parser("push", help="a policy to a hub")
    pushing.add_argument("policy", help="a checkpoint, or the name of a shipped one")
    pushing.add_argument("target", help="OWNER/NAME, or a folder: ./NAME")
    pushing.add_argument("--private", action="store_true")
    pulling = actions.add_parser("pull", help="a policy from a hub")
    pulling.add_argument("source", help="OWNER/NAME, or a folder: ./NAME")
    pulling.add_argument("target", type=Path, help=f"NAME{SUFFIX} or NAME.pth")
    args = parser.parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if args.action == "push":
        print(f"pushed: {push(args.policy, args.target, args.private)}")
    else:
        pull(args.source, args.target)
        print(f"written to {args.target}; play it: python train.py test=True checkpoint={args.target}")


if __name__ == "__main__":
    sys.exit(main())
