"""Sums, and their adjoints: to sum is to forget positions, to broadcast is to repeat over them."""

from ..arrays import array_module
from .tensor import Op, Tensor
from .tiles import sum_channels


def axes_of(axis, ndim):
    """The axes of a reduction as a tuple of non-negative numbers; None means all."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(each % ndim for each in (axis if isinstance(axis, tuple) else (axis,)))


def sum_rows(x):
    """Σ over all axes but the last, as the matrix product 1ᵀx: one fast pass, and more exact than adding in order."""
    rows = x.reshape(-1, x.shape[-1])
    return array_module(x).ones(len(rows), x.dtype) @ rows


class Sum(Op):
    """Σ over `axis` (None, one, or a tuple);  1 for every term."""

    linear = True

    def forward(x, axis=None, keepdims=False):
        return x.sum(axis=axis, keepdims=keepdims)

    def vjp(g, out, x, axis=None, keepdims=False):
        axes = axes_of(axis, x.ndim)
        kept = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
        return lambda: g.reshape(kept).broadcast_to(x.shape)


class SumTo(Op):
    """Sum away whatever broadcasting `shape` to x's shape would repeat: the adjoint of BroadcastTo."""

    linear = True

    def forward(x, shape):
        if x.ndim > 1 and shape == x.shape[-1:]:
            return sum_rows(x)
        leading = x.ndim - len(shape)
        repeated = tuple(leading + i for i, size in enumerate(shape) if size == 1 and x.shape[leading + i] != 1)
        return x.sum(axis=tuple(range(leading)) + repeated, keepdims=True).reshape(shape)

    def kernel(x, shape):
        return sum_channels("column_sums", x)[0] if x.size and shape == x.shape[-1:] else NotImplemented

    def vjp(g, out, x, shape):
        return lambda: g.broadcast_to(x.shape)


class BroadcastTo(Op):
    """Repeat x along new and length-one axes until it has `shape`: the adjoint of SumTo."""

    linear = True

    def forward(x, shape):
        return array_module(x).broadcast_to(x, shape)

    def vjp(g, out, x, shape):
        return lambda: g.sum_to(x.shape)


def mean(x, axis=None, keepdims=False):
    """The average over `axis`."""
    count = 1
    for each in axes_of(axis, x.ndim):
        count *= x.shape[each]
    return Sum(x, axis=axis, keepdims=keepdims) * (1 / count)


Tensor.sum = lambda x, axis=None, keepdims=False: Sum(x, axis=axis, keepdims=keepdims)
Tensor.mean = mean
Tensor.sum_to = lambda x, shape: SumTo(x, shape=tuple(shape))
Tensor.broadcast_to = lambda x, shape: BroadcastTo(x, shape=tuple(shape))
