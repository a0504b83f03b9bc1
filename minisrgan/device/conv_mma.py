"""The kernels of conv_mma.cu: convolutions on tensor cores, and how they are cut up for a GPU.

All arrays are contiguous, in float32, and their shapes have been checked. Channels are multiples of 4 (`suits`).
"""

from ..arrays import Array, array_module
from ..ops.conv import Pair
from .cuts import elementwise_grid
from .elementwise import sum_parts
from .geometry import macros
from .launch import launch

TILE_M = 128  # pixels of a block, or rows of a weight gradient
CHUNK = 4  # channels must be a multiple of it
BLOCKS = 264  # of a launch, at least: two for each multiprocessor of an H100. The same for every GPU, and so the bits too
LEAST_SLABS = 8  # of a part: with fewer, its first copies would take longer than its products


def suits(cin: int, cout: int) -> bool:
    """Whether the kernels take a convolution with these channels."""
    return cin % CHUNK == 0 == cout % CHUNK


def choice(columns: int, precision: int) -> dict[str, int]:
    """The choice of geometry.py for a product with this many columns."""
    widest = 64 if precision == 3 else 128  # with two numbers for each factor, no more fit into the registers
    return {"PRECISION": precision, "TILE_N": 32 if columns <= 32 else 64 if columns <= 64 else widest}


def shared_bytes(chosen: dict[str, int], rows: int, along: int) -> int:
    """Bytes of shared memory for all stages: factors kept as rows of the tile, and factors kept `along` it (+8)."""
    own = macros("conv_mma.cu", True, **chosen)
    return 4 * own["STAGES"] * own["SLAB"] * (rows + along)


def parts_of(tiles: int, slabs: int) -> int:
    """Into how many parts the slabs are cut, so that the tiles of all parts keep a GPU busy."""
    return max(min(BLOCKS // max(tiles, 1), slabs // LEAST_SLABS), 1)


def tiles_of(rows: int, columns: int, chosen: dict[str, int]) -> int:
    return -(-rows // TILE_M) * -(-columns // chosen["TILE_N"])


def convolve(x: Array, w: Array, out: Array, sizes, epilogue, precision: int) -> None:
    """Fill `out` with x ⋆ w of the Geometry `sizes`, through the epilogue (conv.py has both classes)."""
    chosen, slab = choice(sizes.cout, precision), macros("conv_mma.cu", True, **choice(sizes.cout, precision))["SLAB"]
    tiles = tiles_of(out.size // sizes.cout, sizes.cout, chosen)
    parts = parts_of(tiles, -(-sizes.kh * sizes.kw * sizes.cin // slab))
    shared = shared_bytes(chosen, TILE_M, chosen["TILE_N"] + 8)
    ends, shuffle = epilogue[:3], epilogue.shuffle
    if parts == 1:
        launch("conv_mma.cu", "conv2d_mma", tiles, None, x, w, *ends, out, sizes, shuffle, 1, shared=shared, **chosen)
        return
    sums = array_module(x).empty((parts, out.size), x.dtype)
    launch("conv_mma.cu", "conv2d_mma", tiles * parts, None, x, w, None, None, None, sums, sizes, 1, parts,
           shared=shared, **chosen)  # fmt: skip
    launch("conv_mma.cu", "finish_conv", *elementwise_grid(out.size // CHUNK, out), sums, *ends, out, sizes.n,
           sizes.out_h, sizes.out_w, sizes.cout, shuffle, parts, **chosen)  # fmt: skip


def input_gradient(g: Array, w: Array, out: Array, sizes, precision: int) -> None:
    """Fill `out` with the gradient at x of the convolution with the Geometry `sizes`."""
    chosen, slab = choice(sizes.cin, precision), macros("conv_mma.cu", True, **choice(sizes.cin, precision))["SLAB"]
    strides = sizes.stride_y, sizes.stride_x
    rows = sizes.n * -(-sizes.height // strides[0]) * -(-sizes.width // strides[1])
    tiles, depth = tiles_of(rows, sizes.cin, chosen), -(-sizes.kh // strides[0]) * -(-sizes.kw // strides[1]) * sizes.cout
    remainders = strides[0] * strides[1]
    parts = parts_of(tiles * remainders, -(-depth // slab))
    sums = out if parts == 1 else array_module(g).empty((parts, *out.shape), g.dtype)
    launch("conv_mma.cu", "input_grad_mma", (tiles * parts, remainders), None, g, w, sums, sizes, parts,
           shared=shared_bytes(chosen, TILE_M + chosen["TILE_N"], 0), **chosen)  # fmt: skip
    if parts > 1:
        sum_parts(sums, out)


def weight_gradient(x: Array, g: Array, sizes, precision: int) -> Array:
    """The weight gradient of the convolution with the Geometry `sizes`. It is summed in parts, in order."""
    chosen, slab = choice(sizes.cout, precision), macros("conv_mma.cu", True, **choice(sizes.cout, precision))["SLAB"]
    pixels, depth = g.size // sizes.cout, sizes.kh * sizes.kw * sizes.cin
    tiles = tiles_of(depth, sizes.cout, chosen)
    slabs = -(-pixels // slab)
    part_pixels = max(-(-slabs // parts_of(tiles, slabs)), 1) * slab
    parts = max(-(-pixels // part_pixels), 1)
    sums = array_module(x).empty((parts, sizes.kh, sizes.kw, sizes.cin, sizes.cout), x.dtype)
    launch("conv_mma.cu", "weight_grad_mma", tiles * parts, None, x, g, sums, sizes, part_pixels, parts,
           shared=shared_bytes(chosen, 0, TILE_M + 8 + chosen["TILE_N"] + 8), **chosen)  # fmt: skip
    return sum_parts(sums)
