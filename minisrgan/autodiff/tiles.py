"""How arrays are cut up for the kernels: which part of one each block of a launch takes.

The cuts depend on the shape and on whether the array is on a GPU, but not on how many threads the CPU has. So
sums that are made part by part have the same bits wherever they are repeated.
"""

from numbers import Number

from ..arrays import array_module
from ..geometry import macros
from ..kernels import contiguous, elementwise_grid, launch, on_gpu

MOST_PARTS = 512  # of a sum: their sum is one block's work


def part(x):
    """About how many elements a block takes."""
    return 4096 if on_gpu(x) else 16384


def empty_like(x):
    return array_module(x).empty(x.shape, x.dtype)


def ready(inputs):
    """Arrays in the layout that kernels want, and numbers as they are."""
    return [each if isinstance(each, Number) else contiguous(each) for each in inputs]


def map_elements(name, *inputs):
    """An array like the first input, by the kernel `name` of elementwise.cu."""
    inputs = ready(inputs)
    out = empty_like(inputs[0])
    launch("elementwise.cu", name, *elementwise_grid(out.size, out), *inputs, out, out.size)
    return out


def threads(array, cpu, gpu):
    """Threads of a block of a kernel that is right for any number: few on a CPU, each with much to do."""
    return gpu if on_gpu(array) else cpu


def sum_parts(parts):
    """The sum along the first axis, in order: the same bits on every run."""
    if len(parts) == 1:
        return parts[0]
    out = empty_like(parts[0])
    launch("elementwise.cu", "sum_parts", *elementwise_grid(out.size, out), parts, out, out.size, len(parts))
    return out


def cut(rows, channels, x):
    """(grid, rows of a part) by which channels.cu goes through a matrix of rows × channels."""
    across = macros("channels.cu", on_gpu(x))
    rows_per_part = max(1, part(x) // channels, -(-rows // MOST_PARTS))
    return (-(-rows // rows_per_part), -(-channels // (across["THREADS"] * across["COLUMNS"]))), rows_per_part


def map_channels(name, *inputs):
    """An array like the first input, by the kernel `name` of channels.cu."""
    inputs = ready(inputs)
    out = empty_like(inputs[0])
    channels = out.shape[-1]
    rows = out.size // channels
    grid, rows_per_part = cut(rows, channels, out)
    launch("channels.cu", name, grid, None, *inputs, out, rows, channels, rows_per_part)
    return out


def sum_channels(name, *inputs, channels=None, sums=1):
    """As many (channels,) arrays as the kernel `name` of channels.cu makes `sums` down the columns of its inputs."""
    parts, _ = part_sums(name, *inputs, channels=channels, sums=sums)
    return [total(each) for each in parts]


def part_sums(name, *inputs, channels=None, sums=1):
    """(arrays (parts, channels) of what each part of the rows sums up to, rows of a part)."""
    x, *_ = inputs = ready(inputs)
    channels = channels or x.shape[-1]
    rows = x.size // channels
    grid, rows_per_part = cut(rows, channels, x)
    parts = [array_module(x).empty((grid[0], channels), x.dtype) for _ in range(sums)]
    launch("channels.cu", name, grid, None, *inputs, *parts, rows, channels, rows_per_part)
    return parts, rows_per_part


def merged_moments(x):
    """(mean, variance) of each channel of x."""
    x = contiguous(x)
    (means, squares), rows_per_part = part_sums("column_moments", x, sums=2)
    parts, channels = means.shape
    mean, var = (array_module(x).empty(channels, x.dtype) for _ in range(2))
    grid, _ = cut(1, channels, x)
    launch("channels.cu", "merge_moments", grid, None, x, means, squares, mean, var, parts, channels,
           x.size // channels, rows_per_part)  # fmt: skip
    return mean, var


def total(parts):
    """The sum of the parts, in an order of its own that is always the same."""
    count, channels = parts.shape
    if count > 1:
        grid, _ = cut(1, channels, parts)
        out = array_module(parts).empty((1, channels), parts.dtype)
        launch("channels.cu", "column_sums", grid, None, parts, out, count, channels, count)
        parts = out
    return parts.reshape(channels)


def cut_runs(runs, length, x):
    """(grid, block, runs of a block) for kernels that handle `runs` runs of neighbours, each of that length."""
    most = threads(x, 1, 256)
    across = min(most, -(-length // 32) * 32)
    per_block = max(1, part(x) // length)
    return -(-runs // per_block), (across, most // across), per_block
