"""Sessions of the viewer, small and quick."""

import functools
from pathlib import Path
from typing import Tuple

import numpy as np
import trimesh

from runners.config import RunConfig, load_config
from runners.viewer.session import Cast, Choice, Session

QUICK = (
    "sim=mujoco",
    "scale=cpu",
    "sim.numThreads=1",
    "task.env.episodeLength=4",
    "task.env.vision.numPoints=32",
    "task.env.vision.poolPoints=64",
)


@functools.lru_cache(maxsize=None)
def _config(overrides: Tuple[str, ...]) -> RunConfig:
    return load_config([*QUICK, *overrides])


def session(*overrides: str, agent: str = "") -> Session:
    """The session of a command line; default: the shipped base policy with the starter's box."""
    return Session(_config(overrides or ("checkpoint=base_box",)), agent)


def choice(of: Session, name: str, source: str = "starter", agent: str = "") -> Choice:
    """Another object, or another agent, for a session."""
    obj = next(obj for obj in of.listed(source) if obj.name == name)
    return Choice(agent or of.cast.choice.agent, source, obj)


def cast_of(of: Session, task) -> Cast:
    """The session's own cast, with another task."""
    now = of.cast
    return Cast(now.choice, now.config, task, now.act, now.experts)


def write_box(path: Path, extents=(0.06, 0.05, 0.07)) -> bytes:
    """A box as a mesh file; returns its bytes."""
    trimesh.creation.box(np.array(extents)).export(str(path))
    return path.read_bytes()
