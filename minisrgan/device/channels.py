"""The kernels of channels.cu. An array is a matrix of pixels × channels: mapped number by number, or summed down."""

from types import NotImplementedType
from typing import Any

from ..arrays import Array, on_gpu
from ..losses import PixelMSE
from ..ops.batch_norm import BatchNorm, batch_norm_gradients, batch_statistics, follow
from ..ops.conv import Pair, Shape
from ..ops.elementwise import Add, Mul, PReLU, PReLUGrad, SlopeGrad
from ..ops.reduce import SumTo
from .conv_mma import Moments
from .cuts import arguments, contiguous, empty, empty_like, tickets
from .geometry import macros
from .launch import launch
from .register import Computed, kernel

LEAST, MOST = 2048, 1056  # elements of a block, and blocks, on a GPU: 8 blocks for each of an H100's multiprocessors
LEAST_SUMMED, MOST_SUMMED = 4096, 264  # the same for sums, whose parts the last block adds up
LEAST_CPU, MOST_CPU = 16384, 512


def by_channel(x: Array, a: Array) -> bool:
    """Whether a is a vector with one number for each channel of the images x."""
    return x.ndim > 1 and x.size > 0 and a.shape == x.shape[-1:]


def cut_rows(rows: int, channels: int, x: Array, sums: bool = False) -> tuple[Pair, int]:
    """(grid, rows of a part) with which a launch goes through a matrix of rows × channels, on x's device.

    sums   whether each part is summed
    """
    across = macros("channels.cu", on_gpu(x))
    least, most = (LEAST_SUMMED, MOST_SUMMED) if sums else (LEAST, MOST)
    least, most = (least, most) if on_gpu(x) else (LEAST_CPU, MOST_CPU)
    rows_per_part = max(1, least // channels, -(-rows // most))
    return (-(-rows // rows_per_part), -(-channels // (across["THREADS"] * across["COLUMNS"]))), rows_per_part


def map_channels(name: str, *inputs: Any) -> Array:
    """What the kernel `name` computes: an array like the first input."""
    inputs = arguments(inputs)
    out = empty_like(inputs[0])
    channels = out.shape[-1]
    rows = out.size // channels
    grid, rows_per_part = cut_rows(rows, channels, out)
    launch("channels.cu", name, grid, None, *inputs, out, rows, channels, rows_per_part)
    return out


def sum_channels(name: str, *inputs: Any, channels: int | None = None, sums: int = 1) -> list[Array]:
    """The sums that the kernel `name` makes down the columns of its inputs: arrays (channels,), `sums` of them."""
    x, *_ = inputs = arguments(inputs)
    channels = channels or x.shape[-1]
    rows = x.size // channels
    grid, rows_per_part = cut_rows(rows, channels, x, sums=True)
    parts = [empty(x, (grid[0], channels)) for _ in range(sums)]
    out = [empty(x, channels) for _ in range(sums)]
    launch("channels.cu", name, grid, None, *inputs, *parts, *out, tickets(x), rows, channels, rows_per_part)
    return out


@kernel(Add)
def add(x: Array, y: Array) -> Computed:
    return map_channels("add_channels", x, y) if by_channel(x, y) else NotImplemented


@kernel(Mul)
def scale(x: Array, y: Array) -> Computed:
    return map_channels("scale_channels", x, y) if by_channel(x, y) else NotImplemented


@kernel(PReLU)
def prelu(x: Array, a: Array) -> Computed:
    return map_channels("prelu_forward", x, a) if by_channel(x, a) else NotImplemented


@kernel(PReLUGrad)
def prelu_grad(g: Array, x: Array, a: Array) -> Computed:
    return map_channels("prelu_backward", g, x, a) if g.shape == x.shape and by_channel(x, a) else NotImplemented


@kernel(SlopeGrad)
def slope_grad(g: Array, x: Array, shape: Shape) -> Computed:
    if not (x.ndim and x.size and g.shape == x.shape and shape == x.shape[-1:]):
        return NotImplemented
    return sum_channels("slope_gradient", g, x)[0]


@kernel(SumTo)
def sum_to(x: Array, shape: Shape) -> Computed:
    return sum_channels("column_sums", x)[0] if x.size and shape == x.shape[-1:] else NotImplemented


@kernel(PixelMSE)
def pixel_mse(sr: Array, hr: Array) -> Computed:
    if not sr.size or sr.shape != hr.shape:
        return NotImplemented
    return sum_channels("squared_error", sr, hr, channels=1)[0][0] / sr.size


# ---- Batch norm -----------------------------------------------------------------------------------------
# A batch may be of several groups of images. Each has statistics of its own, which lie one after another.


@kernel(batch_statistics)
def moments(
    x: Array, running: tuple[Array, Array, float] | None = None, groups: int = 1
) -> tuple[Array, Array] | NotImplementedType:
    """(mean, variance) of each channel of x, merged from those of the parts of its rows."""
    if not (x.ndim and x.size):
        return NotImplemented
    x, channels = contiguous(x), x.shape[-1]
    rows = x.size // channels // groups
    grid, rows_per_part = cut_rows(rows, channels, x, sums=True)
    scratch = [empty(x, (groups * grid[0], channels)) for _ in range(2)]
    mean, var = (empty(x, groups * channels) for _ in range(2))
    following = running if running and on_gpu(x) else (None, None, 0.0)
    launch("channels.cu", "column_moments", (*grid, groups), None, x, *scratch, mean, var, *following, tickets(x),
           groups, rows, channels, rows_per_part)  # fmt: skip
    if running and not on_gpu(x):  # where a launch is cheap, NumPy rounds as in the definition
        follow(*running, mean, var, rows)
    return mean, var


def merged_moments(
    x: Array, parts: Moments, running: tuple[Array, Array, float] | None, groups: int = 1
) -> tuple[Array, Array]:
    """(mean, variance) of each channel of x, an array on a GPU, from the moments of parts of its rows."""
    count, channels = parts.means.shape
    mean, var = (empty(x, groups * channels) for _ in range(2))
    grid, _ = cut_rows(1, channels, x)
    rows = x.size // channels // groups
    launch("channels.cu", "merge_moments", grid, None, parts.means, parts.squares, mean, var,
           *(running or (None, None, 0.0)), groups, count // groups, channels, rows, parts.rows_per_part)  # fmt: skip
    return mean, var


@kernel(BatchNorm)
def batch_norm(x: Array, gamma: Array, beta: Array, statistics: tuple[Array, Array], eps: float) -> Computed:
    return normalise(x, gamma, beta, statistics, eps) if x.size else NotImplemented


def normalise(
    x: Array,
    gamma: Array,
    beta: Array,
    statistics: tuple[Array, Array],
    eps: float,
    slope: Array | None = None,
    leak: float = 1.0,
    residual: Array | None = None,
    groups: int = 1,
) -> Array:
    """Batch norm, an activation with this slope or else this leak, and the residual."""
    x, *others = arguments((x, gamma, beta, *statistics, slope, residual))
    out, channels = empty_like(x), x.shape[-1]
    rows = x.size // channels // groups
    grid, rows_per_part = cut_rows(rows, channels, x)
    launch("channels.cu", "batch_norm_forward", (*grid, groups), None, x, *others, eps, leak, out, groups, rows,
           channels, rows_per_part)  # fmt: skip
    return out


@kernel(batch_norm_gradients)
def fused_gradients(
    g: Array, x: Array, gamma: Array, statistics: tuple[Array, Array], eps: float
) -> tuple[Array, Array, Array] | NotImplementedType:
    return norm_gradients(g, x, gamma, gamma, statistics, eps)[:3] if x.size else NotImplemented


def norm_gradients(
    g: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    statistics: tuple[Array, Array],
    eps: float,
    slope: Array | None = None,
    leak: float = 1.0,
    groups: int = 1,
) -> tuple[Any, ...]:
    """(∂x, ∂γ, ∂β, the slope's gradient or None) of `normalise`. Without an activation, β does not count."""
    g, x, *shared = arguments((g, x, gamma, beta, *statistics, slope))
    channels, out = x.shape[-1], empty_like(x)
    rows = x.size // channels // groups
    grid, rows_per_part = cut_rows(rows, channels, x, sums=True)
    count, lines = 2 if slope is None else 3, groups + (groups > 1)  # a line of all groups after those of each
    parts = [empty(x, (groups * grid[0], channels)) for _ in range(count)] + [None] * (3 - count)
    sums = [empty(x, (lines, channels)) for _ in range(count)] + [None] * (3 - count)
    launch("channels.cu", "batch_norm_sums", (*grid, groups), None, g, x, *shared, eps, leak, *parts, *sums,
           tickets(x), lines, groups, rows, channels, rows_per_part)  # fmt: skip
    grid, rows_per_part = cut_rows(rows, channels, x)
    launch("channels.cu", "batch_norm_backward", (*grid, groups), None, g, x, *shared, *sums[:2], eps, leak, out,
           lines, groups, rows, channels, rows_per_part)  # fmt: skip
    return out, *(each if each is None else each[-1] for each in sums)
