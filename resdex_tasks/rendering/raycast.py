"""Renders a MuJoCo scene without OpenGL: MuJoCo's CPU ray caster finds the surfaces, numpy shades them.

It needs no screen, GPU, EGL or OSMesa. There are one warm key light with a soft shadow, a sky that darkens in corners
(ambient occlusion), and a light background into which distant surfaces fade. World frame z up, SI units. Textures and
transparency are ignored: every visible geom is opaque and has one colour.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import List, Optional, Sequence, Tuple

import mujoco
import numpy as np

from resdex_tasks.utils.threads import available_cores

TILE, SHADOW_TILE = 40, 80
"""Side of the square of pixels cast in one call: small enough to skip most geoms, large enough to hide call costs.
The rays of a shadow tile are spread over PATTERN**2 calls, so it is larger."""
PATTERN = 4
"""Shadow samples alternate over blocks of PATTERN x PATTERN pixels, and a filter of that size averages them again."""
SAME_SURFACE = 0.8
"""Cosine between normals above which neighbouring pixels are averaged."""
LIFT = 2e-4
"""m: a surface this close in front of a point does not shade it."""

KEY_LIGHT = np.array([1.08, 1.0, 0.89]) * 0.84
SKY_LIGHT = np.array([0.93, 0.98, 1.06]) * 0.50
BOUNCE_LIGHT = np.array([1.0, 0.97, 0.93]) * 0.16
KEY_ELEVATION, KEY_AZIMUTH = 52.0, 55.0
"""Degrees above the horizon, and left of the camera as seen from the target."""
KEY_RADIUS = 0.09
"""Radius of the key light over its distance: the softness of its shadow."""
HIGHLIGHT, SHININESS = 0.10, 24.0
HORIZON, ZENITH = np.array([0.955, 0.955, 0.95]), np.array([0.88, 0.915, 0.95])
"""sRGB of the background at the bottom and at the top of the picture."""
CHECKER_CELL, CHECKER_CONTRAST = 0.05, 0.035
"""m; relative change of colour on fixed level surfaces such as tables, which gives a picture its scale."""
DOT_RADIUS, DOT_COLOUR = 0.004, (10, 110, 160)
"""Of a point drawn over a picture: fraction of the picture's height; sRGB."""
UNSET_RGBA = (0.5, 0.5, 0.5, 1.0)
"""MuJoCo's default geom colour: a geom that has it takes its material's colour, if any."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, upright in the picture."""

    position: Tuple[float, float, float]
    """(3,) m"""
    target: Tuple[float, float, float]
    """(3,) m, shown in the middle of the picture."""
    fov: float = 40.0
    """Vertical field of view, degrees."""


def render(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    camera: Camera,
    width: int = 320,
    height: int = 240,
    geomgroup: Optional[Sequence[int]] = None,
    supersample: int = 1,
    points: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Render a scene. The same input gives the same picture.

    Args:
        model, data: the scene, whose geom poses must be current (mj_kinematics suffices); neither is changed.
        width, height: size of the picture, pixels.
        geomgroup: up to 6 flags, which of MuJoCo's geom groups to draw (the others are hidden); None draws all.
        supersample: rays per pixel along each axis; 2 smooths edges at two to three times the cost.
        points: (P, 3) m, world frame, drawn over the scene as dots.

    Returns:
        (height, width, 3) uint8, sRGB.
    """
    shape = (height * supersample, width * supersample)
    eye = np.asarray(camera.position, float)
    rays = camera_rays(camera, shape[1], shape[0])
    with _Caster(model, data, geomgroup) as caster:
        geom, dist, normal = _cast_camera(caster, eye, rays)
        sky = _background(shape)
        hit = geom >= 0
        linear = sky.copy()
        if hit.any():
            point = eye + rays * np.where(hit, dist, 1.0)[..., None]
            light = _light(caster, camera, geom, point, normal, samples=2 if supersample == 1 else 1)
            footprint = dist * 2 * np.tan(np.radians(camera.fov) / 2) / shape[0]
            colour = _albedo(model, geom, point, normal, footprint)
            gleam = _highlight(camera, eye, point, normal)
            surface = colour * light[0] + gleam[..., None] * light[1]
            fade = _fade(camera, point)[..., None]
            linear[hit] = (surface * (1 - fade) + sky * fade)[hit]
    blocks = np.clip(linear, 0, 1).reshape(height, supersample, width, supersample, 3)
    image = np.rint(255 * blocks.mean((1, 3)) ** (1 / 2.2)).astype(np.uint8)
    return image if points is None else with_points(image, camera, points)


def camera_rays(camera: Camera, width: int, height: int) -> np.ndarray:
    """(height, width, 3) unit vectors through the pixels' centres, top row first, world frame."""
    if np.allclose(camera.target, camera.position):
        raise ValueError("the camera's target must differ from its position")
    forward, right, up = _axes(camera)
    scale = np.tan(np.radians(camera.fov) / 2)
    x = ((np.arange(width) + 0.5) * 2 - width) / height * scale
    y = (1 - (np.arange(height) + 0.5) * 2 / height) * scale
    return _unit(forward + x[None, :, None] * right + y[:, None, None] * up)


def with_points(image: np.ndarray, camera: Camera, points: np.ndarray) -> np.ndarray:
    """A copy of the camera's picture (H, W, 3) with points (P, 3), world frame, m, as dots, whatever is before them."""
    height, width = image.shape[:2]
    forward, right, up = _axes(camera)
    offsets = np.asarray(points, float) - camera.position
    depth = offsets @ forward
    offsets, depth = offsets[depth > 1e-6], depth[depth > 1e-6]
    scale = np.tan(np.radians(camera.fov) / 2) * depth
    x = (offsets @ right / scale * height + width) / 2 - 0.5
    y = (1 - offsets @ up / scale) * height / 2 - 0.5
    radius = max(1.0, DOT_RADIUS * height)
    # how much of each pixel near a dot the dot covers
    reach = np.arange(-np.ceil(radius) - 1, np.ceil(radius) + 2)
    columns, rows = (np.rint(v)[:, None, None] + r for v, r in ((x, reach[None, None]), (y, reach[None, :, None])))
    columns, rows = np.broadcast_arrays(columns, rows)
    cover = np.clip(radius + 0.5 - np.hypot(columns - x[:, None, None], rows - y[:, None, None]), 0, 1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    dots = np.zeros((height, width))
    np.maximum.at(dots, (rows[inside].astype(int), columns[inside].astype(int)), cover[inside])
    return np.rint(image * (1 - dots[..., None]) + np.array(DOT_COLOUR) * dots[..., None]).astype(np.uint8)


def _axes(camera: Camera) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors: where the camera looks, right and up in its picture."""
    forward = _unit(np.subtract(camera.target, camera.position).astype(float))
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-6:  # straight up or down: any heading is upright, take world x to the right
        right = np.array([1.0, 0.0, 0.0])
    right = _unit(right)
    return forward, right, np.cross(right, forward)


class _Caster:
    """Casts bundles of rays on all CPUs, with the same hits as mj_ray.

    mj_multiRay in MuJoCo 3.17 drops hits: its test of body spheres and bounding angles misses parts of large meshes.
    The threads therefore work on copies of the model where that test is off (body_bvhadr = -1), and skip geoms by a
    conservative test, sphere against cone: geoms that a bundle cannot meet are hidden in a spare geom group. Every
    thread has its own copy of model and data, as mj_multiRay writes to the data's stack.
    """

    HIDDEN, SHOWN = 5, 0

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, geomgroup: Optional[Sequence[int]]):
        groups = np.ones(mujoco.mjNGROUP, bool)
        if geomgroup is not None:
            groups[:] = False
            groups[: len(geomgroup)] = np.asarray(geomgroup, bool)
        self._visible = groups[np.clip(model.geom_group, 0, mujoco.mjNGROUP - 1)]
        self._centre = data.geom_xpos.copy()
        self._radius = model.geom_rbound.copy()
        self._mask = np.zeros(mujoco.mjNGROUP, np.uint8)
        self._mask[self.SHOWN] = 1
        self._workers: SimpleQueue = SimpleQueue()
        threads = min(available_cores(), 8)
        for _ in range(threads):
            own = copy.copy(model)
            own.body_bvhadr[:] = -1
            self._workers.put((own, copy.copy(data)))
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> "_Caster":
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown()

    def cast(self, bundles: Sequence[Tuple[np.ndarray, np.ndarray]]) -> List[Tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each bundle (origin (3,), unit directions (n, 3)): geom id (n,), -1 for none; m (n,); normal (n, 3)."""
        return list(self._pool.map(self._cast_one, bundles))

    def _cast_one(self, bundle: Tuple[np.ndarray, np.ndarray]) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        origin, directions = bundle
        count = len(directions)
        geom, dist, normal = np.empty(count, np.int32), np.empty(count), np.empty((count, 3))
        model, data = worker = self._workers.get()
        try:
            model.geom_group[:] = np.where(self._meets(origin, directions), self.SHOWN, self.HIDDEN)
            flat = np.ascontiguousarray(directions).reshape(-1)
            mujoco.mj_multiRay(
                model, data, origin, flat, self._mask, 1, -1, geom, dist, normal.reshape(-1), count, mujoco.mjMAXVAL
            )
        finally:
            self._workers.put(worker)
        return geom, dist, normal

    def _meets(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(ngeom,) bool: visible geoms whose bounding sphere the rays' cone may touch."""
        mean = directions.mean(0)
        length = np.linalg.norm(mean)
        if length < 0.1:  # rays to all sides have no useful cone
            return self._visible
        axis = mean / length
        half_angle = np.arccos(np.clip((directions @ axis).min(), -1, 1))
        offset = self._centre - origin
        distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-12)
        angle = np.arccos(np.clip(offset @ axis / distance, -1, 1))
        sphere = np.arcsin(np.clip(self._radius / distance, 0, 1))
        boundless = self._radius <= 0  # planes
        near = (angle <= half_angle + sphere + 1e-6) | (distance <= self._radius)
        return self._visible & (near | boundless)


def _cast_camera(caster: _Caster, eye: np.ndarray, rays: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cast (H, W, 3) rays: geom id (H, W), distance (H, W), unit normal towards the camera (H, W, 3)."""
    height, width = rays.shape[:2]
    geom, dist, normal = np.empty((height, width), np.int32), np.empty((height, width)), np.empty((height, width, 3))
    tiles = [
        (slice(i, min(i + TILE, height)), slice(j, min(j + TILE, width)))
        for i in range(0, height, TILE)
        for j in range(0, width, TILE)
    ]
    found = caster.cast([(eye, rays[tile].reshape(-1, 3)) for tile in tiles])
    for tile, (ids, depths, normals) in zip(tiles, found):
        shape = geom[tile].shape
        geom[tile], dist[tile], normal[tile] = ids.reshape(shape), depths.reshape(shape), normals.reshape((*shape, 3))
    away = np.einsum("hwk,hwk->hw", normal, rays) > 0
    normal[away] *= -1
    return geom, dist, normal


def _light(
    caster: _Caster, camera: Camera, geom: np.ndarray, point: np.ndarray, normal: np.ndarray, samples: int
) -> Tuple[np.ndarray, np.ndarray]:
    """Light that arrives at each pixel's surface: all of it (H, W, 3), and that of the key light alone (H, W, 3)."""
    target = np.asarray(camera.target, float)
    reach = 10 * np.linalg.norm(target - camera.position)
    key = target + reach * _key_samples(camera, samples * PATTERN**2)
    sky = target + reach * _sky_samples(samples * PATTERN**2)
    hit = geom >= 0
    block = np.arange(PATTERN**2).reshape(PATTERN, PATTERN) * 7 % PATTERN**2
    repeats = [-(-n // PATTERN) for n in geom.shape]
    pattern = np.tile(block, repeats)[: geom.shape[0], : geom.shape[1]]

    seen, full = np.zeros((2, *geom.shape)), np.zeros((2, *geom.shape))
    for lights, which in ((key, 0), (sky, 1)):
        for sample in range(samples):
            index = pattern + sample * PATTERN**2
            towards = lights[index] - point
            cosine = np.einsum("hwk,hwk->hw", _unit(towards), normal) * hit
            weight = np.maximum(cosine, 0.0)
            full[which] += weight
            seen[which] += weight * _reaches(caster, lights, index, point, weight > 0)
    (open_key, open_sky), normal = _smooth(geom, normal, seen, full)

    facing = np.maximum(normal @ _unit(key.mean(0) - target), 0.0)
    # A sky of cosine-weighted directions lights a tilted surface by the fraction of it that the surface faces.
    facing_sky = 0.5 + 0.5 * normal[..., 2]
    key_light = (facing * open_key)[..., None] * KEY_LIGHT
    sky_light = (facing_sky * (0.15 + 0.85 * open_sky))[..., None] * SKY_LIGHT
    bounce = ((1 - facing_sky) * 0.9 + 0.1)[..., None] * BOUNCE_LIGHT
    return key_light + sky_light + bounce, key_light


def _reaches(
    caster: _Caster, lights: np.ndarray, index: np.ndarray, point: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """(H, W) bool: nothing is between a pixel's `point` and `lights[index]`; False where not `wanted`."""
    rows, columns = np.nonzero(wanted)
    result = np.zeros(wanted.shape, bool)
    if not len(rows):
        return result
    tile = rows // SHADOW_TILE * (wanted.shape[1] // SHADOW_TILE + 1) + columns // SHADOW_TILE
    key = tile * len(lights) + index[rows, columns]
    order = np.argsort(key, kind="stable")
    rows, columns, key = rows[order], columns[order], key[order]
    ends = np.flatnonzero(np.diff(key)) + 1
    lamp = lights[index[rows, columns]]
    vector = point[rows, columns] - lamp
    length = np.linalg.norm(vector, axis=1)
    vector /= length[:, None]
    first = np.concatenate([[0], ends])
    found = caster.cast(list(zip(lamp[first], np.split(vector, ends))))
    dist = np.concatenate([depths for _, depths, _ in found])
    result[rows, columns] = (dist < 0) | (dist > length - LIFT)
    return result


def _smooth(geom: np.ndarray, normal: np.ndarray, part: np.ndarray, total: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Average over a block of neighbours on the same, similarly tilted surface.

    Args:
        part, total: (C, H, W).

    Returns:
        the ratio of their averages (C, H, W), and the averaged normals (H, W, 3), which round off facets.
    """
    before = PATTERN // 2
    pad = (before, PATTERN - 1 - before)
    centre = np.moveaxis(normal, -1, 0).astype(np.float32)
    ids = np.pad(geom, pad, constant_values=-2)
    planes = np.pad(np.concatenate([centre, part, total]).astype(np.float32), ((0, 0), pad, pad))
    height, width = geom.shape
    summed = np.zeros((len(planes), height, width), np.float32)
    for i in range(PATTERN):
        for j in range(PATTERN):
            window = planes[:, i : i + height, j : j + width]
            along = window[0] * centre[0] + window[1] * centre[1] + window[2] * centre[2]
            alike = (along > SAME_SURFACE) & (ids[i : i + height, j : j + width] == geom)
            summed += window * alike
    rounded = np.moveaxis(summed[:3], 0, -1)
    rounded = rounded / np.maximum(np.linalg.norm(rounded, axis=-1, keepdims=True), 1e-6)
    middle = 3 + len(part)
    return summed[3:middle] / np.maximum(summed[middle:], 1e-6), rounded


def _key_samples(camera: Camera, count: int) -> np.ndarray:
    """(count, 3) points of the key light's disc, at unit distance from the target, left of and above the camera."""
    back = np.subtract(camera.position, camera.target)
    azimuth = np.arctan2(back[1], back[0]) - np.radians(KEY_AZIMUTH)
    elevation = np.radians(KEY_ELEVATION)
    centre = np.array([np.cos(azimuth), np.sin(azimuth), np.tan(elevation)]) * np.cos(elevation)
    side = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    radius, angle = _spiral(count)
    disc = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * np.cross(centre, side)
    return centre + KEY_RADIUS * radius[:, None] * disc


def _sky_samples(count: int) -> np.ndarray:
    """(count, 3) unit vectors above the horizon, their density proportional to the cosine to the vertical."""
    radius, angle = _spiral(count)
    radius = 0.98 * radius
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - radius**2)], 1)


def _spiral(count: int) -> Tuple[np.ndarray, np.ndarray]:
    """Radius in (0, 1) and angle in rad of `count` points spread evenly over the unit disc."""
    step = np.arange(count)
    return np.sqrt((step + 0.5) / count), step * np.pi * (3 - np.sqrt(5))


def _albedo(
    model: mujoco.MjModel, geom: np.ndarray, point: np.ndarray, normal: np.ndarray, footprint: np.ndarray
) -> np.ndarray:
    """(H, W, 3) linear colours; fixed level surfaces are faintly checkered.

    Args:
        footprint: (H, W) m per pixel.
    """
    rgba = model.geom_rgba.copy()
    from_material = (model.geom_matid >= 0) & np.all(rgba == np.asarray(UNSET_RGBA, rgba.dtype), axis=1)
    rgba[from_material] = model.mat_rgba[model.geom_matid[from_material]]
    colour = (np.clip(rgba[:, :3], 0, 1).astype(float) ** 2.2)[geom]
    fixed = (model.body_weldid[model.geom_bodyid] == 0)[geom] & (normal[..., 2] > 0.99)
    blur = np.maximum(footprint / CHECKER_CELL, 1e-3)[..., None]
    phase = point[..., :2] / CHECKER_CELL
    # A square wave of period 2 along x and y, its edges as wide as a pixel: distance to the nearest integer.
    edge = 0.5 - np.abs(phase - np.floor(phase) - 0.5)
    wave = np.where(np.floor(phase) % 2 == 0, 1.0, -1.0) * np.clip(edge / blur, 0, 1)
    return colour * (1 + CHECKER_CONTRAST * fixed * wave[..., 0] * wave[..., 1])[..., None]


def _highlight(camera: Camera, eye: np.ndarray, point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """(H, W) strength of the key light's mirror-like reflection."""
    half = _unit(_unit(eye - point) + _key_samples(camera, 1)[0])
    return HIGHLIGHT * np.maximum(np.einsum("hwk,hwk->hw", half, normal), 0.0) ** SHININESS


def _fade(camera: Camera, point: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1]: how much a surface fades into the background, by its distance from the target."""
    target = np.asarray(camera.target, float)
    scale = np.linalg.norm(target - camera.position)
    ramp = np.clip((np.linalg.norm(point - target, axis=-1) / scale - 1.2) / 3.0, 0, 1)
    return ramp**2 * (3 - 2 * ramp)


def _background(shape: Tuple[int, int]) -> np.ndarray:
    """(H, W, 3) linear colours: light, a little bluer towards the top."""
    ramp = np.linspace(1, 0, shape[0])[:, None, None]
    return np.broadcast_to(((1 - ramp) * HORIZON + ramp * ZENITH) ** 2.2, (*shape, 3))


def _unit(vector: np.ndarray) -> np.ndarray:
    """(..., 3) vectors scaled to length 1."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)
