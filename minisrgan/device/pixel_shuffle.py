"""The kernel of pixel_shuffle.cu: pixel shuffle and its inverse, as the exchange of two axes."""

from ..arrays import array_module
from ..ops.pixel_shuffle import PixelShuffle, PixelUnshuffle
from .cuts import contiguous, cut_runs
from .launch import launch
from .register import kernel


def exchange_axes(x, a, b, run, shape):
    """x as (…, a, b, run) with a and b exchanged, in `shape`."""
    out, runs = array_module(x).empty(shape, x.dtype), x.size // run
    grid, block, per_block = cut_runs(runs, run, x)
    launch("pixel_shuffle.cu", "exchange_axes", grid, block, contiguous(x), out, runs, a, b, run, per_block)
    return out


@kernel(PixelShuffle)
def shuffle(x, r):
    if x.ndim != 4 or not x.size or x.shape[3] % (r * r):
        return NotImplemented
    n, h, w, c = x.shape
    return exchange_axes(x, w, r, c // r, (n, h * r, w * r, c // (r * r)))


@kernel(PixelUnshuffle)
def unshuffle(x, r):
    if x.ndim != 4 or not x.size or x.shape[1] % r or x.shape[2] % r:
        return NotImplemented
    n, h, w, c = x.shape
    return exchange_axes(x, r, w // r, r * c, (n, h // r, w // r, r * r * c))
