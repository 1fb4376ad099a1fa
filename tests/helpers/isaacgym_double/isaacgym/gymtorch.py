"""Names of `isaacgym.gymtorch`."""

import torch

from .structs import Misuse
from .tensors import Tensor


def wrap_tensor(gym_tensor: Tensor, offsets=None, counts=None) -> torch.Tensor:
    """The engine's own storage as a torch tensor."""
    return gym_tensor.values()


def unwrap_tensor(torch_tensor: torch.Tensor) -> Tensor:
    """The address of a tensor. Misuse: it is not contiguous."""
    if not torch_tensor.is_contiguous():
        raise Misuse("Input tensor must be contiguous")
    return Tensor(torch_tensor)
