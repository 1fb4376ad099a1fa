"""Who runs it: learning, policies, evaluation, the pipeline, the objects tool, films; and the way in from Python:

```python
from runners import load_policy, make_task

task = make_task("ResDexHyper", num_envs=16)
policy = load_policy("hyper_stage2")
obs = task.reset()
for _ in range(200):
    obs, reward, done, extras = task.step(policy(obs).action)
```
"""

import os
import sys
from typing import TYPE_CHECKING, Any, Union

from resdex_tasks.sims.isaacgym_first import import_isaacgym_first
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.versions import check_rl_games

import_isaacgym_first(sys.argv)
try:
    check_rl_games()
except UserError as error:  # an older one lacks modules that are imported next
    raise ImportError(str(error)) from None
# Idle OpenMP threads that spin take the cores from the simulator's threads; read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from pathlib import Path

    from resdex_tasks.grasp_task import GraspTask
    from runners.policies.policy import Policy


def make_task(name: str, **settings: Any) -> "GraspTask":
    """A task of cfg/task on the simulator that suits the machine.

    Args:
        settings: keys of cfg/config.yaml, such as `num_envs=16, objects="zoo", sim="mujoco"`; keys with dots as a
            mapping: `**{"objects.names": ["mug-0000"]}`. What is not given has its default.

    Raises:
        UserError: a key or value does not fit.
    """
    from resdex_tasks.utils.overrides import Overrides
    from runners.config import load_config

    return load_config(Overrides().having({"task": name, **settings})).make_task()


def load_policy(name: Union[str, "Path"], device: str = "cpu") -> "Policy":
    """The deterministic policy of a checkpoint, by its path or the name of a shipped one.

    Raises:
        UserError: there is no such file, or it holds no policy.
    """
    from runners.policies.policy import Policy

    return Policy.load(name, device)
