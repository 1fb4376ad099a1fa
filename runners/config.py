"""The command line's configuration: Hydra's groups in cfg/, checked, with the automatic choices made."""

import difflib
import importlib.util
import os
import random
import re
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from resdex_tasks.factory import installed
from resdex_tasks.networks.experts import ACTIVATIONS
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.paths import CFG_DIR
from runners.policies.checkpoint import read_checkpoint

GROUPS = ("task", "train", "preset", "sim", "objects", "scale")
GPU_SIMS = ("mujoco_warp",)
"""Simulators that run on CUDA, the best first."""

COUNTS = (
    "num_envs",
    "episodes_per_object",
    "num_episodes",
    "max_iterations",
    "train.params.config.horizon_length",
    "train.params.config.mini_epochs",
    "train.params.config.games_to_track",
    "train.params.config.save_frequency",
)
POSITIVE = (
    "train.params.config.learning_rate",
    "train.params.config.min_lr",
    "train.params.config.max_lr",
    "train.params.config.final_max_lr",
    "train.params.config.kl_threshold",
    "train.params.config.grad_norm",
)
NULLABLE = ("objects.size",)
"""Numbers by default, which may also be null."""


def _minibatch_size(num_envs: int, horizon: int, num_minibatches: int) -> int:
    for name, value in (("num_envs", num_envs), ("horizon_length", horizon), ("num_minibatches", num_minibatches)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name} is {value}; it must be at least 1")
    if num_envs * horizon % num_minibatches:
        raise UserError(
            f"num_envs={num_envs} x horizon_length={horizon} does not divide into num_minibatches={num_minibatches}"
        )
    return num_envs * horizon // num_minibatches


def _register_resolvers() -> None:
    # IsaacGymEnvs' spelling: an empty argument means the default
    OmegaConf.register_new_resolver("resolve_default", lambda d, a: d if a in ("", None) else a, replace=True)
    OmegaConf.register_new_resolver("minibatch_size", _minibatch_size, replace=True)


def _choices(group: str) -> List[str]:
    return sorted(p.stem for p in (CFG_DIR / group).glob("*.yaml"))


def _override_of(overrides: Sequence[str], key: str) -> str:
    """The value given for `key` on the command line, or ''."""
    values = [o.split("=", 1)[1] for o in overrides if o.split("=", 1)[0] == key and "=" in o]
    return values[-1] if values else ""


def _check_groups(overrides: Sequence[str]) -> None:
    for group in GROUPS:
        value, known = _override_of(overrides, group), _choices(group)
        if value and value not in known:
            close = difflib.get_close_matches(value, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UserError(f"no {group} '{value}': cfg/{group} has {', '.join(known)}{hint}")


def _task_of_checkpoint(overrides: Sequence[str]) -> List[str]:
    """A checkpoint goes on with, or is tested on, its own task unless another is named."""
    checkpoint = _override_of(overrides, "checkpoint").strip("'\"")
    if not checkpoint or _override_of(overrides, "task"):
        return []
    task = read_checkpoint(checkpoint).get("task", {}).get("name")
    return [f"task={task}"] if task in _choices("task") else []


def automatic_choices(overrides: Sequence[str]) -> Tuple[List[str], str]:
    """Resolve sim=auto and scale=auto by what the machine has.

    sim: the best GPU simulator that is installed where there is CUDA, else `mujoco`, which needs none.

    Returns:
        The overrides that make the choices, and one line that says them and why.
    """
    chosen, said = [], []
    sim = _override_of(overrides, "sim")
    cuda = torch.cuda.is_available()
    if sim in ("", "auto"):
        sim, why = _best_sim(cuda, _override_of(overrides, "sim_device"))
        chosen.append(f"sim={sim}")
        said.append(f"sim={sim} ({why})")
    if _override_of(overrides, "scale") in ("", "auto"):
        gpu = cuda and sim in GPU_SIMS and _override_of(overrides, "sim_device") != "cpu"
        chosen.append(f"scale={'paper' if gpu else 'cpu'}")
        said.append(f"scale={'paper' if gpu else 'cpu'} (the simulator runs on the {'GPU' if gpu else 'CPU'})")
    return chosen, f"chosen for this machine: {', '.join(said)}" if said else ""


def _best_sim(cuda: bool, sim_device: str) -> Tuple[str, str]:
    """The simulator that sim=auto takes, and why."""
    if sim_device == "cpu":
        return "mujoco", "sim_device=cpu"
    if not cuda:
        return "mujoco", "no CUDA device"
    for sim in GPU_SIMS:
        if installed(sim):
            return sim, "CUDA"
    return "mujoco", "for the GPU: pip install 'resdex[warp]'"


def load_config(overrides: Sequence[str]) -> Tuple[DictConfig, str]:
    """Compose cfg/config.yaml with `key=value` overrides.

    Returns:
        The resolved configuration, and one line on the automatic choices ('' when there were none).

    Raises:
        UserError: an unknown task, preset, group or key, or a value that does not fit.
    """
    _register_resolvers()
    for override in overrides:
        if "=" not in override:
            raise UserError(f"'{override}' is not of the form key=value")
        if override.startswith(("~", "+")) and not override.startswith("+train.params."):
            raise UserError(f"'{override}' would add or remove a key, and nothing reads others than those in cfg/")
    _check_groups(overrides)
    overrides = [*_task_of_checkpoint(overrides), *overrides]
    chosen, said = automatic_choices(overrides)
    groups = {c.split("=")[0] for c in chosen}
    kept = [o for o in overrides if o.split("=", 1)[0] not in groups]
    try:
        with initialize_config_dir(str(CFG_DIR), version_base="1.2"):
            cfg = compose("config", [*kept, *chosen])
            default = compose("config", [o for o in [*kept, *chosen] if o.split("=", 1)[0] in GROUPS])
        _check_types(cfg, default, kept)
        OmegaConf.resolve(cfg)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_sentence(error, kept)) from error
    if cfg.experts != "shipped" and "mixture" not in cfg.train.params.network:
        raise UserError(f"experts={_override_of(kept, 'experts')} are for a hyper-policy: task=ResDexHyper")
    _check_values(cfg)
    return cfg, said


def _check_types(cfg: DictConfig, default: DictConfig, overrides: Sequence[str]) -> None:
    """A number stays a number and a switch a switch, so that a slip does not surface deep in a library."""
    for key in (o.split("=", 1)[0] for o in overrides):
        before = OmegaConf.select(default, key, default=None) if key not in GROUPS else None
        after = OmegaConf.select(cfg, key, default=None)
        if isinstance(before, bool) and not isinstance(after, bool):
            raise UserError(f"{key} is {after!r}; it must be true or false")
        if after is None and key in NULLABLE:
            continue
        if isinstance(before, (int, float)) and not isinstance(after, (int, float)):
            raise UserError(f"{key} is {after!r}; it must be a number, such as {before}")


def _one_sentence(error: Exception, overrides: Sequence[str]) -> str:
    for override in overrides:
        try:
            OverridesParser.create().parse_override(override)
        except HydraException:
            return f"'{override}' cannot be read as key=value; quote special characters"
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, UserError):
        cause = cause.__cause__
    if isinstance(cause, UserError):
        return str(cause)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    if lines and "raised while resolving interpolation: " in lines[0]:
        return lines[0].split("raised while resolving interpolation: ", 1)[1]
    detail = next((line for line in lines if line.startswith("full_key")), "")
    return " ".join([lines[0] if lines else type(cause).__name__, f"({detail})" if detail else ""]).strip()


def _check_values(cfg: DictConfig) -> None:
    for key in COUNTS:
        value = OmegaConf.select(cfg, key)
        if key in ("max_iterations", "num_episodes") and value in ("", None):
            continue
        if type(value) is not int or value < 1:
            raise UserError(f"{key} is {value}; it must be a whole number of at least 1")
    for key in POSITIVE:
        value = OmegaConf.select(cfg, key)
        if not 0 < value < float("inf"):
            raise UserError(f"{key} is {value}; it must be a positive number")
    units = cfg.train.params.network.mlp["units"]
    if OmegaConf.is_list(units) is False or len(units) == 0 or any(type(u) is not int or u < 1 for u in units):
        raise UserError(f"train.params.network.mlp.units is {units}; it must be a list of layer sizes")
    for key in ("experiment", "task_name", "checkpoint", "runs_dir", "stage1"):
        if not isinstance(cfg[key], str):
            raise UserError(f"{key} is {cfg[key]!r}; it must be a text")
    for key in ("experiment", "task_name"):
        if len(cfg[key]) > 100 or "/" in cfg[key] or "\\" in cfg[key] or cfg[key].startswith("."):
            raise UserError(f"{key} is '{cfg[key]}'; it names a folder: 1 to 100 characters, no slash, no leading dot")
    if type(cfg.seed) is not int or not -1 <= cfg.seed < 2**32:
        raise UserError(f"seed is {cfg.seed}; it must be a whole number below 2^32, or -1 for a random one")
    # rl_games takes 0 for "no seed"
    if cfg.seed in (-1, 0):
        cfg.seed = random.SystemRandom().randrange(1, 2**31) if cfg.seed == -1 else 2**31 - 1
        cfg.train.params.seed = cfg.seed
    activation = cfg.train.params.network.mlp.activation
    if activation not in ACTIVATIONS:
        raise UserError(f"no activation '{activation}'; there are {', '.join(ACTIVATIONS)}")
    config = cfg.train.params.config
    batch = config.num_actors * config.horizon_length
    if config.minibatch_size < 1 or batch % config.minibatch_size:
        raise UserError(
            f"train.params.config.minibatch_size={config.minibatch_size} does not divide the batch of "
            f"num_envs x horizon_length = {batch}"
        )
    if cfg.multi_gpu and not cfg.experiment:
        raise UserError("multi_gpu=True needs experiment=NAME, which all its processes share")
    if cfg.multi_gpu and ("LOCAL_RANK" not in os.environ or not torch.cuda.is_available()):
        raise UserError("multi_gpu=True needs CUDA devices and torchrun: torchrun --nproc_per_node=N train.py ...")
    for key in ("sim_device", "rl_device"):
        if cfg.multi_gpu and cfg[key] not in ("auto", "cpu"):
            raise UserError(f"multi_gpu=True gives every process a GPU of its own; leave out {key}={cfg[key]}")
    if cfg.wandb_activate and importlib.util.find_spec("wandb") is None:
        raise UserError("wandb_activate=True needs the package wandb: pip install wandb")
    if not cfg.headless:
        raise UserError("headless=False: there is no window; capture_video=True films an episode")
    for key, on_gpu in (("sim_device", cfg.sim.name in GPU_SIMS), ("rl_device", True)):
        cfg[key] = _device(key, str(cfg[key]), on_gpu)
    config.device = config.device_name = cfg.rl_device


def _device(key: str, value: str, on_gpu: bool) -> str:
    """The device of `key`; `auto` is this process's GPU where `on_gpu` and there is one."""
    if value == "auto":
        cuda = on_gpu and torch.cuda.is_available()
        value = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if cuda else "cpu"
    if value == "cpu":
        return value
    if not re.fullmatch(r"cuda(:\d+)?", value):
        raise UserError(f"{key} is '{value}'; it can be auto, cpu or cuda:N")
    number = int(value[5:] or 0)
    if number >= torch.cuda.device_count():
        raise UserError(f"{key}={value}, but torch finds {torch.cuda.device_count() or 'no'} CUDA device(s)")
    return f"cuda:{number}"


def plain(cfg: DictConfig) -> Dict[str, Any]:
    """The configuration as plain dicts and lists."""
    return OmegaConf.to_container(cfg, resolve=True)


def save_config(cfg: DictConfig, path: Path) -> None:
    """Write the resolved configuration as yaml."""
    path.write_text(OmegaConf.to_yaml(cfg, resolve=True))
