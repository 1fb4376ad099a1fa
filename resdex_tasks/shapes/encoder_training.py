"""Trains the autoencoder of `encoder.py` on an object set; a training that was stopped resumes bit-exactly."""

import hashlib
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from resdex_tasks.objects.geometry.surface import shape_hash, surface_points
from resdex_tasks.objects.object_set import CODE_SIZE, ObjectSet
from resdex_tasks.shapes.encoder import (
    LENGTH_UNIT,
    EncoderSizes,
    ObjectEncoder,
    PointAutoencoder,
    chamfer,
    write_encoder,
)
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import read_plain, write_plain
from resdex_tasks.utils.versions import versions

STATE_FORMAT = "resdex-encoder-training-1"
POOL = 2048
"""Surface points of each object, from which every step draws."""
WARMUP_STEPS = 100
LEAST_STD = 0.2
"""Least standard deviation by which an entry of the codes is divided, as a fraction of the median one."""
LINE_INTERVAL = 30.0
"""s between two lines of progress where the output is no terminal."""


@dataclass(frozen=True)
class EncoderTraining:
    """Settings of a training."""

    epochs: int = 72
    batch: int = 16
    """Objects in one step."""
    points: int = 512
    """Points that the encoder sees; the reconstruction is compared with as many others."""
    learning_rate: float = 1e-3
    """The greatest one: it rises over the first steps, then falls to 0 along a cosine."""
    turned: float = 0.1
    """Fraction of the examples that are turned at random about all axes. A code belongs to the object in its own frame,
    so a turned object is another shape, not the same one again: the network meets shapes from any convention of frames
    (which side of a mug is up), and not only those of the training set."""
    encoded_points: int = 1024
    """Points that the trained encoder encodes: more than in training, so that a code hardly depends on the sample."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("points", 8), ("encoded_points", 8), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if 2 * self.points > POOL:
            raise UserError(f"points is {self.points}; it can be at most {POOL // 2}")
        if not 0 <= self.turned <= 1:
            raise UserError(f"turned is {self.turned}; it must be from 0 to 1")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning_rate is {self.learning_rate}; it must be a positive number")


def train_encoder(
    objects: ObjectSet,
    settings: EncoderTraining,
    out: Path,
    sizes: Optional[EncoderSizes] = None,
    device: str = "cpu",
    about: Optional[Dict[str, Any]] = None,
    stop_after: Optional[int] = None,
) -> ObjectEncoder:
    """Train an autoencoder on a set's surface points.

    `training.pth` is written to the folder `out` after every epoch and, at the end, `encoder.pth`. A training that
    finds its own `training.pth` there resumes from it and ends as if it had never been interrupted.

    Args:
        about: plain data to keep in the file, such as the objects' configuration and the command.
        stop_after: total number of epochs after which to stop early, as Ctrl-C would: for tests.

    Raises:
        UserError: `out` cannot be written, or holds a training with other settings or objects.
        KeyboardInterrupt: the training was stopped; `training.pth` holds the last complete epoch.
    """
    sizes = sizes or EncoderSizes()
    torch.manual_seed(settings.seed)
    try:
        network = PointAutoencoder(sizes).to(device)
    except (RuntimeError, AssertionError) as error:  # an unknown device, or one that is not there
        raise UserError(f"device {device} cannot be used: {str(error).splitlines()[0]}") from error
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}") from error
    path = out / "training.pth"
    identity = {
        **asdict(settings),
        "sizes": str(asdict(sizes)),
        "objects": len(objects),
        "shapes": _hash_of(objects),
    }
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    losses: List[float] = []
    seconds = 0.0
    if path.is_file():
        state = read_plain(path, STATE_FORMAT, "the state of an encoder's training")
        for key, value in identity.items():
            if state["identity"].get(key) != value:
                raise UserError(
                    f"{path} was begun with {key}={state['identity'].get(key)}, not {value}; "
                    "give the same settings to resume, or another folder to start again"
                )
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        losses, seconds = state["losses"], state["seconds"]

    pool = _pool(objects, settings.seed).to(device)
    progress = _Progress(settings.epochs, len(losses))
    steps = -(-len(objects) // settings.batch)
    while len(losses) < settings.epochs:
        if stop_after is not None and len(losses) >= stop_after:
            raise KeyboardInterrupt
        began = time.perf_counter()
        losses.append(_epoch(network, optimizer, pool, generator, settings, len(losses) * steps))
        seconds += time.perf_counter() - began
        state = {
            "format": STATE_FORMAT,
            "identity": identity,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "losses": losses,
            "seconds": seconds,
        }
        write_plain(path, state)
        progress.show(losses)
    progress.close()

    training = {
        **(about or {}),
        "objects": len(objects),
        "settings": asdict(settings),
        "losses_mm": [round(1000 * LENGTH_UNIT * loss, 4) for loss in losses],
        "seconds": round(seconds, 1),
        "versions": versions("resdex", "torch", "numpy", "scipy"),
    }
    encoder = finished(network.cpu(), objects, settings, training)
    write_encoder(out / "encoder.pth", encoder)
    return encoder


def finished(
    network: PointAutoencoder, objects: ObjectSet, settings: EncoderTraining, training: Dict[str, Any]
) -> ObjectEncoder:
    """The encoder of a trained network: its codes are centred and scaled by those of the training set."""
    encoder = ObjectEncoder(
        network, torch.zeros(CODE_SIZE), torch.ones(CODE_SIZE), settings.encoded_points, settings.seed, training
    )
    codes = torch.from_numpy(np.stack([encoder.encode(obj) for obj in objects]))
    encoder.mean = codes.mean(dim=0)
    std = codes.std(dim=0, unbiased=False)
    # an entry that hardly varies must not be blown up; over a single object, none varies
    encoder.std = std.clamp(min=max(LEAST_STD * float(std.median()), 1e-6))
    return encoder


def _epoch(
    network: PointAutoencoder,
    optimizer: torch.optim.Optimizer,
    pool: Tensor,
    generator: torch.Generator,
    settings: EncoderTraining,
    step: int,
) -> float:
    """One pass over all objects, beginning with step number `step`; returns the mean Chamfer distance in
    `LENGTH_UNIT`."""
    order = torch.randperm(len(pool), generator=generator)
    total_steps = settings.epochs * -(-len(pool) // settings.batch)
    total = 0.0
    for chosen in order.split(settings.batch):
        rate = min(1.0, (step + 1) / WARMUP_STEPS) * (1 + math.cos(math.pi * step / total_steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate
        # compared with other points than those seen: the code is to describe the surface, not the sample
        drawn = torch.randperm(POOL, generator=generator)[: 2 * settings.points]
        points = pool[chosen.to(pool.device)][:, drawn.to(pool.device)]
        points = points @ _turns(len(chosen), settings.turned, generator).to(pool.device)
        seen, compared = points.chunk(2, dim=1)
        loss = chamfer(network.decode(network.encode(seen)), compared).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)
        step += 1
    return total / len(pool)


def _turns(count: int, fraction: float, generator: torch.Generator) -> Tensor:
    """(count, 3, 3) rotations: uniformly random ones for about the given fraction, the identity for the others."""
    quat = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1)
    keep = torch.rand(count, generator=generator) >= fraction
    quat[keep] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    v, w = quat[:, :3], quat[:, 3]
    cross = torch.zeros(count, 3, 3)
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    cross = cross - cross.transpose(1, 2)
    return torch.eye(3) + 2 * w[:, None, None] * cross + 2 * cross @ cross


def _pool(objects: ObjectSet, seed: int) -> Tensor:
    """(objects, POOL, 3) surface points in `LENGTH_UNIT`."""
    points = [surface_points(obj, POOL, seed) for obj in objects]
    return torch.from_numpy(np.stack(points)) / LENGTH_UNIT


def _hash_of(objects: ObjectSet) -> str:
    """A hash that changes with any object's shape, and with their order."""
    return hashlib.sha256("".join(shape_hash(obj) for obj in objects).encode()).hexdigest()[:12]


class _Progress:
    """A bar on a terminal; elsewhere a line every half minute. Both show loss and time left."""

    def __init__(self, epochs: int, done: int) -> None:
        self._bar = tqdm(total=epochs, initial=done, unit="epoch", disable=not sys.stderr.isatty())
        self._epochs, self._first = epochs, done
        self._began, self._last_line = time.perf_counter(), 0.0

    def show(self, losses: List[float]) -> None:
        text = f"Chamfer distance {1000 * LENGTH_UNIT * losses[-1]:.2f} mm"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()
        now, done, total = time.perf_counter(), len(losses), self._epochs
        if self._bar.disable and (now - self._last_line > LINE_INTERVAL or done == total):
            self._last_line = now
            left = (now - self._began) / (done - self._first) * (total - done)
            print(f"epoch {done} of {total}: {text}, {left / 60:.1f} minutes left", flush=True)

    def close(self) -> None:
        self._bar.close()
