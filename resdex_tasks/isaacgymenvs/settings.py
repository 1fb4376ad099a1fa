"""A task in IsaacGymEnvs' configuration, in the words of our own."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping

from omegaconf import ListConfig, OmegaConf

from resdex_tasks.grasp_task import TaskConfig
from resdex_tasks.objects.sources import ObjectsConfig, read_objects_config
from resdex_tasks.sims.isaacgym_config import IsaacGymSimConfig
from resdex_tasks.sims.registry import read_sim_config
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.utils.errors import UserError

CONTROL_STEPS = "controlFrequencyInv"
VEC_TASK_KEYS = {
    CONTROL_STEPS,
    "enableCameraSensors",
    "numActions",
    "numAgents",
    "numObservations",
    "numStates",
    "renderFPS",
}
"""Of `task.env`: what `VecTask` reads there by itself."""
TASK_KEYS = ("name", "stage", "next", "numEnvs", "maxIterations", "codes")
"""Of `task`, beside `env`: what stands in cfg/task, too."""


@dataclass(frozen=True)
class Settings:
    """What a task of ours is told by IsaacGymEnvs."""

    env: TaskConfig
    objects: ObjectsConfig
    sim: IsaacGymSimConfig
    seed: int


def own_groups(cfg: Mapping[str, Any]) -> Dict[str, Dict[str, Any]]:
    """The groups `task`, `objects` and `sim` of cfg/config.yaml that a task of IsaacGymEnvs' comes to.

    Args:
        cfg: its group `task`, resolved.
    """
    cfg = plain(cfg)
    physx = cfg["sim"]["physx"]
    return {
        "task": {
            **{key: cfg[key] for key in TASK_KEYS},
            "env": {key: value for key, value in cfg["env"].items() if key not in VEC_TASK_KEYS},
        },
        "objects": cfg["objects"],
        "sim": {
            "name": "isaacgym",
            "fingertipWrenches": cfg["fingertipWrenches"],
            "numThreads": physx["num_threads"],
            "contactPairs": physx["max_gpu_contact_pairs"],
            "bufferMultiplier": physx["default_buffer_size_multiplier"],
            "physics": cfg["physics"],
        },
    }


def read_settings(cfg: Mapping[str, Any]) -> Settings:
    """Type and check a task of IsaacGymEnvs' configuration.

    Args:
        cfg: its group `task`, resolved.

    Raises:
        UserError: a value does not fit.
    """
    if cfg["env"].get(CONTROL_STEPS, 1) != 1:
        raise UserError(f"task.env.{CONTROL_STEPS} must be 1: a force acts in one step of the engine")
    own = own_groups(cfg)
    return Settings(
        read_config(TaskConfig, own["task"]["env"], "task.env"),
        read_objects_config(own["objects"]),
        read_sim_config(own["sim"]),
        int(cfg["seed"]) + int(cfg.get("rank", 0)),  # `rank`: IsaacGymEnvs', of several GPUs
    )


def plain(value: Any) -> Any:
    """IsaacGymEnvs makes dicts of OmegaConf's mappings and leaves the lists: make lists of these, too."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, ListConfig) else value
