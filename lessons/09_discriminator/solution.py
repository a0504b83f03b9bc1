"""SRGAN's two adversarial losses, D's and G's, each with its derivative at the logits.

D gives a logit z for each image, and D(x) = 1/(1 + e⁻ᶻ) is the probability that x is real.

real   D's logits for the HR images, (n,)
fake   D's logits for the SR images, (m,): the number of images may differ

Both are NumPy arrays of float32 or float64. The logits may have any size: the results must be right at ±1000, and a
logit of ±50 must not be rounded to a probability of 0 or 1 before the logarithm is taken. The results have the dtype of
the logits. Write helper functions if you like.
"""

import numpy as np


def discriminator_loss(real, fake):
    """L_D = -(mean of ln D(HR) + mean of ln(1 - D(SR))), ∂L_D/∂real, ∂L_D/∂fake: a number and two arrays."""
    # >>> Return L_D and its two derivatives
    loss = softplus(-real).mean() + softplus(fake).mean()
    by_real = -sigmoid(-real) / real.size
    by_fake = sigmoid(fake) / fake.size
    return loss, by_real, by_fake
    # <<<


def adversarial_loss(fake):
    """L_adv = -mean of ln D(SR), the non-saturating loss, and ∂L_adv/∂fake: a number and an array."""
    # >>> Return L_adv and its derivative
    value = softplus(-fake).mean()
    slope = -sigmoid(-fake) / fake.size
    return value, slope


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))


def sigmoid(z):
    return np.exp(np.minimum(z, 0)) / (1 + np.exp(-abs(z)))
    # <<<
