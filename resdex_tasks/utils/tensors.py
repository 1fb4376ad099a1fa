"""Constants on a device, whether tensors are finite, and what tells them from others."""

import functools
import hashlib
from typing import Mapping, Tuple, Union

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


def fingerprint(*parts: Union[str, Tensor]) -> str:
    """Twelve hexadecimal digits that change with texts and tensors (their values, not their shapes), in their order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            array = part.detach().cpu().contiguous().numpy()
            digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()[:12]
