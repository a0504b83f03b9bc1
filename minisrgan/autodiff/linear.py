"""Matrix products, and the operations that only move numbers about. Each names its adjoint."""

from numbers import Integral
from operator import index

from ..arrays import array_module
from ..errors import ShapeError
from ..kernels import contiguous, launch
from .tensor import Op, Tensor
from .tiles import sum_parts


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

    def kernel(x, y):
        covered = x.ndim == 2 and y.ndim in (2, 3) and x.shape[-1] == y.shape[-2]
        return matrix_product(x, y) if covered and x.size and y.size else NotImplemented

    def vjp(g, out, x, y):
        return lambda: g @ swap_last(y), lambda: swap_last(x) @ g


BLOCKS = 256  # of matmul.cu: enough to keep a machine busy
DEPTH = 256  # what a block goes along K at the least: less is not worth a sum of its own


def matrix_product(x, y):
    """x @ y for a matrix x and a matrix y, or a batch of them, by the kernel."""
    (m, k), n = x.shape, y.shape[-1]
    x, x_row, x_column = with_strides(x)
    if y.ndim == 3:
        out = array_module(x).empty((len(y), m, n), x.dtype)
        multiply(x, contiguous(y), out, m, n, k, x_row, x_column, n, 1, n, 1, 0, k * n, 0, len(y))
        return out
    y, y_row, y_column = with_strides(y)
    depth = -(-k * tiles(m, n) // BLOCKS)
    depth = -(-depth // DEPTH) * DEPTH
    parts = -(-k // depth)
    out = array_module(x).empty((parts, m, n), x.dtype)
    x_next, y_next = depth * x_column, depth * y_row
    if y_column == 1:
        multiply(x, y, out, m, n, k, x_row, x_column, y_row, 1, n, 1, x_next, y_next, depth, parts)
    else:  # Cᵀ = Bᵀ Aᵀ, so that it is the rows of the weights that lie in memory as rows
        multiply(y, x, out, n, m, k, y_column, y_row, x_column, x_row, 1, n, y_next, x_next, depth, parts)
    return sum_parts(out)


def with_strides(x):
    """A contiguous array of the numbers of the matrix x, and how far apart x's rows and its columns are in it."""
    if not x.flags.c_contiguous and x.T.flags.c_contiguous:
        return contiguous(x.T), 1, len(x)
    return contiguous(x), x.shape[1], 1


def tiles(m, n):
    return -(-m // 64) * -(-n // 64)


def multiply(a, b, out, m, n, k, *steps):
    """Launch matmul.cu's matmul, whose other arguments `steps` are; the last is how many products there are."""
    shape = {"NARROW": 1} if n <= 16 < m else {"SKINNY": 1} if min(m, k) <= 16 else {}
    launch("matmul.cu", "matmul", tiles(m, n) * steps[-1], None, a, b, out, m, n, k, *steps, **shape)


def swap_last(x):
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


Tensor.__matmul__ = lambda x, y: MatMul(x, y)
Tensor.__rmatmul__ = lambda x, y: MatMul(y, x)
Tensor.__iter__ = None  # without it Python would try x[0], x[1], ... until something fails
Tensor.__getitem__ = lambda x, key: Slice(x, key=key)
Tensor.reshape = lambda x, shape: Reshape(x, shape=shape)
Tensor.transpose = lambda x, axes: Transpose(x, axes=axes)
