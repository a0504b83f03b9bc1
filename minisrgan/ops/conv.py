"""Convolution and its two gradients, on NHWC arrays.

Convolution is one trilinear form in the image x, the weights w and the cotangent g:

    ⟨g, x ⋆ w⟩ = Σ g[n, p, q, o] · x[n, s·p + i - P, s·q + j - P, c] · w[i, j, c, o]

with stride s and padding P, summed over every index; x is zero outside the image. (In code the stride is (sy, sx) and
the padding (py, px).) Conv2d, InputGrad and WeightGrad are the derivatives of this form with respect to g, x and w.
Each is linear in its two inputs, and its vjps are the other two ops:

    Conv2d(x, w)          (N, H, W, Cin), (kh, kw, Cin, Cout) → (N, Ho, Wo, Cout)
    InputGrad(g, w)       (N, Ho, Wo, Cout), (kh, kw, Cin, Cout) → (N, H, W, Cin)
    WeightGrad(x, g)      (N, H, W, Cin), (N, Ho, Wo, Cout) → (kh, kw, Cin, Cout)

`windows` is a view of x with the receptive field of each output pixel. With these fields as rows, x ⋆ w and the weight
gradient are matrix products. The input gradient is one product for each tap of the kernel.
"""

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

from ..arrays import Array, array_module, as_strided
from ..errors import ShapeError
from ..tensor import Op, Tensor, definition, recording
from .elementwise import LeakyReLU, LeakyReLUGrad
from .pixel_shuffle import PixelShuffle, PixelUnshuffle

Shape: TypeAlias = Sequence[int]
Pair: TypeAlias = tuple[int, int]  # rows and columns


def pair(value: Pair | int) -> Pair:
    """(rows, columns) from one number for both, or from the two."""
    rows, columns = value if isinstance(value, tuple) else (value, value)
    return rows, columns


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Length of an axis after the convolution: ⌊(size + 2P - k) / s⌋ + 1."""
    return (size + 2 * padding - kernel) // stride + 1


def pad(x: Array, rows: int, columns: int) -> Array:
    """x with `rows` rows of zeros above and below, and `columns` columns on each side. Negative numbers crop."""
    n, height, width, channels = x.shape
    cut = x[:, max(-rows, 0) : height - max(-rows, 0), max(-columns, 0) : width - max(-columns, 0)]
    rows, columns = max(rows, 0), max(columns, 0)
    if not (rows or columns):
        return cut
    out = array_module(x).zeros((n, cut.shape[1] + 2 * rows, cut.shape[2] + 2 * columns, channels), x.dtype)
    out[:, rows : rows + cut.shape[1], columns : columns + cut.shape[2]] = cut
    return out


def windows(x: Array, kh: int, kw: int, stride: Pair) -> Array:
    """A view (N, Ho, Wo, kh, kw, C) of a padded x: the patch under the kernel at each output pixel."""
    n, height, width, channels = x.shape
    (sy, sx), (bn, by, bx, bc) = stride, x.strides
    shape = (n, output_size(height, kh, sy, 0), output_size(width, kw, sx, 0), kh, kw, channels)
    return as_strided(x, shape, (bn, by * sy, bx * sx, by, bx, bc))


def check_geometry(
    x_shape: Shape, w_shape: Shape, stride: Pair | int, padding: Pair | int, g_shape: Shape | None = None
) -> tuple[Pair, Pair, int, int]:
    """((sy, sx), (py, px), Ho, Wo). Raises ShapeError if the shapes make no convolution, or if the cotangent's shape is
    not the output's."""
    stride, padding = pair(stride), pair(padding)
    (sy, sx), (py, px) = stride, padding
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ShapeError("an image batch is (N, H, W, Cin) and weights are (kh, kw, Cin, Cout)")
    if x_shape[3] != w_shape[2]:
        raise ShapeError(f"the image has {x_shape[3]} channels and the weights take {w_shape[2]}")
    if min(w_shape[:2]) < 1:
        raise ShapeError("a kernel has at least one pixel")
    if min(sy, sx) < 1 or min(py, px) < 0:
        raise ShapeError(f"stride {stride} must be at least 1 and padding {padding} at least 0")
    ho, wo = output_size(x_shape[1], w_shape[0], sy, py), output_size(x_shape[2], w_shape[1], sx, px)
    if min(ho, wo) < 1:
        raise ShapeError(f"the kernel is larger than the image with padding {padding}")
    out_shape = (x_shape[0], ho, wo, w_shape[3])
    if g_shape is not None and tuple(g_shape) != out_shape:
        raise ShapeError(f"the cotangent is {tuple(g_shape)} where the output is {out_shape}")
    return stride, padding, ho, wo


def check_bias(b: Array, w: Array) -> None:
    if b.shape != w.shape[3:]:
        raise ShapeError(f"the bias is {b.shape} where the weights {w.shape} have {w.shape[3:]} outputs")


class Conv2d(Op):
    """y[n, p, q, o] = Σ_ijc x[n, s·p + i - P, s·q + j - P, c] · w[i, j, c, o]."""

    linear = True

    def forward(x, w, stride=1, padding=0):
        stride, (py, px), ho, wo = check_geometry(x.shape, w.shape, stride, padding)
        kh, kw, cin, cout = w.shape
        fields = windows(pad(x, py, px), kh, kw, stride).reshape(len(x) * ho * wo, kh * kw * cin)
        return (fields @ w.reshape(kh * kw * cin, cout)).reshape(len(x), ho, wo, cout)

    def vjp(g, out, x, w, stride=1, padding=0):
        return (
            lambda: InputGrad(g, w, size=x.shape[1:3], stride=stride, padding=padding),
            lambda: WeightGrad(x, g, kernel=w.shape[:2], stride=stride, padding=padding),
        )


class Conv2dBias(Op):
    """PixelShuffle(x ⋆ w + b, shuffle), with b of (Cout,).  ∂b = Σ g over all pixels of the unshuffled g.

    slope   of a LeakyReLU at the end, 0 for a ReLU; None for none. Its input is positive where its output is, so the
            derivative needs the output only
    """

    def forward(x, w, b, stride=1, padding=0, shuffle=1, slope=None):
        check_bias(b, w)
        out = Conv2d.forward(x, w, stride, padding) + b
        out = out if slope is None else LeakyReLU.forward(out, slope)
        return out if shuffle == 1 else PixelShuffle.forward(out, shuffle)

    def vjp(g, out, x, w, b, stride=1, padding=0, shuffle=1, slope=None):
        g = g if slope is None else LeakyReLUGrad(g, out, slope=slope)
        g = g if shuffle == 1 else PixelUnshuffle(g, r=shuffle)
        to_x, to_w = Conv2d.vjp(g, out, x, w, stride, padding)
        if recording() or not (w.requires_grad and b.requires_grad):
            return to_x, to_w, lambda: g.sum_to(b.shape)
        both = cache(lambda: weight_and_bias_gradients(x.data, g.data, w.shape[:2], stride, padding))
        return to_x, lambda: Tensor(both()[0]), lambda: Tensor(both()[1])


@definition
def weight_and_bias_gradients(
    x: Array, g: Array, kernel: Pair, stride: Pair | int, padding: Pair | int
) -> tuple[Array, Array]:
    """∂w and ∂b of x ⋆ w + b as arrays. Both are sums of g over all pixels, so a kernel may make them at once."""
    x, g = Tensor(x), Tensor(g)
    return WeightGrad(x, g, kernel=kernel, stride=stride, padding=padding).data, g.sum_to(g.shape[3:]).data


class InputGrad(Op):
    """∂⟨g, x ⋆ w⟩/∂x for images of `size` (H, W).

    x[n, s·p + i - P, s·q + j - P, c] += Σ_o g[n, p, q, o]·w[i, j, c, o] for every p, q, i, j.
    """

    linear = True

    def forward(g, w, size, stride=1, padding=0):
        (height, width), (kh, kw, cin, _) = size, w.shape
        (sy, sx), (py, px), ho, wo = check_geometry((len(g), *size, cin), w.shape, stride, padding, g.shape)
        out = array_module(g).zeros((len(g), height + 2 * py, width + 2 * px, cin), g.dtype)
        for i in range(kh):
            for j in range(kw):
                out[:, i : i + sy * ho : sy, j : j + sx * wo : sx] += g @ w[i, j].T
        return pad(out, -py, -px)

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
        shape = (*kernel, x.shape[-1], g.shape[-1])
        stride, (py, px), ho, wo = check_geometry(x.shape, shape, stride, padding, g.shape)
        kh, kw, cin, cout = shape
        fields = windows(pad(x, py, px), kh, kw, stride).reshape(len(x) * ho * wo, kh * kw * cin)
        return (fields.T @ g.reshape(len(x) * ho * wo, cout)).reshape(shape)

    def vjp(v, out, x, g, kernel, stride=1, padding=0):
        return (
            lambda: InputGrad(g, v, size=x.shape[1:3], stride=stride, padding=padding),
            lambda: Conv2d(x, v, stride=stride, padding=padding),
        )
