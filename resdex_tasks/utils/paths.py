"""Where the installed configuration and the shipped checkpoints lie."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def _shipped(name: str) -> Path:
    """Folder `name` inside the installed package, or beside it in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


CFG_DIR = _shipped("cfg")
CHECKPOINT_DIR = _shipped("checkpoints")
SHIPPED = "shipped"
"""What stands in the configuration for the file of `CHECKPOINT_DIR`."""
