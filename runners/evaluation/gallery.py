"""A picture of final grasps like the paper's Figure 3: rows are objects, columns policies."""

from collections import Counter
from pathlib import Path
from typing import List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.rendering import images as image_files
from resdex_tasks.utils.files import write_atomically
from resdex_tasks.utils.printing import one_line_of
from runners.evaluation.rollout import DIVERGED, DROPPED, MISSED, SUCCESS, play
from runners.policies.policy import Policy

MOST_OBJECTS = 12
TRIES = 3
"""Episodes with each object, of which one is shown."""
WIDTH, HEIGHT = 256, 256
GRID_COLUMNS = 4
"""Columns of the picture of one policy."""
FRAME = 5
"""pixels, around a cell in the outcome's colour."""
GAP = 2
"""pixels, of white around a cell."""
HEAD_HEIGHT = 32
"""pixels, of the line with the policies' names."""
COLOURS = {SUCCESS: (70, 140, 85), DROPPED: (220, 165, 50), MISSED: (190, 75, 65), DIVERGED: (90, 90, 90)}


class Grasp(NamedTuple):
    """The end of one episode."""

    object: str
    outcome: str
    """One of `rollout.OUTCOMES`."""
    opposed: bool
    """Held between thumb and finger (`hand.opposition`)."""
    image: np.ndarray
    """(H, W, 3) uint8, after the last step but one."""


def chosen_objects(objects: Sequence[GraspObject], seed: int, count: int = MOST_OBJECTS) -> ObjectSet:
    """At most `count` of the objects, taken in turn from every category, each time by chance that `seed` decides."""
    rng = np.random.default_rng(seed)
    names = sorted({obj.category for obj in objects})
    turn_of = dict(zip(names, rng.permutation(len(names)).tolist()))
    taken: Counter = Counter()
    ranked = []
    for i in rng.permutation(len(objects)).tolist():
        category = objects[i].category
        ranked.append((taken[category], turn_of[category], i))
        taken[category] += 1
    chosen = [objects[i] for _, _, i in sorted(ranked)[:count]]
    return ObjectSet(sorted(chosen, key=lambda obj: (obj.category, obj.name)))


def final_grasps(task: GraspTask, policy: Policy, seed: int, tries: int = TRIES) -> List[Grasp]:
    """With each object of a task that has as many environments as objects, of `tries` episodes the first that a person
    would call a grasp: success at the end, held between thumb and finger. Where there is none, the first success, else
    the first. Equal starts for equal seeds.
    """
    best: List[Grasp] = []
    for attempt in range(tries):
        wanted = [i for i in range(task.num_envs) if not best or _looks(best[i]) < (True, True)]
        if not wanted:
            break
        grasps = _ends(task, policy, seed + attempt, wanted)
        best = [max(pair, key=_looks) for pair in zip(best, grasps)] if best else grasps
    return best


def _looks(grasp: Grasp) -> Tuple[bool, bool]:
    success = grasp.outcome == SUCCESS
    return success, success and grasp.opposed


def _ends(task: GraspTask, policy: Policy, seed: int, shown: Sequence[int]) -> List[Grasp]:
    """The end of one episode with each object, with pictures of the `shown` ones."""
    images = [np.full((HEIGHT, WIDTH, 3), 255, np.uint8)] * task.num_envs
    steps = 0

    def on_step() -> None:
        nonlocal steps
        steps += 1
        if steps == task.config.episode_length - 1:  # the step after it resets
            for i in shown:
                images[i] = task.sim.render(i, WIDTH, HEIGHT, closeup=True)

    episodes = play(task, policy, torch.arange(len(task.objects)), seed, on_step)
    opposed = episodes.opposed.tolist()
    return [Grasp(obj.name, episodes.outcome(i), opposed[i], images[i]) for i, obj in enumerate(task.objects)]


def write_gallery(path: Path, columns: Mapping[str, Sequence[Grasp]]) -> None:
    """Write the PNG.

    Args:
        columns: name of a policy -> its grasps, of the same objects for all. One policy becomes a grid of objects.
    """
    if len(columns) == 1:
        (grasps,) = columns.values()
        sheet = image_files.tile([_cell(grasp) for grasp in grasps], min(GRID_COLUMNS, len(grasps)))
    else:
        rows = list(zip(*columns.values()))
        for row in rows:
            if len({grasp.object for grasp in row}) > 1:
                raise ValueError(f"a row of a gallery is about one object, not {[grasp.object for grasp in row]}")
        sheet = image_files.tile([_cell(grasp) for row in rows for grasp in row], len(columns))
        sheet = np.concatenate((_heads(list(columns), sheet.shape[1] // len(columns)), sheet))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda partial: Image.fromarray(sheet).save(partial, format="PNG"))


def _cell(grasp: Grasp) -> np.ndarray:
    """The picture in a frame of the outcome's colour, with the object's name and the outcome."""
    image = image_files.add_label(grasp.image, f"{grasp.object}: {grasp.outcome}").copy()
    colour = COLOURS[grasp.outcome]
    for edge in (np.s_[:FRAME], np.s_[-FRAME:], np.s_[:, :FRAME], np.s_[:, -FRAME:]):
        image[edge] = colour
    return np.pad(image, ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)


def _heads(names: Sequence[str], width: int) -> np.ndarray:
    """The line of policies' names above the columns, each `width` pixels."""
    canvas = Image.new("RGB", (width * len(names), HEAD_HEIGHT), image_files.PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(HEAD_HEIGHT // 2)
    for i, name in enumerate(names):
        text = image_files.fitted(one_line_of(name), font, width - HEAD_HEIGHT / 2)
        draw.text(((i + 0.5) * width, HEAD_HEIGHT / 2), text, font=font, fill=image_files.INK, anchor="mm")
    return np.asarray(canvas)
