"""Do the two MuJoCo simulators compute the same step, and the same success?

One step: a policy acts on the CPU simulator; every state that it visits, with its command, is also loaded into
MuJoCo Warp, which takes the same control step. What the two then measure is compared, environment by environment, where
the hand touches the object: every tensor of the interface, and the task's observation and reward. Warp computes in
float32, MuJoCo in float64, so the difference is rounding, enlarged where a contact opens or closes.

Contacts (`--contacts`): the lists of contacts that the engines find in the same states.

Episodes (`--episodes`): chaos takes the trajectories apart, so what must agree over an episode is its statistics: the
success rates of the same policy, with 95 % intervals.
"""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import mujoco
import mujoco_warp as mjw
import numpy as np
import torch
import warp as wp
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.factory import make_objects
from resdex_tasks.grasp_task import GraspTask
from resdex_tasks.sims.mujoco_warp_sim import SAVED
from runners.config import load_config
from runners.evaluation.playing import evaluation_task
from runners.evaluation.run import evaluate
from runners.evaluation.tables import percent
from runners.policies.policy import Policy

STEPS_BETWEEN = 4
"""Control steps between two comparisons of contacts."""
VELOCITIES = "all velocities, m/s and rad/s"


def load_into_warp(cpu: GraspTask, warp: GraspTask) -> None:
    """Put the warp task into the CPU task's state, as exactly as float32 allows."""
    state = cpu.get_state()
    batch = cpu.sim.batch
    state["sim"] = {name: torch.from_numpy(batch.bind(name).astype(np.float32)) for name in SAVED}
    state["sim"]["object_index"] = cpu.sim.object_index
    state["generator"] = warp.generator.get_state()  # another device's has another form
    warp.set_state(state)


def measurements(task: GraspTask, reward: Tensor) -> Dict[str, Tensor]:
    """What is compared, name and unit -> (N, K), on the CPU."""
    state = task.sim.state()
    tips, wrenches, obj = state.fingertips, state.fingertip_wrenches, state.object
    parts = {
        "joint positions, rad": state.joint_pos,
        "joint velocities, rad/s": state.joint_vel,
        "palm and root position, m": torch.cat((state.palm_pose[:, :3], state.root_pose[:, :3]), dim=1),
        "palm and root quaternion": torch.cat((state.palm_pose[:, 3:], state.root_pose[:, 3:]), dim=1),
        "fingertip positions, m": tips[..., :3],
        "fingertip quaternions": tips[..., 3:7],
        "fingertip velocities, m/s": tips[..., 7:10],
        "fingertip angular velocities, rad/s": tips[..., 10:],
        "fingertip forces, N": wrenches[..., :3],
        "fingertip torques, Nm": wrenches[..., 3:],
        "object position, m": obj[:, :3],
        "object quaternion": obj[:, 3:7],
        "object velocity, m/s": obj[:, 7:10],
        "object angular velocity, rad/s": obj[:, 10:],
        VELOCITIES: torch.cat((state.joint_vel, tips[..., 7:].flatten(1), obj[:, 7:]), dim=1),
        "observation": torch.cat(tuple(task.obs.values()), dim=1),
        "reward": reward[:, None],
    }
    return {name: value.flatten(1).cpu().clone() for name, value in parts.items()}


def touching(task: GraspTask) -> Tensor:
    """(N,) bool: a contact between the hand and the object transmits force, by the CPU engine's own list."""
    sim, out = task.sim, torch.zeros(task.num_envs, dtype=torch.bool)
    obj = sim.scene.model.body("object").id
    for env in range(task.num_envs):
        data, body_of = sim.batch.get_data(env), sim.scene.model.geom_bodyid
        bodies = body_of[data.contact.geom[data.contact.efc_address >= 0]]
        # the world is body 0; every body but the object is the hand's
        out[env] = bool(((bodies == obj).any(axis=1) & (bodies > 0).all(axis=1)).any())
    return out


def compare_steps(cpu: GraspTask, warp: GraspTask, policy: Policy, num_states: int) -> Tuple[Dict[str, Tensor], Tensor]:
    """Absolute differences after one control step, for at least `num_states` states.

    Returns:
        name -> (S, K) differences, and the object (S,) that stood in the state's environment.
    """
    differences: Dict[str, List[Tensor]] = {}
    objects: List[Tensor] = []
    obs = cpu.reset()
    warp.reset()
    while sum(len(o) for o in objects) < num_states:
        action = policy(obs).action
        load_into_warp(cpu, warp)
        obs, reward, done, _ = cpu.step(action)
        _, warp_reward, warp_done, _ = warp.step(action)
        # an environment that starts anew shows its new episode, not the step
        chosen = touching(cpu) & ~done & ~warp_done.cpu()
        ours, theirs = measurements(cpu, reward), measurements(warp, warp_reward)
        for name, value in ours.items():
            differences.setdefault(name, []).append((value - theirs[name])[chosen].abs())
        objects.append(cpu.sim.object_index[chosen].clone())
    return {name: torch.cat(values) for name, values in differences.items()}, torch.cat(objects)


def compare_contacts(cpu: GraspTask, warp: GraspTask, policy: Policy, num_steps: int) -> str:
    """Do both engines find the same contacts in the same state? A table over the kinds of touching geoms."""
    same: Dict[str, List[bool]] = {}
    depths: Dict[str, List[float]] = {}
    model, data = cpu.sim.scene.model, warp.sim.data
    obs = cpu.reset()
    for step in range(num_steps * STEPS_BETWEEN):
        if step % STEPS_BETWEEN == STEPS_BETWEEN - 1:
            load_into_warp(cpu, warp)
            with wp.ScopedDevice(warp.sim.warp_device):
                mjw.forward(warp.sim.model, data)
            count = int(data.nacon.numpy()[0])
            world, geoms = data.contact.worldid.numpy()[:count], data.contact.geom.numpy()[:count]
            distance = data.contact.dist.numpy()[:count]
            for env in range(cpu.num_envs):
                ours = _by_pair(cpu.sim.batch.get_data(env).contact)
                mine = world == env
                theirs = _by_pair(SimpleNamespace(geom=geoms[mine], dist=distance[mine]))
                for pair in {*ours, *theirs}:
                    kind = "-".join(mujoco.mjtGeom(int(model.geom_type[g])).name[7:].lower() for g in pair)
                    a, b = sorted(ours.get(pair, [])), sorted(theirs.get(pair, []))
                    same.setdefault(kind, []).append(len(a) == len(b))
                    if len(a) == len(b):
                        depths.setdefault(kind, []).append(max(abs(x - y) for x, y in zip(a, b)))
        obs, _, _, _ = cpu.step(policy(obs).action)
    rows = [("touching geoms", "pairs", "as many contacts in both", "depth differs by, median", "99 %", "largest")]
    for kind, flags in sorted(same.items()):
        values = depths.get(kind, [np.nan])
        shown = (np.median(values), np.quantile(values, 0.99), max(values))
        rows.append((kind, str(len(flags)), str(sum(flags)), *(f"{v:.1e} m" for v in shown)))
    return table(rows)


def _by_pair(contact: Any) -> Dict[Tuple[int, int], List[float]]:
    """Distances of an engine's contacts, by the pair of geoms."""
    out: Dict[Tuple[int, int], List[float]] = {}
    for pair, distance in zip(contact.geom.tolist(), contact.dist.tolist()):
        out.setdefault(tuple(pair), []).append(distance)
    return out


def make_tasks(args: argparse.Namespace) -> Tuple[GraspTask, GraspTask, Policy]:
    """The same task on both simulators, and the checkpoint's deterministic policy."""
    sizes = "scale=cpu", f"num_envs={args.num_envs}", f"seed={args.seed}"
    config = load_config([*args.overrides, "sim=mujoco", "sim_device=cpu", *sizes])
    policy, objects = Policy.load(args.checkpoint, config.command.rl_device), make_objects(config.objects)
    cpu = evaluation_task(config, objects, args.num_envs, policy.groups)
    config = load_config([*args.overrides, "sim=mujoco_warp", f"sim_device={args.device}", *sizes])
    return cpu, evaluation_task(config, objects, args.num_envs, policy.groups), policy


def step_table(differences: Dict[str, Tensor]) -> str:
    rows: List[Tuple[str, ...]] = [("difference after one control step", "median", "median state", "99 %", "largest")]
    for name, values in differences.items():
        worst = values.amax(dim=1)
        shown = (np.median(values), np.median(worst), np.quantile(values, 0.99), worst.max())
        rows.append((name, *(f"{float(v):.1e}" for v in shown)))
    return table(rows)


def episode_table(tasks: Dict[str, GraspTask], policy: Policy, rounds: int, seed: int) -> str:
    rows = [("simulator", "episodes", "success at end % [95 %]", "success once % [95 %]")]
    for name, task in tasks.items():
        index = (torch.arange(task.num_envs) % len(task.objects)).repeat(rounds)
        row = evaluate(task, policy, index, seed).all
        rows.append((name, str(row.episodes), percent(row.success_at_end), percent(row.success_once)))
    return table(rows)


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--checkpoint", default="base_box", help="the policy that acts")
    parser.add_argument("--device", default="cpu", help="of MuJoCo Warp: cpu or cuda:N")
    parser.add_argument("--num-envs", type=int, default=44)
    parser.add_argument("--states", type=int, default=2000, help="states with hand-object contact to compare, at least")
    parser.add_argument("--contacts", type=int, default=0, help="moments at which to compare the lists of contacts")
    parser.add_argument("--episodes", type=int, default=0, help="episodes to compare the success rates of")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("overrides", nargs="*", default=["objects.names=null"], help="key=value as for train.py")
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> Dict[str, Tensor]:
    """Print the comparison; returns the differences."""
    args = parse(argv)
    said = machine()
    cpu, warp, policy = make_tasks(args)
    if args.num_envs < len(cpu.objects):
        sys.exit(f"error: --num-envs {args.num_envs} cannot hold the {len(cpu.objects)} objects")
    print(f"{said}\n{args.checkpoint} on {len(cpu.objects)} objects, MuJoCo Warp on {args.device}, seed {args.seed}\n")
    differences, objects = compare_steps(cpu, warp, policy, args.states)
    print(f"{len(objects)} states in which the hand touches one of {len(objects.unique())} objects:\n")
    print(step_table(differences))
    print("\nmedian, 99 %: over all numbers of all states; median state: the median of the states' worst numbers")
    if args.contacts:
        print("\n" + compare_contacts(cpu, warp, policy, args.contacts))
    for overflow in warp.sim.overflows():
        if overflow.count:
            print(f"warning: {overflow}")
    if args.episodes:
        rounds = -(-args.episodes // args.num_envs)
        print("\n" + episode_table({"mujoco": cpu, "mujoco_warp": warp}, policy, rounds, args.seed))
    return differences


if __name__ == "__main__":
    run(main)
