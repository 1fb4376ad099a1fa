"""Top-down grasp proposals for objects whose source has none: the palm over the object as it rests."""

from typing import Sequence, Union

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.shadow_hand import JOINTS, PALM_CENTRE, PALM_DOWN_QUAT, PREGRASP_DEG
from resdex_tasks.objects.object_set import GraspProposals

PALM_CLEARANCE = 0.02
"""m, height of the palm's face above the object's top in the proposal."""


def top_down_proposals(
    vertices: np.ndarray, rest_rotations: Union[np.ndarray, Sequence[Sequence[float]]]
) -> GraspProposals:
    """One grasp for each pose at rest: palm down, its face `PALM_CLEARANCE` above the top, fingers cupped.

    Args:
        vertices: (V, 3) the object's, in its frame, m.
        rest_rotations: (P, 4) quaternions xyzw that turn the frame so that the object rests. The palm's middle is above
            the frame's origin, and the fingers point along -y of the turned frame.
    """
    rest = Rotation.from_quat(rest_rotations)
    top = np.array([turn.apply(vertices)[:, 2].max() for turn in rest])
    palm_down = Rotation.from_quat(PALM_DOWN_QUAT)
    palm_centre = np.stack([np.zeros_like(top), np.zeros_like(top), top + PALM_CLEARANCE], axis=1)
    count = len(top)
    return GraspProposals(
        rotation=(rest.inv() * palm_down).as_quat(),
        translation=rest.inv().apply(palm_centre - palm_down.apply(PALM_CENTRE)),
        joint_pos=np.tile(np.deg2rad([PREGRASP_DEG.get(joint, 0.0) for joint in JOINTS]), (count, 1)),
        rest_rotation=np.array(rest_rotations, dtype=np.float64).reshape(count, 4),
    )
