"""Checks, where Isaac Gym is installed, what its documentation leaves open and this project had to assume.

    python scripts/check_isaacgym.py --device cuda:0

Prints what was measured beside what was expected, plays a shipped expert, and exits with 0 if all was as expected, with
1 if something was not. A process makes one simulator, so every part runs in one of its own.
"""

import argparse
import importlib
import importlib.util
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

if __name__ == "__main__" and "--part" in sys.argv:
    importlib.import_module("isaacgym.gymapi")  # before torch

import torch
from torch import Tensor

from resdex_tasks.hand.shadow_hand import ACTUATED, COUPLED, JOINTS, PALM_DOWN_QUAT
from resdex_tasks.objects.geometry.stable_poses import rest_heights
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.sims.base import CONTROL_HZ, TABLE_HEIGHT, GraspSim
from resdex_tasks.sims.registry import SIMULATORS, installed
from resdex_tasks.utils.rotations import rotation_angle
from resdex_tasks.utils.tables import aligned
from resdex_tasks.utils.versions import versions
from runners.config import RunConfig, load_config
from runners.evaluation.playing import evaluation_task
from runners.evaluation.rollout import run_episodes
from runners.policies.policy import Policy

EXPERT, ITS_OBJECT = "zoo_expert_jar-0070", "jar-0070"
ROUND = ("sphere", "capsule")
"""Objects with more corners than a hull has on the GPU."""
STEPS = 60
"""Control steps of a motion: a second."""
HIGH = 3.0
"""m, of the hand, far from everything."""
NO_FORCE, SOME_FORCE, NO_NET_FORCE = 1e-3, 0.1, 0.2
"""N: what counts as none, and as one; what a sensor of the net force may show at rest."""


class Finding(NamedTuple):
    what: str
    measured: str
    expected: str
    fits: bool


def within(what: str, measured: float, expected: float, tolerance: float, unit: str = "") -> Finding:
    """A number that should be another, up to a tolerance."""
    words = [f"{measured:.4g} {unit}".strip(), f"{expected:.4g} +- {tolerance:.2g} {unit}".strip()]
    return Finding(what, *words, abs(measured - expected) <= tolerance)


def at_most(what: str, measured: float, limit: float, unit: str = "") -> Finding:
    return Finding(what, f"{measured:.4g} {unit}".strip(), f"at most {limit:.4g} {unit}".strip(), measured <= limit)


def at_least(what: str, measured: float, limit: float, unit: str = "") -> Finding:
    return Finding(what, f"{measured:.4g} {unit}".strip(), f"at least {limit:.4g} {unit}".strip(), measured >= limit)


def configuration(device: str, *overrides: str) -> RunConfig:
    base = [
        "sim=isaacgym",
        "scale=paper",
        f"sim_device={device}",
        f"rl_device={device}",
        "task.env.objectSampling=fixed",
    ]
    return load_config([*base, *overrides])


# --- how the hand is moved ------------------------------------------------------------------------------------------


def place(sim: GraspSim, height: float, joints: float = 0.0) -> None:
    """The hand at rest, palm down, this high above the floor; the objects beside it."""
    n, device = sim.num_envs, sim.device

    def poses(position: Sequence[float], quat: Sequence[float]) -> Tensor:
        return torch.tensor([*position, *quat], device=device).expand(n, 7)

    sim.reset(
        torch.arange(n, device=device),
        poses((0.0, 0.0, height), PALM_DOWN_QUAT),
        torch.full((n, len(JOINTS)), joints, device=device),
        poses((0.0, 0.6, TABLE_HEIGHT + 0.1), (0.0, 0.0, 0.0, 1.0)),
    )


def advance(sim: GraspSim, steps: int, targets: Any = None, force: Any = None, torque: Any = None) -> Tensor:
    """Constant commands. Returns the palm's poses (steps + 1, N, 7)."""
    n, device = sim.num_envs, sim.device
    targets = torch.zeros(n, len(ACTUATED), device=device) if targets is None else targets
    force, torque = (torch.zeros(n, 3, device=device) if x is None else x for x in (force, torque))
    poses = [sim.state().root_pose.clone()]
    for _ in range(steps):
        sim.step(targets, force, torque)
        poses.append(sim.state().root_pose.clone())
    return torch.stack(poses)


def curled(sim: GraspSim, angle: float = 1.2) -> Tensor:
    """(N, 18) targets that bend the four fingers at the knuckle: the tips are then the lowest points."""
    bent = [name in ("FFJ2", "MFJ2", "RFJ2", "LFJ2") for name in ACTUATED]
    return angle * torch.tensor(bent, device=sim.device).float().expand(sim.num_envs, -1)


def tip_forces(sim: GraspSim) -> Tensor:
    """(N, 5) N"""
    return sim.state().fingertip_wrenches[..., :3].norm(dim=-1)


# --- the parts: what one simulator can tell -------------------------------------------------------------------------


def check_wrist(sim: Any) -> List[Finding]:
    """The wrist law in free space; three environments at least, one for each axis."""
    law, findings = sim.wrist_law, []
    for name, gain in zip(("force", "torque"), sim.gains):
        what = f"response to a {name}, before it is corrected (0.5: it acts in one of two substeps)"
        findings.append(within(what, 1 / gain, 1.0, 0.05))
    axes = torch.eye(3, device=sim.device).repeat(-(-sim.num_envs // 3), 1)[: sim.num_envs]
    place(sim, HIGH)
    poses = advance(sim, STEPS, force=law.max_force * axes)
    moved = ((poses - poses[0])[..., :3] * axes).sum(dim=-1)
    turned = rotation_angle(poses[-1, :, 3:], poses[0, :, 3:])
    speed = CONTROL_HZ * (moved[-1] - moved[-2])
    lag = STEPS / CONTROL_HZ - moved[-1] / speed
    place(sim, HIGH)
    poses = advance(sim, STEPS, torque=law.max_torque * axes)
    spin = CONTROL_HZ * rotation_angle(poses[-1, :, 3:], poses[-2, :, 3:])
    for axis, name in enumerate("xyz"):
        findings.append(within(f"speed along {name} at full force", float(speed[axis]), law.max_speed, 0.006, "m/s"))
        expected = law.max_angular_speed
        findings.append(within(f"turning about {name} at full torque", float(spin[axis]), expected, 0.017, "rad/s"))
    findings.append(within("lag behind a force, the worst axis", float(lag[:3].max()), 0.020, 0.002, "s"))
    findings.append(at_most("turning under a pure force in a second", float(turned.max()), 0.01, "rad"))
    return findings


def check_fingers(sim: Any) -> List[Finding]:
    """Drives and tendons, as they were imported and set."""
    place(sim, HIGH)
    targets = curled(sim)
    advance(sim, STEPS, targets)
    joints = sim.state().joint_pos
    driven = joints[:, [JOINTS.index(name) for name in ACTUATED]]
    place(sim, HIGH)
    middle = torch.tensor([name in COUPLED.values() for name in ACTUATED], device=sim.device).float()
    advance(sim, STEPS, 0.8 * middle.expand(sim.num_envs, -1))
    joints = sim.state().joint_pos
    apart = [(joints[:, JOINTS.index(a)] - joints[:, JOINTS.index(b)]).abs().max() for a, b in COUPLED.items()]
    return [
        at_most(
            "joints from their targets after a second, fingers bent", float((driven - targets).abs().max()), 0.06, "rad"
        ),
        at_most("distal from middle joints, which tendons couple", float(max(apart)), 0.15, "rad"),
    ]


def check_contact(sim: Any) -> List[Finding]:
    """Contact forces: none in free air (also none between the hand's own geoms), some on the table, none afterwards."""
    place(sim, HIGH)
    advance(sim, STEPS // 2)
    free = float(tip_forces(sim).max())
    down = torch.tensor([0.0, 0.0, -0.5 * sim.wrist_law.max_force], device=sim.device).expand(sim.num_envs, 3)
    place(sim, TABLE_HEIGHT + 0.25)
    advance(sim, STEPS // 2, curled(sim))
    advance(sim, 2 * STEPS, curled(sim), force=down)
    pressed = float(tip_forces(sim).amax(dim=1).min())
    advance(sim, STEPS, curled(sim), force=-down)
    return [
        at_most("contact force on the fingertips in free air", free, NO_FORCE, "N"),
        at_least("the same, pressed on the table", pressed, SOME_FORCE, "N"),
        at_most("the same, lifted off again (a stuck one stays)", float(tip_forces(sim).max()), NO_FORCE, "N"),
    ]


def check_sensor(sim: Any) -> List[Finding]:
    """Force sensors, which should report the net force on the body: none at rest, whatever it touches."""
    place(sim, HIGH)
    advance(sim, STEPS // 2)
    return [at_most("force sensors at rest in free air", float(tip_forces(sim).max()), NO_NET_FORCE, "N")]


def check_hulls(sim: Any) -> List[Finding]:
    """Objects with many corners come to rest where their shape says."""
    objects, n = starter_objects().select(ROUND), sim.num_envs
    rest = [obj.proposals.rest_rotation[0] for obj in objects]
    heights = [float(rest_heights(obj.vertices, turn[None])[0]) for obj, turn in zip(objects, rest)]
    index = sim.object_index.cpu()
    pose = torch.tensor([[0.0, 0.0, TABLE_HEIGHT + heights[i] + 0.005, *rest[i]] for i in index.tolist()])
    place(sim, HIGH)
    hand = sim.state().root_pose.clone()
    every = torch.arange(n, device=sim.device)
    sim.reset(every, hand, torch.zeros(n, len(JOINTS), device=sim.device), pose.float().to(sim.device))
    advance(sim, STEPS)
    found = sim.state().object[:, 2].cpu() - TABLE_HEIGHT
    return [
        within(f"height of the {name} at rest on the table", float(found[index == i].mean()), heights[i], 0.002, "m")
        for i, name in enumerate(ROUND)
    ]


def check_recovery(sim: Any) -> List[Finding]:
    """A state that is none ends one environment and no other, and the next reset heals it."""
    place(sim, HIGH)
    advance(sim, 2)
    first = torch.zeros(1, dtype=torch.int64, device=sim.device)
    state = sim.state()
    bad = torch.full((1, 7), float("nan"), device=sim.device)
    sim.reset(first, bad, state.joint_pos[:1].clone(), state.object[:1, :7].clone())
    advance(sim, 1)
    broken = sim.diverged.tolist()
    place(sim, HIGH)
    advance(sim, 2)
    healed = bool(sim.state().finite().all()) and not bool(sim.diverged.any())
    alone = broken[0] and not any(broken[1:])
    return [
        Finding("environments that a NaN in the first one breaks", str(sum(broken)), "1, the first", alone),
        Finding("and after a reset", "whole" if healed else "broken", "whole", healed),
    ]


def contact_part(device: str, number: int) -> List[Finding]:
    names = ",".join(ROUND)
    config = configuration(device, "task=ResDexBase", f"objects.names=[{names}]", "num_envs=6")
    sim = config.make_sim(starter_objects().select(ROUND), 6)
    checks: Sequence[Callable[[Any], List[Finding]]] = (
        check_wrist,
        check_fingers,
        check_contact,
        check_hulls,
        check_recovery,
    )
    return [finding for check in checks for finding in check(sim)]


def sensor_part(device: str, number: int) -> List[Finding]:
    config = configuration(device, "task=ResDexBase", "num_envs=2", "sim.fingertipWrenches=sensor")
    return check_sensor(config.make_task().sim)


def memory_part(device: str, number: int) -> List[Finding]:
    """Many environments over many objects: that they fit, and what a step takes."""
    objects = min(number, 3200)
    task = configuration(device, "task=ResDexHyper", f"objects.count={objects}", f"num_envs={number}").make_task()
    task.reset()
    actions = 2 * torch.rand(number, task.num_actions, device=task.device) - 1
    task.step(actions)
    steps, start = 20, time.perf_counter()
    for _ in range(steps):
        task.step(actions)
    finite = bool(task.sim.state().finite().all())  # waits for the device
    rate = number * steps / (time.perf_counter() - start)
    if task.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(task.device)
        used = total - free
    else:
        used, total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, 0
    room = f"less than {total / 2**30:.1f} GiB" if total else "any"
    what = f"{number} environments, {objects} objects"
    return [
        Finding(f"memory of {what}", f"{used / 2**30:.2f} GiB", room, not total or used < total),
        Finding(f"environment steps/s of {what}", f"{rate:,.0f}", "any", True),
        Finding(f"states that are numbers, of {what}", "all" if finite else "not all", "all", finite),
    ]


def expert_part(device: str, number: int) -> List[Finding]:
    """A shipped expert with its object. It was trained on MuJoCo, where fingertips also feel friction."""
    config = configuration(
        device, "task=ResDexBase", "objects=zoo", f"objects.names=[{ITS_OBJECT}]", f"checkpoint={EXPERT}"
    )
    task = evaluation_task(config, config.objects.make(), number)
    episodes = run_episodes(task, Policy.load(config.read(EXPERT), device), seed=1)
    once, at_end = (100 * float(x.float().mean()) for x in (episodes.success_once, episodes.success_at_end))
    return [
        at_least(f"{EXPERT}, {number} episodes, success once (the double: 100)", once, 50.0, "%"),
        at_least("the same at the end (the double: 79)", at_end, 40.0, "%"),
    ]


PARTS: Dict[str, Callable[[str, int], List[Finding]]] = {
    "contact": contact_part,
    "sensor": sensor_part,
    "memory": memory_part,
    "expert": expert_part,
}
"""Name -> check of a device and a number, of environments or episodes."""


def in_a_process_of_its_own(part: str, device: str, number: int) -> List[Finding]:
    """Run a part. What the engine prints goes to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "findings.json"
        command = [sys.executable, __file__, "--part", part, "--number", str(number), "--device", device]
        status = subprocess.run([*command, "--out", str(out)], stdout=sys.stderr, check=False).returncode
        if status == 0 and out.exists():
            return [Finding(*values) for values in json.loads(out.read_text())]
    name = part if number == 0 else f"{part} {number}"
    return [Finding(f"part '{name}'", f"ended with status {status}", "runs", False)]


def main(argv: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--device", default="cuda:0", help="cuda:N or cpu; default: %(default)s")
    parser.add_argument("--envs", type=int, nargs="*", default=[4096, 11000], help="default: %(default)s")
    parser.add_argument("--episodes", type=int, default=100, help="of the expert; default: %(default)s")
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(list(argv) or None)
    if not installed("isaacgym"):
        print(f"error: {SIMULATORS['isaacgym'].needs}", file=sys.stderr)
        return 2
    if args.part:
        args.out.write_text(json.dumps(PARTS[args.part](args.device, args.number)))
        return 0
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"{found}, {platform.platform()}, {args.device}\n", flush=True)
    findings: List[Finding] = []
    for part, number in [
        ("contact", 0),
        ("sensor", 0),
        *(("memory", envs) for envs in args.envs),
        ("expert", args.episodes),
    ]:
        findings += in_a_process_of_its_own(part, args.device, number)
    rows = [("", "what", "measured", "expected")]
    rows += [("ok" if f.fits else "NO", f.what, f.measured, f.expected) for f in findings]
    print(aligned(rows))
    wrong = sum(not f.fits for f in findings)
    print(f"\n{wrong} of {len(findings)} are not as expected" if wrong else f"\nall {len(findings)} are as expected")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
