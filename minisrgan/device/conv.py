"""Which kernel computes a convolution, and how it is cut up for this kernel.

    conv_mma.cu    on a GPU with tensor cores, in float32: what precision.py lets them compute
    winograd.cu    on a CPU, 3×3 at stride 1, which is most of G and D: a quarter of the multiplications
    conv_few.cu    few output channels at stride 1: the last layer of G
    conv.cu        any other

The second half of this file has the launches. There all arrays are contiguous, and their shapes have been checked.
"""

import math
from functools import cache
from types import ModuleType, NotImplementedType
from typing import Any, NamedTuple

from ..arrays import Array, array_module, on_gpu
from ..ops.conv import (
    Conv2d,
    Conv2dBias,
    InputGrad,
    Pair,
    Shape,
    WeightGrad,
    check_bias,
    check_geometry,
    weight_and_bias_gradients,
)
from ..ops.pixel_shuffle import PixelShuffle
from . import conv_mma, conv_rows
from .channels import sum_channels
from .convolution import PLAIN, Epilogue, Geometry, geometry
from .cuts import GPU_BLOCKS, contiguous, elementwise_grid, empty, resident_blocks, threads
from .elementwise import sum_parts
from .geometry import macros
from .launch import launch
from .pixel_shuffle import shuffle as shuffle_pixels
from .precision import tensor_cores
from .register import kernel as register_kernel

MOST_BLOCKS = 1024  # of a launch: blocks take what is left in turn
PARTS = 64  # a weight gradient is divided into about so many, on a CPU
FEW = 8  # output channels, at most, for conv_few.cu, which multiplies first and shifts afterwards
VECTOR = 16  # the most channels that a kernel stores at once: shuffle must leave them in one pixel


def can_shuffle(w: Any, r: int) -> bool:
    """Whether a kernel can shuffle what it stores: whole vectors of channels must go to one pixel."""
    return r == 1 or w.shape[-1] % (r**2 * VECTOR) == 0


@register_kernel(Conv2d)
def conv2d(x: Array, w: Array, stride: int | Pair = 1, padding: int | Pair = 0) -> Array:
    return convolve(x, w, stride, padding)


def convolve(x: Array, w: Array, stride: int | Pair = 1, padding: int | Pair = 0, epilogue: Epilogue = PLAIN) -> Array:
    """x ⋆ w with its epilogue, in one pass over memory."""
    stride, padding, ho, wo = check_geometry(x.shape, w.shape, stride, padding)
    r = epilogue.shuffle
    out = empty(x, (len(x), ho * r, wo * r, w.shape[3] // r**2))
    bias, negative_slope, residual = (None if each is None else contiguous(each) for each in epilogue[:3])
    launch_conv(contiguous(x), contiguous(w), out, stride, padding, Epilogue(bias, negative_slope, residual, r))
    return out


@register_kernel(Conv2dBias)
def convolve_bias(
    x: Array,
    w: Array,
    b: Array,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    shuffle: int = 1,
    slope: float | None = None,
) -> Array:
    """LeakyReLU(x ⋆ w + b), shuffled. The kernel does all of it before a number leaves its register."""
    check_bias(b, w)
    r = shuffle if can_shuffle(w, shuffle) else 1  # what the kernel shuffles
    slopes = None if slope is None else same_slopes(array_module(x), w.shape[3] // r**2, slope, x.dtype)
    out = convolve(x, w, stride, padding, Epilogue(b, slopes, shuffle=r))
    if r == shuffle:
        return out
    shuffled = shuffle_pixels(out, shuffle)
    if shuffled is NotImplemented:
        return PixelShuffle.forward(out, shuffle)  # pyrefly: ignore[bad-argument-type]  it takes `out` for a self
    return shuffled


@cache
def same_slopes(xp: Any, channels: int, slope: float, dtype: Any) -> Array:
    """A slope for each channel, as the epilogue takes it, all the same. It is made once."""
    return xp.full(channels, slope, dtype)


@register_kernel(InputGrad)
def input_gradient(g: Array, w: Array, size: Pair, stride: int | Pair = 1, padding: int | Pair = 0) -> Array:
    stride, padding, _, _ = check_geometry((len(g), *size, w.shape[2]), w.shape, stride, padding, g.shape)
    out = empty(g, (len(g), *size, w.shape[2]))
    launch_input_gradient(contiguous(g), contiguous(w), out, stride, padding)
    return out


@register_kernel(WeightGrad)
def weight_gradient(x: Array, g: Array, kernel: Pair, stride: int | Pair = 1, padding: int | Pair = 0) -> Array:
    dw, _ = all_weight_gradients(x, g, kernel, stride, padding)
    return dw


@register_kernel(weight_and_bias_gradients)
def both_gradients(
    x: Array, g: Array, kernel: Pair, stride: int | Pair, padding: int | Pair
) -> tuple[Array, Array] | NotImplementedType:
    """Where tensor cores compute the weight gradient, the bias's comes with it."""
    if not (tensor_cores(x) and g.size):
        return NotImplemented
    dw, db = all_weight_gradients(x, g, kernel, stride, padding)
    return dw, sum_channels("column_sums", g)[0] if db is None else db


def all_weight_gradients(
    x: Array, g: Array, kernel: Pair, stride: int | Pair, padding: int | Pair
) -> tuple[Array, Array | None]:
    """The gradients of the weights and of a bias; the latter is None where the kernel does not give it."""
    shape = (*kernel, x.shape[-1], g.shape[-1])
    stride, padding, _, _ = check_geometry(x.shape, shape, stride, padding, g.shape)
    return launch_weight_gradient(contiguous(x), contiguous(g), kernel, stride, padding)


# ---- What the kernels take -----------------------------------------------------------------------------


class Placement(NamedTuple):
    """Where the outputs go: the struct of kernels/conv.cu."""

    shuffle: int
    y_h: int
    y_w: int
    step_y: int
    step_x: int
    first_y: int
    first_x: int


class Units(NamedTuple):
    """How channels are rounded up and divided: the struct of kernels/winograd.cu."""

    padded: int
    depth: int
    span: int
    blocks: int


# ---- Which kernel --------------------------------------------------------------------------------------


def launch_conv(x: Array, w: Array, out: Array, stride: Pair, padding: Pair, epilogue: Epilogue = PLAIN) -> None:
    """Fill `out` with x ⋆ w, through the epilogue."""
    size = tuple(length // epilogue.shuffle for length in out.shape[1:3])
    sizes = geometry(x, w.shape, size, stride, padding)
    if found := on_tensor_cores(x, sizes, epilogue):
        matrices, precision = found
        matrices.convolve(x, w, out, sizes, epilogue, precision)
    elif winograd_pays(x, w.shape, stride, size):
        Winograd(x, w.shape[3], size, padding).convolve(w, out, epilogue)
    else:
        launch_direct(x, w, out, stride, padding, size, epilogue)


def launch_input_gradient(g: Array, w: Array, out: Array, stride: Pair, padding: Pair) -> None:
    """Fill `out` with the gradient at x."""
    (kh, kw, cin, cout), size = w.shape, out.shape[1:3]
    sizes = geometry(out, w.shape, g.shape[1:3], stride, padding)
    if found := on_tensor_cores(g, sizes):
        matrices, precision = found
        matrices.input_gradient(g, w, out, sizes, precision)
    elif winograd_pays(g, (kh, kw, cout, cin), stride, size):
        Winograd(g, cin, size, (kh - 1 - padding[0], kw - 1 - padding[1])).convolve(w, out, turned=True)
    else:
        launch_direct_input_gradient(g, w, out, stride, padding)


def launch_weight_gradient(x: Array, g: Array, kernel: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array | None]:
    """The gradients of the weights and, if the kernel gives it, of a bias. They are summed in parts, which are added up
    in order: the same bits on every run."""
    shape, size = (*kernel, x.shape[3], g.shape[3]), g.shape[1:3]
    sizes = geometry(x, shape, size, stride, padding)
    if found := on_tensor_cores(x, sizes):
        matrices, precision = found
        return matrices.weight_gradient(x, g, sizes, precision)
    if winograd_pays(x, shape, stride, size):
        return Winograd(x, g.shape[3], size, padding).weight_gradient(g), None
    return launch_direct_weight_gradient(x, g, kernel, stride, padding), None


def on_tensor_cores(x: Array, sizes: Geometry, epilogue: Epilogue = PLAIN) -> tuple[ModuleType, int] | None:
    """(conv_mma or conv_rows, PRECISION) if tensor cores compute the convolution of these sizes, else None."""
    if (precision := tensor_cores(x)) is None:
        return None
    if conv_mma.suits(sizes.cin, sizes.cout):
        return conv_mma, precision
    return (conv_rows, precision) if conv_rows.suits(sizes, epilogue) else None


# ---- The kernels of winograd.cu -----------------------------------------------------------------------

WINOGRAD_TILE, POINTS = 4, 36  # a tile has 4×4 outputs, and is known by its values at 6×6 points
WEIGHT_GRAD_BLOCKS = 8  # a weight gradient is divided among about this many blocks


def winograd_pays(x: Array, w_shape: Shape, stride: Pair, size: Pair) -> bool:
    """Whether a convolution goes to winograd.cu: 3×3 at stride 1, if its tiles are filled well enough.

    Along each side at most a quarter of the tiles' length may lie beyond the edge, which rules out sides of 1, 2 and 5.
    Each side is judged by itself, so that a band of an image is judged as the whole image is.

    On a GPU nobody has measured winograd.cu yet, so conv_mma.cu or conv.cu computes all of them.
    """
    filled = all(4 * length >= 3 * -(-length // WINOGRAD_TILE) * WINOGRAD_TILE for length in size)
    suits = w_shape[:2] == (3, 3) and stride == (1, 1) and filled
    return suits and not few_outputs(w_shape, stride) and not on_gpu(x)


class Winograd:
    """How winograd.cu is given a 3×3 convolution of x, (N, H, W, Cin), with Cout channels of `size` pixels."""

    def __init__(self, x: Array, cout: int, size: Pair, padding: Pair) -> None:
        self.x, self.cin, self.cout = x, x.shape[3], cout
        self.tiles = len(x) * -(-size[0] // WINOGRAD_TILE) * -(-size[1] // WINOGRAD_TILE)
        own = macros("winograd.cu", on_gpu(x))
        self.chunk, unit = own["CHUNK"], own["UNIT_O"]
        self.padded, self.depth = -(-cout // unit) * unit, -(-self.cin // own["UNIT_C"]) * own["UNIT_C"]
        self.span = 2 * unit if self.padded % (2 * unit) == 0 else unit
        self.geometry = geometry(x, (3, 3, self.cin, cout), size, (1, 1), padding)

    def empty(self, *shape: int) -> Array:
        return empty(self.x, shape)

    def launch(self, name: str, works: int, *arrays: Array | None, more: tuple[int, ...] = ()) -> None:
        """Launch a kernel on as many blocks as can run at once, each with scratch memory of its own.

        works    how many blocks could share the work
        more     the kernel's last arguments
        """
        blocks = min(works, resident_blocks(self.x))
        scratch = self.empty(blocks, POINTS, self.chunk, self.depth + self.span)
        launch("winograd.cu", name, blocks, threads(self.x, 1, 128), *arrays, scratch, *self.sizes(blocks), *more)

    def sizes(self, blocks: int = 0) -> tuple[Geometry, Units]:
        return self.geometry, Units(self.padded, self.depth, self.span, blocks)

    def convolve(self, w: Array, out: Array, epilogue: Epilogue = PLAIN, turned: bool = False) -> None:
        """Fill `out` with x ⋆ w, through the epilogue. `turned`: w is turned by 180° and its channels are exchanged."""
        u = self.empty(POINTS, self.padded, self.cin)
        grid = elementwise_grid(u.size // POINTS, u)
        launch("winograd.cu", "winograd_weights", *grid, w, u, self.cin, self.cout, self.padded, turned)
        chunks = -(-self.tiles // self.chunk)
        self.launch("winograd_conv2d", chunks, self.x, u, *epilogue[:3], out, more=(epilogue.shuffle,))

    def weight_gradient(self, g: Array) -> Array:
        spans = self.padded // self.span
        part_tiles = max(-(-self.tiles * spans // (WEIGHT_GRAD_BLOCKS * self.chunk)), 1) * self.chunk
        n_parts = max(-(-self.tiles // part_tiles), 1)
        parts = self.empty(n_parts, POINTS, self.depth, self.padded)
        self.launch("winograd_weight_grad", n_parts * spans, self.x, g, parts, more=(part_tiles, n_parts))
        du, out = sum_parts(parts), self.empty(3, 3, self.cin, self.cout)
        launch("winograd.cu", "winograd_finish", *elementwise_grid(out.size, out), du, out, *self.sizes())
        return out


# ---- The kernels of conv.cu and conv_few.cu -----------------------------------------------------------


def launch_direct(
    x: Array,
    w: Array,
    out: Array,
    stride: Pair,
    padding: Pair,
    size: Pair,
    epilogue: Epilogue = PLAIN,
    step: Pair = (1, 1),
    first: Pair = (0, 0),
) -> None:
    """Put x ⋆ w, (Ho, Wo) = `size` pixels through the epilogue, into every step-th pixel of `out` from `first` on."""
    (kh, kw, cin, cout), sizes = w.shape, geometry(x, w.shape, size, stride, padding)
    if step == (1, 1) and epilogue.only_bias and few_outputs(w.shape, stride):
        blocks = len(x) * -(-size[0] // 16) * -(-size[1] // 32)
        launch("conv_few.cu", "conv2d_few", min(blocks, MOST_BLOCKS), None, x, w, epilogue.bias, out, sizes,
               FEW=cout, KH=kh, KW=kw)  # fmt: skip
        return
    pixels, depth = len(x) * size[0] * size[1], kh * kw * cin
    blocks = -(-pixels // 64) * -(-cout // 64)
    y_h, y_w = (length // epilogue.shuffle for length in out.shape[1:3])
    place = Placement(epilogue.shuffle, y_h, y_w, *step, *first)
    part = part_of(x, depth, pixels * cout, depth)
    if part == depth:
        launch("conv.cu", "conv2d", min(blocks, MOST_BLOCKS), None, x, w, *epilogue[:3], out, sizes, place, depth, 1,
               **wide(cout))  # fmt: skip
        return
    parts = empty(x, (-(-depth // part), len(x), *size, cout))
    launch("conv.cu", "conv2d", min(blocks * len(parts), MOST_BLOCKS), None, x, w, None, None, None, parts, sizes,
           Placement(1, *size, 1, 1, 0, 0), part, len(parts), **wide(cout))  # fmt: skip
    launch("conv.cu", "finish_conv2d", *elementwise_grid(parts[0].size // 4, x), parts, *epilogue[:3], out, sizes,
           place, len(parts), **wide(cout))  # fmt: skip


def part_of(x: Array, depth: int, outputs: int, on_cpu: int) -> int:
    """How many terms of a sum of `depth` terms conv.cu adds up in one part, for so many outputs.

    On a GPU a part is a whole number of slabs, and at least 8 of them: less is not worth a sum of its own.
    """
    if not on_gpu(x):
        return on_cpu
    slab, tile = 16, 8192 if x.dtype.itemsize == 4 else 2048  # outputs of a tile
    parts = max(min(GPU_BLOCKS // max(-(-outputs // tile), 1), depth // (8 * slab)), 1)
    return depth if parts == 1 else -(-depth // (slab * parts)) * slab


def few_outputs(w_shape: Shape, stride: Pair) -> bool:
    """Whether a convolution goes to conv_few.cu. (Its tile, with a halo as wide as w, must fit into shared memory.)"""
    kh, kw, cin, cout = w_shape
    return stride == (1, 1) and cout <= FEW < cin and max(kh, kw) <= 13


def wide(cout: int) -> dict[str, int]:
    """The choice for conv.cu: tiles as wide as the outputs can fill."""
    return {"WIDE": 1 if cout <= 32 else 2 if cout <= 64 else 4}


def launch_direct_input_gradient(g: Array, w: Array, out: Array, stride: Pair, padding: Pair) -> None:
    """Fill `out` with the gradient at x: a convolution of g for each remainder (a, b) of x's pixels by the stride.

    Pixel Y of x meets output p by the taps i = Y + P - s·p: those with i ≡ a = (Y + P) mod s, kh' of them. So with
    u = (Y + P - a)/s the pixels of one remainder are a convolution of g with those taps turned: padding kh' - 1 - u.
    """
    (kh, kw, cin, cout), xp = w.shape, array_module(w)
    for a in range(stride[0]):
        for b in range(stride[1]):
            axes = [remainder(*axis) for axis in zip((a, b), (kh, kw), stride, padding, out.shape[1:3])]
            taps, first, size, offset = zip(*axes)
            turned = xp.empty((*taps, cout, cin), w.dtype)
            squares = math.prod(taps) * -(-cin // 32) * -(-cout // 32)
            launch("conv.cu", "turn_weights", min(squares, MOST_BLOCKS), threads(w, 1, (32, 8)), w, turned, kh, kw, cin,
                   cout, a, b, *stride, *taps, **wide(cin))  # fmt: skip
            if min(size) > 0:
                launch_direct(g, turned, out, (1, 1), offset, size, step=stride, first=first)


def remainder(a: int, kernel: int, stride: int, padding: int, size: int) -> tuple[int, int, int, int]:
    """The remainder a, on one axis: (taps kh', first pixel, number of pixels, padding)."""
    taps, first = len(range(a, kernel, stride)), (a - padding) % stride
    return taps, first, len(range(first, size, stride)), taps - 1 - (first + padding - a) // stride


def launch_direct_weight_gradient(x: Array, g: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """The weight gradient by conv.cu or conv_few.cu, summed like all of them."""
    (n, _, _, cin), (_, ho, wo, cout), (kh, kw) = x.shape, g.shape, kernel
    sizes = geometry(x, (kh, kw, cin, cout), (ho, wo), stride, padding)
    if few_outputs((kh, kw, cin, cout), stride):
        blocks, most_parts = (MOST_BLOCKS, 128) if on_gpu(x) else (4 * PARTS, PARTS // 4)
        n_parts = max(min(most_parts, n * ho), 1)
        part_rows = -(-n * ho // n_parts)
        parts = empty(x, (n_parts, kh, kw, cin, cout))
        launch("conv_few.cu", "weight_grad_few", blocks, None, x, g, parts, sizes, part_rows, n_parts,
               FEW=cout, KH=kh, KW=kw)  # fmt: skip
    else:
        tiles = -(-kh * kw * cin // 64) * -(-cout // 64)
        on_cpu = max(-(-n * ho * wo * tiles // PARTS), 512) // 128 * 128
        part_pixels = max(part_of(x, n * ho * wo, kh * kw * cin * cout, on_cpu), 1)
        n_parts = max(-(-n * ho * wo // part_pixels), 1)
        parts = empty(x, (n_parts, kh, kw, cin, cout))
        launch("conv.cu", "weight_grad", min(tiles * n_parts, MOST_BLOCKS), None, x, g, parts, sizes, part_pixels,
               n_parts, **wide(cout))  # fmt: skip
    return sum_parts(parts)
