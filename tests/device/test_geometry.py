"""Each fact of a launch has one owner, and the kernel asserts what it assumes."""

import re

import numpy as np
import pytest
from kernel_helpers import needs_cpu, needs_kernels

from minisrgan.device import conv, cuts, geometry
from minisrgan.device.conv import Geometry, Placement, Units
from minisrgan.device.cpu import cpu_library
from minisrgan.device.cuts import tickets
from minisrgan.device.launch import address, launch
from minisrgan.device.matmul import Products
from minisrgan.device.pieces import launches
from minisrgan.device.source import FOLDER, kernel_files, with_headers
from minisrgan.errors import KernelError
from minisrgan.in_place import owner
from minisrgan.studies.resources import variants

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
X, W, Y = np.ones((1, 4, 4, 16)), np.ones((3, 3, 16, 16)), np.ones((1, 4, 4, 16))
CONV = Geometry(1, 4, 4, 16, 3, 3, 16, 4, 4, 1, 1, 1, 1)  # the sizes of these, stride and padding


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("file", kernel_files())
def test_a_kernel_file_takes_its_macros_and_has_none_of_its_own(file, gpu):
    text = COMMENT.sub("", with_headers(FOLDER / file))
    for choice in variants(file):
        for name in geometry.macros(file, gpu, **dict(choice)):
            assert re.search(rf"\b{name}\b", text), f"{file} makes no use of {name}"
            assert not re.search(rf"(?:#\s*define\s+|\bif(?:n?def)?\s+){name}\b", text), f"{file} defines {name} too"
            assert not re.search(rf"\b{name}\s*=[^=]", text), f"{file} has a {name} of its own"


def test_a_choice_that_a_file_has_not():
    with pytest.raises(KernelError, match="conv.cu is not compiled like this: .*WIDE"):
        geometry.macros("conv.cu", False)
    with pytest.raises(KernelError, match="adam.cu is not compiled like this: .*WIDE"):
        geometry.macros("adam.cu", False, WIDE=2)
    assert geometry.macros("elementwise.cu", False) == {}


@pytest.mark.parametrize(
    "depth, outputs, part",
    [
        (576, 9216 * 64, 192),  # the trunk of G: 72 tiles in 3 parts
        (9216, 576 * 64, 192),  # its weight gradient: 5 tiles in 48 parts
        (4608, 576 * 512, 672),  # the last layer of D: 36 tiles in 7 parts
        (576, 2**21, 576),  # 256 tiles
        (243, 64, 243),  # no depth to divide
    ],
)
def test_on_a_gpu_few_tiles_are_summed_in_parts(depth, outputs, part, monkeypatch):
    """So that about 264 blocks run, whichever GPU it is."""
    x = np.empty(0, np.float32)
    assert conv.part_of(x, depth, outputs, 7) == 7
    monkeypatch.setattr(conv, "on_gpu", lambda array: True)
    assert conv.part_of(x, depth, outputs, 7) == part


@needs_kernels
@needs_cpu
@pytest.mark.parametrize(
    "file, wrong, said",
    [
        ("winograd.cu", {"CHUNK": 40}, "the tiles beyond the last ROWS of a chunk would never be multiplied"),
        ("winograd.cu", {"UNIT_C": 10}, "the last channels would be left out"),
        ("winograd.cu", {"UNIT_O": 3}, "the last channels would be left out"),
        ("conv.cu", {"WIDE": 3}, "threads beyond the last whole row"),
        ("matmul.cu", {"THREADS_N": 3}, "threads beyond the last whole row"),
    ],
)
def test_what_the_compiler_can_know_it_refuses(file, wrong, said):
    right = geometry.macros(file, False, **dict(variants(file)[0]))
    with pytest.raises(KernelError, match=said):
        cpu_library(file, "double", tuple((right | wrong).items()))


def adam(grid, block):
    lists = [[np.ones(4)] for _ in range(4)]
    (each,) = launches("adam.cu", "adam", "arrays", *lists)
    launch("adam.cu", "adam", grid, block, each.arrays, np.ones(5), None, each.count, each.pieces)


def column_sums(rows_per_part, columns=16):
    x = np.ones((64, columns))
    parts, sums = np.ones((4, columns)), np.ones(columns)
    launch("channels.cu", "column_sums", (4, 1), None, x, parts, sums, tickets(x), 64, columns, rows_per_part)


def winograd(blocks=1, padded=32, depth=16, span=32, stride=1):
    u, scratch = np.ones((36, 16, padded)), np.ones((blocks, 36, 36, depth + span))
    sizes, units = CONV._replace(stride_x=stride), Units(padded, depth, span, blocks)
    launch("winograd.cu", "winograd_conv2d", 2, 1, X, u, None, None, None, Y, scratch, sizes, units, 1)


def weight_gradient(part_pixels):
    parts = np.ones((2, 3, 3, 16, 16))
    launch("conv.cu", "weight_grad", 1, None, X, Y, parts, CONV, part_pixels, 2, WIDE=1)


def matmul(k_next):
    a, b, c = np.ones((8, 64)), np.ones((64, 8)), np.ones((2, 8, 8))
    of = Products(64, 1, 8, 1, 8, 1, 8, 8, 64, k_next, 8 * k_next, k_next, 2)
    launch("matmul.cu", "matmul", 1, None, a, b, c, of)


def few(block=None, rows=2, width=3, stride=1):
    x, parts = np.ones((1, 4, 4, 16)), np.ones((2, 3, 3, 16, width))
    g, sizes = np.ones((1, 4, 4, width)), CONV._replace(cout=width, stride_x=stride)
    launch("conv_few.cu", "weight_grad_few", 1, block, x, g, parts, sizes, rows, 2, FEW=3, KH=3, KW=3)


def conv2d(block, shuffle=1, part=144):
    w = np.ones((3, 3, 16, 64)) if shuffle == 1 else np.ones((3, 3, 16, 12))
    cout, y = w.shape[3], np.ones((1, 4, 4, w.shape[3]))
    sizes, place = CONV._replace(cout=cout), Placement(shuffle, 4, 4, 1, 1, 0, 0)
    launch("conv.cu", "conv2d", 1, block, X, w, None, None, None, y, sizes, place, part, 1, WIDE=1)


def pool(pixels_per_block):
    x, y = np.ones((1, 4, 4, 8)), np.ones((1, 2, 2, 8))
    launch("pooling.cu", "max_pool", 2, 1, x, y, None, 4, 4, 4, 8, pixels_per_block, SIZE=2)


def shuffle(runs_per_block):
    launch("pixel_shuffle.cu", "exchange_axes", 2, 1, np.ones(32), np.ones(32), 4, 2, 2, 8, runs_per_block)


@needs_kernels
@needs_cpu
@pytest.mark.parametrize(
    "cut, right, wrong, requires",
    [
        (adam, (1, None), (1, 2), "blockDim.x == THREADS"),
        (column_sums, (16,), (15,), r"rows <= .*gridDim.x \* rows_per_part"),  # a row is left over
        (column_sums, (16,), (22,), r"\(gridDim.x - 1LL\) \* rows_per_part < rows"),  # a block has none
        (column_sums, (16, 64), (16, 65), r"channels <= .*gridDim.y \* WIDTH"),
        (winograd, (2,), (1,), "gridDim.x <= units.blocks"),  # two blocks, and memory for one
        (winograd, (2,), (2, 64), r"units.padded == round_up\(g.cout, UNIT_O\)"),
        (winograd, (2,), (2, 32, 32), r"units.depth == round_up\(g.cin, UNIT_C\)"),
        (winograd, (2,), (2, 32, 16, 16), "span % UNIT_O == 0"),
        (winograd, (2, 32, 16, 32, 1), (2, 32, 16, 32, 2), "g.stride_y == 1 && g.stride_x == 1"),
        (weight_gradient, (8,), (7,), r"n_parts \* part_pixels >= pixels_of\(g\)"),
        (conv2d, (None,), (31,), "blockDim.x == THREADS"),
        (conv2d, (None,), (None, 1, 143), r"n_parts \* part_depth >= depth_of\(g\)"),
        (conv2d, (None,), (None, 2), r"epilogue.whole_pixels\(LANES\)"),  # 3 channels of each pixel
        (few, (None,), (16,), "blockDim.x == THREADS"),
        (few, (None, 2), (None, 1), r"part_rows \* n_parts >= g.n \* g.out_h"),
        (few, (None, 2, 3), (None, 2, 4), "cout == FEW"),
        (few, (None, 2, 3, 1), (None, 2, 3, 2), "g.stride_y == 1 && g.stride_x == 1"),
        (matmul, (32,), (31,), r"k_next \* of.count >= k"),
        (pool, (2,), (1,), r"gridDim.x \* pixels_per_block >= pixels"),
        (shuffle, (2,), (1,), r"gridDim.x \* runs_per_block >= runs"),
    ],
)
def test_a_launch_that_is_cut_up_otherwise_is_refused(cut, right, wrong, requires):
    cut(*right)
    with pytest.raises(KernelError, match=rf"the launch is not what .*\.cu:\d+ requires: .*{requires}"):
        cut(*wrong)


def test_a_large_array_begins_at_a_cache_line_and_is_known_by_its_views():
    for dtype, shape in (("f4", (3, 100, 100)), ("f8", (20_000,)), ("i4", 20_001)):
        array = cuts.empty(np.ones(1, dtype), shape)
        assert array.dtype == dtype and array.shape == np.empty(shape).shape and array.flags.carray
        assert address(array) % cuts.LINE == 0
        assert owner(array[1:]) is owner(array)
    assert cuts.empty(np.ones(1), (2, 3)).shape == (2, 3)
