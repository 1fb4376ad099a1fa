"""The command `report` of `runners.objects`: one page on what came in from a folder of meshes, and how policies do.

What it takes long for is kept: decompositions in the cache, grasp proposals in a file beside the page, success of the
policies in the cache. Run again, it goes on where it stopped, and a changed file costs that file.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from resdex_tasks.factory import equipped
from resdex_tasks.objects.geometry.placements import grasp_width
from resdex_tasks.objects.geometry.surface import shape_hash
from resdex_tasks.objects.meshes.record import MeshImport, MeshRecord
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.objects.sources import MeshesConfig
from resdex_tasks.proposals.candidates import rest_rotations
from resdex_tasks.proposals.file import SHIPPED_PROPOSALS, ObjectProposals
from resdex_tasks.proposals.search import SearchConfig
from resdex_tasks.sims.base import OBJECT_DENSITY
from resdex_tasks.utils.disk_cache import ArrayCache, cache_key
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import check_can_write, write_text
from resdex_tasks.utils.overrides import Overrides
from resdex_tasks.utils.progress import Progress
from resdex_tasks.utils.versions import versions
from runners.config import RunConfig, load_config
from runners.evaluation.files import picture
from runners.evaluation.playing import evaluation_task
from runners.evaluation.run import evaluate
from runners.evaluation.summary import SuccessRow, schedule
from runners.objects import inspect, propose
from runners.objects.page import ObjectEntry, Page, PolicySuccess
from runners.policies.policy import Policy

BATCH = 24
"""Objects in one simulator."""
HAND_WIDTH, HEAVY = 0.09, 0.25
"""m and kg: on what is wider seen from above in every pose, or heavier, the shipped policies mostly fail."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("objects.html"), help="the page; default: objects.html")
    parser.add_argument("--policies", nargs="+", default=["hyper_stage2"], metavar="CHECKPOINT")
    parser.add_argument("--episodes", type=int, default=8, help="of each policy with each object; 0: none is played")
    parser.add_argument("--wanted", type=int, default=8, help="grasp proposals of each object; 0: none is looked for")
    parser.add_argument("--seed", type=int, default=1, help="of the episodes' starts")


def command(args: argparse.Namespace) -> None:
    """The command `report` of `runners.objects`; `args.config` is the complete configuration."""
    config: RunConfig = args.config
    if not isinstance(config.objects, MeshesConfig):
        raise UserError("the report is on a folder of meshes: objects=meshes objects.root=FOLDER")
    for name in ("episodes", "wanted"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name} is {getattr(args, name)}; it must be at least 0")
    check_can_write(args.out)
    policies = [_player(name, config, args.seed) for name in args.policies] if args.episodes else []
    imported = config.objects.imported()
    for line in imported.lines():
        print(line)
    objects = imported.objects(lambda line: None)
    torch.set_num_threads(1)  # the simulator uses the cores
    found = _proposals(args.out, config, objects, args.wanted) if args.wanted else {}
    success: Dict[str, List[PolicySuccess]] = {obj.name: [] for obj in objects}
    for player in policies:
        for name, row in _success(player, objects, args.episodes, args.seed).items():
            success[name].append(row)
    pictures = _pictures(objects, found)
    entries = [
        ObjectEntry(record, pictures[obj.name], _count(found.get(obj.name)), success[obj.name], _facts(obj))
        for record in imported.records
        for obj in ([record.obj] if record.obj is not None else [])
    ]
    write_text(args.out, _page(args, imported, entries, found).html())
    refused = sum(record.obj is None for record in imported.records)
    print(f"written to {args.out}: {len(objects)} objects, {refused} files left out")


def _page(
    args: argparse.Namespace,
    imported: MeshImport,
    entries: Sequence[ObjectEntry],
    found: Mapping[str, ObjectProposals],
) -> Page:
    refused: List[MeshRecord] = [record for record in imported.records if record.refusal is not None]
    lines = [f"Made by: {args.command_line}", "Versions: " + ", ".join(f"{k} {v}" for k, v in versions().items())]
    if args.episodes:
        lines.append(
            f"Success: {args.episodes} deterministic episodes of each policy with each object, seed {args.seed}; once: "
            "within 5 cm of the goal at some step; at the end: at the last step."
        )
    if found:
        lines.append(f"The proposals are in {_beside(args.out)}, for objects.proposals={_beside(args.out)}.")
    return Page(f"Objects of {imported.root}", entries, refused, imported.other_formats, lines)


def _count(found: Optional[ObjectProposals]) -> Optional[Tuple[int, int]]:
    return None if found is None else (found.count, found.tried)


def _facts(obj: GraspObject) -> Dict[str, str]:
    rests = Rotation.from_quat(obj.proposals.rest_rotation)
    width = min(grasp_width(rest.apply(obj.vertices)) for rest in rests)
    mass = OBJECT_DENSITY * obj.solid_fraction * sum(piece.volume for piece in obj.pieces)
    facts = {
        "size": " x ".join(f"{100 * e:.1f}" for e in np.ptp(obj.vertices, axis=0)) + " cm",
        "mass": f"{1000 * mass:.3g} g (at {OBJECT_DENSITY:g} kg/m^3)",
        "convex pieces": str(len(obj.pieces)),
        "poses at rest": str(len(rests)),
        "width": f"{100 * width:.1f} cm, seen from above in its narrowest pose",
    }
    hard = [f"is wider than {100 * HAND_WIDTH:g} cm"] if width > HAND_WIDTH else []
    hard += [f"weighs more than {HEAVY:g} kg"] if mass > HEAVY else []
    if hard:
        facts["hard for the hand"] = f"it {' and '.join(hard)}"
    return facts


def _beside(page: Path) -> Path:
    """The file of proposals."""
    return page.with_name(f"{page.stem}_proposals.npz")


def _proposals(page: Path, config: RunConfig, objects: ObjectSet, wanted: int) -> Dict[str, ObjectProposals]:
    """Grasp proposals of each object by its name; those in the file beside the page are kept."""
    if config.one_scene:
        raise UserError(f"sim={config.sim_name} makes one scene, and a search needs one for every batch: sim=mujoco")
    print(f"grasp proposals of {len(objects)} objects, in {_beside(page)}", flush=True)
    found = propose.run(
        _beside(page),
        config.make_sim,
        objects,
        SearchConfig(wanted=wanted),
        batch=BATCH,
        sim=propose.simulation(config),
        search={"objects": config.plain["objects"], "versions": versions("mujoco", "numpy", "torch")},
        like=SHIPPED_PROPOSALS,
        renew=True,
    )
    return {f.name: f for f in found}


class _Player:
    """A policy with the configuration of its own task, on the objects of the report."""

    def __init__(self, name: str, config: RunConfig) -> None:
        self.name, self.config = name, config
        assert config.checkpoint is not None
        self.checkpoint = config.checkpoint
        self.policy = Policy.load(self.checkpoint, config.command.rl_device)


def _player(name: str, config: RunConfig, seed: int) -> _Player:
    values = {"checkpoint": name, "test": True, "seed": seed}
    return _Player(name, load_config(Overrides(config.overrides).having(values)))


def _success(player: _Player, objects: ObjectSet, episodes: int, seed: int) -> Dict[str, PolicySuccess]:
    """What a policy does with each object; results of earlier runs are taken from the cache."""
    cache = ArrayCache(None, "report")
    plain = player.config.plain
    settings = json.dumps([plain["task"]["env"], plain["sim"], versions()], sort_keys=True, default=str)

    def key(obj: GraspObject) -> str:
        starts = (np.round(rest_rotations(obj), 6).tolist(), round(obj.solid_fraction, 6))
        return cache_key(["report 1", player.checkpoint.id, settings, shape_hash(obj), starts, episodes, seed])

    out: Dict[str, PolicySuccess] = {}
    missing = []
    for obj in objects:
        kept = cache.load(key(obj))
        if kept is None:
            missing.append(obj)
        else:
            out[obj.name] = PolicySuccess(player.name, episodes, int(kept["once"]), int(kept["at_end"]))
    print(f"{player.name} with {len(objects)} objects, {episodes} episodes each, {len(out)} of them known", flush=True)
    for start in range(0, len(missing), BATCH):
        part = equipped(ObjectSet(missing[start : start + BATCH]), replace(player.config.objects, proposals=None))
        player.checkpoint.check_codes(part)
        task = evaluation_task(player.config, part, len(part) * episodes, player.policy.groups)
        rows = evaluate(task, player.policy, schedule(part, episodes), seed).objects
        for obj, row in zip(part, rows):
            once, at_end = _times(row)
            out[obj.name] = PolicySuccess(player.name, episodes, once, at_end)
            cache.store(key(obj), {"once": np.array(once), "at_end": np.array(at_end)})
    return out


def _times(row: SuccessRow) -> Tuple[int, int]:
    """In how many episodes an object was at the goal once, and at the end."""
    return round(row.success_once.value * row.episodes), round(row.success_at_end.value * row.episodes)


def _pictures(objects: ObjectSet, found: Mapping[str, ObjectProposals]) -> Dict[str, List[Tuple[str, np.ndarray]]]:
    """Each object in its poses at rest, and with the hand in its first proposal; what cannot be drawn is missing."""
    from resdex_tasks.sims.object_picture import portrait  # MuJoCo: Python 3.10 or newer

    progress = Progress(len(objects), "pictures")
    out: Dict[str, List[Tuple[str, np.ndarray]]] = {}
    for obj in objects:
        drawn = (
            picture(obj.name, partial(portrait, obj, inspect.TILE, inspect.TILE, pose))
            for pose in range(len(obj.proposals))
        )
        out[obj.name] = [(f"pose {i} at rest", image) for i, image in enumerate(drawn, start=1) if image is not None]
        progress.advance()
    progress.close()
    grasps = {name: f.proposals for name, f in found.items() if f.proposals is not None}
    held = [replace(obj, proposals=grasps[obj.name]) for obj in objects if obj.name in grasps]
    for start in range(0, len(held), BATCH):
        part = held[start : start + BATCH]
        images = picture("pictures of grasps", partial(inspect.grasp_pictures, part)) or []
        for obj, image in zip(part, images):
            out[obj.name].append(("the first grasp proposal", image))
    return out
