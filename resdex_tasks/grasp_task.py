"""One step of the grasp task: action -> simulator -> observation, reward, reset.

The task knows no simulator: it talks to `sims.base.GraspSim`. Names of methods and of the `env:` settings are those of
IsaacGymEnvs' tasks.
"""

import math
from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np
import torch
from torch import Tensor

from resdex_tasks import rewards
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS, NUM_ACTIONS, PALM_DOWN_QUAT
from resdex_tasks.objects.geometry.stable_poses import rest_heights
from resdex_tasks.objects.object_set import CODE_SIZE, ObjectSet
from resdex_tasks.observations import SIZES, full_observation
from resdex_tasks.sims.base import TABLE_HEIGHT, GraspSim
from resdex_tasks.utils.config_reader import camel_case
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.rotations import quat_mul, quat_rotate, rotate_yaw, yaw_quat
from resdex_tasks.utils.tensors import constant

PROPOSALS = ("first", "random")
HAND_YAWS = ("random", "proposal")
OBJECT_SAMPLINGS = ("fixed", "random")


@dataclass(frozen=True)
class TaskConfig:
    """`task.env` (but for the settings of the simulator)."""

    observation: str
    """'base': the 153 numbers without geometry; 'full': all 227."""
    episode_length: int
    """Control steps; no early end."""
    goal_height: float
    """m above the table's centre: 0.2 in the paper, 0.3 in the official code."""
    object_drop_height: float
    """m above the table, of the object's frame at reset (A.1: 10 cm)."""
    hand_height: float
    """m above the table, of the hand's root at reset (A.1: 20 cm)."""
    clip_observations: float
    clip_actions: float
    object_sampling: str
    """'fixed': an environment keeps its object; 'random': it draws one of the set at every reset, so that few
    environments meet all objects."""
    proposal: str
    """Which proposal of the object an episode uses: 'first', or 'random' at every reset."""
    hand_yaw: str
    """The hand's yaw at reset, which also turns the frame of observation and action: 'random' whatever the object's
    yaw, or 'proposal': as in the episode's proposal, relative to the object (the official code)."""
    stagger_episodes: bool
    """Start the very first episodes at random steps, so that resets spread over time."""
    reward: rewards.RewardConfig

    def __post_init__(self) -> None:
        for key, value, known in (
            ("observation", self.observation, tuple(SIZES)),
            ("objectSampling", self.object_sampling, OBJECT_SAMPLINGS),
            ("proposal", self.proposal, PROPOSALS),
            ("handYaw", self.hand_yaw, HAND_YAWS),
        ):
            if value not in known:
                raise UserError(f"task.env.{key} is '{value}'; it can be {' or '.join(known)}")
        if self.episode_length < 1:
            raise UserError(f"task.env.episodeLength is {self.episode_length}; it must be at least 1")
        for key in ("goal_height", "object_drop_height", "hand_height", "clip_observations", "clip_actions"):
            value = getattr(self, key)
            if not 0 < value < math.inf:
                raise UserError(f"task.env.{camel_case(key)} is {value}; it must be a positive number")
        unknown = [t for t in self.reward.terms if t not in rewards.TERMS]
        if unknown:
            raise UserError(f"task.env.reward.terms has '{unknown[0]}'; the terms are {', '.join(rewards.TERMS)}")


class GraspTask:
    """N environments that grasp and lift, vectorised.

    `step` returns the observation of the *next* episode where an episode ended, with `extras` describing the ended
    ones: `time_outs` (N,) bool, `latched` and `held` (N,) bool (success ever, and at the last step), `diverged` (N,);
    `distances` (`rewards.Distances`) are those of the step, before any reset.

    Args:
        sim: the simulator.
        objects: the set that `sim.object_index` points into.
        config: settings.
        seed: of everything random in the task.
    """

    def __init__(self, sim: GraspSim, objects: ObjectSet, config: TaskConfig, seed: int) -> None:
        self.sim, self.objects, self.config = sim, objects, config
        self.num_envs, self.device = sim.num_envs, sim.device
        self.num_obs, self.num_actions = SIZES[config.observation], NUM_ACTIONS
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
        self.latched = torch.zeros(n, dtype=torch.bool, device=device)
        self.rest_height = torch.zeros(n, device=device)
        self.reward_sums = {name: torch.zeros(n, device=device) for name in config.reward.terms}
        self.num_diverged = 0
        self.obs = torch.zeros(n, self.num_obs, device=device)

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
        heights = [
            rest_heights(np.concatenate([p.vertices for p in o.pieces]), o.proposals.rest_rotation)
            for o in self.objects
        ]
        self._rest_height = torch.tensor(np.concatenate(heights), dtype=torch.float32, device=self.device)

    def reset(self) -> Tensor:
        """Start a new episode everywhere. Returns the observation (N, num_obs)."""
        self.reset_idx(torch.arange(self.num_envs, device=self.device))
        if self.config.stagger_episodes:
            self.progress = torch.randint(
                self.config.episode_length, (self.num_envs,), generator=self.generator, device=self.device
            )
        self.obs = self.compute_observations()
        return self.obs

    def reset_idx(self, env_ids: Tensor) -> None:
        """Start a new episode in some environments (n,): object dropped at a random yaw, hand above it, palm down."""
        n = len(env_ids)
        if n == 0:
            return
        if self.config.object_sampling == "random":
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
        self.yaw[env_ids] = yaw

        def pose(height: float, quat: Tensor) -> Tensor:
            position = constant((0.0, 0.0, TABLE_HEIGHT + height), self.device)
            return torch.cat((position.expand(n, 3), quat), dim=1)

        self.sim.reset(
            env_ids,
            root_pose=pose(self.config.hand_height, quat_mul(yaw_quat(yaw), self._palm_down.expand(n, 4))),
            joint_pos=torch.zeros(n, len(JOINTS), device=self.device),
            object_pose=pose(self.config.object_drop_height, object_quat),
        )
        self.rest_height[env_ids] = TABLE_HEIGHT + self._rest_height[proposal]
        self.actions[env_ids] = 0
        self.progress[env_ids] = 0
        self.latched[env_ids] = False
        for total in self.reward_sums.values():
            total[env_ids] = 0

    def step(self, actions: Tensor) -> Tuple[Tensor, Tensor, Tensor, Dict]:
        """One control step.

        Args:
            actions: (N, 24) wrist force 3, wrist torque 3, joint targets 18, in the yaw-aligned frame, clamped to
                +-clip_actions.

        Returns:
            observation (N, num_obs), reward (N,), done (N,) bool, extras.
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

    def post_physics_step(self) -> Tuple[Tensor, Tensor, Tensor, Dict]:
        """Pay for the step, end episodes, observe."""
        self.progress += 1
        reward, distances = self.compute_reward()
        near = distances.goal <= rewards.SUCCESS_RADIUS
        # an environment whose physics broke down ends here, pays nothing and is no success
        diverged = self.sim.diverged | ~self.sim.state().finite()
        reward = torch.where(diverged, torch.zeros_like(reward), reward)
        near = near & ~diverged
        self.latched |= near
        time_outs = (self.progress >= self.config.episode_length) & ~diverged
        done = time_outs | diverged
        self.num_diverged += int(diverged.sum())
        extras = {
            "time_outs": time_outs,
            "latched": self.latched.clone(),
            "held": near,
            "diverged": diverged,
            "goal_distance": distances.goal,
            "distances": distances,
            "reward_sums": {name: total.clone() for name, total in self.reward_sums.items()},
        }
        self.reset_idx(done.nonzero(as_tuple=True)[0])
        self.obs = self.compute_observations()
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

    def compute_observations(self) -> Tensor:
        """The configured observation of the current state, clipped. (N, num_obs)"""
        obs = full_observation(
            self.sim.state(), self.sim.joint_limits, self.yaw, self.actions, self.goal, self.object_code
        )
        return obs[:, : self.num_obs].clamp(-self.config.clip_observations, self.config.clip_observations)

    _SAVED = ("actions", "yaw", "proposal_index", "progress", "latched", "rest_height", "obs")

    def get_state(self) -> dict:
        """Everything needed to continue, bit-exactly where the simulator is deterministic (for checkpoints)."""
        return {
            "device": self.device.type,
            "sim": self.sim.get_state(),
            "generator": self.generator.get_state(),
            "num_diverged": self.num_diverged,
            "reward_sums": {name: total.clone() for name, total in self.reward_sums.items()},
            **{name: getattr(self, name).clone() for name in self._SAVED},
        }

    def set_state(self, state: dict) -> None:
        """Inverse of `get_state`, on the same kind of device, whose random numbers are part of the state."""
        self.sim.set_state(state["sim"])
        self.generator.set_state(state["generator"])
        self.num_diverged = state["num_diverged"]
        self.reward_sums = {name: total.clone().to(self.device) for name, total in state["reward_sums"].items()}
        for name in self._SAVED:
            setattr(self, name, state[name].clone().to(self.device))


def _heading(hand_quat: Tensor) -> Tensor:
    """Yaw (n,) that turns the palm-down start pose's fingers to where a hand's fingers point, seen from above."""
    fingers = quat_rotate(hand_quat, constant((0.0, 0.0, 1.0), hand_quat.device))
    # at yaw 0 the fingers point along -y
    return torch.atan2(fingers[:, 0], -fingers[:, 1])
