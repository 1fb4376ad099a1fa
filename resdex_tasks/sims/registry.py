"""The simulators by name. A new one is one entry here, a file beside this one and a `cfg/sim/<name>.yaml`."""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Tuple

from torch import Tensor

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.sims.base import GraspSim, WristLaw
from resdex_tasks.sims.isaacgym_config import IsaacGymSimConfig
from resdex_tasks.sims.mujoco_config import MujocoSimConfig, MujocoWarpSimConfig
from resdex_tasks.utils.config_reader import read_config
from resdex_tasks.utils.errors import UserError


@dataclass(frozen=True)
class SimulatorEntry:
    """How one simulator is found and built.

    Its class takes `(objects, object_index, config, wrist_law, device)`: an object set, (N,) which of them stands in
    which environment, an instance of `config`, and where its tensors live.
    """

    module: str
    class_name: str
    config: type
    """Settings class of `cfg/sim/<name>.yaml`, importable without the engine."""
    packages: Tuple[str, ...]
    """The engine's packages, imported when the simulator is built and not before."""
    needs: str
    """What to install, as a sentence."""
    on_gpu: bool
    """Runs on CUDA, too."""
    one_scene: bool = False
    """A process can make it once, its environments keep their objects for good, and it makes no pictures; sim=auto
    never takes it."""


SIMULATORS: Dict[str, SimulatorEntry] = {
    "mujoco": SimulatorEntry(
        "resdex_tasks.sims.mujoco_sim",
        "MujocoSim",
        MujocoSimConfig,
        ("mujoco",),
        "sim=mujoco needs mujoco 3.17, on Python 3.10 or newer: pip install mujoco==3.17.0",
        on_gpu=False,
    ),
    "mujoco_warp": SimulatorEntry(
        "resdex_tasks.sims.mujoco_warp_sim",
        "MujocoWarpSim",
        MujocoWarpSimConfig,
        ("mujoco", "warp", "mujoco_warp"),
        "sim=mujoco_warp needs MuJoCo Warp, on Python 3.10 or newer: pip install 'resdex[warp]'",
        on_gpu=True,
    ),
    "isaacgym": SimulatorEntry(
        "resdex_tasks.sims.isaacgym_sim",
        "IsaacGymSim",
        IsaacGymSimConfig,
        ("isaacgym",),
        "sim=isaacgym needs NVIDIA Isaac Gym Preview 4, on Python 3.8 or older: download it from "
        "developer.nvidia.com/isaac-gym and pip install -e isaacgym/python",
        on_gpu=True,
        one_scene=True,
    ),
}
"""Name in cfg/sim -> entry. The first that is `on_gpu`, not `one_scene`, and installed is what sim=auto takes where
there is CUDA."""


def installed(name: str) -> bool:
    """Whether a simulator's packages are there; none of them is imported."""
    return all(importlib.util.find_spec(package) is not None for package in SIMULATORS[name].packages)


def gpu_simulators() -> List[str]:
    """Names of the simulators that run on CUDA, the best first."""
    return [name for name, entry in SIMULATORS.items() if entry.on_gpu]


def simulator_entry(name: Any) -> SimulatorEntry:
    """The entry of a simulator.

    Raises:
        UserError: there is none of this name.
    """
    if not isinstance(name, str) or name not in SIMULATORS:
        raise UserError(f"no simulator {name!r}; there are {', '.join(SIMULATORS)}")
    return SIMULATORS[name]


def read_sim_config(values: Mapping[str, Any]) -> Any:
    """The settings of the configuration's group `sim`, an instance of the named simulator's settings class.

    Raises:
        UserError: an unknown simulator or key, or a value that does not fit.
    """
    own = {key: value for key, value in values.items() if key != "name"}
    return read_config(simulator_entry(values.get("name")).config, own, "sim")


def make_sim(
    name: str, config: Any, objects: ObjectSet, object_index: Tensor, wrist_law: WristLaw, device: str
) -> GraspSim:
    """Build a simulator.

    Args:
        config: as `read_sim_config` returns it.
        object_index: (N,) int64, the object of each environment.
        device: cpu or cuda:N.

    Raises:
        UserError: its engine is not installed, or cannot run on the device.
    """
    entry = simulator_entry(name)
    if not installed(name):
        raise UserError(entry.needs)
    try:
        build = getattr(importlib.import_module(entry.module), entry.class_name)
    except ImportError as error:
        raise UserError(f"{entry.needs} ({error})") from error
    if device != "cpu" and not entry.on_gpu:
        raise UserError(f"sim={name} runs on the CPU; sim_device={device} needs sim={' or '.join(gpu_simulators())}")
    return build(objects, object_index, config, wrist_law, device)
