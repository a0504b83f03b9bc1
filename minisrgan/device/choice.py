"""Which device arrays are computed on.

cuda    CuPy arrays, and the kernels of kernels/*.cu
cpu     NumPy arrays, and the same kernels compiled by the system's C++ compiler
numpy   NumPy arrays, and the operations' NumPy definitions; convolutions by BLAS (blas.py)
"""

import os
from typing import Any

import numpy as np

from ..errors import DeviceError
from .cpu import cpu_problem

DEVICES = ("cuda", "cpu", "numpy")  # the best first


def cuda_problem() -> str | None:
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


PROBLEMS = {"cuda": cuda_problem, "cpu": cpu_problem, "numpy": lambda: None}


def choose_device(name: str | None = None) -> tuple[str, str]:
    """(the device to work on, why): `name`, else $MINISRGAN_DEVICE, else the first that works.

    Raises DeviceError for a device that is unknown or does not work.
    """
    asked_by = "--device" if name else "MINISRGAN_DEVICE"
    name = name or os.environ.get("MINISRGAN_DEVICE")
    if not name:
        return first_that_works()
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r} from {asked_by}: choose one of {', '.join(DEVICES)}")
    if problem := PROBLEMS[name]():
        raise DeviceError(f"device {name!r} asked for by {asked_by}, but {problem}; 'numpy' works everywhere")
    return name, f"asked for by {asked_by}"


def first_that_works() -> tuple[str, str]:
    problems = []
    *others, last = DEVICES
    for device in others:
        problem = PROBLEMS[device]()
        if not problem:
            return device, "; ".join(problems) or "an NVIDIA GPU answers"
        problems.append(f"no {device}: {problem}")
    return last, "; ".join(problems)


class use_device:
    """Let NumPy arrays be computed as `device` says from now on; in a `with` statement, to its end.

    (Where CuPy arrays are computed needs no saying.) Until this is called, they are computed as on "numpy".
    """

    active = "numpy"

    def __init__(self, device: str) -> None:
        if device not in DEVICES:
            raise DeviceError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
        self.before = use_device.active
        use_device.active = device

    def __enter__(self) -> "use_device":
        return self

    def __exit__(self, *error: object) -> None:
        use_device.active = self.before


def uses_kernels(array: Any) -> bool:
    """Whether operations on `array` run their kernels rather than their NumPy definitions."""
    return use_device.active == "cpu" if isinstance(array, (np.ndarray, np.generic)) else True
