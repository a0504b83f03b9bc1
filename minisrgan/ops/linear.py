"""Matrix products, and the operations that only move numbers about. Each names its adjoint."""

from numbers import Integral
from operator import index

from ..arrays import array_module
from ..errors import ShapeError
from ..tensor import Op, Tensor


class MatMul(Op):
    """x @ y over the last two axes, the others broadcast;  g yᵀ, xᵀ g."""

    linear = True
    broadcasts = True

    def forward(x, y):
        if x.ndim < 2 or y.ndim < 2:
            raise ShapeError("both inputs need at least two axes")
        if x.shape[-1] != y.shape[-2]:
            raise ShapeError(f"{x.shape[-1]} columns on the left meet {y.shape[-2]} rows on the right")
        return x @ y

    def vjp(g, out, x, y):
        return lambda: g @ swap_last(y), lambda: swap_last(x) @ g


def swap_last(x: Tensor) -> Tensor:
    """x with its last two axes exchanged."""
    return x.transpose((*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


class Reshape(Op):
    """The same numbers in another shape; the adjoint puts them back."""

    linear = True

    def forward(x, shape):
        return x.reshape(shape)

    def vjp(g, out, x, shape):
        return lambda: g.reshape(x.shape)


class Transpose(Op):
    """Axes in another order; the adjoint is the inverse order."""

    linear = True

    def forward(x, axes):
        return x.transpose(axes)

    def vjp(g, out, x, axes):
        inverse = sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))
        return lambda: g.transpose(tuple(inverse))


class Slice(Op):
    """x[key] for integers, slices and `...`; the adjoint puts g back among zeros."""

    linear = True

    def forward(x, key):
        parts = key if isinstance(key, tuple) else (key,)
        if not all(each is ... or isinstance(each, (Integral, slice)) for each in parts):
            raise ShapeError("a key is of integers, slices and `...`; an array could name an element twice")
        return x[key]

    def vjp(g, out, x, key):
        return lambda: Unslice(g, key=key, shape=x.shape)


class Unslice(Op):
    """Zeros of `shape` with x at `key`: the adjoint of Slice."""

    linear = True

    def forward(x, key, shape):
        out = array_module(x).zeros(shape, x.dtype)
        out[key] = x
        return out

    def vjp(g, out, x, key, shape):
        return lambda: g[key]


class Pad(Op):
    """Zeros around x, (before, after) for each axis; the adjoint cuts them off."""

    linear = True

    def forward(x, widths):
        if len(widths) != x.ndim:
            raise ShapeError(f"a (before, after) for each of {x.ndim} axes is wanted, not {len(widths)}")
        return array_module(x).pad(x, widths)

    def vjp(g, out, x, widths):
        return lambda: g[tuple(slice(before, before + size) for (before, _), size in zip(widths, x.shape))]


class Concatenate(Op):
    """Tensors one after another along `axis`; the adjoint cuts them apart."""

    def forward(*xs, axis=0):
        return array_module(xs[0]).concatenate(xs, axis=index(axis))

    def vjp(g, out, *xs, axis=0):
        def part(start, stop):
            return lambda: g[(slice(None),) * (axis % g.ndim) + (slice(start, stop),)]

        stops = [sum(x.shape[axis] for x in xs[: i + 1]) for i in range(len(xs))]
        return tuple(part(start, stop) for start, stop in zip([0, *stops], stops))
