"""The three-dimensional part of the viewer's page."""

from typing import Dict, Tuple

import numpy as np
import viser

from resdex_tasks.hand.appearance import hand_meshes
from resdex_tasks.hand.geometry import body_names
from resdex_tasks.objects.object_set import GraspObject
from resdex_tasks.rendering import colours
from resdex_tasks.rewards import SUCCESS_RADIUS
from resdex_tasks.sims.base import TABLE_HEIGHT
from runners.viewer.frame import Frame
from runners.viewer.session import Cast

EYE, TARGET, FIELD_OF_VIEW = (0.6, -0.55, 1.02), (0.0, 0.0, 0.76), np.radians(38.0)
TABLE_SIZE, TABLE_CELL = 0.8, 0.05
"""m"""
GOAL, REACHED = (150, 170, 190), (70, 160, 90)
FORCE, CLOUD = (200, 40, 60), (10, 110, 160)
METRES_PER_NEWTON, LONGEST_FORCE, LEAST_FORCE = 0.01, 0.15, 0.05
"""Of a force's arrow: its length, at most so many m; below so many N there is none."""
POINT_SIZE = 0.004
"""m"""


class Scene:
    """Hand, table, object and goal, and what is drawn over them."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        scene, camera = server.scene, server.initial_camera
        scene.set_up_direction("+z")
        scene.configure_environment_map("studio", environment_intensity=0.6)
        camera.position, camera.look_at, camera.fov = EYE, TARGET, float(FIELD_OF_VIEW)
        scene.add_grid(
            "/table",
            TABLE_SIZE,
            TABLE_SIZE,
            position=(0.0, 0.0, TABLE_HEIGHT),
            cell_size=TABLE_CELL,
            section_size=TABLE_CELL,
            section_thickness=0.5,
            section_color=(190, 186, 178),
            plane_color=_rgb(colours.TABLE),
            plane_opacity=1.0,
            shadow_opacity=0.35,
        )
        self._bodies: Dict[int, viser.MeshHandle] = {
            body_names().index(name): scene.add_mesh_simple(
                f"/hand/{name}", mesh.vertices, mesh.faces, color=_rgb(colours.HAND)
            )
            for name, mesh in hand_meshes().items()
        }
        self._forces = scene.add_arrows(
            "/forces", np.zeros((1, 2, 3)), FORCE, shaft_radius=0.0015, head_radius=0.004, head_length=0.01
        )
        self._cloud = scene.add_point_cloud(
            "/cloud", np.zeros((1, 3)), CLOUD, point_size=POINT_SIZE, point_shape="circle", precision="float32"
        )

    def show(self, cast: Cast) -> None:
        """The object and the goal of another cast in place of the one before."""
        task, scene = cast.task, self._server.scene
        vertices, faces = _surface(task.objects[0])
        self._object = scene.add_mesh_simple("/object", vertices, faces, color=_rgb(colours.OBJECT), flat_shading=True)
        goal = tuple(task.goal.tolist())
        self._goal = scene.add_icosphere("/goal", SUCCESS_RADIUS, color=GOAL, opacity=0.25, position=goal)

    def draw(self, frame: Frame, success: bool, with_forces: bool, with_cloud: bool) -> None:
        """Put everything where it is now."""
        with self._server.atomic():
            for index, body in self._bodies.items():
                _place(body, frame.hand[index])
            _place(self._object, frame.object)
            colour = REACHED if success else GOAL
            if self._goal.color != colour:
                self._goal.color = colour
            arrows = _arrows(frame)
            self._forces.visible = with_forces and len(arrows) > 0
            if self._forces.visible:
                self._forces.points = arrows
            self._cloud.visible = with_cloud and frame.cloud is not None
            if frame.cloud is not None and with_cloud:
                self._cloud.points = frame.cloud


def _surface(obj: GraspObject) -> Tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of all pieces of an object."""
    first = np.cumsum([0, *(len(piece.vertices) for piece in obj.pieces)])
    return obj.vertices, np.concatenate([piece.faces + start for piece, start in zip(obj.pieces, first)])


def _arrows(frame: Frame) -> np.ndarray:
    """(A, 2, 3) m: an arrow's start and end for every force that is felt."""
    size = np.linalg.norm(frame.forces, axis=1)
    felt = size >= LEAST_FORCE
    length = np.minimum(METRES_PER_NEWTON * size[felt], LONGEST_FORCE)
    start = frame.contacts[felt]
    return np.stack([start, start + frame.forces[felt] * (length / size[felt])[:, None]], axis=1)


def _place(handle: viser.SceneNodeHandle, pose: np.ndarray) -> None:
    """A node to a pose (7,), quaternion xyzw."""
    handle.position, handle.wxyz = pose[:3], pose[[6, 3, 4, 5]]


def _rgb(colour: Tuple[float, float, float]) -> Tuple[int, int, int]:
    red, green, blue = (round(255 * channel) for channel in colour)
    return red, green, blue
