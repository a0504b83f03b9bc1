"""What keeps D from winning at once, or from running away: each regulariser, and its derivative.

D's loss is L_D + penalty, and D sees the images that `disturb` returns. A regulariser does one of three things: it
adds a penalty, it disturbs the images, or it needs another D (`needs`).
"""

import math
from typing import Any

import numpy as np

from .arrays import array_module
from .errors import ConfigError
from .losses import ADVERSARIAL
from .nn import BatchNorm, Module, held
from .tensor import Tensor, grad


def image_gradients(discriminator: Module, images: Tensor) -> Tensor:
    """∇ₓD(x) for each image x, as a Tensor that can be differentiated again in D's parameters.

    The gradient of Σ D(xᵢ) in xᵢ is ∇D(xᵢ), if no logit depends on another image. Batch norm's statistics make the
    logits depend on all images. So a D that has batch norm is refused while it trains.
    """
    if any(isinstance(each, BatchNorm) and each.training for _, each in discriminator.modules()):
        raise ConfigError(
            "a penalty on D's gradient in each image needs a D without batch norm, which ties the images of a batch "
            "together: set batch_norm=False"
        )
    x = Tensor(images.data, requires_grad=True)
    with held(discriminator):
        return grad(discriminator(x).sum(), x, create_graph=True)[0]


def squared_norms(gradients: Tensor) -> Tensor:
    """‖∇D(x)‖² of each image."""
    return (gradients**2).sum(tuple(range(1, gradients.ndim)))


class Regulariser:
    """The base class, which regularises nothing.

    rng        draws what is random; its state belongs in a checkpoint
    needs      settings of DiscriminatorConfig that it needs
    games      names of the adversarial losses that it goes with
    strength   γ, λ, α or s of the formula; 0 where it has no such number
    """

    needs: dict[str, Any] = {}
    games = tuple(ADVERSARIAL)
    strength: float = 0.0

    def __init__(self, rng: np.random.Generator, strength: float | None = None) -> None:
        self.rng = rng
        self.strength = self.strength if strength is None else strength

    @classmethod
    def check(cls, adversarial: str, strength: float | None = None) -> None:
        """Raise ConfigError if it makes no sense with this adversarial loss, or with this strength."""
        name = next(name for name, each in REGULARISERS.items() if each is cls)
        if adversarial not in cls.games:
            raise ConfigError(f"{name} goes with {', '.join(cls.games)}, and not with {adversarial!r}")
        if strength is not None and not cls.strength:
            raise ConfigError(f"the regulariser {name} has no strength to set")
        if strength is not None and not 0 <= strength < math.inf:
            raise ConfigError(f"a regulariser's strength is 0 or more, not {strength}")

    def disturb(self, images: Tensor, progress: float) -> Tensor:
        """The images that D sees, in D's step and in G's, at a fraction `progress` of the training."""
        return images

    def penalty(self, discriminator: Module, hr: Tensor, sr: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        """A single number to add to L_D, from the images that D saw and their logits."""
        return Tensor(array_module(real.data).zeros((), real.dtype))


class R1(Regulariser):
    """γ/2·E‖∇ₓD(x)‖² at real images x, where D should be flat. Mescheder et al. 2018, equation 9.

    ∂/∂θ = γ·E[(∂∇ₓD/∂θ)ᵀ ∇ₓD]. It is the derivative of a derivative: a walk back through D, and then through that walk.
    """

    needs = {"batch_norm": False}
    strength = 10.0

    def penalty(self, discriminator: Module, hr: Tensor, sr: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        return self.strength / 2 * squared_norms(image_gradients(discriminator, hr)).mean()


class GradientPenalty(Regulariser):
    """λ·E[(‖∇ₓD(x)‖ - 1)²] at x = t·HR + (1 - t)·SR, t uniform in [0, 1]. Gulrajani et al. 2017, equation 3.

    It holds D's gradient norm at 1, as the Wasserstein distance needs it, on the way from made to real images.

    ∂/∂θ = 2λ·E[(1 - 1/‖∇ₓD‖)·(∂∇ₓD/∂θ)ᵀ ∇ₓD]. The norm is √(‖·‖² + ε), with a derivative at a zero gradient too.
    """

    needs = {"batch_norm": False}
    strength = 10.0
    eps = 1e-12

    def penalty(self, discriminator: Module, hr: Tensor, sr: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        t = self.rng.random((len(hr.data), *(1,) * (hr.ndim - 1)), hr.dtype)
        t = array_module(hr.data).asarray(t)
        between = Tensor(t * hr.data + (1 - t) * sr.data)
        norms = (squared_norms(image_gradients(discriminator, between)) + self.eps) ** 0.5
        return self.strength * ((norms - 1) ** 2).mean()


class SpectralNormalisation(Regulariser):
    """A D in which the weights of every layer are divided by their largest singular value. It bounds D's gradient norm.
    Miyato et al. 2018.

    nn.SpectralNormed does it, and ops/spectral_norm.py has the derivative.
    """

    needs = {"batch_norm": False, "spectral_norm": True}


class LabelSmoothing(Regulariser):
    """The label of real images is 1 - α instead of 1. It is one-sided: the label of made images stays 0.
    Salimans et al. 2016.

    -(1 - α)·ln σ(z) - α·ln(1 - σ(z)) = softplus(-z) + α·z, so L_D grows by α·E[real]. The least-squares loss
    gains the same term and a constant: ½(z - (1 - α))² = ½(z - 1)² + α·z + constant.

    ∂/∂real = α/n. L_D's derivative becomes (D(HR) - (1 - α))/n: a D that is surer than 1 - α is drawn back.
    """

    games = ("minimax", "non-saturating", "least-squares")  # the others have no labels, or labels of pairs
    strength = 0.1

    def penalty(self, discriminator: Module, hr: Tensor, sr: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        return self.strength * real.mean()


class InstanceNoise(Regulariser):
    """Noise on all images that D sees: x + s·ξ with a normal ξ. s falls to 0 as the training goes on.

    Early on, the noise makes real and made images overlap, however far apart they are, and D has a gradient that G can
    follow.
    Sønderby et al. 2017. ∂/∂x = 1, since the noise is a constant.
    """

    strength = 0.1

    def disturb(self, images: Tensor, progress: float) -> Tensor:
        noise = self.rng.standard_normal(images.shape, images.dtype)
        return images + Tensor(self.strength * (1 - progress) * array_module(images.data).asarray(noise))


REGULARISERS = {
    "none": Regulariser,
    "r1": R1,
    "gradient-penalty": GradientPenalty,
    "spectral-norm": SpectralNormalisation,
    "label-smoothing": LabelSmoothing,
    "instance-noise": InstanceNoise,
}
