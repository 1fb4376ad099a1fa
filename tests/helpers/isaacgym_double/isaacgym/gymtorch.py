"""Names of `isaacgym.gymtorch`."""

import torch

from . import structs, tensors  # others take every name of this module


def wrap_tensor(gym_tensor: tensors.Tensor, offsets=None, counts=None) -> torch.Tensor:
    """The engine's own storage as a torch tensor."""
    return gym_tensor.values()


def unwrap_tensor(torch_tensor: torch.Tensor) -> tensors.Tensor:
    """The address of a tensor. Misuse: it is not contiguous."""
    if not torch_tensor.is_contiguous():
        raise structs.Misuse("Input tensor must be contiguous")
    return tensors.Tensor(torch_tensor)
