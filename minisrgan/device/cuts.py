"""How arrays are cut up for the kernels: which part each block of a launch takes.

The cuts depend on the shape and on whether the array is on a GPU, but not on the number of the CPU's threads. So sums
that are made part by part have the same bits wherever they are repeated.
"""

import math
from collections.abc import Iterable
from functools import cache
from numbers import Number
from typing import Any

import numpy as np

from ..arrays import Array, array_module, on_gpu
from .cpu import runtime
from .launch import ALIGNMENT, Size, address

LINE = 64  # bytes of a cache line, and of the widest vector
LARGE = 2**16  # bytes of an array from which on its place matters more than the microsecond that it takes to choose one

# Blocks that a launch should have on a GPU, where sums can be cut into parts: two for each multiprocessor of an H100.
# The same on every GPU, or else the bits of the sums would differ.
GPU_BLOCKS = 264


def elementwise_grid(n: int, array: Array, vectors: bool = False) -> tuple[int, int]:
    """Grid and block for a FOR_EACH kernel over n elements, on the device that `array` is on.

    vectors    whether a thread of a GPU takes a vector of 16 bytes at a time
    """
    if on_gpu(array):
        at_once = 256 * (16 // array.dtype.itemsize) if vectors else 256
        return min(-(-n // at_once), 4096), 256
    if n < 16384:  # to wake the other threads would take longer than the work
        return min(n, 1), 1
    return 4 * runtime().kernel_threads(), 1  # a few for each thread: one that finishes early takes another


def resident_blocks(array: Array) -> int:
    """About how many blocks run at the same time on the device that `array` is on."""
    return 256 if on_gpu(array) else runtime().kernel_threads()


def part(x: Array) -> int:
    """About how many elements a block takes."""
    return 4096 if on_gpu(x) else 16384


def threads(array: Array, cpu: Size, gpu: Size) -> Size:
    """The block of a kernel that any block suits: `cpu` or `gpu`. On a CPU, few threads with much to do each."""
    return gpu if on_gpu(array) else cpu


def cut_runs(runs: int, length: int, x: Array) -> tuple[int, tuple[int, int], int]:
    """(grid, block, runs of a block) for a kernel that handles `runs` runs of `length` neighbours each."""
    most = 256 if on_gpu(x) else 1
    across = min(most, -(-length // 32) * 32)
    per_block = max(1, part(x) // length)
    return -(-runs // per_block), (across, most // across), per_block


TICKETS = 4096  # the most groups of blocks in a launch that each have a last one


def tickets(array: Array) -> Array:
    """Counters where `array` is, for kernels whose last block to finish does what is left. They are 0 before and after
    each launch. All launches use the same, since they run one after another."""
    return zeros(array_module(array))


@cache
def zeros(xp: Any) -> Array:
    return xp.zeros(TICKETS, "u4")


def empty(like: Array, shape: int | tuple[int, ...]) -> Array:
    """An array of this shape in C order, with the dtype and on the device of `like`, whose numbers are not yet set.

    On a CPU a large one begins at a cache line, so that no vector of a kernel lies across two of them. (NumPy's arrays
    begin 16 bytes after one. With these, the paper's training steps take 2 to 5 % less of the processor's time.)
    """
    if on_gpu(like):
        return array_module(like).empty(shape, like.dtype)
    size = shape if isinstance(shape, int) else math.prod(shape)
    if size * like.itemsize < LARGE:
        return np.empty(shape, like.dtype)
    memory = np.empty(size + LINE // like.itemsize, like.dtype)
    return np.ndarray(shape, like.dtype, memory, -address(memory) % LINE)


def empty_like(x: Array) -> Array:
    return empty(x, x.shape)


def contiguous(array: Array) -> Array:
    """`array` in the layout that kernels take: in C order, at an aligned address. Copied if it has another."""
    if not array.flags.c_contiguous or address(array) % ALIGNMENT:
        return array.copy(order="C")
    return array


def arguments(inputs: Iterable[Any]) -> tuple[Any, ...]:
    """The inputs as kernels take them: arrays contiguous, numbers and None as they are."""
    return tuple(each if each is None or isinstance(each, Number) else contiguous(each) for each in inputs)
