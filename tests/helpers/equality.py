"""Whether two trainings came to the same, to the bit."""

from dataclasses import fields, is_dataclass

import torch

PROGRESS = ("epoch", "frame", "last_lr", "optimizer", "rng", "env_state")
"""What a checkpoint says of a training beside the weights."""


def assert_equal(a, b, path=""):
    """Bit-exact equality of nested containers."""
    assert type(a) is type(b), path
    if is_dataclass(a):
        for field in fields(a):
            assert_equal(getattr(a, field.name), getattr(b, field.name), f"{path}.{field.name}")
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_equal(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b)):
            assert_equal(x, y, f"{path}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), path
    else:
        assert a == b, path
