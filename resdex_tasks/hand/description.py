"""The floating ShadowHand as its model's file describes it, for every simulator that builds it."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import List

from resdex_tasks.hand.shadow_hand import ACTUATED, COUPLED, FINGERS, asset_root

ROOT_BODY = "palm"
DISTAL_BODIES = tuple(f"{finger.lower()}distal" for finger in FINGERS)
PALM_MASS = 4.0
"""kg: the palm stands for the whole arm-side mass of the floating hand (the method's asset)."""
PALM_INERTIA = (0.01, 0.01, 0.0075)
"""kg m^2, about the palm's axes, its centre of mass being its frame's origin."""
COLLISION_CLASS = "DC_Hand"
"""Class of the geoms that touch; the others are for the eye."""


@dataclass
class HandDescription:
    """Elements of MJCF, names without the file's prefix; the caller's own to change."""

    palm: ET.Element
    """The palm, heavy and without a joint, and the fingers below it."""
    defaults: ET.Element
    meshes: ET.Element
    contact: ET.Element
    """Which of the hand's geoms touch each other."""
    tendons: List[ET.Element]
    """The four that couple distal to middle joints."""
    actuators: List[ET.Element]
    """Position servos, in the order of `shadow_hand.ACTUATED`."""


def describe_hand(finger_gain: float) -> HandDescription:
    """The hand without forearm and wrist.

    Args:
        finger_gain: kp of the servos, Nm/rad.

    Raises:
        UserError: the package with the model's file is not installed.
        ValueError: the file is not the model that is expected.
    """
    hand_dir = asset_root() / "hand"

    def parse(name: str) -> ET.Element:
        return ET.fromstring((hand_dir / name).read_text(encoding="utf-8").replace("robot0:", ""))

    robot, shared, assets = parse("robot.xml"), parse("shared.xml"), parse("shared_asset.xml")
    palm = next(body for body in robot.iter("body") if body.get("name") == ROOT_BODY)
    inertial = child(palm, "inertial")
    inertial.attrib.update(mass=str(PALM_MASS), pos="0 0 0", diaginertia=" ".join(map(str, PALM_INERTIA)))
    inertial.attrib.pop("quat")
    palm.remove(child(palm, "joint"))  # the wrist's: the hand floats
    for body in palm.iter("body"):
        for touch in [s for s in body.findall("site") if s.get("class") == "D_Touch"]:
            body.remove(touch)
    for geom in palm.iter("geom"):
        geom.attrib.pop("condim", None)
    coupling = {f"T_{driver}c" for driver in COUPLED.values()}
    actuators = [a for a in child(shared, "actuator") if a.get("joint") in ACTUATED]
    for actuator in actuators:
        actuator.set("kp", str(finger_gain))
    return HandDescription(
        palm,
        child(shared, "default"),
        assets,
        child(shared, "contact"),
        [tendon for tendon in child(shared, "tendon") if tendon.get("name") in coupling],
        actuators,
    )


def child(element: ET.Element, tag: str) -> ET.Element:
    """The first element of this tag in another; ValueError: the model's file has none there."""
    found = element.find(tag)
    if found is None:
        raise ValueError(f"the ShadowHand's model has no <{tag}> in <{element.tag}>")
    return found
