"""The scene that both MuJoCo simulators step: ShadowHand, table plane and one object.

One compiled model serves a whole object set: environments with different objects differ only in a few rows of it, so
that they can be stepped as one batch, on either engine.
"""

import copy
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Dict, List, Optional

import mujoco
import numpy as np
import torch
from torch import Tensor

from resdex_tasks.hand.description import COLLISION_CLASS, DISTAL_BODIES, ROOT_BODY, child, describe_hand
from resdex_tasks.hand.shadow_hand import JOINTS, asset_root
from resdex_tasks.objects.object_set import ConvexPiece, GraspObject, ObjectSet
from resdex_tasks.rendering import colours
from resdex_tasks.sims.base import OBJECT_DENSITY, TABLE_HEIGHT, WristLaw
from resdex_tasks.sims.mujoco_config import PhysicsConfig

OBJECT_BODY = "object"
JACOBIANS = {name: getattr(mujoco.mjtJacobian, f"mjJAC_{name.upper()}") for name in ("sparse", "dense", "auto")}
CONES = {"elliptic": mujoco.mjtCone.mjCONE_ELLIPTIC, "pyramidal": mujoco.mjtCone.mjCONE_PYRAMIDAL}
HIDDEN_GROUP = 5
"""Geom group of the unused piece slots."""


class SensorLayout:
    """Where each quantity lies in `sensordata`, and how MuJoCo's wxyz becomes xyzw."""

    def __init__(self) -> None:
        names: List[str] = []
        self.xml = ET.Element("sensor")
        frame = (("framepos", 3), ("framequat", 4), ("framelinvel", 3), ("frameangvel", 3))

        def add(kind: str, size: int, **attributes: str) -> None:
            ET.SubElement(self.xml, kind, {"name": f"s{len(names)}", **attributes})
            start = sum(self._sizes)
            self._sizes.append(size)
            names.append(kind)
            columns = list(range(start, start + size))
            self._columns += [*columns[1:], columns[0]] if kind == "framequat" else columns

        self._sizes: List[int] = []
        self._columns: List[int] = []
        for body in (*DISTAL_BODIES, OBJECT_BODY):
            for kind, size in frame:
                add(kind, size, objtype="xbody", objname=body)
        for kind, size in frame[:2]:
            add(kind, size, objtype="xbody", objname=ROOT_BODY)
        for body in DISTAL_BODIES:
            # one net wrench per fingertip: force, torque and the point it acts at, in the world frame
            add("contact", 9, body1=body, data="force torque pos", reduce="netforce", num="1")

    @property
    def columns(self) -> Tensor:
        """(130,) order that turns sensordata into: 5 fingertips x 13, object 13, root 7, 5 wrenches x 9."""
        return torch.tensor(self._columns)


def hand_xml(config: PhysicsConfig) -> ET.Element:
    """The scene without an object: hand (visual and collision geoms), table, actuators, sensors."""
    hand = describe_hand(config.finger_gain)
    palm, defaults = hand.palm, hand.defaults
    palm.attrib.update(pos="0 0 1", childclass="asset_class")
    palm.insert(0, ET.Element("freejoint", name="root"))
    for body in palm.iter("body"):
        body.set("gravcomp", "1")
    for geom in palm.iter("geom"):
        if geom.get("class") != COLLISION_CLASS:
            geom.attrib.update(contype="0", conaffinity="0", mass="0")

    scene = ET.Element("mujoco", model="resdex")
    ET.SubElement(scene, "compiler", angle="radian", meshdir=str(asset_root() / "stls" / "hand"))
    ET.SubElement(scene, "option", integrator="implicitfast", solver="Newton")
    ET.SubElement(defaults, "geom", condim=str(config.condim), friction=" ".join(map(str, config.friction)))
    hand_class = next(d for d in defaults.iter("default") if d.get("class") == "asset_class")
    child(hand_class, "geom").attrib.update(condim=str(config.condim), friction=" ".join(map(str, config.friction)))
    child(hand_class, "joint").attrib.update(
        damping=str(config.joint_damping),
        armature=str(config.joint_armature),
        frictionloss=str(config.joint_frictionloss),
    )
    for geom in defaults.iter("geom"):
        geom.attrib.pop("material", None)
    scene.append(defaults)
    asset = ET.SubElement(scene, "asset")
    used = {geom.get("mesh") for geom in palm.iter("geom")}
    asset.extend(mesh for mesh in hand.meshes.iter("mesh") if mesh.get("name") in used)
    world = ET.SubElement(scene, "worldbody")
    rgba = " ".join(map(str, (*colours.TABLE, 1.0)))
    # a plane, not a box: objects that leave the table must not fall for ever, and float32 engines drop contacts
    # against one large box
    ET.SubElement(world, "geom", name="table", type="plane", size="0 0 1", pos=f"0 0 {TABLE_HEIGHT}", rgba=rgba)
    world.append(palm)
    scene.append(hand.contact)
    ET.SubElement(scene, "tendon").extend(hand.tendons)
    ET.SubElement(scene, "actuator").extend(hand.actuators)
    scene.append(SensorLayout().xml)
    return scene


GEOM_FIELDS = ("geom_dataid", "geom_size", "geom_aabb", "geom_rbound", "geom_pos", "geom_quat")
BODY_FIELDS = (
    "body_mass",
    "body_subtreemass",
    "body_inertia",
    "body_ipos",
    "body_iquat",
    "body_invweight0",
)
DOF_FIELDS = ("dof_invweight0",)


@dataclass(frozen=True)
class Scene:
    """One model for every object of a set, and what differs between objects.

    The model holds the meshes of all objects. An object is the rows that `tables` gives for it: which mesh each piece
    slot shows, and the mass properties of the object's body.
    """

    model: mujoco.MjModel
    """Shows no object in particular until rows of `tables` are written into it."""
    tables: Dict[str, np.ndarray]
    """Model field -> (num_objects, rows, ...): values of the field's rows `rows[field]`, one entry an object."""
    rows: Dict[str, slice]
    """Model field -> the rows of it that belong to the object."""
    used: np.ndarray
    """(num_objects, num_pieces) bool: the piece slots that an object uses."""

    def show(self, index: int) -> mujoco.MjModel:
        """A copy of the model with one object in it."""
        model = copy.copy(self.model)
        for field, table in self.tables.items():
            getattr(model, field)[self.rows[field]] = table[index]
        slots = self.rows["geom_dataid"]
        model.geom_contype[slots] = model.geom_conaffinity[slots] = self.used[index]
        model.geom_group[slots] = np.where(self.used[index], 0, HIDDEN_GROUP)
        return model


def add_piece(
    spec: mujoco.MjSpec,
    body: Optional[mujoco.MjsBody],
    name: str,
    piece: ConvexPiece,
    density: float = OBJECT_DENSITY,
) -> None:
    """Put a piece's mesh into the model and, where a body is given, a geom of it (kg/m^3) onto that body."""
    mesh = spec.add_mesh(name=name, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
    mesh.uservert = np.asarray(piece.vertices, np.float32).ravel()
    mesh.userface = np.asarray(piece.faces, np.int32).ravel()
    if body is not None:
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, density=density, rgba=(*colours.OBJECT, 1.0))


def _object_alone(obj: GraspObject) -> mujoco.MjModel:
    """A model of the object's body only: its mass properties and geoms are those it has in the whole scene."""
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(name=OBJECT_BODY)
    body.add_freejoint()
    for slot, piece in enumerate(obj.pieces):
        add_piece(spec, body, f"piece{slot}", piece, OBJECT_DENSITY * obj.solid_fraction)
    return spec.compile()


SKEWED = np.array([[0.0, 0.0, 0.0], [0.05, 0.0, 0.01], [0.01, 0.03, 0.0], [0.0, 0.02, 0.04]])
"""m, corners of the tetrahedron that stands in for the object when the scene is compiled. A body whose inertia is
diagonal at its origin would make the engine's mass matrix too sparse for the objects that follow."""
SKEWED_FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def build_scene(
    objects: ObjectSet, config: PhysicsConfig, wrist_law: WristLaw, timestep: float, visual: bool = False
) -> Scene:
    """Compile the scene for a whole object set.

    Args:
        timestep: s.
        visual: keep the hand's visual meshes, for rendering; physics needs only the collision geoms.
    """
    xml = hand_xml(config)
    if not visual:
        _remove_visuals(xml)
    num_pieces = max(len(obj.pieces) for obj in objects)
    spec = mujoco.MjSpec.from_string(ET.tostring(xml, encoding="unicode"))
    num_hand_meshes = len(spec.meshes)
    body = spec.worldbody.add_body(name=OBJECT_BODY, pos=[0, 0, TABLE_HEIGHT + 0.1])
    body.add_freejoint(name=OBJECT_BODY)
    for slot in range(num_pieces):
        add_piece(spec, body, f"slot{slot}", ConvexPiece(SKEWED, SKEWED_FACES))
    for index, obj in enumerate(objects):
        for slot, piece in enumerate(obj.pieces):
            add_piece(spec, None, f"object{index}piece{slot}", piece)
    model = spec.compile()
    _set_options(model, config, wrist_law, timestep)

    body_id, first_geom = model.body(OBJECT_BODY).id, int(model.body(OBJECT_BODY).geomadr[0])
    first_dof = int(model.body(OBJECT_BODY).dofadr[0])
    # the stand-in's geoms and inertia share a frame, which the engine would exploit; the objects' do not
    model.body_sameframe[body_id] = 0
    model.geom_sameframe[first_geom : first_geom + num_pieces] = 0
    rows = {field: slice(first_geom, first_geom + num_pieces) for field in GEOM_FIELDS}
    rows.update({field: slice(body_id, body_id + 1) for field in BODY_FIELDS})
    rows.update({field: slice(first_dof, first_dof + 6) for field in DOF_FIELDS})
    # a slot that an object does not use keeps the stand-in's values: it touches nothing
    tables = {field: np.repeat(getattr(model, field)[rows[field]][None], len(objects), axis=0) for field in rows}
    used = np.zeros((len(objects), num_pieces), dtype=bool)
    first_mesh = num_hand_meshes + num_pieces
    for index, obj in enumerate(objects):
        alone, count = _object_alone(obj), len(obj.pieces)
        used[index, :count] = True
        for field in GEOM_FIELDS:
            tables[field][index, :count] = getattr(alone, field)
        tables["geom_dataid"][index, :count] = np.arange(first_mesh, first_mesh + count)
        first_mesh += count
        for field in BODY_FIELDS:
            tables[field][index] = getattr(alone, field)[1:]
        for field in DOF_FIELDS:
            tables[field][index] = getattr(alone, field)
    return Scene(model, tables, rows, used)


def _remove_visuals(xml: ET.Element) -> None:
    for body in child(xml, "worldbody").iter("body"):
        for geom in [g for g in body.findall("geom") if g.get("class") != COLLISION_CLASS]:
            body.remove(geom)
    asset = child(xml, "asset")
    for mesh in list(asset):
        asset.remove(mesh)


def _set_options(model: mujoco.MjModel, config: PhysicsConfig, wrist_law: WristLaw, timestep: float) -> None:
    model.opt.timestep = timestep
    model.opt.iterations = config.iterations
    model.opt.ls_iterations = config.ls_iterations
    model.opt.impratio = config.impratio
    model.opt.jacobian = JACOBIANS[config.jacobian]
    model.opt.cone = CONES[config.cone]
    # the bounding-volume tree over the pieces is the stand-in's, so it must not cull the objects' pieces
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    root = int(model.joint("root").dofadr[0])
    model.dof_damping[root : root + 3] = wrist_law.linear_damping
    model.dof_damping[root + 3 : root + 6] = wrist_law.angular_damping


def joint_qpos_columns(model: mujoco.MjModel) -> np.ndarray:
    """(22,) qpos addresses in the order of `shadow_hand.JOINTS`."""
    return np.array([model.joint(name).qposadr[0] for name in JOINTS])


def joint_qvel_columns(model: mujoco.MjModel) -> np.ndarray:
    """(22,) qvel addresses in the order of `shadow_hand.JOINTS`."""
    return np.array([model.joint(name).dofadr[0] for name in JOINTS])


def joint_limits(model: mujoco.MjModel) -> Tensor:
    """(22, 2) rad."""
    return torch.tensor(np.stack([model.joint(name).range for name in JOINTS]), dtype=torch.float32)
