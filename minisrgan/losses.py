"""Every loss: its formula, and its derivative written out.

D returns logits z: D(x) = σ(z) is its probability that x is real. A probability rounded to 0 or 1 has no
logarithm, so nothing here takes one. With softplus(z) = ln(1 + eᶻ),

    -ln σ(z) = softplus(-z)        -ln(1 - σ(z)) = softplus(z)        softplus'(z) = σ(z)

which are exact for any logit. E is the mean over the batch, of n images.
"""

from .arrays import array_module
from .autodiff import Op, Sigmoid, Softplus
from .autodiff.tiles import map_elements, sum_channels
from .errors import ShapeError


def softplus(z):
    return Softplus.forward(z)


def same_shape(a, b):
    if a.shape != b.shape:
        raise ShapeError("the two images must be of one shape")


class PixelMSE(Op):
    """L = mean (SR - HR)², over all N samples of all images.

    ∂L/∂SR = 2(SR - HR)/N        ∂L/∂HR = -∂L/∂SR
    """

    def forward(sr, hr):
        same_shape(sr, hr)
        return ((sr - hr) ** 2).mean()

    def kernel(sr, hr):
        same_shape(sr, hr)
        return sum_channels("squared_error", sr, hr, channels=1)[0][0] / sr.size if sr.size else NotImplemented

    def vjp(g, out, sr, hr):
        return lambda: PixelMSEGrad(sr, hr, g), lambda: PixelMSEGrad(hr, sr, g)


class PixelMSEGrad(Op):
    """2g(a - b)/N: the derivative of PixelMSE in a, applied to a single number g;  2g/N, -2g/N, 2(a - b)/N."""

    def forward(a, b, g):
        return (2 / a.size * g) * (a - b)

    def kernel(a, b, g):
        weight = array_module(a).asarray(g).reshape(1)
        return map_elements("squared_error_backward", a, b, weight, 2 / a.size) if a.size else NotImplemented

    def vjp(v, out, a, b, g):
        return (
            lambda: v * g * (2 / a.size),
            lambda: v * g * (-2 / a.size),
            lambda: (v * (a - b)).sum() * (2 / a.size),
        )


class DiscriminatorLoss(Op):
    """L_D = -(E[ln D(HR)] + E[ln(1 - D(SR))]) = E[softplus(-real)] + E[softplus(fake)].

    ∂L/∂real = -σ(-real)/n = (D(HR) - 1)/n        ∂L/∂fake = σ(fake)/n = D(SR)/n
    """

    def forward(real, fake):
        return softplus(-real).mean() + softplus(fake).mean()

    def vjp(g, out, real, fake):
        return lambda: -g * Sigmoid(-real) / real.size, lambda: g * Sigmoid(fake) / fake.size


class NonSaturatingLoss(Op):
    """L_adv = -E[ln D(SR)] = E[softplus(-fake)]: what it costs G that its images are not taken for real.

    ∂L/∂fake = -σ(-fake)/n = (D(SR) - 1)/n, which is largest where D is sure that the image is made.
    """

    def forward(fake):
        return softplus(-fake).mean()

    def vjp(g, out, fake):
        return lambda: -g * Sigmoid(-fake) / fake.size


class MinimaxLoss(Op):
    """L_adv = E[ln(1 - D(SR))] = -E[softplus(fake)]: G's side of min_G max_D, as first written.

    ∂L/∂fake = -σ(fake)/n = -D(SR)/n, which vanishes where D is sure that the image is made: it saturates.
    """

    def forward(fake):
        return -softplus(fake).mean()

    def vjp(g, out, fake):
        return lambda: -g * Sigmoid(fake) / fake.size
