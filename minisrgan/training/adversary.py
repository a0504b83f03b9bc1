"""D as G's adversary: the game that both play, and what keeps D in check."""

from ..losses import Adversarial
from ..nn import Module, both, held
from ..regularisers import Regulariser
from ..tensor import Tensor


class Adversary:
    """D, an adversarial loss and a regulariser.

    discriminator   images → logits
    game            of losses.ADVERSARIAL
    regulariser     an instance of one of regularisers.REGULARISERS
    """

    def __init__(self, discriminator: Module, game: Adversarial, regulariser: Regulariser) -> None:
        self.discriminator, self.game, self.regulariser = discriminator, game, regulariser

    def disturb(self, images: Tensor, progress: float) -> Tensor:
        """The images as D is to see them, at a fraction `progress` of the training."""
        return self.regulariser.disturb(images, progress)

    def discriminator_loss(self, hr: Tensor, sr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(L_D, the penalty to add, D's logits of HR, D's logits of SR) for disturbed images.

        SR must have no graph, so that no gradient goes on to G.
        """
        real, fake = both(hr, sr, self.discriminator)
        penalty = self.regulariser.penalty(self.discriminator, hr, sr, real, fake)
        return self.game.discriminator(real, fake), penalty, real, fake

    def generator_loss(self, hr: Tensor, sr: Tensor) -> Tensor:
        """L_adv for disturbed images. D only judges: its state does not change."""
        with held(self.discriminator):
            return self.game.generator_loss(self.discriminator, hr, sr)
