"""Training on several ranks: each has an equal part of every batch, and all of them the same weights.

Every rank chooses the same crops, and takes its part of them. So any number of ranks trains on the same crops, and
computes the same step but for the rounding. What is no mean over images is taken over the whole batch all the same:
D's logits are gathered for its losses and its measurements, a gradient's length at SR is that of all SR, and what a
regulariser draws is drawn for the whole batch. Only batch norm is each rank's own, unless `synchronised`.

The gradients of G and of D go to the others in one message each, and are summed in the order of the ranks.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..arrays import array_module, on_gpu
from ..errors import ConfigError
from ..imaging.patches import Crop, PhotoSet
from ..losses import Adversarial
from ..measures import norm, sums_beyond
from ..models.generator import enlarge_bicubic
from ..nn import BatchNorm, Module, both, held
from ..optim import Adam
from ..ranks.batch import MeanOfRanks, OfAllRanks, synchronise
from ..ranks.communicator import Communicator
from ..regularisers import Regulariser
from ..tensor import Tensor, grad, no_grad
from .adversary import Adversary
from .config import TrainConfig
from .health import measure_images
from .trainer import Trainer


class RankTrainer(Trainer):
    """One rank's Trainer. Raises ConfigError for a batch that the ranks cannot share equally.

    part   which of a step's crops are this rank's
    """

    def __init__(
        self, config: TrainConfig, photos: PhotoSet, device: str, ranks: Communicator, synchronised: bool = False
    ) -> None:
        check_batch(config.batch, ranks.size)
        self.ranks, each = ranks, config.batch // ranks.size
        self.part = slice(ranks.rank * each, (ranks.rank + 1) * each)
        super().__init__(config, photos, device)
        theirs = self.adversary
        theirs.regulariser.rng = PartOfDraws(theirs.regulariser.rng, ranks)
        self.adversary = RankAdversary(theirs.discriminator, theirs.game, theirs.regulariser, ranks, synchronised)
        if synchronised:
            synchronise(self.generator, ranks)
            synchronise(self.discriminator, ranks)

    def has_own_batch_norm(self) -> bool:
        """Whether a batch norm takes the statistics of this rank's crops alone."""
        layers = (each for model in (self.generator, self.discriminator) for _, each in model.modules())
        return any(type(each) is BatchNorm for each in layers)

    def choose_crops(self) -> list[Crop]:
        return super().choose_crops()[self.part]

    def gradient_at_sr(self, sr: Tensor, terms: dict[str, tuple[float | None, Callable[[Tensor], Tensor]]]) -> Tensor:
        def of_all(term):
            return lambda sr: MeanOfRanks(term(sr), ranks=self.ranks)

        # the adversarial loss is the whole batch's already
        whole = {name: (w, term if name == "adversarial" else of_all(term)) for name, (w, term) in terms.items()}
        return super().gradient_at_sr(sr, whole)

    def length(self, gradient: Tensor) -> Any:
        length = super().length(gradient)
        if on_gpu(length):
            return self.ranks.total(length * length) ** 0.5
        return math.sqrt(self.ranks.total(np.array([length * length]))[0])

    def measure_images(self, hr: Tensor, lr: Tensor, sr: Tensor) -> None:
        """The moments are those of measures.moments_beyond, with each of its sums over the images of all ranks."""
        xp = array_module(sr.data)
        with no_grad():
            bicubic = enlarge_bicubic(lr, self.config.generator.scale).data
        sums = [xp.asarray(each) for each in sums_beyond(bicubic, hr.data, sr.data)]
        power, wanted, added, colour = self.ranks.totals(sums)
        drift = 127.5 * xp.abs(colour / self.ranks.size).max()
        moments = (xp.asarray(each) for each in (power, wanted, (added * added).sum(), drift))
        self.measured.add(partial(measure_images, self.config.batch), *moments)

    def update(self, adam: Adam, name: str, rate: float, output: Tensor, cotangent: Tensor | None = None) -> None:
        gradients = grad(output, adam.parameters.values(), cotangent)
        gradients = [Tensor(each) for each in self.ranks.totals([gradient.data for gradient in gradients])]
        self.measured.number(name, norm([each.data for each in gradients]))
        adam.step(gradients, rate, self.board.note() if self.board else None)


class RankAdversary(Adversary):
    """D as the adversary of all ranks: its losses are functions of the logits of the whole batch."""

    def __init__(
        self,
        discriminator: Module,
        game: Adversarial,
        regulariser: Regulariser,
        ranks: Communicator,
        synchronised: bool,
    ) -> None:
        super().__init__(discriminator, game, regulariser)
        self.ranks, self.synchronised = ranks, synchronised

    def discriminator_loss(self, hr: Tensor, sr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        real, fake = self.judge(hr, sr)
        penalty = self.regulariser.penalty(self.discriminator, hr, sr, real, fake)  # a mean over images
        penalty = MeanOfRanks(penalty, ranks=self.ranks)
        real, fake = OfAllRanks(real, ranks=self.ranks), OfAllRanks(fake, ranks=self.ranks)
        return self.game.discriminator(real, fake), penalty, real, fake

    def judge(self, hr: Tensor, sr: Tensor) -> tuple[Tensor, Tensor]:
        """D's logits of this rank's images. Synchronised batch norm sees them one after the other, not side by side."""
        d = self.discriminator
        return (d(hr), d(sr)) if self.synchronised else both(hr, sr, d)

    def generator_loss(self, hr: Tensor, sr: Tensor) -> Tensor:
        with held(self.discriminator):
            return self.game.generator_loss(
                lambda images: OfAllRanks(self.discriminator(images), ranks=self.ranks), hr, sr
            )


class PartOfDraws(np.random.Generator):
    """A regulariser's random numbers: drawn for the whole batch, of which this rank gets its part."""

    def __init__(self, rng: np.random.Generator, ranks: Communicator) -> None:
        super().__init__(rng.bit_generator)
        self.ranks = ranks

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return self.ranks.own(super().random(self.whole(size), dtype))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return self.ranks.own(super().standard_normal(self.whole(size), dtype))

    def whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] * self.ranks.size, *shape[1:])


def check_batch(batch: int, ranks: int) -> None:
    """Raise ConfigError unless the ranks can share a batch equally."""
    if batch % ranks:
        fitting = [str(n) for n in range(2, batch + 1) if batch % n == 0]
        start = f"start {', '.join(fitting)} ranks, or " if fitting else ""
        raise ConfigError(
            f"{batch} crops a step cannot be shared equally by {ranks} ranks: {start}give a --batch that is a multiple "
            f"of {ranks}"
        )
