"""Pixel shuffle, its vjp, and initial weights for the convolution before it.

    x  (N, H, W, r²C)    y  (N, rH, rW, C)    y[n, r·h + i, r·w + j, c] = x[n, h, w, (i·r + j)·C + c]

`icnr` draws weights (k, k, Cin, r²C) for the convolution before the shuffle. They are He's weights for a convolution
with C output channels, normal with mean 0 and variance 2/(k²·Cin), and the same for each of the r² offsets (i, j).
"""

import numpy as np


def shuffle(x, r):
    """Deal out the channels: (N, H, W, r²C) → (N, rH, rW, C)."""
    n, h, w, channels = x.shape
    c = channels // r**2
    # >>> Give each index of the formula its own axis, and put the axes into the order of the left side
    x = x.reshape(n, h, w, r, r, c)  # n, h, w, i, j, c
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, r * h, r * w, c)
    # <<<


def shuffle_vjp(g, r):
    """The cotangent of x from the cotangent of y: (N, rH, rW, C) → (N, H, W, r²C)."""
    # >>> Which element of g belongs to an element of x?
    n, h, w, c = g.shape
    g = g.reshape(n, h // r, r, w // r, r, c)  # n, h, i, w, j, c
    return g.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // r, w // r, r**2 * c)
    # <<<


def icnr(rng, kernel, cin, cout, r):
    """Weights (kernel, kernel, cin, cout), drawn with rng.standard_normal; cout is r²C."""
    # >>> Draw the weights of one offset, and repeat them for all offsets
    one = rng.standard_normal((kernel, kernel, cin, cout // r**2)) * np.sqrt(2 / (kernel**2 * cin))
    return np.tile(one, r**2)
    # <<<
