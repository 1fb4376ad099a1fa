"""Commands for shape codes and clusters.

python -m resdex_tasks.objects.shape_commands train --out runs/encoder objects=zoo
python -m resdex_tasks.objects.shape_commands encode --out codes.npz objects=zoo objects.split=all
python -m resdex_tasks.objects.shape_commands cluster --k 4 --out clusters.yaml objects=zoo
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import yaml

from resdex_tasks.errors import UserError
from resdex_tasks.objects import make_objects
from resdex_tasks.objects.clusters import cluster, write_clusters
from resdex_tasks.objects.codes import cached_codes, encode, read_codes, write_codes
from resdex_tasks.objects.encoder import SHIPPED, read_encoder
from resdex_tasks.paths import CFG_DIR

RANKED = 20


def objects_config(overrides: Sequence[str]) -> Dict[str, Any]:
    """The configuration's group `objects` from arguments as train.py takes them: objects=zoo objects.split=all.

    UserError names the argument at fault.
    """
    known = sorted(path.stem for path in (CFG_DIR / "objects").glob("*.yaml"))
    given = dict(_split(text) for text in overrides)
    name = given.pop("objects", "zoo")
    if name not in known:
        raise UserError(f"objects={name}: there is no such object set; there are {', '.join(known)}")
    config = yaml.safe_load((CFG_DIR / "objects" / f"{name}.yaml").read_text(encoding="utf-8"))
    for key, text in given.items():
        _, _, key = key.partition("objects.")
        if key not in config:
            raise UserError(f"there is no objects.{key} for objects={name}; its keys are {', '.join(config)}")
        try:
            config[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"objects.{key}={text} is not a value: {str(error).splitlines()[0]}") from error
    return config


def _split(text: str) -> List[str]:
    key, equals, value = text.partition("=")
    if not equals or (key != "objects" and not key.startswith("objects.")):
        raise UserError(f"'{text}' is no argument; objects=NAME and objects.KEY=VALUE choose the objects")
    return [key, value]


def run_train(args: argparse.Namespace) -> None:
    from resdex_tasks.objects.encoder_training import EncoderTraining, train_encoder

    config = {**objects_config(args.objects), "codes": None}
    given = {f.name: getattr(args, f.name) for f in fields(EncoderTraining)}
    settings = EncoderTraining(**{key: value for key, value in given.items() if value is not None})
    about = {"source": config, "command": args.command_line}
    try:
        encoder = train_encoder(make_objects(config), settings, args.out, device=args.device, about=about)
    except KeyboardInterrupt:
        print("\nstopped after the last whole epoch; the same command goes on from there")
        raise SystemExit(130) from None
    print(f"encoder {encoder.id} written to {args.out / 'encoder.pth'}")


def run_encode(args: argparse.Namespace) -> None:
    encoder = read_encoder(args.encoder)
    known = read_codes(args.out, encoder.id) if args.out.is_file() else None
    file = encode(make_objects({**objects_config(args.objects), "codes": None}), encoder, known)
    write_codes(args.out, file)
    print(f"{len(file.names)} codes of encoder {encoder.id} written to {args.out}")


def run_cluster(args: argparse.Namespace) -> None:
    encoder = read_encoder(args.encoder)
    config = {**objects_config(args.objects), "codes": None}
    objects = make_objects(config)
    if args.k > len(objects):
        raise UserError(f"k is {args.k}, but there are {len(objects)} objects; k can be at most that")
    codes = cached_codes(objects, encoder)
    found = cluster(objects.names, codes, args.k, args.seed, encoder.id, config, None if args.all else RANKED)
    write_clusters(args.out, found, args.command_line)
    for row in found.clusters:
        print(f"{row.size:6d} objects around {', '.join(row.ranking[:5])}")
    print(f"written to {args.out}")


def add_commands(commands: Any) -> None:
    """Add train, encode and cluster to a parser's subparsers; each sets `run`, a function of the parsed arguments."""
    train = commands.add_parser("train", help="train an encoder")
    train.add_argument("--out", type=Path, required=True, help="folder; a training found there goes on")
    train.add_argument("--epochs", type=int)
    train.add_argument("--batch", type=int, help="objects in a step")
    train.add_argument("--points", type=int, help="points that the encoder sees in training")
    train.add_argument("--learning-rate", type=float)
    train.add_argument("--turned", type=float, help="part of the examples that are turned at random")
    train.add_argument("--encoded-points", type=int, help="points that the finished encoder sees")
    train.add_argument("--seed", type=int)
    train.add_argument("--device", default="cpu", help="cpu or cuda:N")
    train.set_defaults(run=run_train)

    encoding = commands.add_parser("encode", help="write the codes of objects to a file; those already there are kept")
    encoding.add_argument("--out", type=Path, required=True, help=".npz")
    encoding.set_defaults(run=run_encode)

    clustering = commands.add_parser("cluster", help="K-means on the codes; the objects nearest to the centres")
    clustering.add_argument("--k", type=int, required=True)
    clustering.add_argument("--seed", type=int, default=0, help="of the first centres")
    clustering.add_argument("--out", type=Path, required=True, help=".yaml")
    clustering.add_argument("--all", action="store_true", help=f"rank all objects, not only the {RANKED} nearest")
    clustering.set_defaults(run=run_cluster)

    for command in (encoding, clustering):
        command.add_argument("--encoder", default=SHIPPED, help=f"file, or {SHIPPED}")
    for command in (train, encoding, clustering):
        command.add_argument("objects", nargs="*", help="as for train.py: objects=zoo objects.split=all (default: zoo)")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Exit status: 0, or 2 after bad input, which gives one sentence."""
    argv = list(sys.argv[1:] if argv is None else argv)
    program = "python -m resdex_tasks.objects.shape_commands"
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_commands(parser.add_subparsers(dest="command", required=True))
    args = parser.parse_args(argv)
    args.command_line = " ".join([program, *argv])
    try:
        args.run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
