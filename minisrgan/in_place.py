"""Was an array changed in place after an op had read it? Then the op's derivative would be taken where it never was.

The classic mistake of a GAN's code: both losses first, D's step next, G's gradient last, through weights of D that are
no longer those that made the loss. Nothing about such a gradient looks wrong. So whoever changes an array in place says
`changed(array, by)`, an op that is recorded takes a `Snapshot` of what it reads, and the walk back asks it.

A change counts for all that lies in the same memory: views, and Tensors that share their data. It is dated by a clock
that ticks at each change, so that a snapshot costs next to nothing: the date, and the arrays that are alive anyway.
What is changed by hand, `x.data[0] = 1`, says nothing; in arrays that no op made, a sample of their numbers does.
"""

import weakref

import numpy as np

SAMPLE = 64  # numbers of an array that are compared, evenly spread: all, where there are no more than these

_changes = {}  # id of whatever owns the memory → (date of the last change, by what)
_date = 0


def changed(array, by):
    """Say that `array` was changed in place, and by what: "Adam.step, which moved the parameter conv.weight"."""
    global _date
    _date += 1
    memory = owner(array)
    if id(memory) not in _changes:
        weakref.finalize(memory, _changes.pop, id(memory), None).atexit = False
    _changes[id(memory)] = _date, by


def owner(array):
    """The object that the array's memory belongs to: the same one for all views of it."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return array


class Snapshot:
    """What an op has read: the arrays of its inputs, and when."""

    __slots__ = ("arrays", "date", "samples")

    def __init__(self, inputs, arrays):
        self.arrays, self.date = arrays, _date
        self.samples = [sample(array) if tensor.op is None else None for tensor, array in zip(inputs, arrays)]

    def difference(self, tensors):
        """(number of the first of these inputs that is no longer what it was, why); None if all are."""
        for i, (tensor, array, before) in enumerate(zip(tensors, self.arrays, self.samples)):
            date, by = _changes.get(id(owner(array)), (0, ""))
            if date > self.date:
                return i, f"was changed in place since by {by}"
            if tensor.data is not array:
                return i, "was given another array since"
            if before is not None and sample(array) != before:
                return i, "was changed in place since"
        return None


def sample(array):
    """Some numbers of a NumPy array as bytes. None for others: what is on a GPU would have to be waited for."""
    return array.flat[:: 1 + array.size // SAMPLE].tobytes() if isinstance(array, np.ndarray) else None
