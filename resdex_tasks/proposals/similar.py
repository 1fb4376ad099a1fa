"""Grasps of objects of a similar size, adapted to another object, for a search to begin with."""

from typing import List, Optional, Sequence, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.object_set import GraspObject, GraspProposals
from resdex_tasks.proposals.candidates import CANDIDATE_CONFIG, CandidateConfig, rest_rotations
from resdex_tasks.proposals.file import ObjectProposals, fingerprint

PER_EXAMPLE = 4
"""Grasps taken from one object: its best."""
SAME_UP = np.radians(25.0)
"""rad between the up directions, in the objects' frames, of two poses at rest that are alike."""
MIN_SIDE = 1e-6
"""m, of a bounding box: keeps the place in a flat one finite."""


def similar_grasps(
    obj: GraspObject,
    examples: Sequence[ObjectProposals],
    count: int,
    config: CandidateConfig = CANDIDATE_CONFIG,
) -> Optional[GraspProposals]:
    """At most `count` grasps of the objects whose bounding box and centre of mass are most like this one's.

    A grasp keeps its direction R and joint positions q in the object's frame. The point before the palm
    (`config.grasp_centre`) keeps its place in the bounding box, which is stretched along each axis from the one
    object's to the other's, and its distance from the box where it is outside. Only grasps count for which the object
    can rest with about the same direction up. None: no example has such a grasp.
    """
    measures = fingerprint(obj)[:9].astype(np.float64)
    low, high = measures[:3], measures[3:6]
    rests = rest_rotations(obj)
    ups = Rotation.from_quat(rests).as_matrix()[:, 2]

    def unlike(example: ObjectProposals) -> float:
        return float(np.abs(example.fingerprint[:9] - measures).sum())

    taken: List[Tuple[np.ndarray, ...]] = []
    for example in sorted(examples, key=unlike):
        if len(taken) >= count:
            break
        if example.proposals is None:
            continue
        grasps = example.proposals
        cosine = Rotation.from_quat(grasps.rest_rotation).as_matrix()[:, 2] @ ups.T
        rows = np.flatnonzero(cosine.max(axis=1) >= np.cos(SAME_UP))[:PER_EXAMPLE]
        if len(rows) == 0:
            continue
        hand = Rotation.from_quat(grasps.rotation[rows])
        own_low, own_high = example.fingerprint[:3].astype(np.float64), example.fingerprint[3:6].astype(np.float64)
        centre = grasps.translation[rows] + hand.apply(config.grasp_centre)
        inside = centre.clip(own_low, own_high)
        fraction = (inside - own_low) / np.maximum(own_high - own_low, MIN_SIDE)
        moved = low + fraction * (high - low) + (centre - inside)
        rest = rests[cosine[rows].argmax(axis=1)]
        moved -= hand.apply(config.grasp_centre)
        taken += zip(grasps.rotation[rows], moved, grasps.joint_pos[rows], rest, grasps.squeeze[rows])
    if not taken:
        return None
    return GraspProposals(*(np.array(field) for field in zip(*taken[:count])))
