"""How far a hand reaches into its object: a grasp's hand touches, it is not inside."""

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.geometry import hand_spheres
from resdex_tasks.objects.geometry.surface import depth_inside, surface_points
from resdex_tasks.objects.object_set import GraspObject, GraspProposals

SURFACE_POINTS = 4096
"""Points of the surface from which a hand's distance is measured."""


def reach_into_object(obj: GraspObject, grasps: GraspProposals) -> np.ndarray:
    """(P,) m that the hand at (R, t, q) is in the object; negative: beside it. Right to within a millimetre."""
    spheres = hand_spheres(grasps.joint_pos)
    at = spheres.centres @ Rotation.from_quat(grasps.rotation).as_matrix().transpose(0, 2, 1)
    at = at + grasps.translation[:, None]
    inside = depth_inside(obj, at)
    beside = cKDTree(surface_points(obj, SURFACE_POINTS)).query(at)[0]
    return (np.where(inside > 0, inside, -beside) + spheres.radii).max(axis=1)
