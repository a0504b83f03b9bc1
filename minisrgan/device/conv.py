"""How convolutions are cut up for their kernels, and which kernel a convolution goes to.

    winograd.cu    3×3 at stride 1, which is most of G and D: a quarter of the multiplications
    conv_few.cu    few output channels at stride 1: the last layer of G
    conv.cu        any other

The second half of this file has the launches. All arrays there are contiguous, and their shapes have been checked.
"""

import math
from typing import NamedTuple

from ..arrays import array_module, on_gpu
from ..ops.conv import Conv2d, Conv2dBias, InputGrad, WeightGrad, check_bias, check_geometry
from ..ops.pixel_shuffle import PixelShuffle
from .cuts import contiguous, elementwise_grid, resident_blocks, threads
from .elementwise import sum_parts
from .geometry import macros
from .launch import launch
from .pixel_shuffle import shuffle as shuffle_pixels
from .register import kernel as register_kernel

GRID, PARTS = 1024, 64  # the most blocks of a launch, and about how many a weight gradient is divided into
MOST = 8  # output channels that conv_few.cu is for: for more, conv.cu has less to do


VECTOR = 16  # channels, at most, that a kernel stores at once: they must be of one pixel, wherever that is shuffled to


class Epilogue(NamedTuple):
    """What becomes of a convolution's sums on their way to memory: PReLU(PixelShuffle(· + bias)) + residual."""

    bias: object = None  # arrays, or None for no such thing
    negative_slope: object = None
    residual: object = None
    shuffle: int = 1

    @property
    def only_bias(self):
        return self.negative_slope is None and self.residual is None and self.shuffle == 1


PLAIN = Epilogue()


def can_shuffle(w, r):
    """Whether a kernel can shuffle what it stores: the channels of a pixel must be whole vectors."""
    return r == 1 or w.shape[-1] % (r**2 * VECTOR) == 0


@register_kernel(Conv2d)
def convolve(x, w, stride=1, padding=0, epilogue=PLAIN):
    """x ⋆ w with its epilogue, in one pass over memory."""
    stride, padding, ho, wo = check_geometry(x.shape, w.shape, stride, padding)
    r = epilogue.shuffle
    out = array_module(x).empty((len(x), ho * r, wo * r, w.shape[3] // r**2), x.dtype)
    parts = [None if each is None else contiguous(each) for each in epilogue[:3]]
    launch_conv(contiguous(x), contiguous(w), out, stride, padding, Epilogue(*parts, r))
    return out


@register_kernel(Conv2dBias)
def convolve_bias(x, w, b, stride=1, padding=0, shuffle=1):
    """The bias is added, and the sum shuffled, before a number leaves its register."""
    check_bias(b, w)
    if can_shuffle(w, shuffle):
        return convolve(x, w, stride, padding, Epilogue(b, shuffle=shuffle))
    out = convolve(x, w, stride, padding, Epilogue(b))
    shuffled = shuffle_pixels(out, shuffle)
    return PixelShuffle.forward(out, shuffle) if shuffled is NotImplemented else shuffled


@register_kernel(InputGrad)
def input_gradient(g, w, size, stride=1, padding=0):
    stride, padding, _, _ = check_geometry((len(g), *size, w.shape[2]), w.shape, stride, padding, g.shape)
    out = array_module(g).empty((len(g), *size, w.shape[2]), g.dtype)
    launch_input_gradient(contiguous(g), contiguous(w), out, stride, padding)
    return out


@register_kernel(WeightGrad)
def weight_gradient(x, g, kernel, stride=1, padding=0):
    shape = (*kernel, x.shape[-1], g.shape[-1])
    stride, padding, _, _ = check_geometry(x.shape, shape, stride, padding, g.shape)
    return launch_weight_gradient(contiguous(x), contiguous(g), kernel, stride, padding)


# ---- What the kernels take -----------------------------------------------------------------------------


class Geometry(NamedTuple):
    """The sizes of a convolution: the struct of kernels/convolution.cuh."""

    n: int
    height: int
    width: int
    cin: int
    kh: int
    kw: int
    cout: int
    out_h: int
    out_w: int
    stride_y: int
    stride_x: int
    pad_y: int
    pad_x: int


def geometry(x, w_shape, size, stride, padding):
    """The Geometry of x ⋆ w with outputs of `size` (Ho, Wo) pixels; stride and padding are pairs."""
    kh, kw, _, cout = w_shape
    return Geometry(*x.shape, kh, kw, cout, *size, *stride, *padding)


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


def launch_conv(x, w, out, stride, padding, epilogue=PLAIN):
    """Fill `out` with x ⋆ w, and `epilogue` applied to it."""
    size = tuple(length // epilogue.shuffle for length in out.shape[1:3])
    if winograd_pays(x, w.shape, stride, size):
        Winograd(x, w.shape[3], size, padding).convolve(w, out, epilogue)
    else:
        launch_direct(x, w, out, stride, padding, size, epilogue)


def launch_input_gradient(g, w, out, stride, padding):
    """Fill `out` with the gradient at x."""
    (kh, kw, cin, cout), size = w.shape, out.shape[1:3]
    if winograd_pays(g, (kh, kw, cout, cin), stride, size):
        Winograd(g, cin, size, (kh - 1 - padding[0], kw - 1 - padding[1])).convolve(w, out, turned=True)
    else:
        launch_direct_input_gradient(g, w, out, stride, padding)


def launch_weight_gradient(x, g, kernel, stride, padding):
    """The weight gradient, summed in parts that are then added in order: the same bits on every run."""
    shape, size = (*kernel, x.shape[3], g.shape[3]), g.shape[1:3]
    if winograd_pays(x, shape, stride, size):
        return Winograd(x, g.shape[3], size, padding).weight_gradient(g)
    return launch_direct_weight_gradient(x, g, kernel, stride, padding)


# ---- The kernels of winograd.cu -----------------------------------------------------------------------

TILE, POINTS = 4, 36  # a tile has 4×4 outputs, and is known by its values at 6×6 points
SPANS = 8  # about how many blocks a weight gradient is divided into


def winograd_pays(x, w_shape, stride, size):
    """Whether it is for winograd.cu: 3×3 at stride 1, unless more than a quarter of the tiles, along a side, is beyond
    the image's edge: sides of 1, 2 or 5. Each side is judged by itself, so that bands of an image are judged as it is.

    On a GPU nobody has measured it, and conv.cu is sure to do well there.
    """
    full = all(4 * length >= 3 * -(-length // TILE) * TILE for length in size)
    fits = w_shape[:2] == (3, 3) and stride == (1, 1) and full
    return fits and not few_outputs(w_shape, stride) and not on_gpu(x)


class Winograd:
    """How a 3×3 convolution of x, (N, H, W, Cin) to Cout channels of `size` pixels, is cut up for winograd.cu."""

    def __init__(self, x, cout, size, padding):
        self.x, self.cin, self.cout = x, x.shape[3], cout
        self.tiles = len(x) * -(-size[0] // TILE) * -(-size[1] // TILE)
        own = macros("winograd.cu", on_gpu(x))
        self.chunk, unit = own["CHUNK"], own["UNIT_O"]
        self.padded, self.depth = -(-cout // unit) * unit, -(-self.cin // own["UNIT_C"]) * own["UNIT_C"]
        self.span = 2 * unit if self.padded % (2 * unit) == 0 else unit
        self.geometry = geometry(x, (3, 3, self.cin, cout), size, (1, 1), padding)

    def empty(self, *shape):
        return array_module(self.x).empty(shape, self.x.dtype)

    def launch(self, name, works, *arrays, more=()):
        """Launch on as many blocks as can run at once, each with a scratch memory of its own."""
        blocks = min(works, resident_blocks(self.x))
        scratch = self.empty(blocks, POINTS, self.chunk, self.depth + self.span)
        launch("winograd.cu", name, blocks, threads(self.x, 1, 128), *arrays, scratch, *self.sizes(blocks), *more)

    def sizes(self, blocks=0):
        return self.geometry, Units(self.padded, self.depth, self.span, blocks)

    def convolve(self, w, out, epilogue=PLAIN, turned=False):
        """Fill `out` with x ⋆ w and `epilogue`. `turned`: with w turned by 180° and its channels exchanged."""
        u = self.empty(POINTS, self.padded, self.cin)
        grid = elementwise_grid(u.size // POINTS, u)
        launch("winograd.cu", "winograd_weights", *grid, w, u, self.cin, self.cout, self.padded, turned)
        chunks = -(-self.tiles // self.chunk)
        self.launch("winograd_conv2d", chunks, self.x, u, *epilogue[:3], out, more=(epilogue.shuffle,))

    def weight_gradient(self, g):
        spans = self.padded // self.span
        part_tiles = max(-(-self.tiles * spans // (SPANS * self.chunk)), 1) * self.chunk
        n_parts = max(-(-self.tiles // part_tiles), 1)
        parts = self.empty(n_parts, POINTS, self.depth, self.padded)
        self.launch("winograd_weight_grad", n_parts * spans, self.x, g, parts, more=(part_tiles, n_parts))
        du, out = sum_parts(parts), self.empty(3, 3, self.cin, self.cout)
        launch("winograd.cu", "winograd_finish", *elementwise_grid(out.size, out), du, out, *self.sizes())
        return out


# ---- The kernels of conv.cu and conv_few.cu -----------------------------------------------------------


def launch_direct(x, w, out, stride, padding, size, epilogue=PLAIN, step=(1, 1), first=(0, 0)):
    """x ⋆ w and `epilogue`, of `size` (Ho, Wo), into every step-th pixel of `out` from pixel `first` on."""
    (kh, kw, _, cout), sizes = w.shape, geometry(x, w.shape, size, stride, padding)
    if step == (1, 1) and epilogue.only_bias and few_outputs(w.shape, stride):
        blocks = len(x) * -(-size[0] // 32) * -(-size[1] // 32)
        launch("conv_few.cu", "conv2d_few", min(blocks, GRID), None, x, w, epilogue.bias, out, sizes,
               FEW=cout, KH=kh, KW=kw)  # fmt: skip
        return
    blocks = -(-len(x) * size[0] * size[1] // 64) * -(-cout // 64)
    place = Placement(epilogue.shuffle, *[length // epilogue.shuffle for length in out.shape[1:3]], *step, *first)
    launch("conv.cu", "conv2d", min(blocks, GRID), None, x, w, *epilogue[:3], out, sizes, place, **wide(cout))


def few_outputs(w_shape, stride):
    """Whether it is for conv_few.cu: its tile, with a halo as wide as the kernel, must fit into shared memory."""
    kh, kw, cin, cout = w_shape
    return stride == (1, 1) and cout <= MOST < cin and max(kh, kw) <= 13


def wide(cout):
    """Tiles as wide as the outputs can fill, and the higher the narrower."""
    return {"WIDE": 1 if cout <= 32 else 2 if cout <= 64 else 4}


def launch_direct_input_gradient(g, w, out, stride, padding):
    """Fill `out` with the gradient at x: for each remainder (a, b) of its pixels by the stride, a convolution of g.

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
            launch("conv.cu", "turn_weights", min(squares, GRID), threads(w, 1, (32, 8)), w, turned, kh, kw, cin, cout,
                   a, b, *stride, *taps, **wide(cin))  # fmt: skip
            if min(size) > 0:
                launch_direct(g, turned, out, (1, 1), offset, size, step=stride, first=first)


def remainder(a, kernel, stride, padding, size):
    """On one axis: (taps kh', first pixel, number of pixels, padding) of the remainder a."""
    taps, first = len(range(a, kernel, stride)), (a - padding) % stride
    return taps, first, len(range(first, size, stride)), taps - 1 - (first + padding - a) // stride


def launch_direct_weight_gradient(x, g, kernel, stride, padding):
    """The weight gradient, summed in parts that are then added in order: the same bits on every run."""
    (n, _, _, cin), (_, ho, wo, cout), (kh, kw), xp = x.shape, g.shape, kernel, array_module(x)
    sizes = geometry(x, (kh, kw, cin, cout), (ho, wo), stride, padding)
    if few_outputs((kh, kw, cin, cout), stride):
        n_parts = max(min(PARTS // 4, n * ho), 1)
        part_rows = -(-n * ho // n_parts)
        parts = xp.empty((n_parts, kh, kw, cin, cout), x.dtype)
        launch("conv_few.cu", "weight_grad_few", min(4 * PARTS, GRID), None, x, g, parts, sizes, part_rows, n_parts,
               FEW=cout, KH=kh, KW=kw)  # fmt: skip
    else:
        tiles = -(-kh * kw * cin // 64) * -(-cout // 64)
        part_pixels = max(-(-n * ho * wo * tiles // PARTS), 512) // 128 * 128
        n_parts = max(-(-n * ho * wo // part_pixels), 1)
        parts = xp.empty((n_parts, kh, kw, cin, cout), x.dtype)
        launch("conv.cu", "weight_grad", min(tiles * n_parts, GRID), None, x, g, parts, sizes, part_pixels, n_parts,
               **wide(cout))  # fmt: skip
    return sum_parts(parts)
