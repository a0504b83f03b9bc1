"""What the ranks say to each other. All of it comes from three messages: `gather`, `exchange` and `broadcast`.

Sums are taken in the order of the ranks, whatever library carries the messages. (MPI's and NCCL's own sums may choose
another order from one run to the next, and so other bits.) A large array is cut into as many pieces as there are ranks.
Each rank gets its piece from all others, adds them up, and hands the sum on to all. So a rank sends 2(N - 1)/N times
the array, which is the least possible.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import Array, array_module
from ..errors import ConfigError, MinisrganError

SMALL = 4096  # numbers; so many are sent whole, since two messages would take longer


class Communicator:
    """One of `size` ranks, and how it talks to the others. Every rank has to make the same calls in the same order.

    Another class carries the messages. Raises RanksError if no answer comes.
    """

    rank: int
    size: int
    patient = False  # whether a rank may take as long as it likes before it answers

    def gather(self, array: Array) -> Array:
        """(size, *the array's shape): each rank's array, in the order of the ranks."""
        raise NotImplementedError

    def exchange(self, array: Array) -> Array:
        """From (size, n), with row r for rank r, to (size, n): each rank's row for this rank."""
        raise NotImplementedError

    def broadcast(self, data: bytes) -> bytes:
        """Rank 0's bytes, whatever the others give."""
        raise NotImplementedError

    def total(self, array: Array) -> Array:
        """The sum over the ranks, in their order: the same bits on each."""
        if array.size <= SMALL:
            return in_order(self.gather(array))
        length = -(-array.size // self.size)
        pieces = array_module(array).zeros((self.size, length), array.dtype)
        pieces.reshape(-1)[: array.size] = array.reshape(-1)
        whole = self.gather(in_order(self.exchange(pieces)))
        return whole.reshape(-1)[: array.size].reshape(array.shape)

    def totals(self, arrays: Sequence[Array]) -> list[Array]:
        """The sum of each array over the ranks: all in one message."""
        flat = array_module(arrays[0]).concatenate([each.reshape(-1) for each in arrays])
        whole, start, found = self.total(flat), 0, []
        for each in arrays:
            found.append(whole[start : start + each.size].reshape(each.shape))
            start += each.size
        return found

    def own(self, rows: Any) -> Any:
        """This rank's part of the rows of a whole batch."""
        part = len(rows) // self.size
        return rows[self.rank * part : (self.rank + 1) * part]

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What `make` returns on rank 0, which alone calls it: something for JSON. An error of it is raised on all."""
        if self.rank:
            answer = json.loads(self.broadcast(b""))
            if "error" in answer:
                raise ConfigError(answer["error"])
            return answer["value"]
        try:
            value = make()
        except MinisrganError as error:
            self.broadcast(json.dumps({"error": str(error)}).encode())
            raise
        self.broadcast(json.dumps({"value": value}).encode())
        return value

    def texts(self, text: str) -> list[str]:
        """Every rank's text, in the order of the ranks."""
        mine = np.frombuffer(text.encode(), np.uint8)
        sizes = self.gather(np.array([mine.size]))[:, 0].tolist()
        padded = np.zeros(max(sizes), np.uint8)
        padded[: mine.size] = mine
        return [bytes(row[:size]).decode() for row, size in zip(self.gather(padded), sizes)]

    def check_alike(self, facts: dict[str, str]) -> None:
        """Raise ConfigError on all ranks, which names the first difference, unless `facts` are the same on all.

        facts   {what it is, such as "device": which one it is here, in a few words}
        """
        first, *others = map(json.loads, self.texts(json.dumps(facts)))
        for rank, theirs in enumerate(others, 1):
            for what in first:
                if theirs.get(what) != first[what]:
                    raise ConfigError(
                        f"rank {rank} has another {what} than rank 0: {theirs.get(what)}, not {first[what]}"
                    )


def in_order(stack: Array) -> Array:
    """The sum along the first axis, one after another."""
    total = stack[0].copy()
    for each in stack[1:]:
        total += each
    return total
