"""One step of the grasp task: action -> simulator -> observation, reward, reset.

The task knows no simulator: it talks to `sims.base.GraspSim`. Names of methods and of the `env:` settings are those of
IsaacGymEnvs' tasks.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from resdex_tasks import rewards
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS, NUM_ACTIONS, PALM_DOWN_QUAT
from resdex_tasks.objects.geometry.stable_poses import rest_heights
from resdex_tasks.objects.object_set import CODE_SIZE, ObjectSet
from resdex_tasks.objects.sampling import FAILING, FIXED, RANDOM, FailingObjects
from resdex_tasks.observations import CLOUD, VIEWS, full_observation, layout, narrow
from resdex_tasks.sims.base import TABLE_HEIGHT, GraspSim, Overflow, WristLaw
from resdex_tasks.utils.config_reader import bounds
from resdex_tasks.utils.rotations import axis_quat, quat_mul, quat_rotate, rotate_yaw, yaw_quat
from resdex_tasks.utils.tensors import constant
from resdex_tasks.vision.cameras import make_clouds
from resdex_tasks.vision.config import VisionConfig


@dataclass(frozen=True)
class StartConfig:
    """`task.env.start`: how two starts with one object differ. Each is uniform within +- its value; 0 is the paper."""

    object_offset: float = field(metadata=bounds(at_least=0))
    """m, of the object along x and y."""
    hand_offset: float = field(metadata=bounds(at_least=0))
    """m, of the hand along x, y and z."""
    hand_tilt: float = field(metadata=bounds(at_least=0))
    """rad, of the hand about its x and y axes."""
    hand_yaw: float = field(metadata=bounds(at_least=0))
    """rad, of the hand about z, added to what `TaskConfig.hand_yaw` says."""

    @property
    def varies(self) -> bool:
        return any(getattr(self, f.name) > 0 for f in fields(self))


@dataclass(frozen=True)
class TaskConfig:
    """`task.env`"""

    num_envs: int = field(metadata=bounds(at_least=1))
    observation: str = field(metadata=bounds(choices=tuple(VIEWS)))
    """What the policy sees: 'base' without geometry, 'full' with it, 'vision' a cloud of points on the object."""
    episode_length: int = field(metadata=bounds(at_least=1))
    """Control steps; no early end."""
    goal_height: float = field(metadata=bounds(above=0))
    """m above the table's centre: 0.2 in the paper, 0.3 in the official code."""
    object_drop_height: float = field(metadata=bounds(above=0))
    """m above the table, of the object's frame at reset (A.1: 10 cm)."""
    hand_height: float = field(metadata=bounds(above=0))
    """m above the table, of the hand's root at reset (A.1: 20 cm)."""
    clip_observations: float = field(metadata=bounds(above=0))
    clip_actions: float = field(metadata=bounds(above=0))
    object_sampling: str = field(metadata=bounds(choices=(FIXED, RANDOM, FAILING)))
    """'fixed': an environment keeps its object; 'random': it draws one of the set at every reset, so that few
    environments meet all objects; 'failing': it draws those more often whose episodes fail (`FailingObjects`)."""
    proposal: str = field(metadata=bounds(choices=("first", "random")))
    """Which proposal of the object an episode uses: 'first', or 'random' at every reset."""
    hand_yaw: str = field(metadata=bounds(choices=("random", "proposal")))
    """The hand's yaw at reset, which also turns the frame of observation and action: 'random' whatever the object's
    yaw, or 'proposal': as in the episode's proposal, relative to the object (the official code)."""
    stagger_episodes: bool
    """Start the very first episodes at random steps, so that resets spread over time."""
    start: StartConfig
    vision: VisionConfig
    reward: rewards.RewardConfig
    wrist: WristLaw


@dataclass(frozen=True)
class Health:
    """What went wrong in the simulator since the task was made."""

    num_diverged: int
    """Episodes that ended because the physics broke down."""
    overflows: List[Overflow]
    """The engine's buffers, also those that were never too small."""


class GraspTask:
    """N environments that grasp and lift, vectorised.

    `step` returns the observations of the *next* episode where an episode ended, with `extras` describing the ended
    ones: `time_outs` (N,) bool, `success_once` and `success_at_end` (N,) bool (within 5 cm of the goal at some step,
    and at the last one), `diverged` (N,); `distances` (`rewards.Distances`) are those of the step, before any reset.

    Args:
        sim: the simulator.
        objects: the set that `sim.object_index` points into.
        config: settings.
        seed: of everything random in the task.
        groups: the observation groups that `step` and `reset` return; default: what the policy sees,
            `config.observation`.

    Raises:
        UserError: the groups have a cloud, and an object has no points for it.
    """

    def __init__(
        self, sim: GraspSim, objects: ObjectSet, config: TaskConfig, seed: int, groups: Optional[Sequence[str]] = None
    ) -> None:
        self.sim, self.objects, self.config = sim, objects, config
        self.num_envs, self.device = sim.num_envs, sim.device
        self.groups = tuple(groups or VIEWS[config.observation])
        self.num_obs = sum(layout(config.observation, config.vision.num_points).values())
        self.num_actions = NUM_ACTIONS
        self.generator = torch.Generator(device=self.device).manual_seed(seed)

        n, device = self.num_envs, self.device
        self.goal = torch.tensor([0.0, 0.0, TABLE_HEIGHT + config.goal_height], device=device)
        codes = [np.zeros(CODE_SIZE) if o.code is None else o.code for o in objects]
        self._codes = torch.tensor(np.stack(codes), dtype=torch.float32, device=device)
        self._palm_down = torch.tensor(PALM_DOWN_QUAT, device=device)
        self._actuated = torch.tensor([JOINTS.index(name) for name in ACTUATED], device=device)
        self._load_proposals()

        self.actions = torch.zeros(n, NUM_ACTIONS, device=device)
        self.yaw = torch.zeros(n, device=device)
        self.proposal_index = torch.zeros(n, dtype=torch.int64, device=device)
        self.progress = torch.zeros(n, dtype=torch.int64, device=device)
        self.success_once = torch.zeros(n, dtype=torch.bool, device=device)
        self.rest_height = torch.zeros(n, device=device)
        self.reward_sums = {name: torch.zeros(n, device=device) for name in config.reward.terms}
        self.num_diverged = 0
        self.clouds = make_clouds(objects, config.vision, n, device, seed) if CLOUD in self.groups else None
        """Where the observation group `cloud` comes from; None: no policy sees it."""
        failing = config.object_sampling == FAILING
        self.failing_objects = FailingObjects(len(objects), device) if failing else None
        self.obs: Dict[str, Tensor] = {}

    def _load_proposals(self) -> None:
        """All proposals of all objects as one table; `_first[i]` and `_count[i]` find those of object i."""
        counts = [len(o.proposals) for o in self.objects]
        per_object = [o.proposals for o in self.objects]

        def table(field: str) -> Tensor:
            rows = np.concatenate([getattr(p, field) for p in per_object])
            return torch.tensor(rows, dtype=torch.float32, device=self.device)

        self._rotation, self._translation = table("rotation"), table("translation")
        self._rest_rotation = table("rest_rotation")
        # real grasps exceed the hand's joint limits here and there
        lower, upper = self.sim.joint_limits.unbind(-1)
        self._joint_pos = table("joint_pos").clamp(lower, upper)
        self._count = torch.tensor(counts, device=self.device)
        self._first = self._count.cumsum(0) - self._count
        # the object's frame above the table when it rests as the proposal says
        heights = [rest_heights(o.vertices, o.proposals.rest_rotation) for o in self.objects]
        self._rest_height = torch.tensor(np.concatenate(heights), dtype=torch.float32, device=self.device)

    def reset(self, object_index: Optional[Tensor] = None, seed: Optional[int] = None) -> Dict[str, Tensor]:
        """Start a new episode everywhere.

        Args:
            object_index: (N,) int64, which object of the set each environment gets; default: as configured.
            seed: starts the task's random numbers again; default: they go on.

        Returns:
            The observations: group -> (N, size).
        """
        every = torch.arange(self.num_envs, device=self.device)
        if seed is not None:
            self.generator.manual_seed(seed)
            if self.clouds is not None:
                self.clouds.generator.manual_seed(seed)
        if object_index is not None:
            if self.config.object_sampling != FIXED:
                raise ValueError("the task draws objects itself: object_sampling must be 'fixed'")
            self.sim.put_objects(every, object_index.to(self.device))
        self.reset_idx(every)
        if self.config.stagger_episodes:
            self.progress = torch.randint(
                self.config.episode_length, (self.num_envs,), generator=self.generator, device=self.device
            )
        self.obs = self.observe(self.groups)
        return self.obs

    def reset_idx(self, env_ids: Tensor) -> None:
        """Start a new episode in some environments (n,): object dropped at a random yaw, hand above it, palm down."""
        n = len(env_ids)
        if n == 0:
            return
        if self.failing_objects is not None:
            self.sim.put_objects(env_ids, self.failing_objects.draw(n, self.generator))
        elif self.config.object_sampling == RANDOM:
            drawn = torch.randint(len(self.objects), (n,), generator=self.generator, device=self.device)
            self.sim.put_objects(env_ids, drawn)
        uniform = torch.rand(3, n, generator=self.generator, device=self.device)
        objects = self.sim.object_index[env_ids]
        proposal = self._first[objects]
        if self.config.proposal == "random":
            proposal = proposal + (uniform[0] * self._count[objects]).long()
        self.proposal_index[env_ids] = proposal
        object_yaw = (2 * uniform[1] - 1) * math.pi
        object_quat = quat_mul(yaw_quat(object_yaw), self._rest_rotation[proposal])
        if self.config.hand_yaw == "random":
            yaw = (2 * uniform[2] - 1) * math.pi
        else:
            yaw = _heading(quat_mul(object_quat, self._rotation[proposal]))

        def above_table(height: float) -> Tensor:
            return constant((0.0, 0.0, TABLE_HEIGHT + height), self.device).expand(n, 3)

        hand, obj = above_table(self.config.hand_height), above_table(self.config.object_drop_height)
        palm, start = self._palm_down.expand(n, 4), self.config.start
        if start.varies:
            noise = 2 * torch.rand(n, 8, generator=self.generator, device=self.device) - 1
            yaw = yaw + start.hand_yaw * noise[:, 0]
            hand = hand + start.hand_offset * noise[:, 1:4]
            obj = obj + torch.nn.functional.pad(start.object_offset * noise[:, 4:6], (0, 1))
            tilt = quat_mul(*(axis_quat(axis, start.hand_tilt * noise[:, 6 + axis]) for axis in (0, 1)))
            palm = quat_mul(tilt, palm)
        self.yaw[env_ids] = yaw
        self.sim.reset(
            env_ids,
            root_pose=torch.cat((hand, quat_mul(yaw_quat(yaw), palm)), dim=1),
            joint_pos=torch.zeros(n, len(JOINTS), device=self.device),
            object_pose=torch.cat((obj, object_quat), dim=1),
        )
        if self.clouds is not None:
            self.clouds.draw(env_ids)
        self.rest_height[env_ids] = TABLE_HEIGHT + self._rest_height[proposal]
        self.actions[env_ids] = 0
        self.progress[env_ids] = 0
        self.success_once[env_ids] = False
        for total in self.reward_sums.values():
            total[env_ids] = 0

    def step(self, actions: Tensor) -> Tuple[Dict[str, Tensor], Tensor, Tensor, Dict]:
        """One control step.

        Args:
            actions: (N, 24) wrist force 3, wrist torque 3, joint targets 18, in the yaw-aligned frame, clamped to
                +-clip_actions.

        Returns:
            observations (group -> (N, size)), reward (N,), done (N,) bool, extras.
        """
        self.pre_physics_step(actions)
        return self.post_physics_step()

    def pre_physics_step(self, actions: Tensor) -> None:
        """Turn the action into joint targets and a wrist wrench, and step the simulator."""
        self.actions = actions.to(self.device).clamp(-self.config.clip_actions, self.config.clip_actions)
        law, cos, sin = self.sim.wrist_law, self.yaw.cos(), self.yaw.sin()
        lower, upper = self.sim.joint_limits[self._actuated].unbind(-1)
        self.sim.step(
            joint_targets=lower + (self.actions[:, 6:] + 1) / 2 * (upper - lower),
            wrist_force=rotate_yaw(self.actions[:, :3], cos, sin) * law.max_force,
            wrist_torque=rotate_yaw(self.actions[:, 3:6], cos, sin) * law.max_torque,
        )

    def post_physics_step(self) -> Tuple[Dict[str, Tensor], Tensor, Tensor, Dict]:
        """Reward the step, reset what ended, observe."""
        self.progress += 1
        reward, distances = self.compute_reward()
        near = distances.goal <= rewards.SUCCESS_RADIUS
        # an environment whose physics broke down ends here, pays nothing and is no success
        diverged = self.sim.diverged | ~self.sim.state().finite()
        reward = torch.where(diverged, torch.zeros_like(reward), reward)
        near = near & ~diverged
        self.success_once |= near
        time_outs = (self.progress >= self.config.episode_length) & ~diverged
        done = time_outs | diverged
        self.num_diverged += int(diverged.sum())
        extras = {
            "time_outs": time_outs,
            "success_once": self.success_once.clone(),
            "success_at_end": near,
            "diverged": diverged,
            "goal_distance": distances.goal,
            "distances": distances,
            "reward_sums": {name: total.clone() for name, total in self.reward_sums.items()},
        }
        ended = done.nonzero(as_tuple=True)[0]
        if self.failing_objects is not None:
            self.failing_objects.note(self.sim.object_index[ended], near[ended])
        self.reset_idx(ended)
        self.obs = self.observe(self.groups)
        return self.obs, reward, done, extras

    def compute_reward(self) -> Tuple[Tensor, rewards.Distances]:
        """The reward (N,) of the current state, adding its terms to `reward_sums`."""
        config, state, proposal = self.config.reward, self.sim.state(), self.proposal_index
        distances = rewards.distances(
            state, self.goal, self._joint_pos[proposal], self._translation[proposal], self._rotation[proposal], config
        )
        terms = rewards.reward_terms(distances, self.actions[:, 2], state.object[:, 2], self.rest_height, config)
        for name, term in terms.items():
            self.reward_sums[name] += term
        return torch.stack(tuple(terms.values())).sum(dim=0), distances

    @property
    def object_code(self) -> Tensor:
        """(N, 64) shape code of the object in each environment, zeros where it has none."""
        return self._codes[self.sim.object_index]

    def observe(self, groups: Sequence[str]) -> Dict[str, Tensor]:
        """Observation groups of the current state, clipped: name -> (N, size), or (N, P, 3) for a cloud."""
        state, clip = self.sim.state(), self.config.clip_observations
        full = full_observation(state, self.sim.joint_limits, self.yaw, self.actions, self.goal, self.object_code)
        seen = {group: narrow(full, group) for group in groups if group != CLOUD}
        if CLOUD in groups:
            if self.clouds is None:
                raise ValueError("this task was made without the group 'cloud'")
            seen[CLOUD] = self.clouds.observe(self.sim, self.yaw)
        return {group: seen[group].clamp(-clip, clip) for group in groups}

    def seen_points(self, env_id: int) -> Optional[Tensor]:
        """The cloud (P, 3) that was observed last in an environment, m, in the world frame; None without clouds."""
        if self.clouds is None or CLOUD not in self.obs:
            return None
        return self.clouds.in_world(self.obs[CLOUD][env_id], self.yaw[env_id])

    def health(self) -> Health:
        """What went wrong so far."""
        return Health(self.num_diverged, self.sim.overflows())

    _SAVED = ("actions", "yaw", "proposal_index", "progress", "success_once", "rest_height")

    def get_state(self) -> dict:
        """Everything needed to continue, bit-exactly where the simulator is deterministic (for checkpoints)."""
        return {
            "device": self.device.type,
            "sim": self.sim.get_state(),
            "generator": self.generator.get_state(),
            "num_diverged": self.num_diverged,
            "obs": {group: value.clone() for group, value in self.obs.items()},
            "reward_sums": {name: total.clone() for name, total in self.reward_sums.items()},
            "clouds": None if self.clouds is None else self.clouds.get_state(),
            **({} if self.failing_objects is None else {"failing_objects": self.failing_objects.get_state()}),
            **{name: getattr(self, name).clone() for name in self._SAVED},
        }

    def set_state(self, state: dict) -> None:
        """Inverse of `get_state`, on the same kind of device, whose random numbers are part of the state."""
        self.sim.set_state(state["sim"])
        self.generator.set_state(state["generator"])
        self.num_diverged = state["num_diverged"]
        self.obs = {group: value.clone().to(self.device) for group, value in state["obs"].items()}
        self.reward_sums = {name: total.clone().to(self.device) for name, total in state["reward_sums"].items()}
        if self.clouds is not None:
            self.clouds.set_state(state["clouds"])
        if self.failing_objects is not None:
            self.failing_objects.set_state(state["failing_objects"])
        for name in self._SAVED:
            setattr(self, name, state[name].clone().to(self.device))


def _heading(hand_quat: Tensor) -> Tensor:
    """Yaw (n,) that turns the palm-down start pose's fingers to where a hand's fingers point, seen from above."""
    fingers = quat_rotate(hand_quat, constant((0.0, 0.0, 1.0), hand_quat.device))
    # at yaw 0 the fingers point along -y
    return torch.atan2(fingers[:, 0], -fingers[:, 1])
