"""Grasps of objects of a similar size, adapted to another object: what a search for its proposals may begin with."""

from typing import Optional, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from resdex_tasks.objects.object_set import GraspObject, GraspProposals
from resdex_tasks.proposals.candidates import GRASP_CENTRE, rest_rotations
from resdex_tasks.proposals.file import Found, fingerprint

PER_EXAMPLE = 4
"""Grasps taken from one object, its best."""
SAME_UP = np.radians(25.0)
"""rad between the up directions, in the objects' frames, of two poses at rest that are alike."""


def similar_grasps(thing: GraspObject, examples: Sequence[Found], count: int) -> Optional[GraspProposals]:
    """At most `count` grasps of the objects whose bounding box and centre of mass are most like this one's.

    A grasp keeps its direction R and joint positions q in the object's frame. The point before the palm keeps its place
    in the bounding box, which is stretched along each axis from the one object's to the other's, and its distance from
    the box where it is outside. It counts where the object can rest with about the same direction up. None: no example
    has such a grasp.
    """
    measures = fingerprint(thing)[:9].astype(np.float64)
    low, high = measures[:3], measures[3:6]
    rests = rest_rotations(thing)
    ups = Rotation.from_quat(rests).as_matrix()[:, 2]

    def unlike(example: Found) -> float:
        return float(np.abs(example.fingerprint[:9] - measures).sum())

    taken = []
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
        centre = grasps.translation[rows] + hand.apply(GRASP_CENTRE)
        inside = centre.clip(own_low, own_high)
        part = (inside - own_low) / np.maximum(own_high - own_low, 1e-6)
        moved = low + part * (high - low) + (centre - inside)
        rest = rests[cosine[rows].argmax(axis=1)]
        taken += zip(grasps.rotation[rows], moved - hand.apply(GRASP_CENTRE), grasps.joint_pos[rows], rest)
    if not taken:
        return None
    return GraspProposals(*(np.array(field) for field in zip(*taken[:count])))
