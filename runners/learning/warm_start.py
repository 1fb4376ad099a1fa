"""What a training begins with: its own checkpoint, the first stage's policy, or base experts' files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import yaml

from resdex_tasks.observations import CLOUD, VIEWS
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.overrides import shell_argument
from resdex_tasks.utils.paths import CHECKPOINT_DIR, SHIPPED
from runners.config import NEWEST, RunConfig
from runners.policies.checkpoint import Checkpoint, PolicySpec
from runners.policies.experts import ExpertBundle, stack_experts

SHIPPED_STAGE1 = "hyper_stage1"


@dataclass(frozen=True)
class WarmStart:
    """Where the weights of a training's network come from."""

    spec: PolicySpec
    """What is trained: the configured network, with the experts that are put into it."""
    resumed: Optional[Checkpoint] = None
    """The training's own checkpoint, or a policy whose weights it takes."""
    initial: Optional[Checkpoint] = None
    """A policy of which it takes the weights, and nothing else: what `weights` names; of a second stage, the first."""
    experts: Optional[ExpertBundle] = None
    """To be put into a new hyper-policy."""
    teachers: Tuple[Checkpoint, ...] = ()
    """Whom a student imitates: one, or several, each the objects that it was trained on."""

    @property
    def teachers_see(self) -> Optional[str]:
        """The view of all teachers; None: there are none."""
        return self.teachers[0].spec.observation if self.teachers else None


def find_warm_start(config: RunConfig) -> WarmStart:
    """Read what a training begins with, and check it against the configuration.

    Raises:
        UserError: a file is missing, or does not fit.
    """
    spec, own = config.policy_spec, config.checkpoint
    if own is not None:
        own.check_sees(spec.observation)
    initial = None if own is not None else _initial(config)
    experts = None
    if config.mixes:
        inside = own or initial
        if inside is not None:
            spec = _with_experts_of(spec, inside, config)
        else:
            experts = stack_experts([config.read(name) for name in config.expert_names])
            spec = replace(spec, network={**spec.network, "experts": experts.spec.plain()})
    for checkpoint in (own, initial):
        if checkpoint is not None:
            checkpoint.check_fits(spec)
    if own is not None:
        _check_goes_on(own, config)
    return WarmStart(spec, own, initial, experts, find_teachers(config))


def _initial(config: RunConfig) -> Optional[Checkpoint]:
    """Of whose weights a new training takes its own."""
    if config.command.weights:
        return config.read(config.command.weights)
    return config.read(find_stage1(config)) if config.task.stage == 2 else None


def find_teachers(config: RunConfig) -> Tuple[Checkpoint, ...]:
    """Whom the policy imitates; none: it learns by itself.

    Raises:
        UserError: there is no such checkpoint, it is no teacher, or they see different things.
    """
    if not config.imitates:
        return ()
    named = config.command.teacher
    teachers = tuple(config.read(name) for name in ([named] if isinstance(named, str) else named))
    if not teachers:
        raise UserError("teacher names no checkpoint; a student imitates one, or several")
    for teacher in teachers:
        view = teacher.spec.observation
        teacher.check_sees(view)
        if config.params["network"].get("cloud", {}).get("objectPosition") and CLOUD in VIEWS[view]:
            raise UserError(
                f"teacher={teacher.name} sees no more than its student, who cannot learn from it where the object is: "
                "train.params.network.cloud.objectPosition=false"
            )
        if view != teachers[0].spec.observation:
            raise UserError(
                f"teacher={teacher.name} sees '{view}', {teachers[0].name} '{teachers[0].spec.observation}'; all "
                "teachers of a student see the same"
            )
    return teachers


def _with_experts_of(spec: PolicySpec, checkpoint: Checkpoint, config: RunConfig) -> PolicySpec:
    """The spec, with the experts that a hyper-policy's checkpoint holds; `experts=` may name none but these."""
    inside = checkpoint.spec.experts
    if inside is None:
        sees = checkpoint.spec.observation
        raise UserError(f"{checkpoint.name} is not a hyper-policy: it holds a '{sees}' policy without experts")
    if config.command.experts != SHIPPED:
        names = config.expert_names
        given = stack_experts([config.read(name) for name in names]).spec
        if given.count != inside.count:
            raise UserError(f"{checkpoint.name} mixes {inside.count} experts; experts={list(names)} are {given.count}")
        if given.ids != inside.ids:
            raise UserError(
                f"{checkpoint.name} holds the experts of {list(inside.objects)}; experts={list(names)} are others"
            )
    return replace(spec, network={**spec.network, "experts": inside.plain()})


def _check_goes_on(checkpoint: Checkpoint, config: RunConfig) -> None:
    """A training's checkpoint goes on with a training of the same stage that is not over yet."""
    if checkpoint.training is None:
        return
    theirs, ours = checkpoint.task.get("stage"), config.task.stage
    stage1 = shell_argument("stage1", checkpoint.name)
    if theirs != ours:
        raise UserError(
            f"{checkpoint.name} is a training of {checkpoint.task['name']}, with which this run of {config.task.name} "
            "cannot go on" + (f"; {stage1} starts the second stage from it" if (theirs, ours) == (1, 2) else "")
        )
    done = checkpoint.made_by.iterations
    if done >= config.params["config"]["max_epochs"]:
        following = config.task.next
        raise UserError(
            f"{checkpoint.name} has done its {done} iterations: a max_iterations above {done} goes on"
            + (f", and task={following} {stage1} is what follows" if following else "")
        )


def find_stage1(config: RunConfig) -> str:
    """The checkpoint that `stage1` names: a file, or `newest`: of the last stage-1 run, else the shipped one.

    Raises:
        UserError: there is none.
    """
    if config.command.stage1 != NEWEST:
        return config.command.stage1
    runs = sorted(
        Path(config.command.runs_dir).glob("*/nn/last.pth"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for last in runs:
        if _is_stage1(last.parent.parent / "config.yaml", config.mixes):
            return str(last)
    if config.mixes and (CHECKPOINT_DIR / f"{SHIPPED_STAGE1}.pth").is_file():
        return SHIPPED_STAGE1
    raise UserError(
        f"the second stage starts from a first one, and {config.command.runs_dir}/ holds none: train task=ResDexHyper "
        "first, or name a checkpoint with stage1=FILE"
    )


def _is_stage1(config: Path, mixes: bool) -> bool:
    """Whether a run's configuration is a first stage's, with experts or (plain PPO) without."""
    try:
        cfg: Dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
        return cfg["task"].get("stage") == 1 and ("mixture" in cfg["train"]["params"]["network"]) == mixes
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return False
