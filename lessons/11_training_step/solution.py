"""The alternating step, the way it is written in most frameworks: with `loss.backward()`.

`backward` adds the derivative of the loss to the `.grad` of every leaf that the loss depends on. `.grad` is a Tensor,
or None before the first time. A player is a module (`generator`, `discriminator`) with its own Adam:

    adam.parameters              {name: Parameter} of that player
    adam.step(gradients, rate)   moves them; takes a list of Tensors in the same order

LR is (n, h, w, 3) in [0, 1], HR and SR are (n, 4h, 4w, 3) in [-1, 1], D's logits are (n,).
"""

from minisrgan.losses import DiscriminatorLoss, NonSaturatingLoss, PixelMSE
from minisrgan.nn import held


def update(adam, loss, rate):
    """Move one player one step down `loss`, by the gradient of this loss and of no other."""
    # >>> Clear the old gradients, do the backward pass from the loss, and let adam take its step
    for parameter in adam.parameters.values():
        parameter.grad = None
    loss.backward()
    adam.step([parameter.grad for parameter in adam.parameters.values()], rate)
    # <<<


def training_step(generator, discriminator, adam_g, adam_d, lr, hr, weight, rate):
    """One move of D and then one of G, on the same SR. Returns the two losses, (L_D, L_G), as numbers.

    L_D = DiscriminatorLoss(D(HR), D(SR))        L_G = PixelMSE(SR, HR) + weight * NonSaturatingLoss(D(SR))
    """
    # >>> Generate SR once, and make D's move, in which SR is data
    sr = generator(lr)
    loss_d = DiscriminatorLoss(discriminator(hr), discriminator(sr.detach()))
    update(adam_d, loss_d, rate)
    # <<<
    # >>> Make G's move, in which D is a function that does not change: `held(discriminator)`
    with held(discriminator):
        loss_g = PixelMSE(sr, hr) + weight * NonSaturatingLoss(discriminator(sr))
    update(adam_g, loss_g, rate)
    return loss_d.item(), loss_g.item()
    # <<<
