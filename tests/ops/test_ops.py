"""Compares each operation with NumPy or a loop, at its kinks, at its extremes and in float32."""

from math import exp, log1p

import numpy as np
import pytest

from minisrgan import ops as ad
from minisrgan.errors import ShapeError
from minisrgan.ops.elementwise import Abs
from minisrgan.ops.linear import Unslice
from minisrgan.ops.reduce import SumTo
from minisrgan.studies.gradcheck import op_cases
from minisrgan.tensor import Tensor, grad

RNG = np.random.default_rng(5)
X = RNG.standard_normal((3, 4))
Y = RNG.uniform(0.5, 2, (3, 4))
A = RNG.standard_normal(4)
IMAGE = RNG.standard_normal((2, 5, 7, 3))


@pytest.mark.parametrize(
    "computed, expected",
    [
        (lambda: Tensor(X) + Tensor(A), X + A),
        (lambda: 1 - Tensor(X), 1 - X),
        (lambda: Tensor(X) - Tensor(A), X - A),
        (lambda: Tensor(X) * Tensor(A), X * A),
        (lambda: Tensor(X) / Tensor(Y), X / Y),
        (lambda: 2 / Tensor(Y), 2 / Y),
        (lambda: -Tensor(X), -X),
        (lambda: Tensor(Y) ** -0.5, 1 / np.sqrt(Y)),
        (lambda: Tensor(X).exp(), np.exp(X)),
        (lambda: Tensor(Y).log(), np.log(Y)),
        (lambda: abs(Tensor(X)), np.abs(X)),
        (lambda: Tensor(X).clip(-0.5, 0.8), np.minimum(np.maximum(X, -0.5), 0.8)),
        (lambda: ad.Sigmoid(Tensor(X)), 1 / (1 + np.exp(-X))),
        (lambda: ad.Softplus(Tensor(X)), np.log(1 + np.exp(X))),
        (lambda: ad.ReLU(Tensor(X)), X * (X > 0)),
        (lambda: ad.LeakyReLU(Tensor(X), slope=0.2), X * np.where(X > 0, 1, 0.2)),
        (lambda: ad.PReLU(Tensor(X), Tensor(A)), X * np.where(X > 0, 1, A)),
        (lambda: ad.WherePositive(Tensor(X), Tensor(Y), 0), Y * (X > 0)),
        (lambda: Tensor(X) @ Tensor(Y.T.copy()), np.einsum("ij,kj->ik", X, Y)),
        (lambda: Tensor(IMAGE).sum((0, 2)), np.einsum("nhwc->hc", IMAGE)),
        (lambda: Tensor(IMAGE).mean((1, -1), keepdims=True), IMAGE.mean((1, 3))[:, None, :, None]),
        (lambda: Tensor(IMAGE).mean(), np.average(IMAGE)),
        (lambda: SumTo(Tensor(IMAGE), shape=(3,)), np.einsum("nhwc->c", IMAGE)),
        (lambda: SumTo(Tensor(IMAGE), shape=(5, 1, 3)), np.einsum("nhwc->hc", IMAGE)[:, None]),
        (lambda: SumTo(Tensor(IMAGE), shape=(1,)), IMAGE.sum().reshape(1)),
        (lambda: SumTo(Tensor(IMAGE), shape=()), IMAGE.sum()),
        (lambda: Tensor(A).broadcast_to((2, 3, 4)), np.tile(A, (2, 3, 1))),
        (lambda: Tensor(X).reshape((2, 6)), X.ravel().reshape(2, 6)),
        (lambda: Tensor(IMAGE).transpose((2, 0, 3, 1)), np.einsum("nhwc->wnch", IMAGE)),
        (lambda: Tensor(IMAGE)[1, ..., -1], IMAGE[1, :, :, 2]),
        (lambda: Unslice(Tensor(A), key=(1,), shape=(3, 4)), np.stack([0 * A, A, 0 * A])),
        (lambda: ad.Pad(Tensor(A), widths=((1, 2),)), np.concatenate([[0], A, [0, 0]])),
        (lambda: ad.Concatenate(Tensor(X), Tensor(Y), axis=-1), np.hstack([X, Y])),
    ],
)
def test_values(computed, expected):
    out = computed().data
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("r", [2, 3])
def test_pixel_shuffle_puts_every_channel_where_the_formula_says(r):
    x = RNG.standard_normal((2, 3, 4, r * r * 5))
    y = ad.PixelShuffle.forward(x, r)
    assert y.shape == (2, 3 * r, 4 * r, 5)
    for n, row, column, c in np.ndindex(y.shape):
        (h, i), (w, j) = divmod(row, r), divmod(column, r)
        assert y[n, row, column, c] == x[n, h, w, (i * r + j) * 5 + c]
    np.testing.assert_array_equal(ad.PixelUnshuffle.forward(y, r), x)


def test_pixel_unshuffle_refuses_pixels_that_fill_no_square():
    with pytest.raises(ShapeError, match="4×5 pixels cannot be gathered into squares of 2×2"):
        ad.PixelUnshuffle(Tensor(np.zeros((1, 4, 5, 1))), r=2)


@pytest.mark.parametrize("shape, size", [((2, 4, 6, 3), 2), ((2, 5, 7, 3), 2), ((1, 8, 7, 2), 3)])
def test_max_pool_and_its_gradient_at_the_first_of_equals(shape, size):
    x = RNG.integers(0, 3, shape).astype(np.float64)  # full of ties
    expected = np.zeros((shape[0], shape[1] // size, shape[2] // size, shape[3]))
    g = RNG.standard_normal(expected.shape)
    expected_gradient = np.zeros(shape)
    for n, p, q, c in np.ndindex(expected.shape):
        square = [
            (x[n, i, j, c], -i, -j) for i in range(p * size, (p + 1) * size) for j in range(q * size, (q + 1) * size)
        ]
        largest, i, j = max(square)
        expected[n, p, q, c] = largest
        expected_gradient[n, -i, -j, c] = g[n, p, q, c]
    image = Tensor(x, requires_grad=True)
    out = ad.MaxPool(image, size=size)
    np.testing.assert_array_equal(out.data, expected)
    np.testing.assert_array_equal(grad(out, image, Tensor(g))[0].data, expected_gradient)


def test_max_pool_of_less_than_a_square():
    with pytest.raises(ShapeError, match=r"MaxPool\(\(1, 1, 5, 1\) float64\): no 2×2 square fits into 1×5 pixels"):
        ad.MaxPool(Tensor(np.zeros((1, 1, 5, 1))))


@pytest.mark.parametrize(
    "f, at, derivative",
    [
        (Abs, [-2.0, 0.0, 3.0], [-1, 0, 1]),
        (ad.ReLU, [-1.0, 0.0, 1.0], [0, 0, 1]),
        (lambda x: ad.LeakyReLU(x, slope=0.2), [-1.0, 0.0, 1.0], [0.2, 0.2, 1]),
        (lambda x: ad.PReLU(x, Tensor(np.full(3, 0.25))), [-1.0, 0.0, 1.0], [0.25, 0.25, 1]),
        (lambda x: x.clip(-1, 2), [-1.5, -1.0, 0.0, 2.0, 2.5], [0, 0, 1, 0, 0]),
        (lambda x: x**1, [0.0], [1]),
        (lambda x: x**0 + x, [0.0], [1]),
    ],
)
def test_derivatives_at_the_kinks_are_as_documented(f, at, derivative):
    x = Tensor(np.array(at), requires_grad=True)
    np.testing.assert_array_equal(grad(f(x).sum(), x)[0].data, derivative)


def test_where_positive_sends_all_of_the_cotangent_to_what_was_taken():
    x, u, v = (Tensor(np.array(a), requires_grad=True) for a in ([-1.0, 0.0, 2.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]))
    dx, du, dv = grad(ad.WherePositive(x, u, v).sum(), [x, u, v])
    np.testing.assert_array_equal([dx.data, du.data, dv.data], [[0, 0, 0], [0, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize("z", [-1000, -80, -30, -5, 0, 5, 30, 80, 1000])
@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_sigmoid_and_softplus_are_right_in_both_tails(z, dtype, rtol):
    x = Tensor(np.array([z], dtype), requires_grad=True)
    sigma = 1 / (1 + exp(-z)) if z > -700 else 0
    sigma_of_minus = 1 / (1 + exp(z)) if z < 700 else 0
    softplus = max(z, 0) + log1p(exp(-abs(z)))
    for out, value, derivative in (
        (ad.Sigmoid(x), sigma, sigma * sigma_of_minus),
        (ad.Softplus(x), softplus, sigma),
    ):
        np.testing.assert_allclose(out.data, [value], rtol=rtol)
        np.testing.assert_allclose(grad(out, x)[0].data, [derivative], rtol=rtol)


@pytest.mark.parametrize("case", op_cases(np.random.default_rng(2)), ids=lambda case: case.name)
def test_float32_stays_float32_and_near_float64(case):
    """In value, gradient and gradient of the gradient."""
    results = []
    for dtype in (np.float32, np.float64):
        xs = [Tensor(array.astype(dtype), requires_grad=True) for array in case.arrays]
        out = case.function(*xs)
        first = grad(out, xs, Tensor(np.ones(out.shape, dtype)), create_graph=True)
        second = grad(sum((g * x).sum() for g, x in zip(first, xs)), xs)
        results.append([out, *first, *second])
    for single, double in zip(*results, strict=True):
        assert (single.dtype, double.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(single.data, double.data, rtol=1e-4, atol=1e-4)
