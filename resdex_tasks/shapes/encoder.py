"""The PointNet autoencoder behind the 64-d shape code, and the file that holds a trained one.

The encoder sees points on the object's surface, in the object's frame and in metres divided by one constant. Nothing is
centred, turned or normalised per object, so objects that differ in size or in orientation in their frame get different
codes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from resdex_tasks.objects.geometry.surface import surface_points
from resdex_tasks.objects.object_set import CODE_SIZE, GraspObject
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import read_plain, write_plain
from resdex_tasks.utils.paths import CHECKPOINT_DIR, SHIPPED
from resdex_tasks.utils.tensors import fingerprint

FORMAT = "resdex-encoder-1"
SHIPPED_ENCODER = CHECKPOINT_DIR / "object_encoder.pth"
"""Trained on the zoo's training objects."""
LENGTH_UNIT = 0.1
"""m: unit of the points that the network sees, so that they are of order one."""


@dataclass(frozen=True)
class EncoderSizes:
    """Layer sizes of the autoencoder."""

    point_layers: Tuple[int, ...] = (64, 128, 256)
    """Layers of the per-point MLP after the 3 coordinates; max-pooled at the end (PointNet, Qi et al. 2017)."""
    code_layers: Tuple[int, ...] = (256,)
    """Hidden layers between the pooled feature and the code."""
    decoder_layers: Tuple[int, ...] = (256, 256)
    """Hidden layers between the code and the reconstructed points."""
    decoded_points: int = 512


class PointAutoencoder(nn.Module):
    """Points (B, N, 3) -> code (B, 64) -> points (B, M, 3), all in `LENGTH_UNIT`."""

    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.points = _mlp([3, *sizes.point_layers])
        self.code = _mlp([sizes.point_layers[-1], *sizes.code_layers, CODE_SIZE])
        self.decoder = _mlp([CODE_SIZE, *sizes.decoder_layers, 3 * sizes.decoded_points])

    def encode(self, points: Tensor) -> Tensor:
        """(B, N, 3) -> (B, 64); the order of the points does not matter."""
        return self.code(self.points(points).amax(dim=1))

    def decode(self, code: Tensor) -> Tensor:
        """(B, 64) -> (B, M, 3)."""
        return self.decoder(code).unflatten(1, (self.sizes.decoded_points, 3))


def _mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: List[nn.Module] = []
    for before, after in zip(sizes, sizes[1:]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def chamfer(a: Tensor, b: Tensor) -> Tensor:
    """(B,) Chamfer distance of point sets a (B, N, 3) and b (B, M, 3), in their unit:

    1/2 (mean over a of the distance to the nearest point of b + mean over b of that to the nearest of a).

    Distances are not squared: the result reads as how far a point lies, on average, from the other set.
    """
    with torch.no_grad():  # which point is nearest; the distances themselves are then exact, and cheap to differentiate
        squared = torch.baddbmm((b * b).sum(-1)[:, None], a, b.transpose(1, 2), alpha=-2.0)
        squared += (a * a).sum(-1)[:, :, None]
        nearest_b, nearest_a = squared.argmin(dim=2), squared.argmin(dim=1)
    return (_mean_distance(a, b, nearest_b) + _mean_distance(b, a, nearest_a)) / 2


def _mean_distance(points: Tensor, others: Tensor, index: Tensor) -> Tensor:
    """(B,) mean distance of points (B, N, 3) from those of `others` (B, M, 3) that `index` (B, N) selects."""
    offset = points - others.gather(1, index[..., None].expand(-1, -1, 3))
    return (offset.square().sum(-1) + 1e-12).sqrt().mean(dim=1)  # the constant keeps the gradient finite at 0


@dataclass
class ObjectEncoder:
    """A trained autoencoder, with what it takes to compute codes."""

    network: PointAutoencoder
    mean: Tensor
    """(64,) mean of the training set's codes as the network returns them."""
    std: Tensor
    """(64,) their standard deviations."""
    points: int
    """Surface points that are encoded."""
    seed: int
    """Seed of these points."""
    training: Dict[str, Any] = field(default_factory=dict)
    """How it was trained: objects, settings, versions, losses; plain data."""

    def __post_init__(self) -> None:
        self.network.eval()
        self.network.requires_grad_(False)

    @property
    def id(self) -> str:
        """12 hexadecimal digits: a hash of everything that the codes depend on, which the decoder is not."""
        layers = (self.network.points, self.network.code)
        weights = [part for layer in layers for named in layer.state_dict().items() for part in named]
        return fingerprint(repr((LENGTH_UNIT, self.points, self.seed)), *weights, self.mean, self.std)

    def encode_points(self, points: Tensor) -> Tensor:
        """(B, N, 3) metres -> codes (B, 64), which have mean 0 and standard deviation 1 over the training set."""
        return (self.network.encode(points / LENGTH_UNIT) - self.mean) / self.std

    def reconstruct(self, codes: Tensor) -> Tensor:
        """Codes (B, 64) -> points (B, M, 3), metres."""
        return self.network.decode(codes * self.std + self.mean) * LENGTH_UNIT

    def surface(self, obj: GraspObject) -> np.ndarray:
        """(N, 3) float32, metres: the points of `obj` that are encoded, the same ones every time."""
        return surface_points(obj, self.points, self.seed)

    def encode(self, obj: GraspObject) -> np.ndarray:
        """(64,) float32: the shape code. Objects are encoded one by one, so that no code depends on the batch."""
        with torch.no_grad():
            return self.encode_points(torch.from_numpy(self.surface(obj))[None])[0].numpy()


def write_encoder(path: Path, encoder: ObjectEncoder) -> None:
    """Write an encoder as a self-describing file of plain data.

    The decoder, the larger half, on which no code depends, is stored in half precision.

    Raises:
        UserError: it cannot be written.
    """
    weights = {
        name: weight.half() if name.startswith("decoder.") else weight.float()
        for name, weight in encoder.network.state_dict().items()
    }
    state = {
        "format": FORMAT,
        "sizes": {name: list(v) if isinstance(v, tuple) else v for name, v in vars(encoder.network.sizes).items()},
        "length_unit": LENGTH_UNIT,
        "points": encoder.points,
        "seed": encoder.seed,
        "mean": encoder.mean,
        "std": encoder.std,
        "weights": weights,
        "id": encoder.id,
        "training": encoder.training,
    }
    write_plain(path, state)


def read_encoder(name: str) -> ObjectEncoder:
    """Read an encoder: a path, or "shipped".

    Raises:
        UserError: there is no such file, it is broken, or it is not an encoder.
    """
    path = SHIPPED_ENCODER if name == SHIPPED else Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"no encoder {name}; it must be a file, or '{SHIPPED}'")
    if path.suffix == ".npz":
        raise UserError(f"{path} is no encoder; if it holds shape codes, give the encoder that made them")
    state = read_plain(path, FORMAT, "an encoder")
    try:
        sizes: Dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in state["sizes"].items()}
        network = PointAutoencoder(EncoderSizes(**sizes))
        network.load_state_dict({key: weight.float() for key, weight in state["weights"].items()})
        encoder = ObjectEncoder(network, state["mean"], state["std"], state["points"], state["seed"], state["training"])
        intact = encoder.id == state["id"] and state["length_unit"] == LENGTH_UNIT
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is an incomplete encoder: {str(error).splitlines()[0]}") from error
    if not intact:
        raise UserError(f"{path} was changed after it was written: its weights are not those of encoder {state['id']}")
    return encoder
