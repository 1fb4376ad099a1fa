"""Constants on a device, and whether tensors are finite."""

import functools
from typing import Mapping, Tuple

import torch
from torch import Tensor


@functools.lru_cache(maxsize=None)
def constant(values: Tuple, device: torch.device) -> Tensor:
    """A float32 tensor of (nested) tuples of numbers; not to be written to.

    Built once for each device, because a copy from the host would wait for everything that a GPU has to do.
    """
    return torch.tensor(values, dtype=torch.float32, device=device)


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Name of the first tensor that holds nan or infinity; '' where all are finite. Waits for the device once."""
    names = [name for name, value in tensors.items() if value.is_floating_point()]
    if not names:
        return ""
    finite = torch.stack([tensors[name].isfinite().all() for name in names]).tolist()
    return next((name for name, good in zip(names, finite) if not good), "")
