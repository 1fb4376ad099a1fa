"""The picture of clusters of objects: their codes in a plane, and the objects at the centres."""

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.shapes.clusters import Clusters, assign

SIDE = 300
"""Pixels of an object."""
NAMED = 80
"""With more categories than this, none is named."""
OVER_ALL: Dict[str, Any] = {"path_effects": [withStroke(linewidth=2.5, foreground="white", alpha=0.85)], "zorder": 6}
"""A text that can be read whatever it lies on."""


def draw_clusters(objects: ObjectSet, codes: np.ndarray, clusters: Clusters, path: Path) -> None:
    """Draw a plane in which similar codes (N, 64) lie together (t-SNE; PCA of few), and the objects at the centres.

    Args:
        clusters: with all objects ranked.
        path: a file with an ending that matplotlib knows, such as .png.
    """
    from resdex_tasks.sims.object_picture import portrait  # MuJoCo: Python 3.10 or newer

    plane, how = _in_plane(codes)
    of = assign(objects.names, clusters)
    colours = [colormaps["tab10"](i % 10)[:3] for i in range(clusters.k)]

    columns = -(-clusters.k // 2)
    figure = Figure(figsize=(9 + 3.2 * columns, 8))
    grid = figure.add_gridspec(2, 1 + columns, width_ratios=[8.6, *[3.2] * columns])
    scatter = figure.add_subplot(grid[:, 0])
    shown = [colours[of[name]] for name in objects.names]
    scatter.scatter(plane[:, 0], plane[:, 1], c=shown, s=9, alpha=0.55, linewidths=0)
    _name_categories(scatter, plane, np.array([obj.category for obj in objects]))
    for i, row in enumerate(clusters.clusters):
        place = plane[objects.names.index(row.centre)]
        scatter.plot(*place, marker="*", markersize=24, color=colours[i], markeredgecolor="black", zorder=5)
        axis = figure.add_subplot(grid[i % 2, 1 + i // 2])
        axis.imshow(portrait(objects.select([row.centre])[0], SIDE, SIDE))
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set(color=colours[i], linewidth=3)
        axis.set_title(f"{row.centre}\nnearest to the centre of {row.size:,}", fontsize=11)
    scatter.set_title(f"codes of {len(objects):,} objects ({how}), {clusters.k} clusters", fontsize=12)
    scatter.set_xticks([])
    scatter.set_yticks([])
    scatter.margins(0.02)
    figure.tight_layout()
    figure.savefig(str(path), dpi=80)


def _in_plane(codes: np.ndarray) -> Tuple[np.ndarray, str]:
    """(N, 2) and how."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    perplexity = min(40, (len(codes) - 1) / 3)
    if perplexity > 1:
        return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(codes), "t-SNE"
    plane = PCA(min(2, len(codes))).fit_transform(codes)
    return np.concatenate([plane, np.zeros((len(codes), 2 - plane.shape[1]))], axis=1), "PCA"


def _name_categories(axis: Any, plane: np.ndarray, categories: np.ndarray) -> None:
    """Each category's name at its middle object, below the names that stand there."""
    if len(set(categories)) > NAMED:
        return
    width, height = np.ptp(plane, axis=0) + 1e-9
    named: List[np.ndarray] = []
    for category in sorted(set(categories)):
        members = plane[categories == category]
        middle = members[np.linalg.norm(members - np.median(members, axis=0), axis=1).argmin()].copy()
        while any(abs(x - middle[0]) < 0.05 * width and abs(y - middle[1]) < 0.017 * height for x, y in named):
            middle[1] -= 0.018 * height
        named.append(middle)
        axis.annotate(category, middle, fontsize=8.5, ha="center", va="center", color="0.15", **OVER_ALL)
