"""Batch norm's backward, in training and after it.

Arrays are (N, H, W, C) in float64; each channel has M = N·H·W values, over which its statistics are taken. g is ∂L/∂y,
of x's shape. gamma, running_mean and running_var are (C,). Only NumPy is needed, and no loop.
"""

import numpy as np


def batch_norm_backward(g, x, gamma, running_mean, running_var, eps, training):
    """(∂x, ∂γ, ∂β), of the shapes of x, γ and β.

    Forward was y = γ·x̂ + β with x̂ = (x - μ)/√(v + ε). In training μ and v are the mean and variance of this x, and v
    is the mean square about μ, so divided by M. After it they are running_mean and running_var, and constants.
    """
    # >>> Return (dx, dgamma, dbeta)
    axes = (0, 1, 2)
    mean = x.mean(axes) if training else running_mean
    var = x.var(axes) if training else running_var
    s = np.sqrt(var + eps)
    x_hat = (x - mean) / s
    h = g * gamma
    dx = h / s
    if training:
        dx = (h - h.mean(axes) - x_hat * (h * x_hat).mean(axes)) / s
    return dx, (g * x_hat).sum(axes), g.sum(axes)
    # <<<
