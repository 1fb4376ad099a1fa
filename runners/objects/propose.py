"""The command `propose` of `runners.objects`: finds grasp proposals (`resdex_tasks/proposals/search.py`).

The file is written after every batch; run again, the command resumes with the objects that are missing. Each batch
begins with the proposals of the batches before, and with those of another file, if one is given.
"""

import argparse
import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np
import torch

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.proposals.file import SHIPPED_PROPOSALS, ObjectProposals, read_proposals, write_proposals
from resdex_tasks.proposals.search import MakeSim, SearchConfig, propose
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import check_can_write
from resdex_tasks.utils.mappings import flat
from resdex_tasks.utils.paths import SHIPPED
from resdex_tasks.utils.progress import Progress
from resdex_tasks.utils.versions import versions
from runners.config import RunConfig

WITHOUT_EFFECT = ("numThreads",)
"""Settings of the simulator on which no trial depends."""


def run(
    path: Path,
    make_sim: MakeSim,
    objects: ObjectSet,
    config: SearchConfig,
    num_envs: int = 128,
    batch: int = 44,
    sim: Optional[Mapping[str, Any]] = None,
    search: Optional[Mapping[str, Any]] = None,
    quiet: Optional[bool] = None,
    like: Optional[Path] = None,
    at_least: int = 0,
    renew: bool = False,
) -> List[ObjectProposals]:
    """Fill the file `path` with proposals of all objects, batch by batch; objects that are in it already are kept.

    Args:
        batch: objects in one simulator, which are written together.
        sim: the configuration of simulator and hand; one file holds the results of one simulation.
        search: what else the file notes about this search.
        quiet: whether no progress is shown; None: where no terminal shows it.
        like: a file of proposals, to begin with those of similar objects.
        at_least: objects that are in the file with fewer proposals are searched again, with more examples than before,
            and keep the results of both searches.
        renew: search again for objects that have another shape now, in place of refusing the file.

    Raises:
        UserError: the file was made with other settings, or from objects of the same name and another shape.
    """
    examples: List[ObjectProposals] = []
    settings: Dict[str, Any] = asdict(config)
    if like is not None:
        if like.resolve() == path.resolve():
            raise UserError(f"--like and --out are both {path}; a search begins with what --out has in any case")
        examples = list(read_proposals(like)[0].values())
        settings["like"] = hashlib.sha256(like.read_bytes()).hexdigest()[:12]
    settings.update(flat(sim or {}, "sim."))
    searches = [dict(search or {})]
    found: Dict[str, ObjectProposals] = {}
    if path.exists():
        found, made_before = read_proposals(path)
        _check_settings(path, made_before.get("settings", {}), settings)
        searches = [*made_before.get("searches", []), *searches]
        for obj in objects:
            if obj.name in found and renew and not found[obj.name].fits(obj):
                del found[obj.name]
            elif obj.name in found:
                found[obj.name].check(obj, path)
    missing = [obj for obj in objects if obj.name not in found or found[obj.name].count < at_least]
    progress = Progress(len(objects), "objects", len(objects) - len(missing), quiet)
    for start in range(0, len(missing), batch):
        part = ObjectSet(missing[start : start + batch])
        for f in propose(make_sim, part, config, num_envs, [*examples, *found.values()], progress.advance):
            before = found.get(f.name)
            found[f.name] = f if before is None else before.joined(f, config.wanted)
        write_proposals(path, list(found.values()), {"settings": settings, "searches": searches})
    progress.close()
    return [found[obj.name] for obj in objects]


def join(path: Path, parts: Sequence[Path]) -> int:
    """Write one file of those of several searches, each for objects of its own; returns the number of objects.

    Raises:
        UserError: two were made with different settings, or know the same object; or the file is there already.
    """
    if path.exists():
        raise UserError(f"{path} is there already; give another file")
    found: Dict[str, ObjectProposals] = {}
    searches: List[Any] = []
    settings: Mapping[str, Any] = {}
    for i, part in enumerate(parts):
        own, made_by = read_proposals(part)
        if i:
            _check_settings(part, made_by.get("settings", {}), settings, f"{parts[0]} with ")
        settings = made_by.get("settings", {})
        twice = next((name for name in own if name in found), None)
        if twice is not None:
            raise UserError(f"{part} and a file before it know the object '{twice}'")
        found.update(own)
        searches += made_by.get("searches", [])
    write_proposals(path, list(found.values()), {"settings": settings, "searches": searches})
    return len(found)


def simulation(config: RunConfig) -> Dict[str, Any]:
    """What the outcome of a trial depends on, of simulator and hand."""
    sim = {key: value for key, value in config.plain["sim"].items() if key not in WITHOUT_EFFECT}
    return {**sim, "wrist": config.plain["task"]["env"]["wrist"]}


def _check_settings(path: Path, then: Mapping[str, Any], now: Mapping[str, Any], of: str = "") -> None:
    """Check that a file was made with the settings of this search, and in the same simulation.

    Args:
        of: whose settings they are compared with, where not this search's.

    Raises:
        UserError: a setting differs.
    """
    for key in sorted({*then, *now}):
        if then.get(key) == now.get(key):
            continue
        if key == "like":
            raise UserError(f"{path} was begun with another file of --like, or with none; give another file")
        raise UserError(
            f"{path} was made with {key}={then.get(key)}, {of or 'not '}{now.get(key)}; "
            "give another file, or the settings it was made with"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="file to fill, .npz; what is in it already is kept")
    for name, default in asdict(SearchConfig()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    again = "search again for objects that the file has with fewer proposals: there are more examples by now"
    parser.add_argument("--at_least", type=int, default=0, metavar="N", help=again)
    like = "begin with the grasps that this file of proposals, or 'shipped', has for objects of a similar size"
    parser.add_argument("--like", metavar="FILE", help=like)
    parser.add_argument("--num_envs", type=int, default=128)
    parser.add_argument("--batch", type=int, default=44, help="objects in one scene, written together")


def command(args: argparse.Namespace) -> None:
    """The command `propose` of `runners.objects`; `args.config` is the complete configuration."""
    search_config = SearchConfig(**{name: getattr(args, name) for name in asdict(SearchConfig())})
    for name in ("num_envs", "batch"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} is {getattr(args, name)}; it must be at least 1")
    if not 0 <= args.at_least <= search_config.wanted:
        raise UserError(f"--at_least is {args.at_least}; it must be 0 to {search_config.wanted}, which --wanted keeps")
    check_can_write(args.out)
    config: RunConfig = args.config
    if config.one_scene:
        raise UserError(f"sim={config.sim_name} makes one scene, and a search needs one for every batch: sim=mujoco")
    objects = make_objects(replace(config.objects, proposals=None))  # the source's own have all poses at rest
    search = {
        "objects": config.plain["objects"],
        "batch": args.batch,
        "at_least": args.at_least,
        "versions": versions("mujoco", "numpy", "torch"),
    }
    torch.set_num_threads(1)  # the simulator uses the cores
    like = SHIPPED_PROPOSALS if args.like == SHIPPED else args.like and Path(args.like).expanduser()
    found = run(
        args.out,
        config.make_sim,
        objects,
        search_config,
        args.num_envs,
        args.batch,
        simulation(config),
        search,
        like=like,
        at_least=args.at_least,
    )
    counts = np.array([f.count for f in found])
    print(f"{len(found)} objects, {counts.sum()} proposals; {100 * np.mean(counts >= 8):.1f} % have 8 or more")
    without = [f.name for f in found if f.proposals is None]
    if without:
        print(f"{len(without)} without any, which keep the proposals of their source: {', '.join(without)}")


def join_command(args: argparse.Namespace) -> None:
    """The command `join-proposals` of `runners.objects`."""
    check_can_write(args.out)
    count = join(args.out, [Path(name).expanduser() for name in args.overrides])
    print(f"{count} objects in {args.out}")
