"""Constants on a device."""

import functools
from typing import Tuple

import torch
from torch import Tensor


@functools.lru_cache(maxsize=None)
def constant(values: Tuple, device: torch.device) -> Tensor:
    """A float32 tensor of (nested) tuples of numbers; not to be written to.

    Built once for each device, because a copy from the host would wait for everything that a GPU has to do.
    """
    return torch.tensor(values, dtype=torch.float32, device=device)
