"""Builds objects, simulators and tasks from their settings; nothing else does."""

from typing import Any, Mapping, Optional, Sequence, Union

import torch
from torch import Tensor

from resdex_tasks.grasp_task import GraspTask, TaskConfig
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.sampling import FIXED
from resdex_tasks.objects.sources import ObjectsConfig, read_objects_config
from resdex_tasks.observations import VIEWS, layout
from resdex_tasks.proposals.file import with_proposals
from resdex_tasks.shapes.codes import cached_codes, with_codes
from resdex_tasks.shapes.encoder import read_encoder
from resdex_tasks.sims import registry
from resdex_tasks.sims.base import GraspSim, WristLaw
from resdex_tasks.utils.errors import UserError


def make_objects(config: Union[ObjectsConfig, Mapping[str, Any]]) -> ObjectSet:
    """The object set that the configuration's group `objects` describes.

    Args:
        config: the settings of a source, or the plain values that `read_objects_config` makes them of.

    Raises:
        UserError: a key, a value, or a file that it names is at fault.
    """
    config = read_objects_config(config) if isinstance(config, Mapping) else config
    return equipped(config.make(), config)


def equipped(objects: ObjectSet, config: ObjectsConfig) -> ObjectSet:
    """Objects with the proposals and the codes that their settings name.

    Raises:
        UserError: a file is at fault, or made for other objects.
    """
    if config.proposals is not None:
        objects = with_proposals(objects, config.proposals)
    if config.codes is not None:
        encoder = read_encoder(config.codes)
        objects = with_codes(objects, cached_codes(objects, encoder), encoder.id)
    return objects


def make_sim(
    name: str,
    config: Any,
    objects: ObjectSet,
    num_envs: int,
    wrist_law: WristLaw,
    device: str = "cpu",
    object_index: Optional[Tensor] = None,
) -> GraspSim:
    """A simulator.

    Args:
        name: one of `sims.registry.SIMULATORS`.
        config: its settings, as `sims.registry.read_sim_config` returns them.
        device: cpu or cuda:N.
        object_index: (num_envs,) int64, the object of each environment; default: object i stands in environments
            i, i + len(objects), ...

    Raises:
        UserError: the engine is not there, or cannot run on the device.
    """
    index = torch.arange(num_envs) % len(objects) if object_index is None else object_index
    return registry.make_sim(name, config, objects, index, wrist_law, device)


def make_task(
    config: TaskConfig,
    sim_name: str,
    sim_config: Any,
    objects: ObjectSet,
    num_envs: int,
    seed: int,
    device: str = "cpu",
    groups: Optional[Sequence[str]] = None,
    object_index: Optional[Tensor] = None,
) -> GraspTask:
    """A task on a simulator of its own.

    Args:
        sim_name: one of `sims.registry.SIMULATORS`.
        sim_config: its settings.
        device: cpu or cuda:N.
        num_envs: environments.
        seed: of everything random in the task.
        groups: the observation groups that it returns; default: those of `config.observation`.
        object_index: see `make_sim`.

    Raises:
        UserError: the engine is not there or cannot do what the task asks of it, or an observation needs codes that
            the objects lack.
    """
    groups = tuple(groups or VIEWS[config.observation])
    check_task(config, sim_name, objects, groups)
    sim = make_sim(sim_name, sim_config, objects, num_envs, config.wrist, device, object_index)
    return GraspTask(sim, objects, config, seed, groups)


def check_task(config: TaskConfig, sim_name: str, objects: ObjectSet, groups: Sequence[str]) -> None:
    """Check that a simulator can do what a task asks of it, and that the objects have what an observation needs.

    Raises:
        UserError: they do not.
    """
    if config.object_sampling != FIXED and registry.simulator_entry(sim_name).one_scene:
        raise UserError(f"sim={sim_name} keeps an environment's object for good: task.env.objectSampling=fixed")
    if any("object_code" in layout(group) for group in groups):
        _check_codes(objects)


def check_room(num_envs: int, objects: ObjectSet, remedy: str = "") -> None:
    """Check that environments which keep their objects meet all of them.

    Args:
        remedy: what to do about it; default: more environments, or fewer objects.

    Raises:
        UserError: they are too few.
    """
    if num_envs < len(objects):
        remedy = remedy or f"num_envs={len(objects)} can, or take fewer objects"
        raise UserError(f"num_envs={num_envs} environments cannot hold the {len(objects)} objects; {remedy}")


def _check_codes(objects: ObjectSet) -> None:
    without = [obj.name for obj in objects if obj.code is None]
    if without:
        raise UserError(
            f"{len(without)} of {len(objects)} objects have no shape code ('{without[0]}' first), "
            "and this policy sees it: objects.codes=shipped computes codes"
        )
