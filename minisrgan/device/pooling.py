"""The kernels of pooling.cu: the largest number of each square, which one it was, and the way back."""

from ..arrays import Array, array_module
from ..ops.pooling import MaxPool, Pick, Place, argmax_in_squares, pooled_shape
from .cuts import contiguous, cut_runs, empty
from .launch import launch
from .register import Computed, kernel


def covered(x: Array, size: int) -> bool:
    """Whether the images x have at least one square of that size."""
    return x.ndim == 4 and x.size > 0 and min(x.shape[1:3]) >= size


def pool(name: str, pooled: Array, shape: tuple[int, ...], size: int, *arrays: Array | None) -> None:
    """Run the kernel `name` for images of this shape. `pooled` is an array with a pixel for each of their squares."""
    _, height, width, channels = shape
    pixels = pooled.size // channels
    grid, block, per_block = cut_runs(pixels, channels, pooled)
    launch("pooling.cu", name, grid, block, *arrays, pixels, height, width, channels, per_block, SIZE=size)


@kernel(argmax_in_squares)
def argmax(x: Array, size: int) -> Computed:
    if not covered(x, size):
        return NotImplemented
    chosen = array_module(x).empty(pooled_shape(x.shape, size), "int32")
    pool("max_pool", chosen, x.shape, size, contiguous(x), None, chosen)
    return chosen


@kernel(MaxPool)
def max_pool(x: Array, size: int = 2) -> Computed:
    if not covered(x, size):
        return NotImplemented
    out = empty(x, pooled_shape(x.shape, size))
    pool("max_pool", out, x.shape, size, contiguous(x), out, None)
    return out


@kernel(Pick)
def pick(x: Array, chosen: Array, size: int) -> Computed:
    if not covered(x, size) or chosen.shape != pooled_shape(x.shape, size):
        return NotImplemented
    out = empty(x, chosen.shape)
    pool("pick", out, x.shape, size, contiguous(x), contiguous(chosen.astype("int32", copy=False)), out)
    return out


@kernel(Place)
def place(x: Array, chosen: Array, size: int, shape: tuple[int, ...]) -> Computed:
    if not x.size or len(shape) != 4 or not x.shape == chosen.shape == pooled_shape(shape, size):
        return NotImplemented
    out = array_module(x).zeros(shape, x.dtype)
    pool("place", x, shape, size, contiguous(x), contiguous(chosen.astype("int32", copy=False)), out)
    return out
