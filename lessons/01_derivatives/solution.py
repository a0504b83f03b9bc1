"""A gradient check, and a vjp to use it on. Arrays are NumPy's, float64.

f      a function of one array x, smooth near x; the result is an array, perhaps of another shape
vjp    vjp(g, x) is claimed to be Jᵀg; g has the shape of f(x), the result has the shape of x
rng    a NumPy random generator: rng.standard_normal(shape) is an array of normal random numbers
"""

import numpy as np

H = 1e-5  # the step


def gradient_error(f, vjp, x, rng):
    """The difference between ⟨v, Jd⟩ and ⟨Jᵀv, d⟩, relative to the larger of the two: a number, 0 or more.

    v is a random cotangent and d a random direction. Jd is the central difference of f along d with step H. Jᵀv is
    the result of vjp.
    """
    # >>> Draw v and d, compute both sides, and compare them
    v = rng.standard_normal(f(x).shape)
    d = rng.standard_normal(x.shape)
    measured = np.sum(v * (f(x + H * d) - f(x - H * d))) / (2 * H)
    predicted = np.sum(vjp(v, x) * d)
    return abs(predicted - measured) / max(abs(predicted), abs(measured))
    # <<<


def differences(x):
    """Each pixel's right neighbour minus the pixel, along each row: images (N, H, W, C) give (N, H, W - 1, C)."""
    return x[:, :, 1:] - x[:, :, :-1]


def differences_vjp(g, x):
    """The vjp of `differences`: g is (N, H, W - 1, C), the result (N, H, W, C)."""
    # >>> For each pixel, add up the shares from the differences that it is part of
    dx = np.zeros_like(x)
    dx[:, :, 1:] += g
    dx[:, :, :-1] -= g
    return dx
    # <<<


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    error = gradient_error(differences, differences_vjp, rng.standard_normal((2, 3, 5, 4)), rng)
    print(f"the error that your check finds in your vjp: {error:.1e}")
