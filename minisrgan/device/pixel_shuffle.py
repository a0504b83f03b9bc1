"""The kernel of pixel_shuffle.cu. Pixel shuffle and its inverse exchange two axes."""

from ..arrays import Array
from ..ops.pixel_shuffle import PixelShuffle, PixelUnshuffle
from .cuts import contiguous, cut_runs, empty
from .launch import launch
from .register import Computed, kernel


def exchange_axes(x: Array, a: int, b: int, run: int, shape: tuple[int, ...]) -> Array:
    """x, taken as (…, a, b, run), with the axes a and b exchanged, in that shape."""
    out, runs = empty(x, shape), x.size // run
    grid, block, per_block = cut_runs(runs, run, x)
    launch("pixel_shuffle.cu", "exchange_axes", grid, block, contiguous(x), out, runs, a, b, run, per_block)
    return out


@kernel(PixelShuffle)
def shuffle(x: Array, r: int) -> Computed:
    if x.ndim != 4 or not x.size or x.shape[3] % (r * r):
        return NotImplemented
    n, h, w, c = x.shape
    return exchange_axes(x, w, r, c // r, (n, h * r, w * r, c // (r * r)))


@kernel(PixelUnshuffle)
def unshuffle(x: Array, r: int) -> Computed:
    if x.ndim != 4 or not x.size or x.shape[1] % r or x.shape[2] % r:
        return NotImplemented
    n, h, w, c = x.shape
    return exchange_axes(x, r, w // r, r * c, (n, h // r, w // r, r * r * c))
