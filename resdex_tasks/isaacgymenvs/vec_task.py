"""The task behind IsaacGymEnvs' `VecTask`, which owns the engine, steps it and draws it.

Imports IsaacGymEnvs: only it imports this file (`entry.py`).
"""

from typing import Any, Dict, Mapping, Tuple

import torch
from isaacgymenvs.tasks.base.vec_task import VecTask
from torch import Tensor

from resdex_tasks.factory import check_room, check_task, make_objects
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.isaacgymenvs.settings import Settings, read_settings
from resdex_tasks.observations import SIZES, VIEWS, joined
from resdex_tasks.sims.isaacgym_sim import SharedIsaacGymSim


class ResDexVecTask(VecTask):
    """A task of cfg/isaacgymenvs/task as IsaacGymEnvs makes and steps it.

    Args:
        cfg: the configuration's group `task`, resolved; IsaacGymEnvs' own keys are written into its `env`.
        rl_device, sim_device, graphics_device_id, headless, virtual_screen_capture, force_render: IsaacGymEnvs'.

    Raises:
        UserError: a value does not fit, or the environments are too few for the objects.
    """

    grasp: "SteppedTask"
    """The task itself: its `step` is this environment's."""
    objects: Any
    """`ObjectSet`, of which environment i holds the object i modulo its size."""
    settings: Settings

    def __init__(
        self,
        cfg: Dict[str, Any],
        rl_device: str,
        sim_device: str,
        graphics_device_id: int,
        headless: bool,
        virtual_screen_capture: bool = False,
        force_render: bool = False,
    ) -> None:
        self.cfg, self.settings = cfg, read_settings(cfg)
        task = self.settings.env
        self.max_episode_length = task.episode_length
        cfg["env"].update(numObservations=SIZES[task.observation], numActions=NUM_ACTIONS)
        super().__init__(cfg, rl_device, sim_device, graphics_device_id, headless, virtual_screen_capture, force_render)
        self._sim.ready()
        self.grasp = SteppedTask(self._sim, self.objects, task, self.settings.seed)
        self.grasp.owner = self
        self.reset()

    def create_sim(self) -> None:
        """The engine and everything in it; called by `VecTask`, which then prepares it."""
        task = self.settings.env
        self.objects = make_objects(self.settings.objects)
        check_task(task, "isaacgym", self.objects, VIEWS[task.observation])
        check_room(self.num_envs, self.objects)
        self.sim = super().create_sim(self.device_id, self.graphics_device_id, self.physics_engine, self.sim_params)
        index = torch.arange(self.num_envs) % len(self.objects)
        self._sim = SharedIsaacGymSim(
            self.gym, self.sim, self.objects, index, self.settings.sim, task.wrist, self.device
        )

    def reset(self) -> Dict[str, Tensor]:
        """Start a new episode everywhere. Returns {"obs": (N, size)}, as `step` does."""
        self.obs_buf = self._seen(self.grasp.reset())
        return super().reset()

    def reset_idx(self, env_ids: Tensor) -> None:
        """Start a new episode in some environments (n,)."""
        self.grasp.reset_idx(env_ids)
        self.obs_buf = self._seen(self.grasp.observe(self.grasp.groups))

    def pre_physics_step(self, actions: Tensor) -> None:
        self.grasp.pre_physics_step(actions)  # only hands over: the simulator is stepped by another

    def post_physics_step(self) -> None:
        self._sim.refresh()
        self.grasp.outcome = obs, reward, done, extras = self.grasp.post_physics_step()
        self.obs_buf, self.rew_buf, self.reset_buf = self._seen(obs), reward, done.long()
        # what VecTask makes its `time_outs` of
        self.progress_buf = torch.where(extras["time_outs"], self.max_episode_length, 0)
        self.extras = {**extras, **_for_observer(extras)}

    def _seen(self, observations: Mapping[str, Tensor]) -> Tensor:
        return joined(observations, self.settings.env.observation)


class SteppedTask(GraspTask):
    """The task as IsaacGymEnvs steps it: whoever steps it steps the owner, with all that belongs to that."""

    owner: ResDexVecTask
    outcome: Tuple[Dict[str, Tensor], Tensor, Tensor, Dict]
    """What the last step of the owner came to."""

    def step(self, actions: Tensor) -> Tuple[Dict[str, Tensor], Tensor, Tensor, Dict]:
        self.owner.step(actions.to(self.device))
        return self.outcome


def _for_observer(extras: Mapping[str, Any]) -> Dict[str, Any]:
    """What IsaacGymEnvs' observer averages over an iteration and logs: success of the episodes that ended."""
    ended = extras["time_outs"].nonzero(as_tuple=True)[0]
    if len(ended) == 0:
        return {}
    return {"episode": {name: extras[name][ended].float().mean() for name in ("success_once", "success_at_end")}}
