"""Jobs that the ranks share out, such as the photos of a folder."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .communicator import Communicator


def shared_out(ranks: Communicator, work: Callable[[int], Any], sizes: Sequence[float]) -> Iterator[Any]:
    """On rank 0, yields what `work(i)` returns for each job i, in the order of the jobs; on the others, nothing.

    work    does a job on any rank, and returns something for JSON
    sizes   of the jobs: those of about one size are done at a time, so that no rank waits long for another
    """
    ranks.patient = True
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    done, due = {}, 0
    for start in range(0, len(order), ranks.size):
        at_once = order[start : start + ranks.size]
        own = work(at_once[ranks.rank]) if ranks.rank < len(at_once) else None
        done |= dict(zip(at_once, map(json.loads, ranks.texts(json.dumps(own)))))
        while not ranks.rank and due in done:
            yield done.pop(due)
            due += 1
