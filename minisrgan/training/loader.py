"""Patches that are loaded beside the steps: while one is taken, a thread cuts and turns those of the next ones."""

import copy
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..imaging.patches import Crop, PhotoSet

if TYPE_CHECKING:
    from .trainer import Trainer

AHEAD = 4  # steps


class Ahead(PhotoSet):
    """A trainer's photos, while they are loaded ahead: within the block, it stands in their place.

    Which crops come next follows from the state of the trainer's generator of random numbers, so a copy of it tells
    them. The trainer still chooses its crops itself. If they are others than the copy foretold, as after going back,
    they are loaded when they are asked for. So no bit of a training depends on this.

    waited   seconds that the steps have waited for patches
    part     which of a step's crops are loaded ahead; by default all
    """

    def __init__(self, trainer: "Trainer") -> None:
        self.trainer, self.photos = trainer, trainer.photos
        vars(self).update(vars(trainer.photos))
        self.waited, self.part = 0.0, getattr(trainer, "part", slice(None))  # a RankTrainer has one
        self.thread = ThreadPoolExecutor(1, "photos")
        self.coming: deque[tuple[list[Crop], list[Crop], Future]] = deque()  # (all crops, those of the part, patches)
        self.later = trainer.crop_rng  # the copy, as it is after the last of them
        self.ready: tuple[list[Crop], Future] | None = None  # what was loaded for the present step

    def __enter__(self) -> Self:
        self.trainer.photos = self
        return self

    def __exit__(self, *_: Any) -> None:
        self.trainer.photos = self.photos
        self.thread.shutdown(wait=False, cancel_futures=True)

    def choose(self, rng: np.random.Generator, n: int) -> list[Crop]:
        """As PhotoSet.choose. From here on, the steps that follow are loaded."""
        crops = self.photos.choose(rng, n)
        foretold = self.coming.popleft() if self.coming else None
        if foretold and foretold[0] == crops:
            self.ready = foretold[1:]
        else:
            self.ready, self.later = None, copy.deepcopy(rng)
            while self.coming:
                self.coming.pop()[-1].cancel()
        while len(self.coming) < AHEAD:
            later = self.photos.choose(self.later, n)
            self.coming.append((later, later[self.part], self.thread.submit(self.photos.both, later[self.part])))
        return crops

    def hr(self, crops: Sequence[Crop]) -> np.ndarray:
        return self._loaded(0, crops)

    def lr(self, crops: Sequence[Crop]) -> np.ndarray:
        return self._loaded(1, crops)

    def _loaded(self, which, crops):
        start = time.perf_counter()
        try:
            if self.ready and self.ready[0] == crops:
                return self.ready[1].result()[which]
            self.ready = crops, self.thread.submit(self.photos.both, crops)
            return self.ready[1].result()[which]
        finally:
            self.waited += time.perf_counter() - start
