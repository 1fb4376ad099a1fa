"""What a run takes of the machine that it is on: simulator, scale, devices."""

import os
import re
from typing import Dict, Tuple

import torch

from resdex_tasks.sims.registry import gpu_simulators, installed, simulator_entry
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.overrides import Overrides

AUTO = "auto"


def automatic_choices(overrides: Overrides) -> Tuple[Dict[str, str], str]:
    """Resolve sim=auto and scale=auto by what the machine has.

    Returns:
        The values of the groups that were chosen, and one line that says them and why.
    """
    chosen, said, cuda = {}, [], torch.cuda.is_available()
    sim = overrides.value("sim", AUTO) or AUTO
    on_cpu = overrides.value("sim_device") == "cpu"
    if sim == AUTO:
        sim, why = _best_sim(cuda, on_cpu)
        chosen["sim"] = sim
        said.append(f"sim={sim} ({why})")
    if overrides.value("scale", AUTO) in ("", AUTO):
        gpu = cuda and sim in gpu_simulators() and not on_cpu
        chosen["scale"] = "paper" if gpu else "cpu"
        said.append(f"scale={chosen['scale']} (the simulator runs on the {'GPU' if gpu else 'CPU'})")
    return chosen, f"chosen for this machine: {', '.join(said)}" if said else ""


def _best_sim(cuda: bool, on_cpu: bool) -> Tuple[str, str]:
    """The simulator that sim=auto takes, and why: on a GPU the best that is installed, else the CPU's."""
    if on_cpu:
        return "mujoco", "sim_device=cpu"
    if not cuda:
        return "mujoco", "no CUDA device"
    for sim in gpu_simulators():
        if installed(sim) and not simulator_entry(sim).one_scene:
            return sim, "CUDA"
    return "mujoco", "for the GPU: pip install 'resdex[warp]'"


def device_of(key: str, value: str, on_gpu: bool) -> str:
    """The device of `key`; `auto` is this process's GPU where `on_gpu` and there is one."""
    if value == AUTO:
        cuda = on_gpu and torch.cuda.is_available()
        value = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if cuda else "cpu"
    if value == "cpu":
        return value
    if not re.fullmatch(r"cuda(:\d+)?", value):
        raise UserError(f"{key} is {value!r}; it must be auto, cpu or cuda:N")
    number = int(value[5:] or 0)
    if number >= torch.cuda.device_count():
        raise UserError(f"{key}={value}, but torch finds {torch.cuda.device_count() or 'no'} CUDA device(s)")
    return f"cuda:{number}"
