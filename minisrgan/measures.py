"""What a training step measures, as far as a device does it: it stays there as numbers that nobody waits for."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .arrays import Array, array_module
from .tensor import definition

MEMORY, JUMP, RANGE = 100, 4, 100  # of the mean of ratios (training/shares.py)
LARGEST_RATIO = 1e30  # so that the mean stays finite


@definition
def norm(arrays: Sequence[Array]) -> Any:
    """The length of all of them together as one vector: a number, or on a GPU an array of one."""
    return math.sqrt(sum(float((x * x).sum()) for x in arrays))


@definition
def follow_ratio(content: float, length: float, state: Array) -> Any:
    """The running mean of content/length after a step; 0 if there is nothing to compare yet.

    state   the mean, its first value and the number of steps so far, float64. It is changed in place
    """
    mean, first, steps = state.tolist()
    if not steps and not (content and length):
        return 0.0
    ratio = min(content / length, LARGEST_RATIO) if length else LARGEST_RATIO
    if not steps:
        mean = first = ratio
    ratio = between(mean / JUMP, ratio, mean * JUMP)
    mean += (ratio - mean) / min(steps + 1, MEMORY)
    mean = between(first / RANGE, mean, first * RANGE)
    for i, value in enumerate((mean, first, steps + 1)):
        state[i] = value
    return mean


def between(low: float, value: float, high: float) -> float:
    return max(low, min(value, high))


@definition
def moments_beyond(bicubic: Array, hr: Array, sr: Array) -> tuple[Array, ...]:
    """How images differ from the bicubic enlargement (in [0, 1], the others in [-1, 1]): arrays of one number each.

    Let a_i be what SR adds to image i, less the mean of each channel, and b_i what HR adds. Then they are Σ‖a_i‖²,
    Σ‖b_i‖², ‖Σ a_i‖², and the distance of SR's mean colour, in levels of 255, in the channel where it is largest.
    """
    power, wanted, added, colour = sums_beyond(bicubic, hr, sr)
    return power, wanted, (added * added).sum(), 127.5 * array_module(sr).abs(colour).max()


def sums_beyond(bicubic: Array, hr: Array, sr: Array) -> tuple[Array, ...]:
    """What `moments_beyond` is made of, in sums that can be added up over parts of a batch: Σ‖a_i‖², Σ‖b_i‖²,
    Σ a_i (H, W, C), and what SR adds to the mean colour (C), a mean over the images."""
    bicubic = bicubic * 2 - 1
    added, missing = (image - bicubic for image in (sr, hr))
    colour = added.mean((0, 1, 2))
    added, missing = (each - each.mean((1, 2), keepdims=True) for each in (added, missing))
    return (added * added).sum(), (missing * missing).sum(), added.sum(0), colour


class Place(NamedTuple):
    """Where an array is on the board: from this column on. `checked`: its numbers have to be finite."""

    column: int
    checked: bool


@definition
def note(board: Array, state: Array, arrays: Sequence[Array], places: Sequence[Place], ends: bool) -> None:
    """Copy small arrays to the board's row of this step.

    board   (rows, columns); step i has row i % rows
    state   how many checked numbers were not finite; how many steps are over. `ends` says that this one is, too
    """
    row = board[int(state[1]) % len(board)]
    for x, (column, checked) in zip(arrays, places, strict=True):
        row[column : column + x.size] = x.reshape(-1)
        state[0] += checked and not abs(x.sum()) < math.inf
    state[1] += ends
