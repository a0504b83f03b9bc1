"""How exactly a GPU multiplies: the factors of its convolutions in float32. Sums are float32 in any case.

tf32      10 bits after the point, on tensor cores; what PyTorch does for convolutions too
3xtf32    each factor as two TF32 numbers, on tensor cores at three times the work; nearly as exact as float32
bf16      7 bits, on tensor cores
float32   23 bits, without tensor cores

Float64, the CPU, and what else a GPU computes are not concerned.
"""

import os
from typing import Any

import numpy as np

from ..arrays import on_gpu
from ..errors import DeviceError

PRECISIONS = {"tf32": 1, "3xtf32": 3, "bf16": 16, "float32": None}  # and conv_mma.cu's PRECISION
TENSOR_CORES = 8  # the major compute capability from which on GPUs have these instructions: sm_80


class use_precision:
    """Let a GPU's convolutions be computed in this precision from now on; in a `with` statement, to its end.

    Until this is called, it is $MINISRGAN_PRECISION, else tf32. Raises DeviceError for an unknown one.
    """

    active: str | None = None

    def __init__(self, precision: str) -> None:
        checked(precision, "--precision")
        self.before = use_precision.active
        use_precision.active = precision

    def __enter__(self) -> "use_precision":
        return self

    def __exit__(self, *error: object) -> None:
        use_precision.active = self.before


def checked(precision: str, asked_by: str) -> str:
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise DeviceError(f"unknown precision {precision!r} from {asked_by}: choose one of {known}")
    return precision


def precision() -> str:
    """The precision that is in use. Raises DeviceError if $MINISRGAN_PRECISION is unknown."""
    return use_precision.active or checked(os.environ.get("MINISRGAN_PRECISION") or "tf32", "MINISRGAN_PRECISION")


def tensor_cores(x: Any) -> int | None:
    """conv_mma.cu's PRECISION for a convolution of the array x. None if tensor cores do not compute it."""
    if not on_gpu(x) or x.dtype != np.float32 or not has_tensor_cores():
        return None
    return PRECISIONS[precision()]


def has_tensor_cores() -> bool:
    """Whether CuPy's present GPU has them."""
    from cupy.cuda import runtime

    number = runtime.getDevice()
    if number not in MAJORS:
        MAJORS[number] = runtime.getDeviceProperties(number)["major"]
    return MAJORS[number] >= TENSOR_CORES


MAJORS: dict[int, int] = {}  # GPU's number → its major compute capability
