"""What a training step costs."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from ..device.memory import most_memory


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

    def sentence(self, stage: str, steps: int, batch: int, device: str, waited: float) -> str:
        """What so many steps have cost since the clock began, of which they waited for photos for some seconds."""
        total = self.total()
        each = (total - self.besides) / steps
        return (
            f"stage {stage}: {steps} step{'s' * (steps != 1)} of {1e3 * each:,.1f} ms, "
            f"{batch / each:,.0f} images a second, {100 * waited / (steps * each):.1f} % of it waiting for photos; "
            f"{self.besides:.0f} of {total:.0f} s went into measuring, drawing and saving; "
            f"at most {most_memory(device) / 2**20:,.0f} MiB of memory"
        )
