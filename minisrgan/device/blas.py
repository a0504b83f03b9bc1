"""Convolution by NumPy's matrix products, on devices that run no kernels.

The definitions (ops/conv.py) copy each receptive field of all images at once. Here a block of rows at a time is copied
out of that view ("im2col"), few enough that they are still in the cache when BLAS reads them.
"""

from ..arrays import array_module, as_strided
from ..ops.conv import Conv2d, Conv2dBias, InputGrad, WeightGrad, check_bias, check_geometry, output_size, pad, windows
from ..ops.pixel_shuffle import PixelShuffle
from .register import blas

BLOCK = 1 << 21  # elements of im2col at once: 8 MB of float32, which a large last-level cache holds


LEAST = 32  # rows of a band, unless their planes are of more than 8 BLOCK: its overlap with the next is done twice


FEW = 8  # output channels, up to which it pays to multiply first and shift afterwards


def blocks(n, height, row_elements):
    """Slices (images, rows) that cover n images of `height` rows, about BLOCK elements at a time."""
    images = BLOCK // max(height * row_elements, 1)
    if images:
        return [(slice(i, i + images), slice(None)) for i in range(0, n, images)]
    rows = rows_at_once(row_elements)
    return [(slice(i, i + 1), slice(y, y + rows)) for i in range(n) for y in range(0, height, rows)]


def rows_at_once(elements, least=1):
    """Rows of an image, of so many elements of scratch memory each, that go into one matrix product."""
    return max(BLOCK // elements, min(least, 8 * BLOCK // elements), 1)


def grain(w, width, padding):
    """Of how many rows the parts of an image must be that x ⋆ w may be made of, with the bits of the whole: BLAS' sums
    depend on the size of a product, in ways of its own, so the products must be the same ones.

    w              an array
    width, padding of x
    """
    kh, kw, cin, cout = w.shape
    if cout <= FEW < cin:
        return rows_at_once(kh * kw * cout * (width + 2 * padding), LEAST)
    return rows_at_once(kh * kw * cin * width)


def im2col_blocks(view):
    """Yield (where, columns): where in the output, and its receptive fields as the rows of a matrix."""
    n, height, width, kh, kw, channels = view.shape
    buffer = None  # one for all blocks: fresh memory would cost a page fault for every 4 KB
    for where in blocks(n, height, width * kh * kw * channels):
        block = view[where]  # (images, rows, Wo, kh, kw, C)
        if buffer is None:
            buffer = array_module(view).empty(block.shape, view.dtype)
        columns = buffer.reshape(-1)[: block.size].reshape(block.shape)
        columns[...] = block
        yield where, columns.reshape(-1, kh * kw * channels)


def correlate(x, w, stride):
    """x ⋆ w with no padding."""
    kh, kw, cin, cout = w.shape
    if not (x.size and w.size):  # a sum of nothing, or for nothing
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


def correlate_few_outputs(x, w):
    """x ⋆ w at stride 1 where im2col would copy kh·kw·Cin numbers a pixel for a handful of outputs.

    The other order: multiply first, then shift. Every pixel is multiplied by all taps at once into
    kh·kw·Cout planes, and the planes are added up, each shifted by its tap.
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


def bands(n, height, row_elements):
    """(image, top, bottom) of bands of output rows: few enough to bound memory, many enough to hide their overlap."""
    rows = rows_at_once(row_elements, LEAST)
    return [(i, top, min(top + rows, height)) for i in range(n) for top in range(0, height, rows)]


def shifted(planes, height, width):
    """The view v[i, j, o, p, q] = planes[i, j, o, p + i, q + j]."""
    bi, bj, bo, by, bx = planes.strides
    return as_strided(planes, planes.shape[:3] + (height, width), (bi + by, bj + bx, bo, by, bx))


def weight_gradient(x, g, kh, kw, stride):
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


def weight_gradient_few_outputs(x, g, kh, kw):
    """The adjoint of `correlate_few_outputs` in w: lay g out in shifted planes, then one matrix product."""
    n, _, width, cin = x.shape
    cout = g.shape[3]
    out = array_module(x).zeros((kh * kw * cout, cin), x.dtype)
    for image, top, bottom in bands(n, g.shape[1], kh * kw * cout * width):
        band = x[image, top : bottom + kh - 1]
        planes = array_module(x).zeros((kh, kw, cout, len(band), width), x.dtype)
        shifted(planes, bottom - top, g.shape[2])[...] = g[image, top:bottom].transpose(2, 0, 1)
        out += planes.reshape(kh * kw * cout, -1) @ band.reshape(-1, cin)
    return out.reshape(kh, kw, cout, cin).transpose(0, 1, 3, 2)


def input_gradient(g, w, height, width, stride, padding):
    """The gradient at images of height × width.

    At stride 1 it is a correlation with the weights turned by 180° and their channels exchanged. At any
    other, each output pixel's patch g @ wᵀ is added back where it was read ("col2im").
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
def conv2d(x, w, stride=1, padding=0):
    stride, (py, px), _, _ = check_geometry(x.shape, w.shape, stride, padding)
    return correlate(pad(x, py, px), w, stride)


@blas(Conv2dBias)
def conv2d_bias(x, w, b, stride=1, padding=0, shuffle=1):
    check_bias(b, w)
    out = conv2d(x, w, stride, padding)
    out += b
    return out if shuffle == 1 else PixelShuffle.forward(out, shuffle)


@blas(InputGrad)
def input_grad(g, w, size, stride=1, padding=0):
    stride, padding, _, _ = check_geometry((len(g), *size, w.shape[2]), w.shape, stride, padding, g.shape)
    return input_gradient(g, w, *size, stride, padding)


@blas(WeightGrad)
def weight_grad(x, g, kernel, stride=1, padding=0):
    shape = (*kernel, x.shape[-1], g.shape[-1])
    stride, (py, px), _, _ = check_geometry(x.shape, shape, stride, padding, g.shape)
    return weight_gradient(pad(x, py, px), g, *kernel, stride)
