"""Trials of grasps in any simulator: close the fingers, lift, turn the hand upside down and around.

The interface of a simulator has no gravity to set, so the hand turns instead: gravity then pulls at the object from all
six directions of the hand. Trials stream through the simulator's environments: where one ends, the next one begins.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from resdex_tasks.hand.geometry import hand_spheres, lowest_point
from resdex_tasks.hand.shadow_hand import ACTUATED, JOINTS
from resdex_tasks.objects.geometry.stable_poses import rest_heights
from resdex_tasks.objects.geometry.surface import depth_inside
from resdex_tasks.objects.object_set import GraspObject, GraspProposals, ObjectSet
from resdex_tasks.proposals.closure import CLOSING_SENSE, CLOSURE_CONFIG, ClosureConfig
from resdex_tasks.sims.base import CONTROL_HZ, TABLE_HEIGHT, GraspSim
from resdex_tasks.utils.rotations import quat_conjugate, quat_mul, quat_rotate, yaw_quat

SQUEEZE = 0.8
"""rad beyond q to which a joint of rate 1 (`ClosureConfig.rates`) is commanded: this presses the fingers onto the
object."""
MAX_SLIP = 0.03
"""m, the most that the object may have moved in the hand at the end of a trial; `LOST_SLIP` is allowed before."""
LOST_SLIP = 0.06
"""m beyond which the object has been dropped."""
LIFT = 0.2
"""m, as high as the task's goal."""
MAX_REACH = 0.003
"""m, the most that a hand may begin inside its object."""
STIFFNESS = 20.0
"""1/s: the hand's speed per metre (radian) away from where it should be."""
DOWN_IN_HAND = ((0, 0, -1), (0, 1, 0), (0, 0, 1), (1, 0, 0), (0, -1, 0), (-1, 0, 0))
"""Directions of gravity, one after the other, in axes that turn with the hand and are the world's before it turns."""


class TrialMotion(NamedTuple):
    """What the hand does in a trial, the same in all of them: one row for each control step."""

    close_steps: int
    """Steps in which the fingers close while the hand comes down by its `rise`."""
    height: Tensor
    """(T,) m, of the hand above where its fingers close."""
    turn: Tensor
    """(T, 4) quaternion of the hand's turn about the object, from its first orientation."""

    @property
    def num_steps(self) -> int:
        return len(self.height)


def make_motion(
    close_seconds: float, lift: float, lift_seconds: float, turn_seconds: float, hold_seconds: float
) -> TrialMotion:
    """Close, lift by `lift` m, hold; then five quarter turns, each followed by a hold."""

    def steps(seconds: float) -> int:
        return round(seconds * CONTROL_HZ)

    def smooth(count: int) -> Tensor:  # from 0 to 1, at rest at both ends
        s = torch.arange(1, count + 1, dtype=torch.float64) / count
        return s * s * (3 - 2 * s)

    close = steps(close_seconds)
    hold = steps(hold_seconds)
    height = [torch.zeros(close, dtype=torch.float64), lift * smooth(steps(lift_seconds))]
    height.append(torch.full((hold,), lift, dtype=torch.float64))
    now = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    turns = [now.expand(sum(map(len, height)), 4)]
    for before, after in zip(DOWN_IN_HAND, DOWN_IN_HAND[1:]):
        axis = torch.tensor(np.cross(after, before), dtype=torch.float64)
        half = smooth(steps(turn_seconds))[:, None] * math.pi / 4
        turns.append(quat_mul(now, torch.cat((half.sin() * axis, half.cos()), dim=1)))
        now = turns[-1][-1]
        turns.append(now.expand(hold, 4))
    turn = torch.cat(turns)
    height.append(torch.full((len(turn) - sum(map(len, height)),), lift, dtype=torch.float64))
    return TrialMotion(close, torch.cat(height).float(), turn.float())


FULL_MOTION = make_motion(close_seconds=0.5, lift=LIFT, lift_seconds=1.0, turn_seconds=0.6, hold_seconds=0.25)
"""6 s: lift and six directions of gravity."""
QUICK_MOTION = make_motion(close_seconds=0.5, lift=LIFT, lift_seconds=0.6, turn_seconds=0.35, hold_seconds=0.0)
"""2.85 s: the same in a hurry, to find what is worth the full motion."""


@dataclass(frozen=True)
class Trials:
    """M trials: how each begins, and the joint targets of its fingers."""

    object_index: Tensor
    """(M,) int64, into the simulator's object set."""
    object_pose: Tensor
    """(M, 7) at rest on the table."""
    root_pose: Tensor
    """(M, 7) of the closed hand."""
    rise: Tensor
    """(M,) m by which the open hand begins higher; it comes down as its fingers close."""
    joint_pos: Tensor
    """(M, 22) rad"""
    joint_targets: Tensor
    """(M, 18) rad, reached at the end of closing."""
    begins_inside: Tensor
    """(M,) bool: the hand begins more than `MAX_REACH` inside the object, maybe wedged there: no such grasp holds."""

    def __len__(self) -> int:
        return len(self.object_index)


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of M trials."""

    held: Tensor
    """(M,) bool: the object is still in the hand, moved by less than `MAX_SLIP` there."""
    slip: Tensor
    """(M,) m that the object moved in the hand from the end of closing to the end of the trial."""
    rotation: Tensor
    """(M, 4) of the hand's root in the object's frame at the end of closing."""
    translation: Tensor
    """(M, 3) m, likewise."""
    lasted: Tensor
    """(M,) control steps until the trial was over."""


def run_trials(
    sim: GraspSim, trials: Trials, motion: TrialMotion, progress: Optional[Callable[[int], None]] = None
) -> Outcomes:
    """Run all trials in the simulator's environments.

    Args:
        progress: called with the number of trials that ended, whenever some did.
    """
    scheduler = TrialScheduler(sim)
    scheduler.add(trials, motion)
    while scheduler.busy:
        ended = len(scheduler.advance())
        if progress is not None and ended:
            progress(ended)
    return scheduler.outcomes


class TrialScheduler:
    """Runs trials in a simulator's environments, in turn: more can be added at any time, and each has its number.

    A trial depends on nothing but itself, whenever and wherever it runs.
    """

    def __init__(self, sim: GraspSim) -> None:
        self.sim = sim
        device, n = sim.device, sim.num_envs
        self.trial = torch.full((n,), -1, dtype=torch.int64, device=device)  # -1: none
        self.clock = torch.zeros(n, dtype=torch.int64, device=device)
        self.next = 0
        self.actuated = torch.tensor([JOINTS.index(name) for name in ACTUATED], device=device)
        # all motions, one after the other; where each begins
        self.motions: Dict[int, Tuple[TrialMotion, int]] = {}
        self.height, self.turn = torch.zeros(0, device=device), torch.zeros(0, 4, device=device)
        # first row in `height` and `turn`, steps, and those of closing: for every environment, and for every trial
        self.motion = torch.zeros(n, 3, dtype=torch.int64, device=device)
        self.motion_of = torch.zeros(0, 3, dtype=torch.int64, device=device)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, device=device)

        self.root, self.object, self.rise = zeros(n, 7), zeros(n, 7), zeros(n)
        self.start, self.targets = zeros(n, len(ACTUATED)), zeros(n, len(ACTUATED))
        self.grasp_rotation, self.grasp_translation = zeros(n, 4), zeros(n, 3)
        joints, driven = zeros(0, len(JOINTS)), zeros(0, len(ACTUATED))
        self.trials = Trials(
            torch.zeros(0, dtype=torch.int64, device=device),
            zeros(0, 7),
            zeros(0, 7),
            zeros(0),
            joints,
            driven,
            torch.zeros(0, dtype=torch.bool, device=device),
        )
        self.outcomes = _no_outcomes(self.trials)

    @property
    def busy(self) -> bool:
        """Whether a trial runs or waits."""
        return self.next < len(self.trials) or bool((self.trial >= 0).any())

    def add(self, trials: Trials, motion: TrialMotion) -> slice:
        """Add trials that run as soon as there is room; returns their numbers: their rows of `outcomes`."""
        first = len(self.trials)
        if id(motion) not in self.motions:
            self.motions[id(motion)] = motion, len(self.height)
            self.height = torch.cat((self.height, motion.height.to(self.height)))
            self.turn = torch.cat((self.turn, motion.turn.to(self.turn)))
        row = [self.motions[id(motion)][1], motion.num_steps, motion.close_steps]
        self.motion_of = torch.cat((self.motion_of, self.motion_of.new_tensor([row]).expand(len(trials), 3)))
        self.trials, self.outcomes = _joined(self.trials, trials), _joined(self.outcomes, _no_outcomes(trials))
        return slice(first, len(self.trials))

    def advance(self) -> Tensor:
        """One control step; returns the numbers of the trials that ended."""
        self._fill()
        self._step()
        return self._judge()

    def _fill(self) -> None:
        """Begin the next trials in the environments that have none."""
        envs = (self.trial < 0).nonzero(as_tuple=True)[0][: len(self.trials) - self.next]
        if len(envs) == 0:
            return
        new = torch.arange(self.next, self.next + len(envs), device=self.sim.device)
        self.next += len(envs)
        t = self.trials
        self.trial[envs], self.clock[envs], self.motion[envs] = new, 0, self.motion_of[new]
        self.root[envs], self.object[envs], self.rise[envs] = t.root_pose[new], t.object_pose[new], t.rise[new]
        self.start[envs], self.targets[envs] = t.joint_pos[new][:, self.actuated], t.joint_targets[new]
        self.sim.put_objects(envs, t.object_index[new])
        self.sim.reset(envs, _raised(t.root_pose[new], t.rise[new]), t.joint_pos[new], t.object_pose[new])

    def _step(self) -> None:
        now = torch.minimum(self.clock, (self.motion[:, 1] - 1).clamp(min=0))
        before = (now - 1).clamp(min=0)
        position, quat = self._root_at(now)
        last_position, last_quat = self._root_at(before)
        root = self.sim.state().root_pose
        law = self.sim.wrist_law
        velocity = (position - last_position) * CONTROL_HZ + STIFFNESS * (last_position - root[:, :3])
        spin = _rotation_vector(quat, last_quat) * CONTROL_HZ + STIFFNESS * _rotation_vector(last_quat, root[:, 3:])

        targets = self.start + self._closed_at(now)[:, None] * (self.targets - self.start)
        self.sim.step(targets, velocity * law.linear_damping, spin * law.angular_damping)
        self.clock += 1

    def _closed_at(self, step: Tensor) -> Tensor:
        """How far (N,) the fingers should be closed at a step (N,) of the motion, 0 to 1."""
        return ((step + 1).float() / self.motion[:, 2].clamp(min=1)).clamp(max=1.0)

    def _root_at(self, step: Tensor) -> Tuple[Tensor, Tensor]:
        """Where the hand's root should be at a step (N,) of the motion."""
        row = self.motion[:, 0] + step
        turn, centre = self.turn[row], self.object[:, :3]
        position = centre + quat_rotate(turn, self.root[:, :3] - centre)
        height = self.height[row] + self.rise * (1.0 - self._closed_at(step))
        return _raised(position, height), quat_mul(turn, self.root[:, 3:])

    def _judge(self) -> Tensor:
        """Record the grasps that just closed, and end trials; returns those that ended."""
        state, out, (_, num_steps, close_steps) = self.sim.state(), self.outcomes, self.motion.unbind(dim=1)
        root, obj = state.root_pose, state.object
        to_object = quat_conjugate(obj[:, 3:7])
        rotation = quat_mul(to_object, root[:, 3:])
        translation = quat_rotate(to_object, root[:, :3] - obj[:, :3])
        active = self.trial >= 0
        closed = active & (self.clock == close_steps)
        if closed.any():
            envs = closed.nonzero(as_tuple=True)[0]
            trial = self.trial[envs]
            self.grasp_rotation[envs], self.grasp_translation[envs] = rotation[envs], translation[envs]
            out.rotation[trial], out.translation[trial] = rotation[envs], translation[envs]
        # the object in the hand's frame, now and when the fingers had closed
        here = -quat_rotate(quat_conjugate(rotation), translation)
        there = -quat_rotate(quat_conjugate(self.grasp_rotation), self.grasp_translation)
        slip = (here - there).norm(dim=1)
        broken = self.sim.diverged | ~state.finite()
        lost = (self.clock > close_steps) & ~(slip <= LOST_SLIP)
        over = active & (broken | lost | (self.clock >= num_steps))
        envs = over.nonzero(as_tuple=True)[0]
        trial = self.trial[envs]
        if len(envs) == 0:
            return trial
        done = self.clock[envs] >= num_steps[envs]
        out.held[trial] = done & ~broken[envs] & (slip[envs] <= MAX_SLIP) & ~self.trials.begins_inside[trial]
        out.slip[trial] = torch.where(done, slip[envs], torch.full_like(slip[envs], math.inf))
        out.lasted[trial] = self.clock[envs]
        self.trial[envs] = -1
        return trial


def _no_outcomes(trials: Trials) -> Outcomes:
    """The outcomes of trials that have not run."""
    pose, m = trials.object_pose, len(trials)
    return Outcomes(
        held=torch.zeros(m, dtype=torch.bool, device=pose.device),
        slip=pose.new_full((m,), math.inf),
        rotation=pose.new_tensor([0.0, 0.0, 0.0, 1.0]).repeat(m, 1),
        translation=pose.new_zeros(m, 3),
        lasted=torch.zeros(m, dtype=torch.int64, device=pose.device),
    )


Rows = TypeVar("Rows", Trials, Outcomes)


def _joined(one: Rows, two: Rows) -> Rows:
    return type(one)(**{f.name: torch.cat((getattr(one, f.name), getattr(two, f.name))) for f in fields(one)})


def _rotation_vector(to: Tensor, start: Tensor) -> Tensor:
    """(N, 3) rad: axis times angle of the rotation that takes `start` to `to`, both (N, 4), for small angles."""
    vector = quat_mul(to, quat_conjugate(start))
    return 2 * vector[:, :3] * vector[:, 3:].sign()


def replay_trials(
    sim: GraspSim,
    objects: ObjectSet,
    grasps: Sequence[GraspProposals],
    index: Optional[Sequence[int]] = None,
    generators: Optional[Sequence[np.random.Generator]] = None,
    position_noise: float = 0.0,
    rotation_noise: float = 0.0,
    closure: ClosureConfig = CLOSURE_CONFIG,
) -> Trials:
    """Trials that replay grasps as the task would meet them: the hand is put at (R, t) and closes to q.

    The object rests on the table as the grasp says. The joints that close the hand start `closure.opening` before q,
    and are commanded to the grasp's squeeze and `SQUEEZE` times `closure.rates` beyond it, within the joint limits: a
    pose that only touches its object would press on nothing. Where the open hand would be in the table, it begins above
    it and comes down as it closes. The rule is the same whatever made the grasp.

    Args:
        objects: the set that the simulator holds.
        grasps: those of each object, or of the objects `index` of the set.
        generators: draw the yaw of object and hand together and the noise, one for each of `grasps`; None: neither.
        position_noise, rotation_noise: standard deviation along (about) each axis, of where the hand is put, m and rad.
        closure: how hands open and press.
    """
    device = sim.device
    index = range(len(objects)) if index is None else index
    tables = []
    for k, (i, g) in enumerate(zip(index, grasps)):
        object_pose, root_pose, joint_pos = place_grasps(objects[i], g)
        if generators is not None:
            rng, count = generators[k], len(g)
            yaw = yaw_quat(torch.tensor(rng.uniform(-math.pi, math.pi, count)))
            object_pose, root_pose = (_turned(pose, yaw) for pose in (object_pose, root_pose))
            shift = torch.tensor(position_noise * rng.standard_normal((count, 3)))
            half = torch.tensor(rotation_noise / 2 * rng.standard_normal((count, 3)))
            tilt = torch.nn.functional.normalize(torch.cat((half, torch.ones_like(half[:, :1])), dim=1), dim=1)
            root_pose = torch.cat((root_pose[:, :3] + shift, quat_mul(tilt, root_pose[:, 3:])), dim=1)
        squeeze = torch.tensor(np.outer(g.squeeze, CLOSING_SENSE))
        tables.append(torch.cat((object_pose, root_pose, joint_pos, squeeze), dim=1))
    object_pose, root_pose, joint_pos, squeeze = torch.cat(tables).float().split((7, 7, *2 * [len(JOINTS)]), dim=1)
    lower, upper = sim.joint_limits.cpu().unbind(-1)
    rates = torch.tensor(closure.rates).float()
    actuated = [JOINTS.index(name) for name in ACTUATED]
    joint_pos = joint_pos.clamp(lower, upper)
    opened = (joint_pos - closure.opening * torch.tensor(CLOSING_SENSE).float()).clamp(lower, upper)
    lowest = lowest_point(root_pose[:, 3:].numpy(), root_pose[:, :3].numpy(), opened.numpy())
    above = torch.tensor(lowest).float() - TABLE_HEIGHT
    counts = torch.tensor([len(g) for g in grasps])
    trials = Trials(
        object_index=torch.repeat_interleave(torch.tensor(list(index)), counts).to(device),
        object_pose=object_pose.to(device),
        root_pose=root_pose.to(device),
        rise=(closure.clearance - above).clamp(min=0.0).to(device),
        joint_pos=opened.to(device),
        joint_targets=(joint_pos + squeeze + SQUEEZE * rates).clamp(lower, upper)[:, actuated].to(device),
        begins_inside=torch.zeros(int(counts.sum()), dtype=torch.bool, device=device),
    )
    inside = torch.from_numpy(reach_into_objects(trials, objects) > MAX_REACH).to(device)
    return replace(trials, begins_inside=inside)


def reach_into_objects(trials: Trials, objects: ObjectSet) -> np.ndarray:
    """(M,) m that the hand, as trials of a set's objects begin, is in the object; negative: beside it."""
    spheres = hand_spheres(trials.joint_pos.double().cpu().numpy())
    pose = trials.object_pose.double().cpu().numpy()
    root = _raised(trials.root_pose, trials.rise).double().cpu().numpy()
    hand, to_object = Rotation.from_quat(root[:, 3:]), Rotation.from_quat(pose[:, 3:]).inv()
    at = spheres.centres @ hand.as_matrix().transpose(0, 2, 1) + (root[:, :3] - pose[:, :3])[:, None]
    at = at @ to_object.as_matrix().transpose(0, 2, 1)
    reach, owner = np.zeros(len(at)), trials.object_index.cpu().numpy()
    for i in np.unique(owner):
        rows = owner == i
        reach[rows] = (depth_inside(objects[int(i)], at[rows]) + spheres.radii).max(axis=1)
    return reach


def _raised(pose: Tensor, by: Tensor) -> Tensor:
    """Poses or positions (N, 3 or 7), higher by (N,) m."""
    return torch.cat((pose[:, :2], pose[:, 2:3] + by[:, None], pose[:, 3:]), dim=1)


def _turned(pose: Tensor, yaw: Tensor) -> Tensor:
    return torch.cat((quat_rotate(yaw, pose[:, :3]), quat_mul(yaw, pose[:, 3:])), dim=1)


def place_grasps(obj: GraspObject, grasps: GraspProposals) -> Tuple[Tensor, Tensor, Tensor]:
    """Object pose (P, 7), root pose (P, 7) and joint positions (P, 22), the object at rest above the world's origin."""
    rest = torch.tensor(grasps.rest_rotation)
    height = TABLE_HEIGHT + rest_heights(obj.vertices, grasps.rest_rotation)
    position = torch.tensor(np.stack([np.zeros_like(height), np.zeros_like(height), height], axis=1))
    root = torch.cat(
        (
            position + quat_rotate(rest, torch.tensor(grasps.translation)),
            quat_mul(rest, torch.tensor(grasps.rotation)),
        ),
        dim=1,
    )
    return torch.cat((position, rest), dim=1), root, torch.tensor(grasps.joint_pos)


def holds(sim: GraspSim, objects: ObjectSet, grasps: Sequence[GraspProposals], **replay: Any) -> List[np.ndarray]:
    """Which grasps hold their object: for each object (P,) bool.

    A grasp holds when, replayed (`replay_trials`, which has the other arguments), the hand begins beside the object,
    the object is lifted by 20 cm and stays in the hand while the hand turns so that gravity pulls from all six
    directions in turn (`FULL_MOTION`): at the end it has moved in the hand by less than `MAX_SLIP`, and never by more
    than `LOST_SLIP`.
    """
    held = run_trials(sim, replay_trials(sim, objects, grasps, **replay), FULL_MOTION).held.cpu().numpy()
    return np.split(held, np.cumsum([len(g) for g in grasps])[:-1])
