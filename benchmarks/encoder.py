"""What does the shape code know? Reconstruction error, nearest neighbours, and pictures, on the zoo's three splits.

Reconstruction: the Chamfer distance of the 512 points decoded from an object's code to 2,048 points drawn anew from its
surface; half the sum of the two mean distances to the nearest point, not squared. Beside it stand 512 random points of
the surface itself, which is about the best one can ask for, and trivial shapes.

Neighbours: is the training object with the nearest code of the same category?
"""

import argparse
import sys
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Union

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.factory import make_objects
from resdex_tasks.objects.geometry.surface import surface_points
from resdex_tasks.objects.object_set import SPLITS, GraspObject, ObjectSet
from resdex_tasks.objects.sources import ZooConfig
from resdex_tasks.shapes.codes import cached_codes
from resdex_tasks.shapes.encoder import ObjectEncoder, chamfer, read_encoder
from runners.evaluation.intervals import wilson_interval

TRUE_POINTS, BATCH = 2048, 16
MOST = 440
"""Objects of a split that are reconstructed: of the training objects the first ones, ten of every category."""
PICTURED = {
    "train": ("mug", "hammer", "bottle", "shoe"),
    "unseen_object": ("basket", "dumbbell", "vase", "boat"),
    "unseen_category": ("goblet", "headphones", "duck", "airplane"),
}
"""Categories of reconstructions.png: the first object of each; the first objects of a set that lacks them."""
SPLIT_COLOURS = ((0.30, 0.55, 0.80), (0.90, 0.55, 0.25), (0.40, 0.65, 0.35))
BALL, SIDE = 0.0019, 150
"""m, radius of a drawn point; pixels."""


# Numbers


def unit_sphere(count: int) -> np.ndarray:
    """(count, 3) points spread evenly over the unit sphere."""
    step = np.arange(count) + 0.5
    z, angle = 1 - 2 * step / count, step * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)


def unit_box(count: int, size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(count, 3) random points on the surface of a box of the given size (3,), about the origin."""
    areas = np.array([size[1] * size[2], size[0] * size[2], size[0] * size[1]])
    axis = rng.choice(3, count, p=areas / areas.sum())
    points = rng.uniform(-0.5, 0.5, (count, 3))
    points[np.arange(count), axis] = rng.choice([-0.5, 0.5], count)
    return points * size


def reconstruction_table(encoder: ObjectEncoder, sets: Dict[str, ObjectSet], codes: Dict[str, np.ndarray]) -> str:
    """Mean Chamfer distance in mm, per split."""
    count = encoder.network.sizes.decoded_points
    rng = np.random.default_rng(0)
    training = torch.from_numpy(np.stack([encoder.surface(obj) for obj in sets["train"]]))
    some = torch.from_numpy(rng.integers(training.shape[1], size=count))
    mean_shape = training[torch.from_numpy(rng.integers(len(training), size=count)), some]

    rows = [["mm (95th percentile)", *SPLITS]]
    errors: Dict[str, List[np.ndarray]] = {}
    for split in SPLITS:
        objects = sets[split][:MOST]
        truth = torch.from_numpy(np.stack([surface_points(obj, TRUE_POINTS, seed=1) for obj in objects]))
        low, high = truth.amin(dim=1).numpy(), truth.amax(dim=1).numpy()
        middle, size = (low + high)[:, None] / 2, high - low
        sphere = unit_sphere(count)[None] * size[:, None] / 2 + middle
        box = np.stack([unit_box(count, s, rng) for s in size]) + middle
        with torch.no_grad():
            decoded = encoder.reconstruct(torch.from_numpy(codes[split][:MOST]))
        shapes = {
            "**the code, decoded**": decoded,
            "surface: other points of the shape itself": torch.from_numpy(
                np.stack([surface_points(obj, count, seed=2) for obj in objects])
            ),
            "ellipsoid of the true bounding box": torch.from_numpy(sphere.astype(np.float32)),
            "box of the true bounding box": torch.from_numpy(box.astype(np.float32)),
            "all training shapes, overlaid": mean_shape.expand(len(truth), -1, -1),
        }
        turns = torch.from_numpy(Rotation.random(len(objects), random_state=0).as_matrix().astype(np.float32))
        with torch.no_grad():
            surfaces = torch.from_numpy(np.stack([encoder.surface(obj) for obj in objects]))
            coded = torch.cat([encoder.encode_points(part) for part in (surfaces @ turns).split(BATCH)])
        shapes["the code of the object turned at random"] = encoder.reconstruct(coded) @ turns.transpose(1, 2)
        for name, points in shapes.items():
            pairs = zip(points.split(BATCH), truth.split(BATCH))
            errors.setdefault(name, []).append(1000 * torch.cat([chamfer(a, b) for a, b in pairs]).numpy())
    for name, row in errors.items():
        rows.append([name, *(f"{e.mean():.2f} ({np.percentile(e, 95):.2f})" for e in row)])
    return table([rows[0], ["objects", *(str(len(sets[s][:MOST])) for s in SPLITS)], *rows[1:]])


def point_statistics(points: np.ndarray, moments: int) -> np.ndarray:
    """(N, ...) of points (N, P, 3): extents along the axes, mean, covariance; then central moments of each axis."""
    middle = points.mean(axis=1, keepdims=True)
    offset = (points - middle).astype(np.float64)
    covariance = np.einsum("npi,npj->nij", offset, offset) / points.shape[1]
    rows, columns = np.triu_indices(3)
    higher = [np.mean(offset**power, axis=1) for power in range(3, moments + 1)]
    return np.concatenate([np.ptp(points, axis=1), middle[:, 0], covariance[:, rows, columns], *higher], axis=1)


def neighbour_table(sets: Dict[str, ObjectSet], codes: Dict[str, np.ndarray]) -> str:
    """Share of the unseen objects of seen categories whose nearest training object is of their category."""
    train, unseen = sets["train"], sets["unseen_object"]
    ours = np.array([obj.category for obj in train])
    theirs = np.array([obj.category for obj in unseen])
    # twice as many points as the encoder sees: statistics of a sample gain from it
    points = {s: np.stack([surface_points(obj, TRUE_POINTS) for obj in sets[s]]) for s in ("train", "unseen_object")}

    def nearest(features: Callable[[str], np.ndarray]) -> np.ndarray:
        known, asked = features("train").astype(np.float64), features("unseen_object").astype(np.float64)
        centre, spread = known.mean(axis=0), known.std(axis=0) + 1e-12
        known, asked = (known - centre) / spread, (asked - centre) / spread
        distance = (known**2).sum(axis=1) - 2 * asked @ known.T
        return ours[distance.argmin(axis=1)] == theirs

    common = max(set(ours), key=lambda c: (ours == c).sum())
    right = [
        ("**the code** (64)", nearest(lambda s: codes[s])),
        ("extents (3)", nearest(lambda s: np.ptp(points[s], axis=1))),
        ("extents, mean and covariance of the points (12)", nearest(lambda s: point_statistics(points[s], 2))),
        ("... and third and fourth moments (18)", nearest(lambda s: point_statistics(points[s], 4))),
        ("the most frequent category", theirs == common),
    ]
    rows = [("nearest neighbour by", "right", "of", "% [95 %]")]
    for name, hits in right:
        low, high = wilson_interval(int(hits.sum()), len(hits))
        rows.append(
            (name, str(hits.sum()), str(len(hits)), f"{100 * hits.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        )
    return table(rows)


# Pictures


def picture(shape: Union[GraspObject, np.ndarray], colour: Sequence[float], side: int) -> np.ndarray:
    """(side, side, 3) uint8: an object, or points (N, 3) as small balls, on a floor, always at the same scale."""
    import mujoco

    from resdex_tasks.rendering.raycast import Camera, render

    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body()
    body.add_freejoint()
    rgba = [*colour, 1.0]
    if isinstance(shape, GraspObject):
        for i, piece in enumerate(shape.pieces):
            mesh = spec.add_mesh(name=f"piece{i}", inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
            mesh.uservert, mesh.userface = piece.vertices.ravel(), piece.faces.ravel()
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"piece{i}", rgba=rgba)
        points = shape.vertices
    else:
        points = shape
        for point in points:
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[BALL, 0, 0], pos=point, rgba=rgba)
    low, high = np.percentile(points, (0.5, 99.5), axis=0)
    body.pos = [-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]]
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1], rgba=[0.80, 0.82, 0.84, 1])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    middle = (high[2] - low[2]) / 2
    camera = Camera((0.26, -0.36, middle + 0.24), (0.0, 0.0, middle), fov=19.5)
    return render(model, data, camera, side, side, supersample=2)


def draw_reconstructions(encoder: ObjectEncoder, sets: Dict[str, ObjectSet], path: Path) -> None:
    """Four objects of each split, and the points decoded from their codes."""
    figure = Figure(figsize=(16.4, 6.9))
    grid = figure.add_gridspec(
        len(SPLITS), 4, left=0.035, right=0.998, top=0.955, bottom=0.005, wspace=0.03, hspace=0.13
    )
    titles = ("training objects", "unseen objects of\nseen categories", "unseen\ncategories")
    for i, (split, title, colour) in enumerate(zip(SPLITS, titles, SPLIT_COLOURS)):
        first = {obj.category: obj for obj in reversed(sets[split])}
        shown = [first[category] for category in PICTURED[split] if category in first] or list(sets[split][:4])
        for j, obj in enumerate(shown):
            with torch.no_grad():
                decoded = encoder.reconstruct(torch.from_numpy(encoder.encode(obj))[None])[0].numpy()
            pair = grid[i, j].subgridspec(1, 2, wspace=0.0)
            for k, shape in enumerate((obj, decoded)):
                axis = figure.add_subplot(pair[k])
                axis.imshow(picture(shape, colour, SIDE))
                axis.axis("off")
                if k == 0:
                    axis.set_title(obj.category, fontsize=13, loc="left", pad=4)
                if j == k == 0:
                    place = {"xy": (-0.1, 0.5), "xycoords": "axes fraction", "rotation": 90, "ha": "center"}
                    dark = tuple(0.7 * c for c in colour)
                    axis.annotate(title, **place, va="center", fontsize=12, color=dark, multialignment="center")
    figure.savefig(str(path), dpi=80)


# The command


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="shipped", help="file, or shipped")
    parser.add_argument("--count", type=int, help="the first so many objects of each split; default: all")
    parser.add_argument("--images", type=Path, help="folder for reconstructions.png; default: none")
    parser.add_argument("--no-tables", action="store_true", help="the picture alone")
    return parser.parse_args(argv)


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse(argv)
    torch.set_num_threads(1)
    print(machine())
    encoder = read_encoder(args.encoder)
    sets = {split: make_objects(ZooConfig("zoo", split=split, count=args.count)) for split in SPLITS}
    codes = {split: cached_codes(objects, encoder) for split, objects in sets.items()}
    print(f"encoder {encoder.id}, {sum(map(len, sets.values()))} objects of the zoo, seed 0\n")
    if not args.no_tables:
        print(f"{reconstruction_table(encoder, sets, codes)}\n\n{neighbour_table(sets, codes)}")
    if args.images is not None:
        draw_reconstructions(encoder, sets, args.images / "reconstructions.png")


if __name__ == "__main__":
    run(main)
