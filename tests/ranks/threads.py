"""Ranks that are threads of this process: what is computed on several ranks can then be compared without MPI."""

import threading

import numpy as np

from minisrgan.errors import RanksError
from minisrgan.ranks.communicator import Communicator

PATIENCE = 60  # seconds


class Threads(Communicator):
    def __init__(self, rank, shared):
        self.rank, self.size = rank, shared.size
        self.shared = shared

    def say(self, item):
        """What every rank says, in the order of the ranks."""
        shared = self.shared
        try:
            shared.barrier.wait()
            shared.said[self.rank] = item
            shared.messages[self.rank] += 1
            shared.barrier.wait()
        except threading.BrokenBarrierError:
            raise RanksError("another rank has failed") from None
        return list(shared.said)

    def gather(self, array):
        return np.stack(self.say(np.array(array)))

    def exchange(self, array):
        return np.stack([theirs[self.rank] for theirs in self.say(np.array(array))])

    def broadcast(self, data):
        return self.say(data)[0]


class Shared:
    def __init__(self, size):
        self.size, self.barrier = size, threading.Barrier(size, timeout=PATIENCE)
        self.said, self.messages = [None] * size, [0] * size


def on_ranks(size, work):
    """[what work(ranks) returns on each rank], each in a thread of its own. Raises what the first to fail raised."""
    shared, results, errors = Shared(size), [None] * size, []

    def run(rank):
        try:
            results[rank] = work(Threads(rank, shared))
        except BaseException as error:
            errors.append(error)
            shared.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
