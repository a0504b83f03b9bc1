"""How arrays are cut up for the kernels: which part of one each block of a launch takes.

The cuts depend on the shape and on whether the array is on a GPU, but not on how many threads the CPU has. So
sums that are made part by part have the same bits wherever they are repeated.
"""

from numbers import Number

from ..arrays import on_gpu
from .cpu import runtime
from .launch import ALIGNMENT, address


def elementwise_grid(n, array):
    """Grid and block for a FOR_EACH kernel over n elements, on the device that `array` is on."""
    if on_gpu(array):
        return min(-(-n // 256), 4096), 256
    if n < 16384:  # waking the other threads takes longer than doing it
        return min(n, 1), 1
    return 4 * runtime().kernel_threads(), 1  # a few blocks a thread: who is done early takes another one


def resident_blocks(array):
    """About how many blocks run at the same time on the device that `array` is on."""
    return 256 if on_gpu(array) else runtime().kernel_threads()


def part(x):
    """About how many elements a block takes."""
    return 4096 if on_gpu(x) else 16384


def threads(array, cpu, gpu):
    """Threads of a block of a kernel that is right for any number: few on a CPU, each with much to do."""
    return gpu if on_gpu(array) else cpu


def cut_runs(runs, length, x):
    """(grid, block, runs of a block) for kernels that handle `runs` runs of neighbours, each of that length."""
    most = threads(x, 1, 256)
    across = min(most, -(-length // 32) * 32)
    per_block = max(1, part(x) // length)
    return -(-runs // per_block), (across, most // across), per_block


def contiguous(array):
    """`array` in the layout that kernels want, rows in C order from an aligned address; copied if it has another."""
    if not array.flags.c_contiguous or address(array) % ALIGNMENT:
        return array.copy(order="C")
    return array


def arguments(inputs):
    """A kernel's inputs as it takes them: arrays contiguous, numbers as they are."""
    return [each if isinstance(each, Number) else contiguous(each) for each in inputs]
