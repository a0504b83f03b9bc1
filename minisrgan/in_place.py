"""Was an array changed in place after an op had read it? Then the op's derivative would be taken at the wrong point.

It is a classic mistake in GAN code: compute both losses, take D's step, then G's gradient. G's gradient then uses D's
new weights, though the loss was computed with the old ones, and nothing about it looks wrong. So whoever changes an
array in place says `mark_changed(array, by)`. A recorded op takes a `Snapshot` of what it reads, and the walk back
compares.

A change counts for everything in the same memory: for views, and for Tensors that share their data. A counter numbers
the changes. So a snapshot costs next to nothing: it keeps the number, and references to arrays that are alive anyway.
A change by hand, `x.data[0] = 1`, does not say `mark_changed`. In arrays that no op made, a sample of up to SAMPLE
numbers may find it.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

SAMPLE = 64  # the most numbers of an array that are compared, evenly spread

_changes = {}  # id of the memory's owner → (date of the last change, by what)
_date = 0


def mark_changed(array: Any, by: str) -> None:
    """Say that `array` was changed in place, and by what: "Adam.step, which moved the parameter conv.weight"."""
    global _date
    _date += 1
    memory = owner(array)
    if id(memory) not in _changes:
        weakref.finalize(memory, _changes.pop, id(memory), None).atexit = False
    _changes[id(memory)] = _date, by


def owner(array: Any) -> Any:
    """The object that the array's memory belongs to: the same one for all views of it."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return array


class Snapshot:
    """What an op has read, and when: the arrays of its inputs."""

    __slots__ = ("arrays", "date", "samples")

    def __init__(self, inputs: Sequence, arrays: Sequence) -> None:
        self.arrays, self.date = arrays, _date
        self.samples = [sample(array) if tensor.op is None else None for tensor, array in zip(inputs, arrays)]

    def difference(self, tensors: Sequence) -> tuple[int, str] | None:
        """(number of the first input that is no longer what it was, why); None if there is none."""
        for i, (tensor, array, before) in enumerate(zip(tensors, self.arrays, self.samples)):
            date, by = _changes.get(id(owner(array)), (0, ""))
            if date > self.date:
                return i, f"was changed in place since by {by}"
            if tensor.data is not array:
                return i, "was given another array since"
            if before is not None and sample(array) != before:
                return i, "was changed in place since"
        return None


def sample(array: Any) -> bytes | None:
    """Some numbers of a NumPy array as bytes. None for CuPy's, for which the program would have to wait."""
    return array.flat[:: max(-(-array.size // SAMPLE), 1)].tobytes() if isinstance(array, np.ndarray) else None
