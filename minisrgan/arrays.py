"""Arrays, NumPy's or CuPy's: which library owns one, and how it gets to a device."""

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]  # or CuPy's, which a type checker does not see: it has the same interface


def on_gpu(array: Any) -> bool:
    """Whether `array` is CuPy's."""
    return type(array).__module__.partition(".")[0] == "cupy"


def array_module(array: Any) -> Any:
    """The library that owns `array`: `cupy` for a CuPy array, else `numpy`."""
    if on_gpu(array):
        import cupy

        return cupy
    return np


def as_strided(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of `array` with the given shape and byte strides; nothing is copied."""
    return array_module(array).lib.stride_tricks.as_strided(array, shape, strides)


def to_device(array: Any, device: str) -> Array:
    """`array` as an array of `device` ("cuda", "cpu" or "numpy"), copied only if it is not there yet."""
    if device == "cuda":
        import cupy

        return cupy.asarray(array)
    return to_numpy(array)


def to_numpy(array: Any) -> np.ndarray:
    """`array` as a NumPy array, copied from the GPU if it is there."""
    return array.get() if on_gpu(array) else np.asarray(array)
