"""Sums, and their adjoints: to sum is to forget positions, to broadcast is to repeat over them."""

import math

from ..arrays import Array, array_module
from ..errors import ShapeError
from ..tensor import Axes, Op, Tensor


def axes_of(axis: Axes, ndim: int) -> tuple[int, ...]:
    """The axes of a reduction as a tuple of non-negative numbers; None means all. Raises ShapeError for a wrong one."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for each in axes:
        if not -ndim <= each < ndim:
            raise ShapeError(f"axis {each} is out of bounds for an array of {ndim} axes")
    return tuple(each % ndim for each in axes)


def sum_rows(x: Array) -> Array:
    """Σ over all axes but the last, as the matrix product 1ᵀx: one fast pass, and more exact than adding in order."""
    rows = x.reshape(-1, x.shape[-1])
    return array_module(x).ones(len(rows), x.dtype) @ rows


class Sum(Op):
    """Σ over `axis` (None, one, or a tuple);  1 for every term."""

    linear = True

    def forward(x, axis=None, keepdims=False):
        axes_of(axis, x.ndim)  # NumPy would let a single number have a last axis
        return x.sum(axis=axis, keepdims=keepdims)

    def vjp(g, out, x, axis=None, keepdims=False):
        axes = axes_of(axis, x.ndim)
        kept = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
        return lambda: g.reshape(kept).broadcast_to(x.shape)


class SumTo(Op):
    """Sum x over the axes along which an array of `shape` would be repeated: the adjoint of BroadcastTo."""

    linear = True

    def forward(x, shape):
        if x.ndim > 1 and shape == x.shape[-1:]:
            return sum_rows(x)
        leading = x.ndim - len(shape)
        if leading < 0 or not all(size in (1, whole) for size, whole in zip(shape, x.shape[leading:])):
            raise ShapeError(f"{shape} cannot be broadcast to {x.shape}, so these cannot be summed to it")
        repeated = tuple(leading + i for i, size in enumerate(shape) if size == 1 and x.shape[leading + i] != 1)
        return x.sum(axis=tuple(range(leading)) + repeated, keepdims=True).reshape(shape)

    def vjp(g, out, x, shape):
        return lambda: g.broadcast_to(x.shape)


class BroadcastTo(Op):
    """Repeat x along new and length-one axes until it has `shape`: the adjoint of SumTo."""

    linear = True

    def forward(x, shape):
        return array_module(x).broadcast_to(x, shape)

    def vjp(g, out, x, shape):
        return lambda: g.sum_to(x.shape)


def mean(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The average over `axis`. Raises ShapeError if there are no numbers to average."""
    count = math.prod(x.shape[each] for each in axes_of(axis, x.ndim))
    if not count:
        raise ShapeError(f"the mean over {'all axes' if axis is None else f'axis {axis}'} of {x.shape} is of nothing")
    return Sum(x, axis=axis, keepdims=keepdims) * (1 / count)
