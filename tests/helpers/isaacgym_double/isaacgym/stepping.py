"""What happens in `simulate`, and what the tensors show after it."""

from typing import TYPE_CHECKING

import numpy as np

from .structs import ContactCollection
from .world import WXYZ, XYZW, World

if TYPE_CHECKING:
    from .engine import Sim


def simulate(sim: "Sim") -> None:
    """Read what was staged, then step every environment."""
    staged = {name: (values.values().detach().cpu().numpy(), ids, n) for name, (values, ids, n) in sim.staged.items()}
    chosen = {
        name: list(range(len(sim.actors))) if ids is None else ids.values()[:n].tolist()
        for name, (_, ids, n) in staged.items()
    }
    sim.staged = {}
    written = set()
    for actor in chosen.get("root", ()):
        written.add(sim.actors[actor][0])
        _write_root(sim, actor, staged["root"][0].reshape(-1, 13)[actor])
    for actor in chosen.get("dof", ()):
        written.add(sim.actors[actor][0])
        _write_dofs(sim, actor, staged["dof"][0].reshape(-1, 2))
    for env in written:
        sim.worlds[env].changed()
    for actor in chosen.get("target", ()):
        columns, first = _dof_columns(sim, actor)
        layout = sim.worlds[sim.actors[actor][0]].layout
        ctrl = sim.worlds[sim.actors[actor][0]].data.ctrl
        ctrl[layout.ctrl[columns]] = staged["target"][0].reshape(-1)[first : first + len(columns)]
    wrench = None
    if "force" in staged or "torque" in staged:
        zeros = np.zeros((sim.counts["body"], 3), np.float32)
        parts = [staged[name][0].reshape(-1, 3) if name in staged else zeros for name in ("force", "torque")]
        wrench = np.hstack(parts).astype(float)
    collect = sim.params.physx.contact_collection is not ContactCollection.CC_NEVER
    start = 0
    for world in sim.worlds:
        ids, applied = world.layout.bodies, None
        if wrench is not None:
            applied = np.zeros((world.model.nbody, 6))
            applied[ids] = wrench[start : start + len(ids)]
        world.step(sim.params.substeps, applied, collect, sim.counts["sensor"] > 0)
        start += len(ids)
    sim.frames += 1
    sim.fetched = False


def _write_root(sim: "Sim", index: int, row: np.ndarray) -> None:
    env, actor = sim.actors[index]
    world = sim.worlds[env]
    body, free = world.layout.roots[world.actors.index(actor)]
    if free is None:
        return
    qpos, qvel, row = world.data.qpos, world.data.qvel, row.astype(float)
    qpos[free[0] : free[0] + 7] = [*row[:3], *row[3:7][WXYZ]]
    turn = _matrix(row[3:7])
    # of the centre of mass here, of the frame's origin there; the free joint turns about its own axes
    qvel[free[1] : free[1] + 3] = row[7:10] - np.cross(row[10:], turn @ world.model.body_ipos[body])
    qvel[free[1] + 3 : free[1] + 6] = turn.T @ row[10:]


def _matrix(quat: np.ndarray) -> np.ndarray:
    x, y, z, w = quat
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def _dof_columns(sim: "Sim", index: int) -> tuple:
    """Which of its environment's DOFs are an actor's, and its first row in the sim."""
    env, actor = sim.actors[index]
    start = 0
    for other in sim.worlds[env].actors:
        if other is actor:
            break
        start += len(other.asset.dofs)
    return np.arange(start, start + len(actor.asset.dofs)), actor.rows["dof"]


def _write_dofs(sim: "Sim", index: int, table: np.ndarray) -> None:
    columns, first = _dof_columns(sim, index)
    world = sim.worlds[sim.actors[index][0]]
    rows = table[first : first + len(columns)]
    world.data.qpos[world.layout.qpos[columns]] = rows[:, 0]
    world.data.qvel[world.layout.qvel[columns]] = rows[:, 1]


def rows(sim: "Sim", name: str) -> np.ndarray:
    """The current rows of a tensor."""
    parts = [_SHOWN[name](world) for world in sim.worlds]
    return np.concatenate(parts).astype(np.float32)


def _states(world: World, bodies: np.ndarray) -> np.ndarray:
    """(B, 13), in the environment's own frame wherever it stands on the grid."""
    data = world.data
    if not world.finite():
        return np.full((len(bodies), 13), np.nan)
    return np.hstack((data.xpos[bodies], data.xquat[bodies][:, XYZW], world.velocities()[bodies]))


def _dofs(world: World) -> np.ndarray:
    return np.stack((world.data.qpos[world.layout.qpos], world.data.qvel[world.layout.qvel]), axis=1)


def _sensors(world: World) -> np.ndarray:
    """Net force and torque on the sensor's body, along the sensor's axes; gravity and inertia are in it."""
    found, start = [np.zeros((0, 6))], 0
    for actor in world.actors:
        for index, pose, _ in actor.asset.sensors:
            body = world.layout.bodies[start + index]
            turn = world.data.xmat[body].reshape(3, 3) @ _matrix(np.array([pose.r.x, pose.r.y, pose.r.z, pose.r.w]))
            found.append((world.sensed[body].reshape(2, 3) @ turn).reshape(1, 6))
        start += len(actor.asset.bodies)
    return np.concatenate(found)


_SHOWN = {
    "root": lambda world: _states(world, np.array([body for body, _ in world.layout.roots])),
    "dof": _dofs,
    "body": lambda world: _states(world, world.layout.bodies),
    "sensor": _sensors,
    "contact": lambda world: world.contact[world.layout.bodies],
}
