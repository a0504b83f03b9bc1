"""What a training step costs."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from ..device.memory import most_memory

# of a step, the milliseconds; the images; the percentage that it waited for photos; the seconds of what is done besides
# the steps; all seconds; the most memory
COLUMNS = "ms images_a_second waiting besides seconds mebibytes".split()


class Cost:
    """A clock for a stage's steps. It stops while something else is done, such as measuring photos.

    The mean over many steps is right on a GPU too, though Python only asks it to compute, and goes on before it has.
    """

    def __init__(self) -> None:
        self.start, self.besides = time.perf_counter(), 0.0

    def total(self) -> float:
        """The seconds since the beginning."""
        return time.perf_counter() - self.start

    @contextmanager
    def stopped(self) -> Generator[None, None, None]:
        """What is done within counts as no step's."""
        start = time.perf_counter()
        yield
        self.besides += time.perf_counter() - start

    def figures(self, steps: int, batch: int, device: str, waited: float) -> dict[str, float]:
        """What so many steps have cost since the clock began, of which they waited for photos for some seconds: a
        number for each of COLUMNS."""
        total = self.total()
        each = (total - self.besides) / steps
        numbers = 1e3 * each, batch / each, 100 * waited / (steps * each), self.besides, total
        return dict(zip(COLUMNS, (*numbers, most_memory(device) / 2**20)))


def in_words(stage: str, steps: int, cost: Mapping[str, float]) -> str:
    """A stage's figures in words."""
    return (
        f"stage {stage}: {steps} step{'s' * (steps != 1)} of {cost['ms']:,.1f} ms, "
        f"{cost['images_a_second']:,.0f} images a second, {cost['waiting']:.1f} % of it waiting for photos; "
        f"{cost['besides']:.0f} of {cost['seconds']:.0f} s went into measuring, drawing and saving; "
        f"at most {cost['mebibytes']:,.0f} MiB of memory"
    )
