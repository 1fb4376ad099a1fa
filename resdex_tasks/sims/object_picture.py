"""A picture of one object at rest on the table, without a hand; needs no screen."""

import mujoco
import numpy as np

from resdex_tasks.objects.object_set import GraspObject
from resdex_tasks.rendering import colours, raycast
from resdex_tasks.sims.mujoco_scene import add_piece

DIRECTION = np.array([0.62, -0.62, 0.48])
"""From the object to the camera."""
FOV = 26.0


def portrait(obj: GraspObject, width: int, height: int, pose: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: the object in its resting pose number `pose`, filling the picture whatever its size."""
    x, y, z, w = obj.proposals.rest_rotation[pose]
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, np.array([w, x, y, z]))
    vertices = obj.vertices @ turn.reshape(3, 3).T
    low, high = vertices.min(axis=0), vertices.max(axis=0)

    spec = mujoco.MjSpec()
    table = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(type=table, size=[0, 0, 1], pos=[0, 0, low[2]], rgba=(*colours.TABLE, 1.0))
    body = spec.worldbody.add_body(quat=[w, x, y, z])
    for i, piece in enumerate(obj.pieces):
        add_piece(spec, body, f"piece{i}", piece)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)

    centre, radius = (low + high) / 2, np.linalg.norm(high - low) / 2
    distance = 1.15 * radius / np.sin(np.radians(FOV) / 2) * max(1.0, height / width)
    position = centre + DIRECTION / np.linalg.norm(DIRECTION) * distance
    camera = raycast.Camera(position=tuple(position), target=tuple(centre), fov=FOV)
    return raycast.render(model, data, camera, width, height, supersample=2)
