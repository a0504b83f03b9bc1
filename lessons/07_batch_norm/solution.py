"""The backward pass of batch norm, in training and after training.

Arrays are (N, H, W, C) in float64. Each channel has M = N·H·W values, and its statistics are over these. g is ∂L/∂y and
has the shape of x. gamma, running_mean and running_var have the shape (C,). You need only NumPy, and no loop.
"""

import numpy as np


def batch_norm_backward(g, x, gamma, running_mean, running_var, eps, training):
    """(∂x, ∂γ, ∂β), with the shapes of x, γ and β.

    The forward pass was y = γ·x̂ + β with x̂ = (x - μ)/√(v + ε). In training μ and v are the mean and variance of this x;
    v is the sum of the squares about μ, divided by M. After training they are running_mean and running_var, constants.
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
