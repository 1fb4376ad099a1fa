"""One environment in MuJoCo: its model, and a physics step with PhysX's way of damping."""

import copy
import xml.etree.ElementTree as ET
from typing import Any, Dict, List, Optional, Sequence

import mujoco
import numpy as np

from . import settings
from .assets import Asset
from .structs import DofDriveMode, RigidBodyProperties, SimParams, Transform, Vec3

ROLLING = (0.005, 0.0001)
XYZW = [1, 2, 3, 0]
WXYZ = [3, 0, 1, 2]


class Actor:
    """One actor of an environment, and where its rows begin in the engine's tensors."""

    def __init__(self, asset: Asset, pose: Transform, name: str, group: int, filter: int, rows: Dict[str, int]) -> None:
        self.asset, self.pose, self.name, self.group, self.filter = asset, copy.deepcopy(pose), name, group, filter
        self.rows = rows
        self.dof_props = asset.dof_props.copy()
        self.shapes = copy.deepcopy(asset.shapes)

    @property
    def fixed(self) -> bool:
        return self.asset.options.fix_base_link

    def key(self) -> Any:
        """Actors of equal keys have equal models."""
        frictions = tuple(shape.friction for shape in self.shapes)
        place = _numbers(self.pose) if self.fixed else ()
        return id(self.asset), self.filter, self.dof_props.tobytes(), frictions, place


def _numbers(pose: Transform) -> tuple:
    return (pose.p.x, pose.p.y, pose.p.z, pose.r.x, pose.r.y, pose.r.z, pose.r.w)


def build_model(actors: Sequence[Actor], params: SimParams, ground: bool) -> mujoco.MjModel:
    """The model of an environment; body k of actor i is named `i/k's name`."""
    hands = [i for i, actor in enumerate(actors) if actor.asset.mjcf is not None]
    if len(hands) > 1:
        raise NotImplementedError("the double has room for one MJCF actor in an environment")
    spec = _hand_spec(actors[hands[0]], hands[0]) if hands else mujoco.MjSpec()
    option = spec.option
    option.timestep = params.dt / params.substeps
    option.gravity = [params.gravity.x, params.gravity.y, params.gravity.z]
    option.integrator, option.solver = mujoco.mjtIntegrator.mjINT_IMPLICITFAST, mujoco.mjtSolver.mjSOL_NEWTON
    option.iterations, option.ls_iterations, option.impratio = 10, 20, 10.0
    option.cone, option.jacobian = mujoco.mjtCone.mjCONE_ELLIPTIC, mujoco.mjtJacobian.mjJAC_SPARSE
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    if ground:
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
    for i, actor in enumerate(actors):
        if actor.asset.mjcf is None:
            _add_rigid(spec, i, actor)
    return spec.compile()


def _hand_spec(actor: Actor, index: int) -> mujoco.MjSpec:
    asset = actor.asset
    spec = mujoco.MjSpec.from_string(ET.tostring(asset.mjcf, encoding="unicode"))
    for body in spec.bodies[1:]:
        body.gravcomp = float(asset.options.disable_gravity)
        body.name = f"{index}/{body.name}"
    if not actor.fixed:
        spec.body(f"{index}/{asset.mjcf.find('worldbody/body').get('name')}").add_freejoint()
    for dof, name in enumerate(asset.dofs):
        joint, props = spec.joint(name), actor.dof_props[dof]
        joint.limited, joint.range = int(props["hasLimits"]), [props["lower"], props["upper"]]
        joint.damping, joint.armature, joint.frictionloss = (
            _first(joint.damping, props["damping"]),
            props["armature"],
            props["friction"],
        )
        gain = float(props["stiffness"]) if props["driveMode"] == int(DofDriveMode.DOF_MODE_POS) else 0.0
        servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.gainprm[0], servo.biasprm[1], servo.biastype = gain, -gain, mujoco.mjtBias.mjBIAS_AFFINE
        servo.forcelimited, servo.forcerange = 1, [-props["effort"], props["effort"]]
    for geom, shape in zip(spec.geoms, actor.shapes):
        geom.friction, geom.condim = [shape.friction, *ROLLING], 3
        if actor.filter == 0:  # everything touches everything, the hand itself too
            geom.conaffinity = 1
    if actor.filter > 0:
        for pair in list(spec.pairs):
            spec.delete(pair)
    return spec


def _first(old: Any, value: float) -> Any:
    """`value` in the place of `old`, which is a number, or an array whose first entry counts."""
    if np.ndim(old) == 0:
        return float(value)
    new = np.array(old)
    new[0] = value
    return new


def _add_rigid(spec: mujoco.MjSpec, index: int, actor: Actor) -> None:
    asset, pose = actor.asset, _numbers(actor.pose)
    body = spec.worldbody.add_body(name=f"{index}/{asset.bodies[0]}", gravcomp=float(asset.options.disable_gravity))
    if actor.fixed:
        body.pos, body.quat = pose[:3], np.array(pose[3:])[WXYZ]
    else:
        body.add_freejoint()
    friction = [actor.shapes[0].friction, *ROLLING]
    if not asset.pieces:
        size = [half / 2 for half in asset.box]
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=size, density=asset.options.density, friction=friction)
    for k, (vertices, faces) in enumerate(asset.pieces):
        name = f"{index}/{k}"
        mesh = spec.add_mesh(name=name, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
        mesh.uservert, mesh.userface = vertices.astype(np.float32).ravel(), faces.astype(np.int32).ravel()
        friction = [actor.shapes[k].friction, *ROLLING]
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, density=asset.options.density, friction=friction)


def body_properties(asset: Asset, params: SimParams) -> List[RigidBodyProperties]:
    """Masses of an asset's bodies, in its order."""
    alone = Actor(asset, Transform(), "", 0, -1, {})
    model, out = build_model([alone], params, False), []
    for name in asset.bodies:
        body, props = model.body(f"0/{name}"), RigidBodyProperties()
        props.mass, props.invMass = float(body.mass[0]), 1 / float(body.mass[0])
        props.com = Vec3(*map(float, body.ipos))
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, body.iquat)
        turn = turn.reshape(3, 3)
        matrix = turn @ np.diag(body.inertia) @ turn.T
        for axis, row in zip("xyz", matrix):
            setattr(props.inertia, axis, Vec3(*map(float, row)))
        out.append(props)
    return out


class Layout:
    """Where an environment's actors lie in its model."""

    def __init__(self, model: mujoco.MjModel, actors: Sequence[Actor]) -> None:
        self.bodies = np.array([model.body(f"{i}/{b}").id for i, a in enumerate(actors) for b in a.asset.bodies])
        dofs = [name for actor in actors for name in actor.asset.dofs]
        self.qpos = np.array([model.joint(name).qposadr[0] for name in dofs], int)
        self.qvel = np.array([model.joint(name).dofadr[0] for name in dofs], int)
        self.ctrl = np.array([model.actuator(name).id for name in dofs], int)
        self.roots = [self._root(model, i, actor) for i, actor in enumerate(actors)]
        """Body of each actor's root, and where its free joint begins in qpos and qvel; None: it is fixed."""
        count = model.nbody
        self.linear, self.angular = np.zeros(count), np.zeros(count)
        start = 0
        for actor in actors:
            ids = self.bodies[start : start + len(actor.asset.bodies)]
            if not actor.fixed:
                options = actor.asset.options
                self.linear[ids], self.angular[ids] = options.linear_damping, options.angular_damping
            start += len(ids)

    @staticmethod
    def _root(model: mujoco.MjModel, index: int, actor: Actor) -> Any:
        name = (
            actor.asset.mjcf.find("worldbody/body").get("name")
            if actor.asset.mjcf is not None
            else actor.asset.bodies[0]
        )
        body = model.body(f"{index}/{name}")
        if actor.fixed:
            return int(body.id), None
        joint = int(body.jntadr[0])
        return int(body.id), (int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint]))


class World:
    """The state of one environment."""

    def __init__(self, model: mujoco.MjModel, layout: Layout, actors: Sequence[Actor]) -> None:
        self.model, self.layout, self.actors, self.data = model, layout, actors, mujoco.MjData(model)
        for (_, free), actor in zip(layout.roots, actors):
            if free is not None:
                pose = np.array(_numbers(actor.pose))
                self.data.qpos[free[0] : free[0] + 7] = [*pose[:3], *pose[3:][WXYZ]]
        self.data.qpos[layout.qpos] += settings.noise
        for _, free in layout.roots:
            if free is not None:
                self.data.qpos[free[0] : free[0] + 3] += settings.noise
        self.contact = np.zeros((model.nbody, 3))
        self.sensed = np.zeros((model.nbody, 6))
        self.changed()

    def changed(self) -> None:
        """After a write to qpos or qvel: nothing of the past is left."""
        self.data.qacc_warmstart[:] = 0
        self.contact[:] = 0
        self.sensed[:] = 0
        if self.finite():
            mujoco.mj_step1(self.model, self.data)

    def finite(self) -> bool:
        return bool(np.isfinite(self.data.qpos).all() and np.isfinite(self.data.qvel).all())

    def velocities(self) -> np.ndarray:
        """(nbody, 6) of the centres of mass: linear, angular; world axes."""
        data = self.data
        spin = data.cvel[:, :3]
        arm = data.xipos - data.subtree_com[self.model.body_rootid]
        return np.hstack((data.cvel[:, 3:] + np.cross(spin, arm), spin))

    def momenta(self, velocities: np.ndarray) -> np.ndarray:
        """(nbody, 6) linear and angular, about the centres of mass."""
        turn = self.data.ximat.reshape(-1, 3, 3)
        local = np.einsum("bji,bj->bi", turn, velocities[:, 3:]) * self.model.body_inertia
        return np.hstack((self.model.body_mass[:, None] * velocities[:, :3], np.einsum("bij,bj->bi", turn, local)))

    def step(self, substeps: int, wrench: Optional[np.ndarray], net_contacts: bool, sensors: bool) -> None:
        """One control step; `wrench` (nbody, 6) acts at the centres of mass."""
        model, data, layout = self.model, self.data, self.layout
        rates = np.repeat(np.stack((layout.linear, layout.angular), axis=1), 3, axis=1)
        for substep in range(substeps):
            if not self.finite():
                return  # there is no going on from here: until somebody writes a state, nothing moves
            before = self.momenta(self.velocities())
            data.xfrc_applied[:] = -rates * before
            if wrench is not None and (substep == 0 or settings.force_in_every_substep):
                data.xfrc_applied[:] += (1 - rates * model.opt.timestep) * wrench
            mujoco.mj_step2(model, data)
            last = substep == substeps - 1
            if last and net_contacts:
                self._collect_contacts()
            if not self.finite():
                return
            mujoco.mj_step1(model, data)
            if last and sensors:
                self.sensed = (self.momenta(self.velocities()) - before) / model.opt.timestep

    def _collect_contacts(self) -> None:
        """Net contact force on every body: the normal parts alone, as PhysX reports it."""
        self.contact[:] = 0
        force = np.zeros(6)
        for index in range(self.data.ncon):
            contact = self.data.contact[index]
            if contact.efc_address < 0:
                continue
            mujoco.mj_contactForce(self.model, self.data, index, force)
            if not settings.friction_in_contacts:
                force[1:] = 0
            push = force[:3] @ contact.frame.reshape(3, 3)
            first, second = self.model.geom_bodyid[contact.geom]
            self.contact[first] -= push
            self.contact[second] += push
