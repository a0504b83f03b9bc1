"""What a step has measured: numbers that are there at once or, from a GPU, once somebody reads them.

To read one number of a GPU, the program waits until the GPU has done everything that it was asked for. So what a step
measures on a GPU gathers there, on a `Board`, and one copy brings back the rows of all steps so far. If a number is not
finite, nobody knows for a few steps. So the board also counts such numbers, on the GPU: its `state` is what Adam obeys.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..arrays import Array, on_gpu, to_device, to_numpy
from ..errors import DivergedError
from ..measures import Place, note

MOST = 64  # numbers of a step, beside D's logits


class Measured(Mapping[str, float]):
    """{name: number} of a step.

    where   what the step is called: "step 3 of stage gan"
    board   where its numbers wait; None: they are there at once

    Reading a number raises DivergedError if this step, or an earlier one on the board, measured a checked number that
    is not finite.
    """

    def __init__(self, where: str, board: "Board | None" = None) -> None:
        self.where, self.board = where, board
        self.numbers: dict[str, float] = {}
        self.error: DivergedError | None = None
        self.waiting: list[tuple[Callable, list[tuple[int, tuple[int, ...]]], bool]] = []
        if board:
            board.begin(self)

    def add(self, function: Callable[..., Mapping[str, float]], *arrays: Array, checked: bool = False) -> None:
        """Add what a function makes of these arrays, given as NumPy's: {name: number}. `checked`: they have to be
        finite, and so have the numbers in the arrays."""
        if self.board is None:
            self.take(function(*arrays), checked)
        else:
            self.waiting.append((function, [self.board.place(each, checked) for each in arrays], checked))

    def number(self, name: str, value: Any) -> Any:
        """Add a number that has to be finite, so that no step is taken with another. Returns it; on a GPU as the array
        that it is in, since nobody waits for it."""
        if on_gpu(value):
            self.add(lambda number: {name: float(number)}, value, checked=True)
            return value
        self.add(lambda: {name: float(value)}, checked=True)
        return float(value)

    def end(self, **numbers: float) -> None:
        """The step is over. Add the last numbers."""
        self.add(lambda: numbers)
        if self.board:
            self.board.note(ends=True)

    def take(self, numbers: Mapping[str, float], checked: bool) -> None:
        """Raises DivergedError for one that is not finite, if they are checked."""
        for name, value in numbers.items():
            if checked and not math.isfinite(value):
                raise DivergedError(
                    f"{self.where}: {name} is {value}, no longer finite; the run's folder keeps the state that was "
                    "last saved. Train with smaller --rates, or with --on-nan rollback"
                )
            self.numbers[name] = float(value)

    def take_row(self, row: np.ndarray) -> None:
        """The numbers that waited, from the step's row of the board."""
        for function, places, checked in self.waiting:
            self.take(function(*(row[at : at + math.prod(shape)].reshape(shape) for at, shape in places)), checked)
        self.waiting = []

    def _read(self) -> dict[str, float]:
        if self.board and self.waiting and not self.error:
            self.board.fetch()
        if self.error:
            raise self.error
        return self.numbers

    def __getitem__(self, name: str) -> float:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


class Board:
    """Where the numbers of up to ROWS steps wait on a device.

    batch   of how many images D's logits are among the numbers of a step
    state   on the device: how many checked numbers were not finite; how many steps are over
    """

    ROWS = 16

    def __init__(self, batch: int, device: str) -> None:
        self.rows = to_device(np.zeros((self.ROWS, 2 * batch + MOST), np.float32), device)
        self.state = to_device(np.zeros(2, np.int32), device)
        self.steps, self.column, self.open = 0, 0, False
        self.unfetched: list[tuple[int, Measured]] = []  # (its row, a step)
        self.fresh: list[tuple[Array, Place]] = []  # what was not yet noted

    def begin(self, measured: Measured) -> None:
        if self.open:
            self.unfetched.pop()  # a step that was never finished
        if len(self.unfetched) == self.ROWS:
            self.fetch()
        self.unfetched.append((self.steps % self.ROWS, measured))
        self.column, self.fresh, self.open = 0, [], True

    def place(self, array: Array, checked: bool) -> tuple[int, tuple[int, ...]]:
        """(the column, the shape) of an array that will be noted."""
        start = self.column
        self.fresh.append((array, Place(start, checked)))
        self.column += array.size
        return start, array.shape

    def note(self, ends: bool = False) -> Array:
        """Let the device write down all that was measured so far. Returns the state, whose first number is then 0 if
        all that had to be finite was. `ends`: the step is over."""
        if self.fresh or ends:
            note(self.rows, self.state, [array for array, _ in self.fresh], [place for _, place in self.fresh], ends)
        self.fresh = []
        if ends:
            self.steps, self.open = self.steps + 1, False
        return self.state

    def fetch(self) -> None:
        """Wait for the device, and hand all steps so far their numbers; from the first one on that diverged, its
        DivergedError."""
        self.note()
        rows, error = to_numpy(self.rows), None
        for row, measured in self.unfetched:
            try:
                if not error:
                    measured.take_row(rows[row])
            except DivergedError as diverged:
                error = diverged
            measured.error = error
        self.unfetched = self.unfetched[-1:] if self.open else []
