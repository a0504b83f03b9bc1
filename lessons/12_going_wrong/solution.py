"""R1, by double backward: D pays for the norm of its gradient at the photos.

    P = γ/2 · E‖∇ₓz(x)‖²      z = D(x), the logit; E, the mean over the n photos x; ‖ ‖², a sum over an image's samples

`discriminator` maps images (n, h, w, c) to logits (n,); each logit depends on its own image alone. hr and sr are
Tensors of images. The functions get both, because both are available where D's loss is computed.
"""

from minisrgan.tensor import Tensor, grad


def r1_penalty(discriminator, hr, sr, gamma):
    """P as a Tensor with a single number, which can be differentiated with respect to D's parameters."""
    # >>> Compute D's gradient at each photo; return gamma/2 times the mean of its squared norm
    x = Tensor(hr.data, requires_grad=True)
    (slopes,) = grad(discriminator(x).sum(), [x], create_graph=True)
    return gamma / 2 * (slopes**2).sum((1, 2, 3)).mean()
    # <<<


def r1_gradients(discriminator, hr, sr, gamma):
    """∂P/∂θ, a list of Tensors, one for each of discriminator.parameters()."""
    # >>> Return the penalty's gradients
    return grad(r1_penalty(discriminator, hr, sr, gamma), discriminator.parameters())
    # <<<
