"""Reads object arrays of untrusted `.npy` data without running anything that the file asks for.

`numpy.load(allow_pickle=True)` runs code of the file's choosing. To allow numpy's own reconstructors only would not be
enough either: a crafted dtype state makes `ndarray.__setstate__` take bytes of the file for object addresses, and the
process crashes or worse. So the stand-ins below replace the names that numpy's pickles use, and all others are refused.
"""

import pickle
from typing import IO, Any, Callable, Dict, List, Tuple

import numpy as np


class _ObjectArray:
    """Replaces `numpy.ndarray`: keeps the list of its elements."""

    def __init__(self, *_: Any) -> None:
        self.items: List[Any] = []

    def __setstate__(self, state: Tuple[Any, ...]) -> None:
        _version, _shape, _dtype, _fortran_order, items = state
        if not isinstance(items, list):
            raise pickle.UnpicklingError("not an array of objects")
        self.items = items


class _Dtype:
    """Replaces `numpy.dtype`: a code such as "f8" and a byte order, which only numbers use."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Tuple[Any, ...]) -> None:
        self.order = state[1]


def _scalar(dtype: Any, content: Any) -> float:
    """Replaces numpy's `scalar`: a single floating-point number."""
    if not isinstance(dtype, _Dtype) or dtype.code not in ("f4", "f8") or dtype.order not in ("<", ">"):
        raise pickle.UnpicklingError("not a floating-point number")
    if not isinstance(content, bytes) or len(content) != int(dtype.code[1]):
        raise pickle.UnpicklingError("not the bytes of a number")
    return float(np.frombuffer(content, dtype.order + dtype.code)[0])


_STAND_INS: Dict[Tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _ObjectArray,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): _ObjectArray,  # numpy 2
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy", "ndarray"): _ObjectArray,
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"its pickle asks for {module}.{name}, which is not allowed")
        return _STAND_INS[module, name]


def read_object_items(file: IO[bytes]) -> List[Any]:
    """The elements, in storage order, of the object array in an open `.npy` file.

    They are plain Python values: dict, list, str, float and the like; a numpy number becomes a float.

    Raises:
        Exception: the file is broken or forbidden. Its type depends on the layer that notices: ValueError, EOFError,
            pickle.UnpicklingError, IndexError and more.
    """
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    array = _Unpickler(file).load()
    if not isinstance(array, _ObjectArray):
        raise pickle.UnpicklingError("not an array of objects")
    return array.items
