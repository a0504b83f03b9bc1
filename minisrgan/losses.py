"""Every loss: its formula, and its derivative written out.

A pixel loss or a feature loss compares two images; N is the number of values in one of them. An adversarial loss sees
D's logits: `real` for HR, `fake` for SR. E is the mean over the batch of n images.

A logit z may stand for the probability D(x) = σ(z) that x is real. Where it rounds to 0 or
1, a logarithm of it or of 1 - σ(z) is -∞. So the losses use softplus. With softplus(z) = ln(1 + eᶻ),

    -ln σ(z) = softplus(-z)        -ln(1 - σ(z)) = softplus(z)        softplus'(z) = σ(z)

which are exact for any logit.
"""

from collections.abc import Callable
from numbers import Number
from typing import Any, NamedTuple

from .arrays import array_module
from .errors import ShapeError
from .ops import Sigmoid, Softplus, WherePositive
from .tensor import Op, Tensor, definition, nhwc, no_grad, signature

softplus = definition(Softplus.forward)  # of an array


def same_shape(a: Any, b: Any) -> None:
    if a.shape != b.shape:
        raise ShapeError("the two images must be of one shape")


class Loss(Op):
    """An Op that refuses empty inputs, which have no mean."""

    def __new__(cls, *inputs: Any, **params: Any) -> Any:
        if not all(isinstance(each, Number) or each.size for each in inputs):
            raise ShapeError(f"{signature(cls, inputs)}: the mean of nothing")
        return super().__new__(cls, *inputs, **params)


class PixelMSE(Loss):
    """L = mean (SR - HR)², over all N samples of all images.

    ∂L/∂SR = 2(SR - HR)/N        ∂L/∂HR = -∂L/∂SR
    """

    def forward(sr, hr):
        same_shape(sr, hr)
        return ((sr - hr) ** 2).mean()

    def vjp(g, out, sr, hr):
        return lambda: PixelMSEGrad(sr, hr, g), lambda: PixelMSEGrad(hr, sr, g)


class PixelMSEGrad(Loss):
    """2g(a - b)/N: the derivative of PixelMSE in a, applied to a single number g;  2g/N, -2g/N, 2(a - b)/N."""

    def forward(a, b, g):
        same_shape(a, b)
        return (2 / a.size * g) * (a - b)

    def vjp(v, out, a, b, g):
        return (
            lambda: v * g * (2 / a.size),
            lambda: v * g * (-2 / a.size),
            lambda: (v * (a - b)).sum() * (2 / a.size),
        )


class PixelL1(Loss):
    """L = mean |SR - HR|, whose minimum is the median where PixelMSE's is the mean.

    ∂L/∂SR = sign(SR - HR)/N, and 0 where they are equal        ∂L/∂HR = -∂L/∂SR
    """

    def forward(sr, hr):
        same_shape(sr, hr)
        return abs(sr - hr).mean()

    def vjp(g, out, sr, hr):
        sign = Tensor(array_module(sr.data).sign(sr.data - hr.data))
        return lambda: g * sign / sr.size, lambda: -g * sign / sr.size


class PixelCharbonnier(Loss):
    """L = mean √((SR - HR)² + ε²): PixelL1 with its corner rounded off over a width of ε. Charbonnier et al. 1994.

    ∂L/∂SR = (SR - HR)/√((SR - HR)² + ε²)/N        ∂L/∂HR = -∂L/∂SR
    """

    def forward(sr, hr, eps=1e-3):
        same_shape(sr, hr)
        return (((sr - hr) ** 2 + eps**2) ** 0.5).mean()

    def vjp(g, out, sr, hr, eps=1e-3):
        def towards(a, b):
            return g * (a - b) * ((a - b) ** 2 + eps**2) ** -0.5 / a.size

        return lambda: towards(sr, hr), lambda: towards(hr, sr)


PIXEL_CONTENT = {"pixel": PixelMSE, "l1": PixelL1, "charbonnier": PixelCharbonnier}


def feature_mse(features: Callable[[Tensor], Tensor], sr: Tensor, hr: Tensor) -> Tensor:
    """L = mean (φ(SR) - φ(HR))², over the N samples of the features φ: the content loss with φ a part of VGG.

    By the chain rule, with J the Jacobian of φ at SR,

        ∂L/∂SR = Jᵀ ∂L/∂φ(SR) = Jᵀ · 2(φ(SR) - φ(HR))/N

    The walk back through φ is this product with Jᵀ, layer by layer. φ is frozen: the
    gradients of its weights are not computed. φ(HR) is a constant, and keeps no graph.
    """
    with no_grad():
        target = features(hr)
    return PixelMSE(features(sr), target)


def total_variation(sr: Tensor, eps: float = 1e-3) -> Tensor:
    """L = mean √((∂ᵧSR)² + ε²) + mean √((∂ₓSR)² + ε²), with ∂ᵧ, ∂ₓ the differences of neighbours in a column, a row.

    This is the anisotropic total variation |∂ᵧ| + |∂ₓ|, rounded off at 0. Each direction has N differences d. With
    ψ(d) = d/√(d² + ε²), each pixel is drawn to its two neighbours in that direction:

        ∂L/∂SR[i] = (ψ(SR[i] - SR[i - 1]) - ψ(SR[i + 1] - SR[i]))/N        (no term beyond the border)
    """
    _, height, width, _ = nhwc(sr)
    if min(height, width) < 2:
        raise ShapeError(f"total variation needs images of at least 2 x 2 pixels, not {height} x {width}")
    return PixelCharbonnier(sr[:, 1:], sr[:, :-1], eps=eps) + PixelCharbonnier(sr[:, :, 1:], sr[:, :, :-1], eps=eps)


def grid_loss(sr: Tensor, hr: Tensor, period: int, window: int = 4) -> Tensor:
    """L = mean (P(SR) - P(HR))², where P is an image's periodic pattern. It works against the grid of a generator.

    G treats all LR pixels alike. So where LR is flat, G adds the same to SR at each LR pixel: a pattern whose `period`
    is the scale. P finds this pattern. For each square of window×window LR pixels and each of the period² phases it
    takes the mean over the LR pixels, less the mean over all phases. P is linear. (But for that mean and a factor, P·Pᵀ
    is the identity.) And

        ∂L/∂SR = Pᵀ ∂L/∂P(SR) = Pᵀ · 2(P(SR) - P(HR))/N

    No texture but the grid is held back: of 256 pixels of a square it sees 15 directions. Lines that fill no square are
    left out. Raises ShapeError for an image smaller than a period.
    """
    return PixelMSE(periodic(sr, period, window), periodic(hr, period, window))


def periodic(x: Tensor, period: int, window: int) -> Tensor:
    """P of grid_loss: (N, H, W, C) → (N, ⌊H/(period·window)⌋, period, ⌊W/(period·window)⌋, period, C). In a small image
    the window is smaller."""
    n, height, width, channels = nhwc(x)
    window = min(window, height // period, width // period)
    if not window:
        raise ShapeError(f"an image of {height} x {width} pixels is too small for a grid of period {period}")
    side = period * window
    rows, columns = height // side, width // side
    if (height, width) != (rows * side, columns * side):
        x = x[:, : rows * side, : columns * side]
    squares = x.reshape((n, rows, window, period, columns, window, period, channels))
    phases = squares.mean((2, 5))  # n, row, i, column, j, c
    return phases - phases.mean((2, 4), keepdims=True)


class DiscriminatorLoss(Loss):
    """L_D = -(E[ln D(HR)] + E[ln(1 - D(SR))]) = E[softplus(-real)] + E[softplus(fake)].

    ∂L/∂real = -σ(-real)/n = (D(HR) - 1)/n        ∂L/∂fake = σ(fake)/n = D(SR)/n
    """

    def forward(real, fake):
        return softplus(-real).mean() + softplus(fake).mean()

    def vjp(g, out, real, fake):
        return lambda: -g * Sigmoid(-real) / real.size, lambda: g * Sigmoid(fake) / fake.size


class NonSaturatingLoss(Loss):
    """L_adv = -E[ln D(SR)] = E[softplus(-fake)]: G's loss where D does not take its images for real.

    ∂L/∂fake = -σ(-fake)/n = (D(SR) - 1)/n, which is largest where D is sure that the image was made.
    """

    def forward(fake):
        return softplus(-fake).mean()

    def vjp(g, out, fake):
        return lambda: -g * Sigmoid(-fake) / fake.size


class MinimaxLoss(Loss):
    """L_adv = E[ln(1 - D(SR))] = -E[softplus(fake)]: G's side of min_G max_D, as it was first written.

    ∂L/∂fake = -σ(fake)/n = -D(SR)/n, which vanishes where D is sure that the image was made: the loss saturates.
    """

    def forward(fake):
        return -softplus(fake).mean()

    def vjp(g, out, fake):
        return lambda: -g * Sigmoid(fake) / fake.size


class LeastSquaresDiscriminatorLoss(Loss):
    """L_D = ½E[(real - 1)²] + ½E[fake²]. It draws the logits themselves to 1 and to 0. Mao et al. 2017.

    ∂L/∂real = (real - 1)/n        ∂L/∂fake = fake/n
    """

    def forward(real, fake):
        return ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2

    def vjp(g, out, real, fake):
        return lambda: g * (real - 1) / real.size, lambda: g * fake / fake.size


class LeastSquaresLoss(Loss):
    """L_adv = ½E[(fake - 1)²].

    ∂L/∂fake = (fake - 1)/n, which grows with the distance, so that the loss cannot saturate.
    """

    def forward(fake):
        return ((fake - 1) ** 2).mean() / 2

    def vjp(g, out, fake):
        return lambda: g * (fake - 1) / fake.size


class HingeDiscriminatorLoss(Loss):
    """L_D = E[max(0, 1 - real)] + E[max(0, 1 + fake)]: a margin. Lim and Ye 2017; Miyato et al. 2018.

    ∂L/∂real = -1/n where real < 1, else 0        ∂L/∂fake = 1/n where fake > -1, else 0
    """

    def forward(real, fake):
        return (1 - real).clip(0).mean() + (1 + fake).clip(0).mean()

    def vjp(g, out, real, fake):
        return (
            lambda: -WherePositive(1 - real, g, 0) / real.size,
            lambda: WherePositive(1 + fake, g, 0) / fake.size,
        )


class WassersteinDiscriminatorLoss(Loss):
    """L_D = E[fake] - E[real]. Arjovsky et al. 2017.

    ∂L/∂real = -1/n        ∂L/∂fake = 1/n

    Over all D whose gradient norm is at most 1, the largest -L_D is the Wasserstein distance between real and made
    images. This loss does not bound the gradient norm, and without a bound D grows for ever. So it needs a gradient
    penalty or spectral norm.
    """

    def forward(real, fake):
        return fake.mean() - real.mean()

    def vjp(g, out, real, fake):
        return (
            lambda: (-g / real.size).broadcast_to(real.shape),
            lambda: (g / fake.size).broadcast_to(fake.shape),
        )


class WassersteinLoss(Loss):
    """L_adv = -E[fake]: G's side of the Wasserstein game, and of the hinge game.

    ∂L/∂fake = -1/n, whatever D thinks.
    """

    def forward(fake):
        return -fake.mean()

    def vjp(g, out, fake):
        return lambda: (-g / fake.size).broadcast_to(fake.shape)


class RelativisticLoss(Loss):
    """L_D = E[softplus(-a)] + E[softplus(b)], with a = real - E[fake] and b = fake - E[real].

    D says how much more real an image is than the mean of the other kind: σ(a) for HR, σ(b) for SR (relativistic
    average, Jolicoeur-Martineau 2018, as in ESRGAN). Each logit counts twice, by itself and in its kind's mean:

    ∂L/∂real = -(σ(-a) + E[σ(b)])/n        ∂L/∂fake = (σ(b) + E[σ(-a)])/n

    G's loss is the same with the two exchanged: L_adv = RelativisticLoss(fake, real). So G's loss depends on HR too.
    """

    def forward(real, fake):
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()

    def vjp(g, out, real, fake):
        doubt, belief = Sigmoid(fake.mean() - real), Sigmoid(fake - real.mean())  # σ(-a), σ(b)
        return (
            lambda: -g * (doubt + belief.mean()) / real.size,
            lambda: g * (belief + doubt.mean()) / fake.size,
        )


class Adversarial(NamedTuple):
    """The two sides of a game, as functions of logits.

    discriminator   (real, fake) → L_D
    generator       fake → L_adv; where the game is `relative`, (real, fake) → L_adv
    """

    discriminator: Callable
    generator: Callable
    relative: bool = False

    def generator_loss(self, discriminator: Callable[[Tensor], Tensor], hr: Tensor, sr: Tensor) -> Tensor:
        """L_adv of D's logits of SR, and in a `relative` game of HR too, which are constants to G."""
        if not self.relative:
            return self.generator(discriminator(sr))
        with no_grad():
            real = discriminator(hr)
        return self.generator(real, discriminator(sr))


ADVERSARIAL = {
    "minimax": Adversarial(DiscriminatorLoss, MinimaxLoss),
    "non-saturating": Adversarial(DiscriminatorLoss, NonSaturatingLoss),
    "least-squares": Adversarial(LeastSquaresDiscriminatorLoss, LeastSquaresLoss),
    "hinge": Adversarial(HingeDiscriminatorLoss, WassersteinLoss),
    "relativistic": Adversarial(RelativisticLoss, lambda real, fake: RelativisticLoss(fake, real), relative=True),
    "wasserstein": Adversarial(WassersteinDiscriminatorLoss, WassersteinLoss),
}
