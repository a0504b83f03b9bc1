"""A content loss, and its derivative by hand, through a VGG in miniature.

φ has four steps: normalise the input as torchvision's weights expect it, apply one 1×1 convolution and a ReLU, and pool
by the mean of 2×2 (VGG pools by the largest). If the height or width is odd, pooling leaves out the last row or column.

images    (n, height, width, 3), RGB in [-1, 1], float64
weight    (3, c), the 1×1 convolution: each pixel's three numbers are multiplied by this matrix
bias      (c,)
φ         (n, height // 2, width // 2, c)

All are NumPy arrays. Use only NumPy, and no loops.
"""

import numpy as np

MEAN = np.array([0.485, 0.456, 0.406])  # of ImageNet's photos, RGB in [0, 1]
STD = np.array([0.229, 0.224, 0.225])  # their standard deviations


def normalise(images):
    """The images, brought from [-1, 1] to [0, 1], minus MEAN, divided by STD, channel by channel."""
    # >>> Return the images as the weights expect them
    return ((images + 1) / 2 - MEAN) / STD
    # <<<


def features(images, weight, bias):
    """φ: the images normalised, convolved, rectified and pooled."""
    # >>> Return the features
    x = np.maximum(normalise(images) @ weight + bias, 0)
    n, height, width, c = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, c).mean(axis=(2, 4))
    # <<<


def content_loss(sr, hr, weight, bias):
    """L = the mean of (φ(SR) - φ(HR))² over all features; and ∂L/∂SR, of SR's shape. HR is a constant."""
    # >>> Return the loss and its derivative at SR
    difference = features(sr, weight, bias) - features(hr, weight, bias)
    g = 2 / difference.size * difference
    g = g.repeat(2, axis=1).repeat(2, axis=2) / 4
    at_rectifier = np.zeros((*sr.shape[:3], len(bias)))
    at_rectifier[:, : g.shape[1], : g.shape[2]] = g
    mask = normalise(sr) @ weight + bias > 0
    return np.mean(difference**2), (mask * at_rectifier) @ weight.T / (2 * STD)
    # <<<
