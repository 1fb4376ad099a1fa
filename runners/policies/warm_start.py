"""What a training of the hyper-policy begins with: the base experts' files, a stage-1 policy, or its own checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import yaml

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.paths import CHECKPOINT_DIR
from runners.policies import checkpoint as checkpoints
from runners.policies.experts import ExpertBundle, read_experts

SHIPPED_EXPERTS = "zoo_expert_*.pth"
SHIPPED_STAGE1 = "hyper_stage1"
SHIPPED, NEWEST = "shipped", "newest"


@dataclass
class Start:
    """Where the weights of a new network come from."""

    experts: Optional[ExpertBundle] = None
    """To be put into the network; None: they come with a checkpoint, or the network has none."""
    stage1: Optional[str] = None
    """The checkpoint of the first stage that the second starts from."""


def find_start(cfg: Mapping[str, Any]) -> Start:
    """Find what a training needs, and complete `train.params.network` with what its experts are.

    Args:
        cfg: the configuration as plain containers; of a hyper-policy, `train.params.network.experts` is filled in.

    UserError: a file is missing, or does not do.
    """
    network = cfg["train"]["params"]["network"]
    own, mixes = str(cfg["checkpoint"]), "mixture" in network
    if not mixes:  # plain multi-task PPO has stages too
        return Start(stage1=find_stage1(cfg)) if cfg["task"]["stage"] == 2 and not own else Start()
    if own or cfg["task"]["stage"] == 2:
        name = own or find_stage1(cfg)
        state = checkpoints.read_checkpoint(name)
        if "experts" not in state["train"]["network"]:
            raise UserError(f"{name} is not a hyper-policy: it holds a '{state['kind']}' policy without experts")
        network["experts"] = state["train"]["network"]["experts"]
        if cfg["experts"] != SHIPPED:
            _check_same_experts(name, network["experts"], cfg["experts"])
        return Start() if own else Start(stage1=name)
    bundle = read_experts(shipped_experts() if cfg["experts"] == SHIPPED else cfg["experts"])
    network["experts"] = bundle.spec.plain()
    return Start(experts=bundle)


def shipped_experts() -> list:
    """Names of the shipped base experts, in the order of their clusters."""
    names = [path.stem for path in sorted(CHECKPOINT_DIR.glob(SHIPPED_EXPERTS))]
    if not names:
        raise UserError(f"no expert is shipped (checkpoints/{SHIPPED_EXPERTS}); name some with experts=[a.pth,b.pth]")
    return names


def _check_same_experts(name: str, inside: Mapping[str, Any], files: Any) -> None:
    given = read_experts(files).spec
    if len(inside["ids"]) != given.count:
        raise UserError(f"{name} mixes {len(inside['ids'])} experts; experts={files} are {given.count}")
    if list(given.ids) != list(inside["ids"]):
        raise UserError(f"{name} holds the experts of {inside['objects']}; experts={files} are others")


def find_stage1(cfg: Mapping[str, Any]) -> str:
    """The checkpoint that `stage1` names: a file, or `newest`: of the last stage-1 run, else the shipped one.

    UserError: there is none.
    """
    if cfg["stage1"] != NEWEST:
        return str(checkpoints.find_checkpoint(cfg["stage1"]))
    runs = sorted(Path(cfg["runs_dir"]).glob("*/nn/last.pth"), key=lambda path: path.stat().st_mtime, reverse=True)
    mixes = "mixture" in cfg["train"]["params"]["network"]
    for last in runs:
        if _is_stage1(last.parent.parent / "config.yaml", mixes):
            return str(last)
    if mixes and (CHECKPOINT_DIR / f"{SHIPPED_STAGE1}.pth").is_file():
        return SHIPPED_STAGE1
    raise UserError(
        f"the second stage starts from a first one, and {cfg['runs_dir']}/ holds none: train task=ResDexHyper first, "
        "or name a checkpoint with stage1=FILE"
    )


def _is_stage1(config: Path, mixes: bool) -> bool:
    """Whether a run's configuration is a first stage's, with experts or (plain PPO) without."""
    try:
        cfg: Dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
        return cfg["task"].get("stage") == 1 and ("mixture" in cfg["train"]["params"]["network"]) == mixes
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return False
