"""Names and constants of the ShadowHand as the method uses it: 22 joints, 18 of them driven, and a floating palm,
without forearm and wrist."""

import importlib.util
from pathlib import Path
from typing import Dict, Tuple

from resdex_tasks.utils.errors import UserError

FINGERS: Tuple[str, ...] = ("FF", "MF", "RF", "LF", "TH")
"""First, middle, ring and little finger, thumb: the order of every array with one entry for each finger."""

JOINTS: Tuple[str, ...] = (
    "FFJ3", "FFJ2", "FFJ1", "FFJ0",
    "MFJ3", "MFJ2", "MFJ1", "MFJ0",
    "RFJ3", "RFJ2", "RFJ1", "RFJ0",
    "LFJ4", "LFJ3", "LFJ2", "LFJ1", "LFJ0",
    "THJ4", "THJ3", "THJ2", "THJ1", "THJ0",
)  # fmt: skip
NUM_JOINTS = len(JOINTS)

COUPLED: Dict[str, str] = {"FFJ0": "FFJ1", "MFJ0": "MFJ1", "RFJ0": "RFJ1", "LFJ0": "LFJ1"}
"""Distal joint -> the middle joint whose tendon drives it."""

ACTUATED: Tuple[str, ...] = tuple(j for j in JOINTS if j not in COUPLED)
NUM_ACTUATED = len(ACTUATED)

NUM_ACTIONS = 3 + 3 + NUM_ACTUATED
"""Wrist force, wrist torque, joint targets."""

PALM_DOWN_QUAT = (0.5**0.5, 0.0, 0.0, 0.5**0.5)
"""xyzw: the fingers (palm +z) point along world -y, the palm's face (palm -y) looks down."""

PALM_CENTRE = (0.0, -0.02, 0.08)
"""Middle of the palm's face in the palm's frame, m (the official code's palm point)."""

PAD_DIRECTIONS = ((0.0, -1.0, 0.0),) * 4 + ((-1.0, 0.0, 0.0),)
"""Out of each fingertip's pad, in the frame of its distal body, in the order of `FINGERS`."""

PREGRASP_DEG: Dict[str, float] = {
    "FFJ2": 55, "FFJ1": 45, "FFJ0": 45,
    "MFJ2": 50, "MFJ1": 45, "MFJ0": 45,
    "RFJ2": 50, "RFJ1": 45, "RFJ0": 45,
    "LFJ2": 55, "LFJ1": 45, "LFJ0": 45,
    "THJ4": 35, "THJ3": 50, "THJ1": 10, "THJ0": -20,
}  # fmt: skip
"""degrees: a cupped hand with the thumb opposed, q* for objects whose source has no grasps; joints not named are 0."""


def asset_root() -> Path:
    """Folder with the ShadowHand's `hand/*.xml` and `stls/hand/*.stl`, gymnasium-robotics' or else IsaacGymEnvs': they
    describe the same hand.

    The packages are located but not imported: that is slow, prints warnings, and needs Isaac Gym.

    Raises:
        UserError: neither is installed.
    """
    for package, *way in (
        ("gymnasium_robotics", "envs", "assets"),
        ("isaacgymenvs", "..", "assets", "mjcf", "open_ai_assets"),
    ):
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            root = Path(place, *way)
            if (root / "hand" / "robot.xml").is_file():
                return root
    raise UserError("the ShadowHand's model needs the package gymnasium-robotics: pip install gymnasium-robotics")
