"""Convolution by NumPy's matrix products, on devices that run no kernels.

The definitions (ops/conv.py) copy the receptive fields of all images at once. Here they are copied ("im2col") a band of
rows at a time. A band is small enough to be still in the cache when BLAS reads it.
"""

from collections.abc import Iterator

from ..arrays import Array, array_module, as_strided
from ..ops.conv import (
    Conv2d,
    Conv2dBias,
    InputGrad,
    Pair,
    WeightGrad,
    check_bias,
    check_geometry,
    output_size,
    pad,
    windows,
)
from ..ops.elementwise import LeakyReLU
from ..ops.pixel_shuffle import PixelShuffle
from .conv import FEW
from .register import blas

AT_ONCE = 1 << 21  # elements that im2col copies at once: 8 MB of float32, which a large last-level cache holds
LEAST = 32  # rows of a band, unless they take more than 8 * AT_ONCE elements: its overlap with the next is done twice


def blocks(n: int, height: int, row_elements: int) -> list[tuple[slice, slice]]:
    """Slices (images, rows) that cover n images of `height` rows, about AT_ONCE elements at a time."""
    images = AT_ONCE // max(height * row_elements, 1)
    if images:
        return [(slice(i, i + images), slice(None)) for i in range(0, n, images)]
    rows = rows_at_once(row_elements)
    return [(slice(i, i + 1), slice(y, y + rows)) for i in range(n) for y in range(0, height, rows)]


def rows_at_once(elements: int, least: int = 1) -> int:
    """How many rows of an image go into one matrix product, if a row needs so many elements of scratch memory."""
    return max(AT_ONCE // elements, min(least, 8 * AT_ONCE // elements), 1)


def grain(w: Array, width: int, padding: int) -> int:
    """x ⋆ w may be made in parts of so many rows, or of a multiple, and has the bits of the whole.

    The sums of BLAS depend on the size of a product, in ways of its own. So the products must be the same ones.

    w                 the weights, an array
    width, padding    of x, in columns
    """
    kh, kw, cin, cout = w.shape
    if cout <= FEW < cin:
        return rows_at_once(kh * kw * cout * (width + 2 * padding), LEAST)
    return rows_at_once(kh * kw * cin * width)


def im2col_blocks(view: Array) -> Iterator[tuple[tuple[slice, slice], Array]]:
    """Yield (where, columns): a place in the output, and its receptive fields as the rows of a matrix."""
    n, height, width, kh, kw, channels = view.shape
    buffer = None  # the same for all blocks: fresh memory would cost a page fault for every 4 KB
    for where in blocks(n, height, width * kh * kw * channels):
        block = view[where]  # (images, rows, Wo, kh, kw, C)
        if buffer is None:
            buffer = array_module(view).empty(block.shape, view.dtype)
        columns = buffer.reshape(-1)[: block.size].reshape(block.shape)
        columns[...] = block
        yield where, columns.reshape(-1, kh * kw * channels)


def correlate(x: Array, w: Array, stride: Pair) -> Array:
    """x ⋆ w with no padding."""
    kh, kw, cin, cout = w.shape
    if not (x.size and w.size):  # there is nothing to sum
        n, height, width, _ = x.shape
        shape = (n, output_size(height, kh, stride[0], 0), output_size(width, kw, stride[1], 0), cout)
        return array_module(x).zeros(shape, x.dtype)
    if stride == (1, 1) and cout <= FEW < cin:
        return correlate_few_outputs(x, w)
    xp, view = array_module(x), windows(x, kh, kw, stride)
    out = xp.empty(view.shape[:3] + (cout,), x.dtype)
    matrix = w.reshape(kh * kw * cin, cout)
    for where, columns in im2col_blocks(view):
        xp.matmul(columns, matrix, out=out[where].reshape(-1, cout))
    return out


def correlate_few_outputs(x: Array, w: Array) -> Array:
    """x ⋆ w at stride 1 for few output channels. Im2col would copy kh·kw·Cin numbers a pixel for hardly any work.

    This is the other order: multiply first, then shift. Every pixel is multiplied by all taps at once, which makes
    kh·kw·Cout planes. These are added up, each shifted by its tap.
    """
    kh, kw, cin, cout = w.shape
    n, height, width, _ = x.shape
    taps = w.transpose(0, 1, 3, 2).reshape(kh * kw * cout, cin)
    out = array_module(x).empty((n, height - kh + 1, width - kw + 1, cout), x.dtype)
    for image, top, bottom in bands(n, out.shape[1], kh * kw * cout * width):
        band = x[image, top : bottom + kh - 1]
        planes = (taps @ band.reshape(-1, cin).T).reshape(kh, kw, cout, len(band), width)
        out[image, top:bottom] = shifted(planes, bottom - top, out.shape[2]).sum(axis=(0, 1)).transpose(1, 2, 0)
    return out


def bands(n: int, height: int, row_elements: int) -> list[tuple[int, int, int]]:
    """(image, top, bottom) of bands of output rows: low enough to bound memory, high enough to hide their overlap."""
    rows = rows_at_once(row_elements, LEAST)
    return [(i, top, min(top + rows, height)) for i in range(n) for top in range(0, height, rows)]


def shifted(planes: Array, height: int, width: int) -> Array:
    """The view v[i, j, o, p, q] = planes[i, j, o, p + i, q + j]."""
    bi, bj, bo, by, bx = planes.strides
    return as_strided(planes, planes.shape[:3] + (height, width), (bi + by, bj + bx, bo, by, bx))


def weight_gradient(x: Array, g: Array, kh: int, kw: int, stride: Pair) -> Array:
    """Σ over output pixels of (receptive field)ᵀ (cotangent), x already padded."""
    cin, cout = x.shape[3], g.shape[3]
    if not (x.size and g.size):
        return array_module(x).zeros((kh, kw, cin, cout), x.dtype)
    if stride == (1, 1) and cout <= FEW < cin:
        return weight_gradient_few_outputs(x, g, kh, kw)
    out = array_module(x).zeros((kh * kw * cin, cout), x.dtype)
    for where, columns in im2col_blocks(windows(x, kh, kw, stride)):
        out += columns.T @ g[where].reshape(-1, cout)
    return out.reshape(kh, kw, cin, cout)


def weight_gradient_few_outputs(x: Array, g: Array, kh: int, kw: int) -> Array:
    """The adjoint of `correlate_few_outputs` in w: g is laid out in shifted planes, then one matrix product."""
    n, _, width, cin = x.shape
    cout = g.shape[3]
    out = array_module(x).zeros((kh * kw * cout, cin), x.dtype)
    for image, top, bottom in bands(n, g.shape[1], kh * kw * cout * width):
        band = x[image, top : bottom + kh - 1]
        planes = array_module(x).zeros((kh, kw, cout, len(band), width), x.dtype)
        shifted(planes, bottom - top, g.shape[2])[...] = g[image, top:bottom].transpose(2, 0, 1)
        out += planes.reshape(kh * kw * cout, -1) @ band.reshape(-1, cin)
    return out.reshape(kh, kw, cout, cin).transpose(0, 1, 3, 2)


def input_gradient(g: Array, w: Array, height: int, width: int, stride: Pair, padding: Pair) -> Array:
    """The gradient at images of height × width.

    At stride 1 it is a correlation with the weights turned by 180° and their channels exchanged. At any other stride
    each output pixel's patch g @ wᵀ is added to the pixels that it was read from ("col2im").
    """
    (kh, kw, cin, cout), (sy, sx), (py, px) = w.shape, stride, padding
    if stride == (1, 1):
        return correlate(pad(g, kh - 1 - py, kw - 1 - px), w[::-1, ::-1].transpose(0, 1, 3, 2), stride)
    if not (g.size and w.size):
        return array_module(g).zeros((len(g), height, width, cin), g.dtype)
    n, rows, columns, _ = g.shape
    matrix = w.reshape(kh * kw * cin, cout).T
    out = array_module(g).zeros((n, height + 2 * py, width + 2 * px, cin), g.dtype)
    for image in range(n):
        patches = (g[image].reshape(-1, cout) @ matrix).reshape(rows, columns, kh, kw, cin)
        for i in range(kh):
            for j in range(kw):
                out[image, i : i + sy * rows : sy, j : j + sx * columns : sx] += patches[:, :, i, j]
    return pad(out, -py, -px)


@blas(Conv2d)
def conv2d(x: Array, w: Array, stride: int | Pair = 1, padding: int | Pair = 0) -> Array:
    stride, (py, px), _, _ = check_geometry(x.shape, w.shape, stride, padding)
    return correlate(pad(x, py, px), w, stride)


@blas(Conv2dBias)
def conv2d_bias(
    x: Array,
    w: Array,
    b: Array,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    shuffle: int = 1,
    slope: float | None = None,
) -> Array:
    check_bias(b, w)
    out = conv2d(x, w, stride, padding)
    out += b
    out = out if slope is None else LeakyReLU.forward(out, slope)  # pyrefly: ignore[bad-argument-type]  as below
    if shuffle == 1:
        return out
    return PixelShuffle.forward(out, shuffle)  # pyrefly: ignore[bad-argument-type]  it takes `out` for a self


@blas(InputGrad)
def input_grad(g: Array, w: Array, size: Pair, stride: int | Pair = 1, padding: int | Pair = 0) -> Array:
    stride, padding, _, _ = check_geometry((len(g), *size, w.shape[2]), w.shape, stride, padding, g.shape)
    return input_gradient(g, w, *size, stride, padding)


@blas(WeightGrad)
def weight_grad(x: Array, g: Array, kernel: Pair, stride: int | Pair = 1, padding: int | Pair = 0) -> Array:
    shape = (*kernel, x.shape[-1], g.shape[-1])
    stride, (py, px), _, _ = check_geometry(x.shape, shape, stride, padding, g.shape)
    return weight_gradient(pad(x, py, px), g, *kernel, stride)
