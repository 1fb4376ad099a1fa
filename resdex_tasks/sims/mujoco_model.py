"""The scene that both MuJoCo simulators step: ShadowHand, table plane and one object, as one MjSpec.

Every object of a set compiles to a model of the same layout (the same bodies, geoms and sensors, meshes of other
shapes), so that environments with different objects can be stepped as one batch.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import List

import mujoco
import numpy as np
import torch
from torch import Tensor

from resdex_tasks.objects.object_set import GraspObject, ObjectSet
from resdex_tasks.shadow_hand import ACTUATED, COUPLED, FINGERS, JOINTS, asset_root
from resdex_tasks.sims.base import OBJECT_DENSITY, TABLE_HEIGHT, WristLaw

ROOT_BODY, OBJECT_BODY = "palm", "object"
DISTAL_BODIES = tuple(f"{finger.lower()}distal" for finger in FINGERS)
PALM_MASS = 4.0
"""kg: the palm stands for the whole arm-side mass of the floating hand (the method's asset)."""
PALM_INERTIA = "0.01 0.01 0.0075"
HIDDEN_GROUP = 5
"""Geom group of the unused piece slots."""
TEXTURES = {"hand": (0.82, 0.83, 0.86, 1.0), "object": (0.93, 0.55, 0.22, 1.0), "table": (0.86, 0.84, 0.80, 1.0)}


@dataclass(frozen=True)
class MujocoSimConfig:
    """`cfg/sim/mujoco.yaml`, `cfg/sim/mujoco_warp.yaml`: the physics that the two MuJoCo simulators share."""

    substeps: int
    """Physics steps per control step; the control step is 1/60 s."""
    iterations: int
    ls_iterations: int
    cone: str
    """Friction cone, 'elliptic' or 'pyramidal'. Pyramidal cones let objects slide out of the grip."""
    impratio: float
    condim: int
    """3 (sliding friction) or 4 (also torsional friction) for everything the hand or the table touches."""
    friction: List[float]
    """Sliding, torsional and rolling friction."""
    finger_gain: float
    """kp of the joints' position servos, Nm/rad."""
    joint_damping: float
    joint_armature: float
    joint_frictionloss: float


class SensorLayout:
    """Where each quantity lies in `sensordata`, and how MuJoCo's wxyz becomes xyzw."""

    def __init__(self) -> None:
        names: List[str] = []
        self.xml = ET.Element("sensor")
        frame = (("framepos", 3), ("framequat", 4), ("framelinvel", 3), ("frameangvel", 3))

        def add(kind: str, size: int, **attributes: str) -> None:
            ET.SubElement(self.xml, kind, name=f"s{len(names)}", **attributes)
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


def _hand_xml(config: MujocoSimConfig) -> ET.Element:
    """The scene without an object: hand (visual and collision geoms), table, actuators, sensors."""
    hand_dir = asset_root() / "hand"

    def parse(name: str) -> ET.Element:
        return ET.fromstring((hand_dir / name).read_text().replace("robot0:", ""))

    robot, shared, assets = parse("robot.xml"), parse("shared.xml"), parse("shared_asset.xml")
    palm = next(body for body in robot.iter("body") if body.get("name") == "palm")
    palm.attrib.update(pos="0 0 1", childclass="asset_class")
    palm.find("inertial").attrib.update(mass=str(PALM_MASS), pos="0 0 0", diaginertia=PALM_INERTIA)
    palm.find("inertial").attrib.pop("quat")
    palm.remove(palm.find("joint"))  # the wrist joint: the free joint takes its place
    palm.insert(0, ET.Element("freejoint", name="root"))
    for body in palm.iter("body"):
        body.set("gravcomp", "1")
        for touch in [s for s in body.findall("site") if s.get("class") == "D_Touch"]:
            body.remove(touch)
    for geom in palm.iter("geom"):
        geom.attrib.pop("condim", None)
        if geom.get("class") != "DC_Hand":
            geom.attrib.update(contype="0", conaffinity="0", mass="0")

    scene = ET.Element("mujoco", model="resdex")
    ET.SubElement(scene, "compiler", angle="radian", meshdir=str(asset_root() / "stls" / "hand"))
    ET.SubElement(scene, "option", integrator="implicitfast", solver="Newton")
    defaults = shared.find("default")
    ET.SubElement(defaults, "geom", condim=str(config.condim), friction=" ".join(map(str, config.friction)))
    hand_class = next(d for d in defaults.iter("default") if d.get("class") == "asset_class")
    hand_class.find("geom").attrib.update(condim=str(config.condim), friction=" ".join(map(str, config.friction)))
    hand_class.find("joint").attrib.update(
        damping=str(config.joint_damping),
        armature=str(config.joint_armature),
        frictionloss=str(config.joint_frictionloss),
    )
    for geom in defaults.iter("geom"):
        geom.attrib.pop("material", None)
    scene.append(defaults)
    asset = ET.SubElement(scene, "asset")
    used = {geom.get("mesh") for geom in palm.iter("geom")}
    asset.extend(mesh for mesh in assets.iter("mesh") if mesh.get("name") in used)
    world = ET.SubElement(scene, "worldbody")
    rgba = " ".join(map(str, TEXTURES["table"]))
    # a plane, not a box: objects that leave the table must not fall for ever, and float32 engines drop contacts
    # against one large box
    ET.SubElement(world, "geom", name="table", type="plane", size="0 0 1", pos=f"0 0 {TABLE_HEIGHT}", rgba=rgba)
    world.append(palm)
    scene.append(shared.find("contact"))
    tendons = ET.SubElement(scene, "tendon")
    coupling = {f"T_{driver}c" for driver in COUPLED.values()}
    tendons.extend(t for t in shared.find("tendon") if t.get("name") in coupling)
    actuators = ET.SubElement(scene, "actuator")
    for actuator in shared.find("actuator"):
        if actuator.get("joint") in ACTUATED:
            actuator.set("kp", str(config.finger_gain))
            actuators.append(actuator)
    scene.append(SensorLayout().xml)
    return scene


def _add_object(spec: mujoco.MjSpec, obj: GraspObject, num_pieces: int) -> None:
    body = spec.worldbody.add_body(name=OBJECT_BODY, pos=[0, 0, TABLE_HEIGHT + 0.1])
    body.add_freejoint(name=OBJECT_BODY)
    for slot in range(num_pieces):
        used = slot < len(obj.pieces)
        # an unused slot repeats the first piece and touches nothing: the layout stays the same for every object
        piece = obj.pieces[slot if used else 0]
        mesh = spec.add_mesh(name=f"piece{slot}", inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
        mesh.uservert = np.asarray(piece.vertices, np.float32).ravel()
        mesh.userface = np.asarray(piece.faces, np.int32).ravel()
        body.add_geom(
            name=f"piece{slot}",
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=f"piece{slot}",
            density=OBJECT_DENSITY if used else 0.0,
            contype=int(used),
            conaffinity=int(used),
            group=0 if used else HIDDEN_GROUP,
            rgba=TEXTURES["object"],
        )


def build_models(
    objects: ObjectSet, config: MujocoSimConfig, wrist_law: WristLaw, timestep: float, visual: bool = False
) -> List[mujoco.MjModel]:
    """One model per object of the set, all of the same layout.

    Args:
        timestep: s.
        visual: keep the hand's visual meshes, for rendering; physics needs only the collision geoms.
    """
    scene = _hand_xml(config)
    if not visual:
        for body in scene.find("worldbody").iter("body"):
            for geom in [g for g in body.findall("geom") if g.get("class") != "DC_Hand"]:
                body.remove(geom)
        asset = scene.find("asset")
        for mesh in list(asset):
            asset.remove(mesh)
    xml = ET.tostring(scene, encoding="unicode")
    num_pieces = max(len(obj.pieces) for obj in objects)
    models = []
    for obj in objects:
        spec = mujoco.MjSpec.from_string(xml)
        _add_object(spec, obj, num_pieces)
        model = spec.compile()
        model.opt.timestep = timestep
        model.opt.iterations = config.iterations
        model.opt.ls_iterations = config.ls_iterations
        model.opt.impratio = config.impratio
        model.opt.cone = {"elliptic": mujoco.mjtCone.mjCONE_ELLIPTIC, "pyramidal": mujoco.mjtCone.mjCONE_PYRAMIDAL}[
            config.cone
        ]
        root = model.joint("root").dofadr[0]
        model.dof_damping[root : root + 3] = wrist_law.linear_damping
        model.dof_damping[root + 3 : root + 6] = wrist_law.angular_damping
        models.append(model)
    return models


def joint_qpos_columns(model: mujoco.MjModel) -> np.ndarray:
    """(22,) qpos addresses in the order of `shadow_hand.JOINTS`."""
    return np.array([model.joint(name).qposadr[0] for name in JOINTS])


def joint_qvel_columns(model: mujoco.MjModel) -> np.ndarray:
    """(22,) qvel addresses in the order of `shadow_hand.JOINTS`."""
    return np.array([model.joint(name).dofadr[0] for name in JOINTS])


def joint_limits(model: mujoco.MjModel) -> Tensor:
    """(22, 2) rad."""
    return torch.tensor(np.stack([model.joint(name).range for name in JOINTS]), dtype=torch.float32)
