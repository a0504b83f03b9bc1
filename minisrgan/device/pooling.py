"""The kernels of pooling.cu: the largest of each square, which one it was, and back."""

from ..arrays import array_module
from ..ops.pooling import MaxPool, Pick, Place, argmax_in_squares, pooled_shape
from .cuts import contiguous, cut_runs
from .launch import launch
from .register import kernel


def covered(x, size):
    """Whether the images x have at least one square of that size."""
    return x.ndim == 4 and x.size and min(x.shape[1:3]) >= size


def pool(name, pooled, shape, size, *arrays):
    """Run the kernel `name` on its arrays, for images of `shape`. `pooled` has a pixel for each of their squares."""
    _, height, width, channels = shape
    pixels = pooled.size // channels
    grid, block, per_block = cut_runs(pixels, channels, pooled)
    launch("pooling.cu", name, grid, block, *arrays, pixels, height, width, channels, per_block, SIZE=size)


@kernel(argmax_in_squares)
def argmax(x, size):
    if not covered(x, size):
        return NotImplemented
    chosen = array_module(x).empty(pooled_shape(x.shape, size), "int32")
    pool("max_pool", chosen, x.shape, size, contiguous(x), None, chosen)
    return chosen


@kernel(MaxPool)
def max_pool(x, size=2):
    if not covered(x, size):
        return NotImplemented
    out = array_module(x).empty(pooled_shape(x.shape, size), x.dtype)
    pool("max_pool", out, x.shape, size, contiguous(x), out, None)
    return out


@kernel(Pick)
def pick(x, chosen, size):
    if not covered(x, size) or chosen.shape != pooled_shape(x.shape, size):
        return NotImplemented
    out = array_module(x).empty(chosen.shape, x.dtype)
    pool("pick", out, x.shape, size, contiguous(x), contiguous(chosen.astype("int32", copy=False)), out)
    return out


@kernel(Place)
def place(x, chosen, size, shape):
    if not x.size or len(shape) != 4 or not x.shape == chosen.shape == pooled_shape(shape, size):
        return NotImplemented
    out = array_module(x).zeros(shape, x.dtype)
    pool("place", x, shape, size, contiguous(x), contiguous(chosen.astype("int32", copy=False)), out)
    return out
