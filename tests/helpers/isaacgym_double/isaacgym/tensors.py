"""What passes between torch and the engine: addresses, not values."""

import weakref
from typing import Any, Optional, Tuple

import torch

from .structs import Misuse


class Tensor:
    """`gymapi.Tensor`: the place of a tensor, which does not keep it alive."""

    def __init__(self, tensor: Optional[torch.Tensor] = None, owned: bool = False) -> None:
        if tensor is None:
            return
        owner = tensor if tensor._base is None else tensor._base
        self._owner: Any = (lambda: owner) if owned else weakref.ref(owner)
        self._view: Tuple = (tuple(tensor.shape), tensor.stride(), tensor.storage_offset())
        self.shape, self.dtype, self.own_data = tuple(tensor.shape), tensor.dtype, owned
        self.device, self.data_address = -1 if tensor.device.index is None else tensor.device.index, tensor.data_ptr()
        self.torch_device = tensor.device

    def ndim(self) -> int:
        return len(self.shape)

    def values(self) -> torch.Tensor:
        """What stands there now. Misuse: the storage has been freed."""
        owner = self._owner()
        if owner is None:
            raise Misuse("a tensor's storage was freed before the engine read it: keep it until simulate")
        return torch.as_strided(owner, *self._view)
