"""Which device an array is on, and how it gets there.

cuda    CuPy arrays
numpy   NumPy arrays and the operations' NumPy definitions
"""

import os

import numpy as np

from .errors import DeviceError

DEVICES = ("cuda", "numpy")


def array_module(array):
    """The library that owns `array`: `cupy` for a CuPy array, else `numpy`."""
    if type(array).__module__.partition(".")[0] == "cupy":
        import cupy

        return cupy
    return np


def as_strided(array, shape, strides):
    """A view of `array` with the given shape and byte strides; nothing is copied."""
    return array_module(array).lib.stride_tricks.as_strided(array, shape, strides)


def cuda_problem():
    """Why CUDA cannot be used, in a few words; None if it can."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "no NVIDIA GPU was found"
        cupy.zeros(1).sum()
    except Exception as error:  # the driver, the toolkit and CuPy each raise classes of their own
        return f"CuPy cannot use the GPU ({str(error).strip().splitlines()[0]})"
    return None


def choose_device(name=None):
    """The device to work on and why: `name`, else $MINISRGAN_DEVICE, else the first that works.

    Returns (device, reason). Raises DeviceError for a device that is unknown or does not work.
    """
    asked_by = "--device" if name else "MINISRGAN_DEVICE"
    name = name or os.environ.get("MINISRGAN_DEVICE")
    problem = cuda_problem() if name in (None, "", "cuda") else None
    if not name:
        return ("numpy", problem) if problem else ("cuda", "an NVIDIA GPU answers")
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r} from {asked_by}: choose one of {', '.join(DEVICES)}")
    if problem:
        raise DeviceError(f"device 'cuda' asked for by {asked_by}, but {problem}; 'numpy' works everywhere")
    return name, f"asked for by {asked_by}"


def to_device(array, device):
    """`array` as an array of `device`, copied only if it is not there yet."""
    if device == "cuda":
        import cupy

        return cupy.asarray(array)
    return to_numpy(array)


def to_numpy(array):
    """`array` as a NumPy array, copied from the GPU if it is there."""
    return array.get() if array_module(array) is not np else np.asarray(array)
