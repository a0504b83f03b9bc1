"""The kernels of adam.cu and ema.cu: a step of Adam for all parameters in one launch, and averages of weights."""

import numpy as np

from ..arrays import Array, array_module
from ..errors import KernelError
from ..optim import adam_step, move_towards
from .choice import uses_kernels
from .cuts import contiguous, elementwise_grid
from .launch import address, launch
from .register import register

PIECE = 16384  # elements that a block of adam.cu takes at once


@register(adam_step, lambda thetas: bool(thetas) and uses_kernels(thetas[0]))
def adam(
    thetas: list[Array],
    gradients: list[Array],
    ms: list[Array],
    vs: list[Array],
    rate: float,
    betas: tuple[float, float],
    unbias: tuple[float, float],
    eps: float,
) -> None:
    gradients = [contiguous(g) for g in gradients]
    if not all(theta.flags.c_contiguous for theta in thetas):
        raise KernelError("adam: a parameter is not contiguous")  # which the kernel cannot see: it gets addresses
    xp, cut = array_module(thetas[0]), pieces([theta.size for theta in thetas])
    places = xp.array([address(each) for each in (*thetas, *ms, *vs, *gradients)])
    settings = xp.array([1 - betas[0], 1 - betas[1], rate / unbias[0], unbias[1], eps], thetas[0].dtype)
    launch("adam.cu", "adam", min(len(cut), 1024), None, places, xp.array(cut), settings,
           len(thetas), len(cut))  # fmt: skip


def pieces(sizes: list[int]) -> Array:
    """The pieces that arrays of these sizes are cut into: rows (array, start, stop) of 32-bit integers."""
    starts = [(i, start) for i, size in enumerate(sizes) for start in range(0, size, PIECE)]
    return np.array([(i, start, min(start + PIECE, sizes[i])) for i, start in starts], np.int32).reshape(-1, 3)


@register(move_towards, uses_kernels)
def ema(average: Array, w: Array, share: float) -> None:
    launch("ema.cu", "ema", *elementwise_grid(average.size, average), average, contiguous(w), share, w.size)
