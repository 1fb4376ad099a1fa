"""The task that a command line describes, as a training has it."""

from typing import Optional, Sequence

from resdex_tasks.factory import make_objects, make_task
from resdex_tasks.grasp_task import GraspTask
from runners.config import RunConfig


def configured_task(config: RunConfig, num_envs: int, groups: Optional[Sequence[str]] = None) -> GraspTask:
    """The configured task of the configured objects.

    Args:
        groups: the observation groups that it returns; default: the task's own.
    """
    objects, command = make_objects(config.objects), config.command
    return make_task(
        config.task.env, config.sim_name, config.sim, objects, num_envs, command.seed, command.sim_device, groups
    )
