"""Clusters of objects by shape, and the object nearest to each centre, on which a base expert is trained (Sec. 4.3)."""

from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
import yaml

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_atomically

FORMAT = "resdex-clusters-1"
RESTARTS = 10
"""Runs of K-means, each from other random centres; the best is kept."""


@dataclass(frozen=True)
class Cluster:
    """One cluster."""

    size: int
    """Number of its objects."""
    ranking: Tuple[str, ...]
    """Names of its objects, the nearest to the centre first: if the first cannot be learned, the next takes its
    place."""
    distances: Tuple[float, ...]
    """Distances of the ranked objects' codes to the centre, in ascending order."""

    @property
    def centre(self) -> str:
        """The object nearest to the centre."""
        return self.ranking[0]


@dataclass(frozen=True)
class Clusters:
    """k clusters of an object set, the largest first."""

    encoder: str
    """The id of the encoder that made the codes."""
    objects: Mapping[str, Any]
    """The configuration of the object set."""
    num_objects: int
    seed: int
    inertia: float
    """Sum over all objects of the squared distance to their centre."""
    clusters: Tuple[Cluster, ...]

    def ranked(self, count: int) -> "Clusters":
        """The same clusters with only the first `count` objects of every ranking."""
        clusters = (replace(c, ranking=c.ranking[:count], distances=c.distances[:count]) for c in self.clusters)
        return replace(self, clusters=tuple(clusters))

    @property
    def k(self) -> int:
        return len(self.clusters)

    @property
    def centres(self) -> Tuple[str, ...]:
        """The k objects on which base experts are trained."""
        return tuple(cluster.centre for cluster in self.clusters)


def check_k(k: int, objects: int) -> None:
    """Check that k clusters can be made of so many objects.

    Raises:
        UserError: they cannot.
    """
    if type(k) is not int or k < 1:
        raise UserError(f"k is {k!r}; it must be an integer of at least 1")
    if k > objects:
        raise UserError(f"k is {k}, but there are {objects} objects; k can be at most that")


def cluster(
    names: Sequence[str],
    codes: np.ndarray,
    k: int,
    seed: int = 0,
    encoder: str = "",
    objects: Optional[Mapping[str, Any]] = None,
) -> Clusters:
    """K-means (Lloyd) on codes (N, 64), the best of `RESTARTS` runs.

    Args:
        names: names of the N objects.
        seed: seed of the runs' first centres.
        encoder, objects: recorded in the result, see `Clusters`.

    Raises:
        UserError: k is not positive, or larger than the number of objects or of different codes.
    """
    from sklearn.cluster import KMeans  # slow to import, and needed by nothing else

    check_k(k, len(names))
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise UserError(f"the seed is {seed!r}; it must be an integer from 0 to {2**32 - 1}")
    different = len(np.unique(codes, axis=0))
    if k > different:
        raise UserError(f"k is {k}, but the {len(names)} objects have only {different} different codes")
    points = np.asarray(codes, dtype=np.float64)
    means = KMeans(k, n_init=RESTARTS, random_state=seed).fit(points)
    distance = np.linalg.norm(points - means.cluster_centers_[means.labels_], axis=1)
    clusters = []
    for label in range(k):
        members = np.flatnonzero(means.labels_ == label)
        order = members[np.argsort(distance[members], kind="stable")]
        ranking = tuple(names[i] for i in order)
        clusters.append(Cluster(len(members), ranking, tuple(round(float(distance[i]), 4) for i in order)))
    clusters.sort(key=lambda c: (-c.size, c.centre))
    inertia = round(float(means.inertia_), 3)
    return Clusters(encoder, dict(objects or {}), len(names), seed, inertia, tuple(clusters))


def assign(names: Sequence[str], clusters: Clusters) -> Dict[str, int]:
    """Object -> its cluster, for those of `names` that the rankings hold."""
    of = {name: i for i, c in enumerate(clusters.clusters) for name in c.ranking}
    return {name: of[name] for name in names if name in of}


def write_clusters(path: Path, clusters: Clusters, command: Optional[str] = None) -> None:
    """Write clusters as YAML, with the command that made them.

    Raises:
        UserError: the file cannot be written.
    """
    state = {
        "format": FORMAT,
        "encoder": clusters.encoder,
        "objects": dict(clusters.objects),
        "num_objects": clusters.num_objects,
        "k": clusters.k,
        "seed": clusters.seed,
        "inertia": clusters.inertia,
        "command": command,
        "versions": {name: metadata.version(name) for name in ("scikit-learn", "numpy")},
        "clusters": [
            {"centre": c.centre, **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(c).items()}}
            for c in clusters.clusters
        ],
    }
    text = yaml.safe_dump(state, default_flow_style=None, sort_keys=False, width=120)
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def read_clusters(path: Path, encoder: Optional[str] = None) -> Clusters:
    """Read a file of clusters.

    Args:
        encoder: the id that its encoder must have; None: any.

    Raises:
        UserError: it is missing, is no such file, or is of another encoder.
    """
    if not path.is_file():
        raise UserError(f"no file of clusters {path}")
    try:
        state = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError(f"it lacks the mark '{FORMAT}'")
        rows = [
            Cluster(int(row["size"]), tuple(map(str, row["ranking"])), tuple(map(float, row["distances"])))
            for row in state["clusters"]
        ]
        if (
            not rows
            or state["k"] != len(rows)
            or any(len(c.ranking) != len(c.distances) or not c.ranking for c in rows)
        ):
            raise ValueError("its k, clusters, rankings and distances do not belong together")
        found = Clusters(
            str(state["encoder"]),
            dict(state["objects"]),
            int(state["num_objects"]),
            int(state["seed"]),
            float(state["inertia"]),
            tuple(rows),
        )
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise UserError(f"{path} is not a readable file of clusters: {what}") from error
    if encoder is not None and found.encoder != encoder:
        raise UserError(f"{path} holds clusters of encoder {found.encoder}, not of {encoder}; make them again")
    return found
