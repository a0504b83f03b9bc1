"""The losses against the probabilities they stand for, and at logits where those probabilities are rounded away."""

import numpy as np
import pytest

from minisrgan.errors import ShapeError
from minisrgan.losses import (
    ADVERSARIAL,
    PIXEL_CONTENT,
    DiscriminatorLoss,
    MinimaxLoss,
    NonSaturatingLoss,
    PixelMSE,
    feature_mse,
    grid_loss,
    periodic,
    total_variation,
)
from minisrgan.nn import Dense
from minisrgan.tensor import Tensor, grad

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


# The losses of each game by the plain formulas, E[f(z)] written as f(z).mean()


def log_sigmoid(z):
    return -np.logaddexp(0, -z)


PLAIN = {
    "minimax": (lambda r, f: -log_sigmoid(r).mean() - log_sigmoid(-f).mean(), lambda r, f: log_sigmoid(-f).mean()),
    "non-saturating": (
        lambda r, f: -log_sigmoid(r).mean() - log_sigmoid(-f).mean(),
        lambda r, f: -log_sigmoid(f).mean(),
    ),
    "least-squares": (
        lambda r, f: 0.5 * np.square(r - 1).mean() + 0.5 * np.square(f).mean(),
        lambda r, f: 0.5 * np.square(f - 1).mean(),
    ),
    "hinge": (
        lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
        lambda r, f: -f.mean(),
    ),
    "relativistic": (
        lambda r, f: -log_sigmoid(r - f.mean()).mean() - log_sigmoid(r.mean() - f).mean(),
        lambda r, f: -log_sigmoid(f - r.mean()).mean() - log_sigmoid(f.mean() - r).mean(),
    ),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
}


def probability_gap(a, b):
    """σ(a) and the mean of σ(b), as a relativistic derivative adds them."""
    return probability(a) + probability(b).mean()


GRADIENTS = {  # (∂L_D/∂real, ∂L_D/∂fake, ∂L_adv/∂fake), times n
    "minimax": (lambda r, f: probability(r) - 1, lambda r, f: probability(f), lambda r, f: -probability(f)),
    "non-saturating": (lambda r, f: probability(r) - 1, lambda r, f: probability(f), lambda r, f: probability(f) - 1),
    "least-squares": (lambda r, f: r - 1, lambda r, f: f, lambda r, f: f - 1),
    "hinge": (lambda r, f: -1.0 * (r < 1), lambda r, f: 1.0 * (f > -1), lambda r, f: -np.ones_like(f)),
    "relativistic": (
        lambda r, f: -probability_gap(f.mean() - r, f - r.mean()),
        lambda r, f: probability_gap(f - r.mean(), f.mean() - r),
        lambda r, f: -probability_gap(r.mean() - f, r - f.mean()),
    ),
    "wasserstein": (lambda r, f: -np.ones_like(r), lambda r, f: np.ones_like(f), lambda r, f: -np.ones_like(f)),
}


def g_loss(name, real, fake):
    """L_adv with logits handed in as if they were images."""
    return ADVERSARIAL[name].generator_loss(lambda z: z, real, fake)


def test_the_games_that_there_are():
    assert set(ADVERSARIAL) == set(PLAIN) == set(GRADIENTS)


@pytest.mark.parametrize("name", PLAIN)
def test_both_sides_of_a_game_have_the_value_and_the_derivative_of_their_formulas(name):
    real, fake = leaf(REAL), leaf(FAKE)
    losses = ADVERSARIAL[name].discriminator(real, fake), g_loss(name, real, fake)
    for loss, plain in zip(losses, PLAIN[name]):
        np.testing.assert_allclose(loss.item(), plain(REAL, FAKE), rtol=1e-12)
    computed = [*grad(losses[0], [real, fake]), *grad(losses[1], [fake])]
    for gradient, plain, n in zip(computed, GRADIENTS[name], (5, 3, 3)):
        np.testing.assert_allclose(gradient.data, plain(REAL, FAKE) / n, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("size", [50, 1000])
@pytest.mark.parametrize("name", PLAIN)
def test_a_game_in_float32_is_the_game_in_float64_whatever_the_logits(name, size):
    """Value, first and second derivative are finite, and what float64 says."""

    def measure(dtype):
        real = leaf(np.array([size, -size, 0.3], dtype))
        fake = leaf(np.array([-size, size, 0.7, -0.3], dtype))
        for loss in (ADVERSARIAL[name].discriminator(real, fake), g_loss(name, real, fake)):
            first = grad(loss, [real, fake], create_graph=True)
            total = sum(((1 + Tensor(np.arange(g.size, dtype=dtype))) * g).sum() for g in first)
            second = grad(total, [real, fake]) if total.requires_grad else []
            for each in (loss, *first, *second):
                assert each.dtype == dtype and np.isfinite(each.data).all()
                yield each.data

    for single, double in zip(measure(np.float32), measure(np.float64), strict=True):
        np.testing.assert_allclose(single, double, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", PLAIN)
def test_d_learns_to_tell_and_g_learns_to_be_taken_for_real(name):
    """A step down each gradient moves the logits the right way."""
    real, fake = leaf(np.array([0.2, -0.1])), leaf(np.array([0.1, -0.3]))
    d_real, d_fake = grad(ADVERSARIAL[name].discriminator(real, fake), [real, fake])
    (g_fake,) = grad(g_loss(name, real, fake), [fake])
    assert (d_real.data < 0).all() and (d_fake.data > 0).all() == (name != "least-squares")
    assert (g_fake.data < 0).all()


def test_only_a_relativistic_g_looks_at_real_images_and_they_are_constants_to_it():
    weight = leaf(np.array(2.0))
    for name, (_, _, relative) in ADVERSARIAL.items():
        seen = []

        def judge(images, seen=seen):
            seen.append(images)
            return images * weight

        hr, sr = leaf(REAL), leaf(FAKE)
        gradient, none = grad(ADVERSARIAL[name].generator_loss(judge, hr, sr), [sr, hr])
        assert relative == (name == "relativistic") and seen == ([hr, sr] if relative else [sr])
        assert gradient.data.all() and not none.data.any()


def test_hinge_leaves_alone_what_is_beyond_the_margin():
    real, fake = leaf(np.array([1.5, 0.5])), leaf(np.array([-1.5, -0.5]))
    d_real, d_fake = grad(ADVERSARIAL["hinge"].discriminator(real, fake), [real, fake])
    assert d_real.data.tolist() == [0, -0.5] and d_fake.data.tolist() == [0, 0.5]


# pixels and features


@pytest.mark.parametrize("name", PIXEL_CONTENT)
def test_pixel_losses_have_the_derivative_of_their_formula(name):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 2, 3, 5, 3))
    b[0, 0, 0] = a[0, 0, 0]  # where they are equal the derivative is 0
    d = a - b
    root = np.sqrt(d**2 + 1e-6)
    value, derivative = {
        "pixel": ((d**2).mean(), 2 * d / 90),
        "l1": (abs(d).mean(), np.sign(d) / 90),
        "charbonnier": (root.mean(), d / root / 90),
    }[name]
    sr, hr = leaf(a), leaf(b)
    loss = PIXEL_CONTENT[name](sr, hr)
    np.testing.assert_allclose(loss.item(), value, rtol=1e-13)
    d_sr, d_hr = grad(loss, [sr, hr])
    np.testing.assert_allclose(d_sr.data, derivative, rtol=1e-13)
    np.testing.assert_array_equal(d_hr.data, -d_sr.data)
    assert not d_sr.data[0, 0, 0].any()


@pytest.mark.parametrize("name", PIXEL_CONTENT)
def test_pixel_losses_do_not_broadcast(name):
    with pytest.raises(ShapeError, match="of one shape"):
        PIXEL_CONTENT[name](leaf(np.zeros((2, 3))), leaf(np.zeros((1, 3))))


def test_total_variation_has_the_derivative_of_its_formula():
    x = np.random.default_rng(3).standard_normal((2, 4, 5, 3))
    gradient, value = np.zeros_like(x), 0
    for axis in (1, 2):
        d = np.diff(x, axis=axis)
        root = np.sqrt(d**2 + 0.3**2)
        value += root.mean()
        before, after = (np.insert(d / root, place, 0, axis=axis) for place in (0, d.shape[axis]))
        gradient += (before - after) / d.size
    sr = leaf(x)
    loss = total_variation(sr, eps=0.3)
    np.testing.assert_allclose(loss.item(), value, rtol=1e-13)
    np.testing.assert_allclose(grad(loss, sr)[0].data, gradient, rtol=1e-12, atol=1e-16)


def test_total_variation_draws_neighbours_together_and_leaves_a_flat_image_alone():
    flat, bump = leaf(np.full((1, 3, 3, 1), 0.7, np.float32)), np.zeros((1, 3, 3, 1), np.float32)
    bump[0, 1, 1] = 1
    assert not grad(total_variation(flat), flat)[0].data.any()
    sr = leaf(bump)
    gradient = grad(total_variation(sr), sr)[0].data[0, :, :, 0]
    np.testing.assert_allclose(gradient, np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]) / 6, atol=1e-6)


@pytest.mark.parametrize("shape, message", [((1, 1, 5, 3), "at least 2 x 2 pixels, not 1 x 5"), ((5, 5), "N, H, W, C")])
def test_total_variation_needs_neighbours(shape, message):
    with pytest.raises(ShapeError, match=message):
        total_variation(leaf(np.zeros(shape)))


def test_the_content_loss_goes_back_through_its_features_to_sr_and_to_nothing_else():
    rng = np.random.default_rng(4)
    features = Dense(rng, 5, 4).to(dtype=np.float64)
    sr, hr = leaf(rng.standard_normal((2, 5))), leaf(rng.standard_normal((2, 5)))
    loss = feature_mse(features, sr, hr)
    jacobian = features.weight.data  # φ(x) = xJ + b
    d = (sr.data - hr.data) @ jacobian
    np.testing.assert_allclose(loss.item(), np.square(d).mean(), rtol=1e-13)
    d_sr, d_hr = grad(loss, [sr, hr])
    np.testing.assert_allclose(d_sr.data, 2 / 8 * d @ jacobian.T, rtol=1e-12)
    assert not d_hr.data.any()


# logits where probabilities are rounded away


LOGISTIC = {  # as functions of the logits of made images: the loss, and its value at EXTREME, worked out by hand
    "D": (lambda z: DiscriminatorLoss(Tensor(np.zeros(1, np.float32)), z), np.log(2) + (130 + np.log(2)) / 5),
    "non-saturating": (NonSaturatingLoss, (130 + np.log(2)) / 5),
    "minimax": (MinimaxLoss, -(130 + np.log(2)) / 5),
}


@pytest.mark.parametrize("name", LOGISTIC)
def test_extreme_logits_in_float32(name):
    """Value, gradient and its own derivative are finite, and the first is right."""
    loss, value = LOGISTIC[name]
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


def pattern(rng, period=4, squares=(3, 2), window=4):
    """A pattern of that period. It is the same in each square of a window, but has another strength in each."""
    one = rng.standard_normal((period, period, 3))
    one -= one.mean((0, 1))
    strength = rng.uniform(1, 2, squares).repeat(window * period, 0).repeat(window * period, 1)
    tiled = np.tile(one, (squares[0] * window, squares[1] * window, 1))
    return (tiled * strength[..., None])[None]


def test_the_grid_loss_sees_a_grid_whole():
    hr = np.random.default_rng(0).standard_normal((1, 48, 32, 3))
    grid = pattern(np.random.default_rng(1))
    loss = grid_loss(Tensor(hr + grid), Tensor(hr), period=4)
    assert loss.item() == pytest.approx((grid**2).mean(), rel=1e-12)


def test_the_grid_loss_sees_nothing_of_what_is_smooth_on_its_squares_or_has_another_period():
    hr = np.random.default_rng(0).standard_normal((1, 32, 32, 3))
    y, x = np.mgrid[:32, :32]
    levels = np.kron(np.random.default_rng(1).standard_normal((2, 2)), np.ones((16, 16)))
    others = np.cos(2 * np.pi * x / 16) + np.cos(2 * np.pi * (x + 3 * y) / 16) + (x // 8) % 2
    for added in (levels, others):
        assert grid_loss(Tensor(hr + added[None, ..., None]), Tensor(hr), period=4).item() < 1e-25


def test_p_by_its_definition():
    x = np.random.default_rng(0).standard_normal((2, 24, 12, 3))
    found = periodic(Tensor(x), 3, 2).data
    assert found.shape == (2, 4, 3, 2, 3, 3)
    square = x[1, 6:12, 6:12]  # the second of the squares down and across
    means = np.array([[square[i::3, j::3].mean((0, 1)) for j in range(3)] for i in range(3)])
    np.testing.assert_allclose(found[1, 1, :, 1], means - means.mean((0, 1)), rtol=1e-12, atol=1e-14)


def test_the_slope_of_the_grid_loss_is_the_grid_itself():
    hr, grid = np.zeros((1, 48, 32, 3)), pattern(np.random.default_rng(1))
    sr = leaf(hr + grid)
    np.testing.assert_allclose(
        grad(grid_loss(sr, Tensor(hr), period=4), sr)[0].data, 2 * grid / grid.size, rtol=1e-12, atol=1e-18
    )


def test_lines_that_fill_no_square_are_left_out_and_a_small_image_is_one_square():
    x = np.random.default_rng(0).standard_normal((1, 24, 39, 3))
    np.testing.assert_array_equal(periodic(Tensor(x), 4, 4).data, periodic(Tensor(x[:, :16, :32]), 4, 4).data)
    np.testing.assert_array_equal(periodic(Tensor(x[:, :9]), 4, 4).data, periodic(Tensor(x[:, :8, :32]), 4, 2).data)
    with pytest.raises(ShapeError, match="an image of 3 x 39 pixels is too small for a grid of period 4"):
        periodic(Tensor(x[:, :3]), 4, 4)
