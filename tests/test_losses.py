"""The losses against the probabilities they stand for, and at logits where those probabilities are rounded away."""

import numpy as np
import pytest

from minisrgan.autodiff import Tensor, grad
from minisrgan.errors import ShapeError
from minisrgan.losses import DiscriminatorLoss, MinimaxLoss, NonSaturatingLoss, PixelMSE

REAL, FAKE = np.array([-3.0, 0.0, 0.5, 2.0, 7.0]), np.array([-6.0, -0.1, 4.0])
EXTREME = np.array([-100, -30, 0, 30, 100], np.float32)


def leaf(array):
    return Tensor(array, requires_grad=True)


def probability(z):
    """D(x) by the plain formula, for moderate logits."""
    return 1 / (1 + np.exp(-z))


def test_ds_loss_is_the_cross_entropy_of_its_probabilities():
    real, fake = leaf(REAL), leaf(FAKE)
    loss = DiscriminatorLoss(real, fake)
    expected = -(np.log(probability(REAL)).mean() + np.log(1 - probability(FAKE)).mean())
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12)
    d_real, d_fake = grad(loss, [real, fake])
    np.testing.assert_allclose(d_real.data, (probability(REAL) - 1) / 5, rtol=1e-12)
    np.testing.assert_allclose(d_fake.data, probability(FAKE) / 3, rtol=1e-12)


def test_gs_non_saturating_loss():
    fake = leaf(FAKE)
    loss = NonSaturatingLoss(fake)
    np.testing.assert_allclose(loss.item(), -np.log(probability(FAKE)).mean(), rtol=1e-12)
    np.testing.assert_allclose(grad(loss, fake)[0].data, (probability(FAKE) - 1) / 3, rtol=1e-12)


def test_gs_minimax_loss():
    fake = leaf(FAKE)
    loss = MinimaxLoss(fake)
    np.testing.assert_allclose(loss.item(), np.log(1 - probability(FAKE)).mean(), rtol=1e-12)
    np.testing.assert_allclose(grad(loss, fake)[0].data, -probability(FAKE) / 3, rtol=1e-12)


def test_minimax_is_ds_loss_on_fakes_with_the_sign_changed():
    fake = leaf(FAKE)
    towards_d, towards_g = (
        grad(loss, fake)[0].data for loss in (DiscriminatorLoss(leaf(REAL), fake), MinimaxLoss(fake))
    )
    np.testing.assert_array_equal(towards_g, -towards_d)


def test_pixel_mse():
    rng = np.random.default_rng(1)
    sr, hr = leaf(rng.standard_normal((2, 3, 5, 3))), leaf(rng.standard_normal((2, 3, 5, 3)))
    loss = PixelMSE(sr, hr)
    np.testing.assert_allclose(loss.item(), np.square(sr.data - hr.data).sum() / 90, rtol=1e-14)
    d_sr, d_hr = grad(loss, [sr, hr])
    np.testing.assert_allclose(d_sr.data, 2 / 90 * (sr.data - hr.data), rtol=1e-14)
    np.testing.assert_array_equal(d_hr.data, -d_sr.data)


def test_pixel_mse_does_not_broadcast():
    with pytest.raises(ShapeError, match=r"PixelMSE\(\(2, 3\) float64, \(1, 3\) float64\): .* of one shape"):
        PixelMSE(leaf(np.zeros((2, 3))), leaf(np.zeros((1, 3))))


ADVERSARIAL = {  # as functions of the logits of made images: the loss, and its value at EXTREME, worked out by hand
    "D": (lambda z: DiscriminatorLoss(Tensor(np.zeros(1, np.float32)), z), np.log(2) + (130 + np.log(2)) / 5),
    "non-saturating": (NonSaturatingLoss, (130 + np.log(2)) / 5),
    "minimax": (MinimaxLoss, -(130 + np.log(2)) / 5),
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_extreme_logits_in_float32(name):
    """Value, gradient and its own derivative are finite, and the first is right."""
    loss, value = ADVERSARIAL[name]
    z = leaf(EXTREME)
    out = loss(z)
    np.testing.assert_allclose(out.item(), value, rtol=1e-6)
    (first,) = grad(out, z, create_graph=True)
    (second,) = grad(first.sum(), z)
    curvature = [0, np.exp(-30) / 5, 0.05, np.exp(-30) / 5, 0]  # σ(z)σ(-z)/n, of the sign of the loss
    np.testing.assert_allclose(second.data, np.sign(value) * np.array(curvature), rtol=1e-5, atol=1e-37)
    assert np.isfinite(first.data).all()


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_where_d_is_sure_the_minimax_gradient_vanishes_and_the_other_does_not(dtype, rtol):
    fake = leaf(np.array([-30], dtype))
    (saturating,), (lasting,) = grad(MinimaxLoss(fake), fake), grad(NonSaturatingLoss(fake), fake)
    np.testing.assert_allclose(saturating.data, [-1 / (1 + np.exp(30))], rtol=rtol)
    np.testing.assert_allclose(lasting.data, [-1 / (1 + np.exp(-30))], rtol=rtol)


@pytest.mark.parametrize("sure", [20, 60])
def test_what_remains_to_learn_from_a_sure_discriminator_is_not_rounded_to_nothing(sure):
    real, fake = leaf(np.full(2, sure, np.float32)), leaf(np.full(2, -sure, np.float32))
    for gradient, sign in zip(grad(DiscriminatorLoss(real, fake), [real, fake]), (-1, 1)):
        np.testing.assert_allclose(gradient.data, sign * np.exp(-sure) / 2, rtol=1e-5)
