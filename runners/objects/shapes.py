"""The commands of `runners.objects` for shape codes and clusters."""

import argparse
import importlib.util
from dataclasses import fields, replace
from pathlib import Path
from typing import Callable

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.sources import ObjectsConfig
from resdex_tasks.shapes.clusters import check_k, cluster, write_clusters
from resdex_tasks.shapes.codes import add_codes, cached_codes, read_codes
from resdex_tasks.shapes.encoder import read_encoder
from resdex_tasks.utils.config_reader import plain_values
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import check_can_write
from resdex_tasks.utils.paths import SHIPPED

RANKED = 20
"""Objects of a cluster that its file names, the nearest to the centre first."""


def _shapes_alone(config: ObjectsConfig) -> ObjectsConfig:
    """The set without what these commands do not ask of it."""
    return replace(config, codes=None, proposals=None)


def run_train(args: argparse.Namespace) -> None:
    from resdex_tasks.shapes.encoder_training import EncoderTraining, train_encoder

    config = _shapes_alone(args.config)
    given = {f.name: getattr(args, f.name) for f in fields(EncoderTraining)}
    settings = EncoderTraining(**{key: value for key, value in given.items() if value is not None})
    about = {"source": plain_values(config), "command": args.command_line}
    try:
        encoder = train_encoder(make_objects(config), settings, args.out, device=args.device, about=about)
    except KeyboardInterrupt:
        print("\nstopped after the last complete epoch; the same command resumes")
        raise SystemExit(130) from None
    print(f"encoder {encoder.id} written to {args.out / 'encoder.pth'}")


def run_encode(args: argparse.Namespace) -> None:
    check_can_write(args.out)
    encoder = read_encoder(args.encoder)
    if args.out.is_file():
        read_codes(args.out, encoder.id)  # a wrong file is said before the objects are read
    objects = make_objects(_shapes_alone(args.config))
    file = add_codes(args.out, objects, encoder)
    others = f", which has {len(file.names)} by now" if len(file.names) > len(objects) else ""
    print(f"{len(objects)} codes of encoder {encoder.id} written to {args.out}{others}")


def run_cluster(args: argparse.Namespace) -> None:
    check_can_write(args.out)
    if args.picture is not None:
        _check_can_draw(args.picture)
    encoder = read_encoder(args.encoder)
    config = _shapes_alone(args.config)
    objects = make_objects(config)
    check_k(args.k, len(objects))
    codes = cached_codes(objects, encoder)
    found = cluster(objects.names, codes, args.k, args.seed, encoder.id, plain_values(config))
    write_clusters(args.out, found if args.all else found.ranked(RANKED), args.command_line)
    for row in found.clusters:
        print(f"{row.size:6d} objects around {', '.join(row.ranking[:5])}")
    print(f"written to {args.out}")
    if args.picture is not None:
        from runners.objects.cluster_picture import draw_clusters  # imports matplotlib

        draw_clusters(objects, codes, found, args.picture)
        print(f"picture written to {args.picture}")


def _check_can_draw(path: Path) -> None:
    check_can_write(path)
    if path.suffix != ".png":
        raise UserError(f"--picture is {path}; it must end in .png")
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("--picture needs matplotlib: pip install matplotlib")


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add train-encoder, encode and cluster to the tool of `runners.objects`."""
    train = add("train-encoder", run_train, "train an encoder of shapes on a set; the same command goes on if stopped")
    train.add_argument("--out", type=Path, required=True, help="folder")
    train.add_argument("--epochs", type=int)
    train.add_argument("--batch", type=int, help="objects in a step")
    train.add_argument("--points", type=int, help="points that the encoder sees in training")
    train.add_argument("--learning_rate", type=float)
    train.add_argument("--turned", type=float, help="part of the examples that are turned at random")
    train.add_argument("--encoded_points", type=int, help="points that the finished encoder sees")
    train.add_argument("--seed", type=int)
    train.add_argument("--device", default="cpu", help="cpu or cuda:N")

    encoding = add("encode", run_encode, "write the shape codes of a set to a file; it keeps those of other objects")
    encoding.add_argument("--out", type=Path, required=True, help=".npz")

    clustering = add("cluster", run_cluster, "K-means on the shape codes of a set; the objects nearest to the centres")
    clustering.add_argument("--k", type=int, required=True)
    clustering.add_argument("--seed", type=int, default=0, help="of the first centres")
    clustering.add_argument("--out", type=Path, required=True, help=".yaml")
    clustering.add_argument("--all", action="store_true", help=f"rank all objects, not only the {RANKED} nearest")
    clustering.add_argument("--picture", type=Path, metavar="FILE", help="draw the codes and the centres, .png")
    for command in (encoding, clustering):
        command.add_argument("--encoder", default=SHIPPED, help=f"file, or {SHIPPED}")
