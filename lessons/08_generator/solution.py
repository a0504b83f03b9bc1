"""What the pixel MSE asks of a generator, for one LR.

candidates are the HR that this LR may come from, (K, H, W, 3) in float64. weights, (K,), say how often each was seen.
The weights are positive, and need not add up to 1. An answer sr is one image, (H, W, 3). Only NumPy is needed.
"""

import numpy as np


def expected_mse(sr, candidates, weights):
    """The mean of sr's pixel MSE against the candidates, in which each counts in proportion to its weight: a number.

    The pixel MSE against one candidate is the mean of the squared differences over the H·W·3 samples of the image.
    """
    # >>> Return the expected loss
    p = weights / weights.sum()
    errors = ((sr - candidates) ** 2).mean(axis=(1, 2, 3))
    return (p * errors).sum()
    # <<<


def expected_slope(sr, candidates, weights):
    """∂expected_mse/∂sr, of the shape of sr."""
    # >>> Return the derivative
    p = weights / weights.sum()
    differences = sr - candidates
    return 2 / sr.size * np.einsum("k,khwc->hwc", p, differences)
    # <<<


def best_answer(candidates, weights):
    """The image with the smallest expected_mse, (H, W, 3). It need not be a candidate."""
    # >>> Return the best answer
    p = weights / weights.sum()
    return np.einsum("k,khwc->hwc", p, candidates)
    # <<<
