"""The kernels of conv_mma.cu: convolutions on tensor cores, and how they are cut up for a GPU.

All arrays are contiguous, in float32, and their shapes have been checked. Channels are multiples of 4 (`suits`).
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

from ..arrays import Array
from .convolution import Epilogue, Geometry
from .cuts import GPU_BLOCKS, empty, tickets
from .elementwise import sum_parts
from .geometry import macros
from .launch import launch

CHUNK = 4  # channels must be a multiple of it
PAD = 8  # numbers at the end of a row of shared memory, against bank conflicts
LEAST_SLABS = 8  # of a part: with fewer, its first copies would take longer than its products
MOST_PARTS = 8  # that one block adds up


def suits(cin: int, cout: int) -> bool:
    """Whether the kernels take a convolution with these channels."""
    return cin % CHUNK == 0 == cout % CHUNK


class Cut(NamedTuple):
    """How a matrix product with so many columns is cut up, in a precision: conv_mma.cu's macros."""

    choice: dict[str, int]
    tile_m: int
    tile_n: int
    slab: int
    stages: int

    @classmethod
    @cache
    def of(cls, columns: int, precision: int) -> "Cut":
        widest = 64 if precision == 3 else 128  # with two numbers for each factor, no more fit into the registers
        choice = {"PRECISION": precision, "TILE_N": 32 if columns <= 32 else 64 if columns <= 64 else widest}
        own = macros("conv_mma.cu", True, **choice)
        return cls(choice, own["TILE_M"], own["TILE_N"], own["SLAB"], own["STAGES"])

    def tiles(self, rows: int, columns: int) -> int:
        return -(-rows // self.tile_m) * -(-columns // self.tile_n)

    def most_parts(self, tiles: int, depth: int) -> int:
        """Into how many parts the depth can be cut, so that the tiles of all parts keep a GPU busy."""
        slabs = -(-depth // self.slab)
        return max(min(GPU_BLOCKS // max(tiles, 1), slabs // LEAST_SLABS), 1)

    def parts(self, tiles: int, depth: int, like: Array) -> tuple[int, Array | None]:
        """(the number of parts that a tile's last block adds up, memory for their sums)."""
        count = min(self.most_parts(tiles, depth), MOST_PARTS)
        return count, None if count == 1 else empty(like, (tiles, count, self.tile_m, self.tile_n))

    def shared(self, *lengths: int) -> int:
        """Bytes of shared memory for all stages, whose two factors have rows or columns of these lengths."""
        return 4 * self.stages * self.slab * sum(lengths)


class Moments(NamedTuple):
    """The mean of each part of an array's rows, and the sum of the squares about it: (parts, channels) each."""

    means: Array
    squares: Array
    rows_per_part: int


@contextmanager
def moments_wanted() -> Generator[dict[int, Moments], None, None]:
    """Within the block convolutions also make the moments of what they give, where that costs next to nothing.
    {id of the array: its Moments}"""
    found: dict[int, Moments] = {}
    token = WANTED.set(found)
    try:
        yield found
    finally:
        WANTED.reset(token)


WANTED: ContextVar[dict[int, Moments] | None] = ContextVar("moments_wanted", default=None)


def convolve(x: Array, w: Array, out: Array, sizes: Geometry, epilogue: Epilogue, precision: int) -> None:
    """Fill `out` with x ⋆ w of these sizes, through the epilogue."""
    cut, rows, wanted = Cut.of(sizes.cout, precision), out.size // sizes.cout, WANTED.get()
    tiles, moments = cut.tiles(rows, sizes.cout), (None, None)
    if wanted is not None and epilogue.only_bias and rows:
        means, squares = moments = tuple(empty(x, (-(-rows // cut.tile_m), sizes.cout)) for _ in range(2))
        wanted[id(out)] = Moments(means, squares, cut.tile_m)
    n_parts, parts = cut.parts(tiles, sizes.kh * sizes.kw * sizes.cin, x)
    shared = cut.shared(cut.tile_m, cut.tile_n + PAD)
    launch("conv_mma.cu", "conv2d_mma", tiles * n_parts, None, x, w, *epilogue[:3], out, *moments, parts, tickets(x),
           sizes, epilogue.shuffle, tiles, n_parts, shared=shared, **cut.choice)  # fmt: skip


def input_gradient(g: Array, w: Array, out: Array, sizes: Geometry, precision: int) -> None:
    """Fill `out` with the gradient at x of the convolution of these sizes. One launch for all remainders of x's pixels
    by the stride (conv.py, `launch_direct_input_gradient`)."""
    cut, sy, sx = Cut.of(sizes.cin, precision), sizes.stride_y, sizes.stride_x
    tiles = cut.tiles(sizes.n * -(-sizes.height // sy) * -(-sizes.width // sx), sizes.cin)
    n_parts, parts = cut.parts(tiles * sy * sx, -(-sizes.kh // sy) * -(-sizes.kw // sx) * sizes.cout, g)
    launch("conv_mma.cu", "input_grad_mma", (tiles * n_parts, sy * sx), None, g, w, out, parts, tickets(g), sizes,
           tiles, n_parts, shared=cut.shared(cut.tile_m, cut.tile_n), **cut.choice)  # fmt: skip


def weight_gradient(x: Array, g: Array, sizes: Geometry, precision: int) -> tuple[Array, Array]:
    """The gradients of the weights and of a bias, for these sizes. They are summed in parts, in order."""
    cut, pixels = Cut.of(sizes.cout, precision), g.size // sizes.cout
    depth = sizes.kh * sizes.kw * sizes.cin
    tiles = cut.tiles(depth, sizes.cout)
    part_pixels = max(-(-pixels // (cut.most_parts(tiles, pixels) * cut.slab)), 1) * cut.slab
    parts = max(-(-pixels // part_pixels), 1)
    sums = empty(x, (parts, depth + 1, sizes.cout))
    launch("conv_mma.cu", "weight_grad_mma", tiles * parts, None, x, g, sums, sizes, part_pixels, parts,
           shared=cut.shared(cut.tile_m + PAD, cut.tile_n + PAD), **cut.choice)  # fmt: skip
    total = sum_parts(sums)
    return total[:depth].reshape(sizes.kh, sizes.kw, sizes.cin, sizes.cout), total[depth]
