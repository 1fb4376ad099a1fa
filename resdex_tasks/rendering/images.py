"""Animations, film strips and contact sheets from rendered frames, with Pillow only.

A frame is an (H, W, 3) uint8 array, sRGB. Files are written completely or not at all.
"""

import math
from pathlib import Path
from typing import Any, List, Optional, Sequence, Union

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.files import write_atomically
from resdex_tasks.utils.printing import one_line_of

MAX_GIF_FPS = 50
"""GIF times are hundredths of a second, and viewers slow down frames shorter than two of them."""
PALETTE_PIXELS = 500_000
"""Pixels, sampled evenly from all frames, from which the colours of a GIF are chosen."""
INK, PAPER = (45, 48, 54), (255, 255, 255)


def write_gif(path: Union[str, Path], frames: Sequence[np.ndarray], fps: float) -> None:
    """Write an endless GIF that plays at the speed of `fps` frames per second.

    Above `MAX_GIF_FPS`, frames are left out evenly. Pillow joins equal neighbours into one longer frame.

    Raises:
        UserError: there are no frames, or the file cannot be written.
    """
    path = _checked(path, ".gif", frames)
    if not fps > 0:
        raise ValueError(f"fps must be positive, not {fps}")
    stride = math.ceil(fps / MAX_GIF_FPS)
    images = _with_one_palette([Image.fromarray(frame) for frame in frames[::stride]])
    # Round the times of the frames, not their lengths: 30 fps would otherwise play 10 % too fast.
    times = [round(i * stride * 100 / fps) for i in range(len(images) + 1)]
    lengths = [10 * (b - a) for a, b in zip(times, times[1:])]
    write_atomically(
        path,
        lambda file: images[0].save(
            file, format="GIF", save_all=True, append_images=images[1:], duration=lengths, loop=0, optimize=False
        ),
    )


def write_strip(
    path: Union[str, Path], frames: Sequence[np.ndarray], count: int = 6, labels: Optional[Sequence[str]] = None
) -> None:
    """Write a PNG of `count` evenly spaced frames side by side, first and last included (all frames if fewer).

    Args:
        labels: a string for each of `frames`, such as "t = 1.50 s", which is drawn on it.

    Raises:
        UserError: there are no frames, or the file cannot be written.
    """
    path = _checked(path, ".png", frames)
    if labels is not None and len(labels) != len(frames):
        raise ValueError(f"{len(labels)} labels for {len(frames)} frames")
    count = min(max(count, 1), len(frames))
    chosen = [round(i) for i in np.linspace(0, len(frames) - 1, count)]
    images = [frames[i] if labels is None else add_label(frames[i], labels[i]) for i in chosen]
    strip = Image.fromarray(tile(images, count))
    write_atomically(path, lambda file: strip.save(file, format="PNG"))


def tile(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Put images of one size on a sheet, row by row: (rows * H, columns * W, 3) uint8, empty places white."""
    if not images or columns < 1:
        raise ValueError("a sheet needs at least one image and one column")
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * height, columns * width, 3), PAPER, np.uint8)
    for i, image in enumerate(images):
        if image.shape != (height, width, 3):
            raise ValueError(f"image {i} has shape {image.shape}, the first has {images[0].shape}")
        row, column = divmod(i, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    return sheet


def add_label(image: np.ndarray, text: str) -> np.ndarray:
    """A copy of `image` with a small line of text on a light background in its lower left corner."""
    text = one_line_of(text)
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas, "RGBA")
    size = max(10, canvas.height // 16)
    font = ImageFont.load_default(size)
    margin = size // 2
    text = fitted(text, font, canvas.width - 4 * margin)
    anchor = (2 * margin, canvas.height - 2 * margin - size)
    left, top, right, bottom = draw.textbbox(anchor, text, font=font)
    pad = size // 3
    draw.rounded_rectangle((left - pad, top - pad, right + pad, bottom + pad), pad, fill=(*PAPER, 190))
    draw.text(anchor, text, font=font, fill=INK)
    return np.asarray(canvas)


def fitted(text: str, font: Any, width: float) -> str:
    """A line of text, or of one that is wider than so many pixels its beginning and its end: both tell it from
    others."""
    kept = len(text)
    short = text
    while font.getlength(short) > width and kept > 1:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
    return short


def _with_one_palette(images: List[Image.Image]) -> List[Image.Image]:
    """Reduce to 256 colours that all frames share: colours chosen frame by frame would flicker."""
    pixels = len(images) * images[0].width * images[0].height
    step = math.ceil(math.sqrt(pixels / PALETTE_PIXELS))
    sample = Image.fromarray(np.concatenate([np.asarray(image)[::step, ::step] for image in images]))
    palette = sample.quantize(256, method=Image.Quantize.MEDIANCUT)
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]


def _checked(path: Union[str, Path], suffix: str, frames: Sequence[np.ndarray]) -> Path:
    """The path, after a check that a file with that suffix can be written there.

    Raises:
        UserError: it cannot, or there are no frames.
    """
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise UserError(f"{path}: the file's name must end in {suffix}.")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist.")
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a file.")
    if not len(frames):
        raise UserError(f"{path}: there are no frames to write.")
    return path
