"""rl_games' `Runner` with our agents, over an environment that IsaacGymEnvs made."""

import sys
from typing import Any, Dict, Mapping

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from rl_games.common import vecenv
from rl_games.torch_runner import Runner

from resdex_tasks.isaacgymenvs import entry
from resdex_tasks.isaacgymenvs.settings import own_groups, plain
from resdex_tasks.isaacgymenvs.vec_task import ResDexVecTask
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import flat
from resdex_tasks.utils.overrides import Overrides
from runners.config import RunConfig, load_config
from runners.evaluation.run import evaluate_checkpoint
from runners.learning.monitor import TrainingStopped
from runners.learning.train import ALGORITHMS, train

SAME_KEYS = (
    "experiment",
    "max_iterations",
    "checkpoint",
    "torch_deterministic",
    "wandb_activate",
    "wandb_project",
    "wandb_entity",
    "wandb_group",
)
"""Keys of the command line that mean the same to IsaacGymEnvs and to us."""
WARM_START_KEYS = ("experts", "stage1")
"""Keys of IsaacGymEnvs' `task` that stand at the top of our configuration."""
RUNNERS_KEYS = {f"train.params.config.{key}" for key in ("name", "full_experiment_name", "env_name", "print_stats")}
"""What `Runner` and train.py need to be otherwise than ours."""


class ResDexRunner(Runner):
    """Trains and evaluates with our agents as train.py of this repository does; leaves all others to rl_games."""

    def load(self, yaml_config: Dict[str, Any]) -> None:
        self.given = plain(yaml_config["params"])
        super().load(yaml_config)

    def run(self, args: Dict[str, Any]) -> None:
        if self.algo_name not in ALGORITHMS:
            super().run(args)
            return
        sys.argv[0] = entry.launched_as or sys.argv[0]  # for the commands that are printed; runpy changed it
        try:
            self._run(bool(args["play"]))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except (TrainingStopped, KeyboardInterrupt):
            sys.exit(130)

    def _run(self, test: bool) -> None:
        config = self.given["config"]
        env = vecenv.create_vec_env(config["env_name"], config["num_actors"]).env
        if not isinstance(env, ResDexVecTask):
            raise UserError(
                f"train.params.algo.name={self.algo_name} needs a task of ours, and none that is wrapped: "
                "capture_video=True is for rl_games' own agents"
            )
        if config.get("population_based_training"):
            raise UserError(f"pbt trains rl_games' own agents, not {self.algo_name}")
        run = run_config(env, self.given, test)
        if test:
            evaluate_checkpoint(run, env.objects, env.grasp)
        else:
            train(run, env.objects, env.grasp)


def run_config(env: ResDexVecTask, params: Mapping[str, Any], test: bool) -> RunConfig:
    """The run of ours that a command line of IsaacGymEnvs comes to: its defaults, and every value that is another.

    Args:
        params: IsaacGymEnvs' `train.params`, resolved.

    Raises:
        UserError: a value does not fit, or a checkpoint is missing.
    """
    GlobalHydra.instance().clear()  # IsaacGymEnvs' configuration is composed; ours comes next
    own, given = own_groups(env.cfg), Overrides(HydraConfig.get().overrides.task)
    multi_gpu = bool(params["config"]["multi_gpu"])
    chosen: Dict[str, Any] = {
        "task": own["task"]["name"],
        "objects": own["objects"]["source"],
        "sim": own["sim"]["name"],
        "scale": "paper",
        "num_envs": env.num_envs,
        "seed": params["seed"],
        "multi_gpu": multi_gpu,
        # several GPUs: a process takes its own
        **({} if multi_gpu else {"sim_device": env.device, "rl_device": params["config"]["device"]}),
        "follow_up": False,
        "test": test,
        **{key: given.value(key) for key in SAME_KEYS if key in given.keys},
        **{key: plain(env.cfg[key]) for key in WARM_START_KEYS if key in env.cfg},
    }
    usual = load_config(Overrides().having(chosen))
    defaults = flat(usual.plain)
    changed = {
        key: value
        for key, value in flat({**own, "train": {"params": params}}).items()
        if key in defaults and key not in RUNNERS_KEYS and defaults[key] != value
    }
    return load_config(Overrides().having({**chosen, **changed}), usual.read)
