"""Finds out which NVIDIA GPU the machine has, and which CuPy it needs.

It runs before anything is installed, so it uses only the standard library.
"""

from __future__ import annotations  # an older Python must be able to load this file too

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any


def nvidia_gpu(load: Callable[[str], Any] = ctypes.CDLL) -> tuple[int, tuple[int, int]] | None:
    """(CUDA version of the driver, compute capability) of the first NVIDIA GPU; None if none answers.

    12040 is CUDA 12.4; (8, 6) is compute capability 8.6.
    """
    try:
        driver = load("libcuda.so.1")
        call(driver.cuInit, 0)
        if not ask(driver.cuDeviceGetCount):
            return None
        device = ask(driver.cuDeviceGet, 0)
        major, minor = (ask(driver.cuDeviceGetAttribute, attribute, device) for attribute in (75, 76))
        return ask(driver.cuDriverGetVersion), (major, minor)
    except OSError:
        return None


def ask(function: Any, *arguments: Any) -> int:
    """The int that a function of the driver writes into its first argument."""
    value = ctypes.c_int()
    call(function, ctypes.byref(value), *arguments)
    return value.value


def call(function: Any, *arguments: Any) -> None:
    error = function(*arguments)
    if error:
        raise OSError(f"the NVIDIA driver answers with error {error}")


def cupy_extra(driver: int, capability: tuple[int, int]) -> str | None:
    """The extra of pyproject.toml that has the CuPy for this GPU; None if the driver is too old."""
    if driver < 12000:
        return None
    # CUDA 13 no longer compiles for GPUs older than Turing, though its driver may still run them
    return "cuda13" if driver >= 13000 and capability >= (7, 5) else "cuda12"


def cupy_requirement(root: Path, extra: str) -> str:
    """An extra's requirement in the pyproject.toml in `root`, as pip takes it: "cupy-cuda12x[ctk]>=14,<15"."""
    import tomllib  # an older Python has none, and is refused before it gets here

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (requirement,) = project["optional-dependencies"][extra]
    return requirement
