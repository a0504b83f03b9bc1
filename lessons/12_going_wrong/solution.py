"""R1, by double backward: D pays for the length of its slope at the photos.

    P = γ/2 · E‖∇ₓz(x)‖²      z = D(x), the logit; E the mean over the n photos x; ‖ ‖² a sum over an image's samples

`discriminator` maps images (n, h, w, c) to logits (n,), each from its own image alone. hr and sr are Tensors of images:
both are at hand where D's loss is computed.
"""

from minisrgan.tensor import Tensor, grad


def r1_penalty(discriminator, hr, sr, gamma):
    """P as a Tensor of a single number, which can be differentiated in D's parameters."""
    # >>> D's slope at each photo; gamma/2 times the mean of its squared length
    x = Tensor(hr.data, requires_grad=True)
    (slopes,) = grad(discriminator(x).sum(), [x], create_graph=True)
    return gamma / 2 * (slopes**2).sum((1, 2, 3)).mean()
    # <<<


def r1_gradients(discriminator, hr, sr, gamma):
    """∂P/∂θ, a list of Tensors, one for each of discriminator.parameters()."""
    # >>> The penalty's gradients
    return grad(r1_penalty(discriminator, hr, sr, gamma), discriminator.parameters())
    # <<<
