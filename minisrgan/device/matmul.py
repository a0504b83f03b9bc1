"""The kernel of matmul.cu: matrix products, and batches of them."""

from typing import NamedTuple

from ..arrays import Array, on_gpu
from ..ops.linear import MatMul
from .cuts import contiguous, empty
from .elementwise import sum_parts
from .launch import launch
from .register import Computed, kernel

# (blocks that keep it busy, the least that a block goes along K: less is not worth a sum of its own)
CUT_ON_CPU, CUT_ON_GPU = (256, 256), (1024, 128)


class Products(NamedTuple):
    """Sizes and strides of the kernel's products: the struct of kernels/matmul.cu."""

    a_row: int
    a_column: int
    b_row: int
    b_column: int
    c_row: int
    c_column: int
    m: int
    n: int
    k: int
    a_next: int
    b_next: int
    k_next: int
    count: int


@kernel(MatMul)
def matrix_product(x: Array, y: Array) -> Computed:
    """x @ y for a matrix x and a matrix y, or a batch of them."""
    if not (x.ndim == 2 and y.ndim in (2, 3) and x.shape[-1] == y.shape[-2] and x.size and y.size):
        return NotImplemented
    (m, k), n = x.shape, y.shape[-1]
    x, x_row, x_column = with_strides(x)
    if y.ndim == 3:
        out = empty(x, (len(y), m, n))
        multiply(x, contiguous(y), out, Products(x_row, x_column, n, 1, n, 1, m, n, k, 0, k * n, 0, len(y)))
        return out
    y, y_row, y_column = with_strides(y)
    blocks, least = CUT_ON_GPU if on_gpu(x) else CUT_ON_CPU
    depth = -(-k * tiles(m, n) // (blocks * least)) * least
    parts = -(-k // depth)
    out = empty(x, (parts, m, n))
    x_next, y_next = depth * x_column, depth * y_row
    if y_column == 1:
        of = Products(x_row, x_column, y_row, 1, n, 1, m, n, k, x_next, y_next, depth, parts)
        multiply(x, y, out, of)
    else:  # Cᵀ = Bᵀ Aᵀ, so that it is the rows of the weights that lie in memory as rows
        of = Products(y_column, y_row, x_column, x_row, 1, n, n, m, k, y_next, x_next, depth, parts)
        multiply(y, x, out, of)
    return sum_parts(out)


def with_strides(x: Array) -> tuple[Array, int, int]:
    """(a contiguous array with the numbers of the matrix x, how far apart x's rows are in it, and its columns)."""
    if not x.flags.c_contiguous and x.T.flags.c_contiguous:
        return contiguous(x.T), 1, len(x)
    return contiguous(x), x.shape[1], 1


def tiles(m: int, n: int) -> int:
    return -(-m // 64) * -(-n // 64)


def multiply(a: Array, b: Array, out: Array, of: Products) -> None:
    """Fill `out` with these Products of a and b."""
    shape = {"NARROW": 1} if of.n <= 16 < of.m else {"SKINNY": 1} if min(of.m, of.k) <= 16 else {}
    launch("matmul.cu", "matmul", tiles(of.m, of.n) * of.count, None, a, b, out, of, **shape)
