"""Convolution and its two gradients, on NHWC arrays.

Convolution is one trilinear form in the image x, the weights w and the cotangent g:

    ⟨g, x ⋆ w⟩ = Σ g[n, p, q, o] · x[n, s·p + i - P, s·q + j - P, c] · w[i, j, c, o]

with stride s and zero padding P, summed over every index. Each of the three ops below is its derivative
with respect to one of the three, so each is linear in its two inputs and its vjp is the other two:

    Conv2d(x, w)          (N, H, W, Cin), (kh, kw, Cin, Cout) → (N, Ho, Wo, Cout)
    InputGrad(g, w)       (N, Ho, Wo, Cout), (kh, kw, Cin, Cout) → (N, H, W, Cin)
    WeightGrad(x, g)      (N, H, W, Cin), (N, Ho, Wo, Cout) → (kh, kw, Cin, Cout)

The NumPy definitions turn the sum into matrix products. `windows` is the heart: a view of x in which each
output pixel's receptive field is a row, so that x ⋆ w = windows(x) @ w. A block of rows at a time is
copied out of that view ("im2col"), few enough to be in the cache still when BLAS reads them.
"""

from ..arrays import array_module, as_strided, uses_kernels
from ..errors import ShapeError
from ..kernels import contiguous
from .conv_kernels import TILE, End, launch_conv, launch_input_gradient, launch_weight_gradient
from .elementwise import PReLU
from .pixel_shuffle import PixelShuffle, PixelUnshuffle
from .tensor import Op, Tensor, recording

BLOCK = 1 << 21  # elements of im2col at once: 8 MB of float32, which a large last-level cache holds
LEAST = 32  # rows of a band, unless their planes are of more than 8 BLOCK: its overlap with the next is done twice
FEW = 8  # output channels, up to which it pays to multiply first and shift afterwards
VECTOR = 16  # channels, at most, that a kernel stores at once: they must be of one pixel, wherever that is shuffled to


def pair(value):
    """(rows, columns) from one number for both, or from the two."""
    rows, columns = value if isinstance(value, tuple) else (value, value)
    return rows, columns


def output_size(size, kernel, stride, padding):
    """Length of an axis after the convolution: ⌊(size + 2P - k) / s⌋ + 1."""
    return (size + 2 * padding - kernel) // stride + 1


def pad(x, rows, columns):
    """x with that many zeros before and after its rows and its columns; negative: with pixels cut off instead."""
    n, height, width, channels = x.shape
    cut = x[:, max(-rows, 0) : height - max(-rows, 0), max(-columns, 0) : width - max(-columns, 0)]
    rows, columns = max(rows, 0), max(columns, 0)
    if not (rows or columns):
        return cut
    out = array_module(x).zeros((n, cut.shape[1] + 2 * rows, cut.shape[2] + 2 * columns, channels), x.dtype)
    out[:, rows : rows + cut.shape[1], columns : columns + cut.shape[2]] = cut
    return out


def windows(x, kh, kw, stride):
    """A view (N, Ho, Wo, kh, kw, C) of a padded x: the patch under the kernel at each output pixel."""
    n, height, width, channels = x.shape
    (sy, sx), (bn, by, bx, bc) = stride, x.strides
    shape = (n, output_size(height, kh, sy, 0), output_size(width, kw, sx, 0), kh, kw, channels)
    return as_strided(x, shape, (bn, by * sy, bx * sx, by, bx, bc))


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
    """Of how many rows the parts of an image must be that x ⋆ w may be made of, with the bits of the whole.

    A kernel's sums do not depend on where a pixel is, but winograd.cu's on where its tile begins. Those of a BLAS
    depend on the size of a product, in ways of its own, so the products must be the same ones.

    w              an array
    width, padding of x
    """
    kh, kw, cin, cout = w.shape
    if uses_kernels(w):
        return TILE
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


def check_geometry(x_shape, w_shape, stride, padding):
    """(stride, padding, Ho, Wo) as pairs and sizes; ShapeError where they make no convolution."""
    (sy, sx), (py, px) = stride, padding = pair(stride), pair(padding)
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ShapeError("an image batch is (N, H, W, Cin) and weights are (kh, kw, Cin, Cout)")
    if x_shape[3] != w_shape[2]:
        raise ShapeError(f"the image has {x_shape[3]} channels and the weights take {w_shape[2]}")
    if min(w_shape[:2]) < 1:
        raise ShapeError("a kernel is of at least one pixel")
    if min(sy, sx) < 1 or min(py, px) < 0:
        raise ShapeError(f"stride {stride} must be at least 1 and padding {padding} at least 0")
    ho, wo = output_size(x_shape[1], w_shape[0], sy, py), output_size(x_shape[2], w_shape[1], sx, px)
    if min(ho, wo) < 1:
        raise ShapeError(f"the kernel is larger than the image with padding {padding}")
    return stride, padding, ho, wo


def check_bias(b, w):
    if b.shape != w.shape[3:]:
        raise ShapeError(f"the bias is {b.shape} where the weights {w.shape} have {w.shape[3:]} outputs")


def check_cotangent(g_shape, expected):
    if tuple(g_shape) != tuple(expected):
        raise ShapeError(f"the cotangent is {tuple(g_shape)} where the output is {tuple(expected)}")


class Conv2d(Op):
    """y[n, p, q, o] = Σ_ijc x[n, s·p + i - P, s·q + j - P, c] · w[i, j, c, o]."""

    linear = True

    def forward(x, w, stride=1, padding=0):
        stride, (py, px), _, _ = check_geometry(x.shape, w.shape, stride, padding)
        return correlate(pad(x, py, px), w, stride)

    def kernel(x, w, stride=1, padding=0):
        return convolve(x, w, stride, padding)

    def vjp(g, out, x, w, stride=1, padding=0):
        return (
            lambda: InputGrad(g, w, size=x.shape[1:3], stride=stride, padding=padding),
            lambda: WeightGrad(x, g, kernel=w.shape[:2], stride=stride, padding=padding),
        )


class Conv2dBias(Op):
    """PixelShuffle(x ⋆ w + b, shuffle), with b of (Cout,).  ∂b = Σ g over all pixels, g being unshuffled.

    The sum is made, and shuffled, before a number leaves its register: what lies between is never in memory.
    """

    def forward(x, w, b, stride=1, padding=0, shuffle=1):
        check_bias(b, w)
        out = Conv2d.forward(x, w, stride, padding)
        out += b
        return out if shuffle == 1 else PixelShuffle.forward(out, shuffle)

    def kernel(x, w, b, stride=1, padding=0, shuffle=1):
        check_bias(b, w)
        if shuffles(w, shuffle):
            return convolve(x, w, stride, padding, b, shuffle=shuffle)
        return PixelShuffle.kernel(convolve(x, w, stride, padding, b), shuffle)

    def vjp(g, out, x, w, b, stride=1, padding=0, shuffle=1):
        g = g if shuffle == 1 else PixelUnshuffle(g, r=shuffle)
        return *Conv2d.vjp(g, out, x, w, stride, padding), lambda: g.sum_to(b.shape)


def shuffles(w, shuffle):
    """Whether a kernel can shuffle what it stores: the channels of a pixel must be whole vectors."""
    return shuffle == 1 or w.shape[-1] % (shuffle**2 * VECTOR) == 0


def convolve(x, w, stride, padding, bias=None, slope=None, residual=None, shuffle=1):
    """PReLU(PixelShuffle(x ⋆ w + bias)) + residual of arrays, by a kernel, in one pass.

    bias, slope, residual   None for no such thing
    """
    stride, padding, ho, wo = check_geometry(x.shape, w.shape, stride, padding)
    out = array_module(x).empty((len(x), ho * shuffle, wo * shuffle, w.shape[3] // shuffle**2), x.dtype)
    end = [None if each is None else contiguous(each) for each in (bias, slope, residual)]
    launch_conv(contiguous(x), contiguous(w), out, stride, padding, End(*end, shuffle))
    return out


class InputGrad(Op):
    """∂⟨g, x ⋆ w⟩/∂x for images of `size` (H, W).

    x[n, s·p + i - P, s·q + j - P, c] += Σ_o g[n, p, q, o]·w[i, j, c, o] for every p, q, i, j.
    """

    linear = True

    def forward(g, w, size, stride=1, padding=0):
        (height, width), (_, _, cin, cout) = size, w.shape
        stride, padding, ho, wo = check_geometry((len(g), height, width, cin), w.shape, stride, padding)
        check_cotangent(g.shape, (len(g), ho, wo, cout))
        return input_gradient(g, w, height, width, stride, padding)

    def kernel(g, w, size, stride=1, padding=0):
        stride, padding, ho, wo = check_geometry((len(g), *size, w.shape[2]), w.shape, stride, padding)
        check_cotangent(g.shape, (len(g), ho, wo, w.shape[3]))
        out = array_module(g).empty((len(g), *size, w.shape[2]), g.dtype)
        launch_input_gradient(contiguous(g), contiguous(w), out, stride, padding)
        return out

    def vjp(v, out, g, w, size, stride=1, padding=0):
        return (
            lambda: Conv2d(v, w, stride=stride, padding=padding),
            lambda: WeightGrad(v, g, kernel=w.shape[:2], stride=stride, padding=padding),
        )


class WeightGrad(Op):
    """∂⟨g, x ⋆ w⟩/∂w for a `kernel` (kh, kw).

    w[i, j, c, o] = Σ_npq x[n, s·p + i - P, s·q + j - P, c]·g[n, p, q, o].
    """

    linear = True

    def forward(x, g, kernel, stride=1, padding=0):
        (kh, kw), cout = kernel, g.shape[-1]
        stride, (py, px), ho, wo = check_geometry(x.shape, (kh, kw, x.shape[-1], cout), stride, padding)
        check_cotangent(g.shape, (len(x), ho, wo, cout))
        return weight_gradient(pad(x, py, px), g, kh, kw, stride)

    def kernel(x, g, kernel, stride=1, padding=0):
        shape = (*kernel, x.shape[-1], g.shape[-1])
        stride, padding, ho, wo = check_geometry(x.shape, shape, stride, padding)
        check_cotangent(g.shape, (len(x), ho, wo, g.shape[-1]))
        return launch_weight_gradient(contiguous(x), contiguous(g), kernel, stride, padding)

    def vjp(v, out, x, g, kernel, stride=1, padding=0):
        return (
            lambda: InputGrad(g, v, size=x.shape[1:3], stride=stride, padding=padding),
            lambda: Conv2d(x, v, stride=stride, padding=padding),
        )


def conv_block(x, w, b, slope=None, residual=None, shuffle=1, stride=1, padding=0):
    """PReLU(PixelShuffle(x ⋆ w + b, shuffle), slope) + residual; the slope and the residual may be None.

    Operation by operation, or, where kernels run and nothing is recorded, in one pass: a derivative would need what
    lies between.
    """
    if recording() or not shuffles(w, shuffle) or not uses_kernels(x.data):
        y = Conv2dBias(x, w, b, stride=stride, padding=padding, shuffle=shuffle)
        y = y if slope is None else PReLU(y, slope)
        return y if residual is None else y + residual
    arrays = [None if each is None else each.data for each in (b, slope, residual)]
    return Tensor(convolve(x.data, w.data, stride, padding, *arrays, shuffle))
