"""The kernels of conv_rows.cu: layers of few channels on one side, as convolutions that tensor cores take.

Stride 1. All arrays are contiguous, in float32, and their shapes have been checked.
"""

from ..arrays import Array
from . import conv_mma
from .convolution import PLAIN, Epilogue, Geometry, geometry
from .cuts import contiguous, elementwise_grid, empty
from .launch import launch

FEW = 8  # channels, at most


def suits(sizes: Geometry, epilogue: Epilogue = PLAIN) -> bool:
    """Whether a layer is computed like this: one side has few channels, no multiple of 4, and the other side has."""
    of_inputs = sizes.cin % conv_mma.CHUNK > 0
    few, others = (sizes.cin, sizes.cout) if of_inputs else (sizes.cout, sizes.cin)
    odd = few % conv_mma.CHUNK > 0 == others % conv_mma.CHUNK
    return odd and few <= FEW and (sizes.stride_y, sizes.stride_x) == (1, 1) and (of_inputs or epilogue.only_bias)


def convolve(
    x: Array, w: Array, out: Array, sizes: Geometry, epilogue: Epilogue, precision: int, turned: bool = False
) -> None:
    """Fill `out` with x ⋆ w of these sizes. turned: w is turned by 180°, and its channels are exchanged."""
    if sizes.cin % conv_mma.CHUNK:
        rows, weights = gather(x, sizes.kw, sizes.pad_x, sizes.out_w), arrange(w, sizes, turned)
        conv_mma.convolve(rows, weights, out, by_rows(sizes, cin=rows.shape[3], width=sizes.out_w), epilogue, precision)
        return
    weights = arrange(w, sizes, turned, in_columns=True)
    at = by_rows(sizes, cout=weights.shape[3], out_w=sizes.width)
    rows = empty(x, (sizes.n, sizes.out_h, sizes.width, at.cout))
    conv_mma.convolve(x, weights, rows, at, PLAIN, precision)
    launch("conv_rows.cu", "sum_rows", *elementwise_grid(out.size, out), rows, epilogue.bias, out,
           sizes.n * sizes.out_h, sizes.width, sizes.cout, sizes.out_w, at.cout, sizes.kw, sizes.pad_x)  # fmt: skip


def input_gradient(g: Array, w: Array, out: Array, sizes: Geometry, precision: int) -> None:
    """Fill `out` with the gradient at x of the convolution of these sizes: a convolution of g with w turned."""
    pad_y, pad_x = sizes.kh - 1 - sizes.pad_y, sizes.kw - 1 - sizes.pad_x
    turned = geometry(g, (sizes.kh, sizes.kw, sizes.cout, sizes.cin), out.shape[1:3], (1, 1), (pad_y, pad_x))
    convolve(g, w, out, turned, PLAIN, precision, turned=True)


def weight_gradient(x: Array, g: Array, sizes: Geometry, precision: int) -> tuple[Array, Array | None]:
    """The gradients of the weights and of a bias, for these sizes. The latter is None where this does not give it."""
    kh, kw, cin, cout = sizes.kh, sizes.kw, sizes.cin, sizes.cout
    if cin % conv_mma.CHUNK:
        rows = gather(x, kw, sizes.pad_x, sizes.out_w)
        dw, db = conv_mma.weight_gradient(rows, g, by_rows(sizes, cin=rows.shape[3], width=sizes.out_w), precision)
        return contiguous(dw.reshape(kh, -1, cout)[:, : kw * cin]).reshape(kh, kw, cin, cout), db
    rows = gather(g, kw, -sizes.pad_x, sizes.width, step=-1)
    dw, _ = conv_mma.weight_gradient(x, rows, by_rows(sizes, cout=rows.shape[3], out_w=sizes.width), precision)
    dw = dw.reshape(kh, cin, -1)[:, :, : kw * cout].reshape(kh, cin, kw, cout)
    return contiguous(dw.transpose(0, 2, 1, 3)), None


def by_rows(sizes: Geometry, **changed: int) -> Geometry:
    """The Geometry of the convolution with kh×1 taps."""
    return sizes._replace(kw=1, pad_x=0, **changed)


def padded(channels: int) -> int:
    return -(-channels // conv_mma.CHUNK) * conv_mma.CHUNK


def gather(x: Array, kw: int, pad: int, out_w: int, step: int = 1) -> Array:
    """x with the pixels of kw taps of a row as channels: (N, H, W, C) → (N, H, out_w, C·kw, rounded up)."""
    n, height, width, channels = x.shape
    rows = empty(x, (n, height, out_w, padded(channels * kw)))
    launch("conv_rows.cu", "gather_rows", *elementwise_grid(rows.size, rows), x, rows, n * height, width, channels,
           out_w, rows.shape[3], kw, pad, step)  # fmt: skip
    return rows


def arrange(w: Array, sizes: Geometry, turned: bool, in_columns: bool = False) -> Array:
    """The weights of the convolution with kh×1 taps: (kh, 1, Cin, Cout), one of the two with the taps of a row."""
    kh, kw, cin, cout = sizes.kh, sizes.kw, sizes.cin, sizes.cout
    rows, columns = (cin, padded(kw * cout)) if in_columns else (padded(kw * cin), cout)
    out = empty(w, (kh, 1, rows, columns))
    launch("conv_rows.cu", "arrange_weights", *elementwise_grid(out.size, out), w, out, kh, kw, cin, cout, rows,
           columns, turned, in_columns)  # fmt: skip
    return out
