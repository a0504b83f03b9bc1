"""Regularisers on discriminators with known gradients: what they ask for, refuse, and leave unchanged."""

from dataclasses import replace

import numpy as np
import pytest

from minisrgan.errors import ConfigError
from minisrgan.losses import ADVERSARIAL
from minisrgan.models.discriminator import Discriminator, DiscriminatorConfig
from minisrgan.nn import Conv, Dense, Module, Parameter, SpectralNormed, held
from minisrgan.ops.spectral_norm import power_iteration
from minisrgan.regularisers import R1, REGULARISERS, GradientPenalty, InstanceNoise, LabelSmoothing, image_gradients
from minisrgan.tensor import Tensor, grad

SMALL = DiscriminatorConfig(channels=2, dense=4, crop=16, batch_norm=False)


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(*shape, seed=0, dtype=np.float64):
    return Tensor(rng(seed).standard_normal(shape).astype(dtype))


def small_d(**changes):
    return Discriminator(replace(SMALL, **changes), rng())


def same_state(a, b):
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


class Linear(Module):
    """D(x) = ⟨w, x⟩, whose gradient has the norm ‖w‖ everywhere."""

    def __init__(self, w):
        self.w = Parameter(w)

    def forward(self, x):
        return (x * self.w).sum((1, 2, 3))


class Bowl(Module):
    """D(x) = a/2·‖x‖², whose gradient has the norm a‖x‖."""

    def __init__(self, a):
        self.a = Parameter(np.array(a))

    def forward(self, x):
        return self.a / 2 * (x**2).sum((1, 2, 3))


def penalty(regulariser, d, hr, sr):
    return regulariser.penalty(d, hr, sr, d(hr), d(sr))


W = rng(5).standard_normal((4, 4, 3))
HR, SR = normal(3, 4, 4, 3, seed=1), normal(3, 4, 4, 3, seed=2)


def test_r1_of_a_linear_d_is_the_square_of_its_slope():
    d = Linear(W)
    value = penalty(R1(rng(), strength=3.0), d, HR, SR)
    np.testing.assert_allclose(value.item(), 1.5 * (W**2).sum(), rtol=1e-13)
    np.testing.assert_allclose(grad(value, d.w)[0].data, 3 * W, rtol=1e-13)


def test_r1_is_taken_at_the_real_images():
    d = Bowl(0.7)
    value = penalty(R1(rng(), strength=3.0), d, HR, SR)
    squares = (HR.data**2).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(value.item(), 1.5 * 0.7**2 * squares, rtol=1e-13)
    np.testing.assert_allclose(grad(value, d.a)[0].data, 3 * 0.7 * squares, rtol=1e-13)


def test_the_gradient_penalty_of_a_linear_d_is_how_far_its_slope_is_from_one():
    d = Linear(W)
    slope = np.sqrt((W**2).sum())
    value = penalty(GradientPenalty(rng(), strength=3.0), d, HR, SR)
    np.testing.assert_allclose(value.item(), 3 * (slope - 1) ** 2, rtol=1e-12)
    np.testing.assert_allclose(grad(value, d.w)[0].data, 6 * (1 - 1 / slope) * W, rtol=1e-12)


def test_the_gradient_penalty_is_taken_between_real_and_made_images_at_a_place_of_each_pairs_own():
    d, t = Bowl(1.0), rng(9).random((3, 1, 1, 1))
    value = penalty(GradientPenalty(rng(9), strength=1.0), d, HR, SR)
    slopes = np.sqrt(((t * HR.data + (1 - t) * SR.data) ** 2).sum((1, 2, 3)))
    np.testing.assert_allclose(value.item(), ((slopes - 1) ** 2).mean(), rtol=1e-12)


def test_a_d_without_any_slope_still_has_a_finite_penalty_gradient():
    d = Linear(np.zeros((4, 4, 3), np.float32))
    hr = Tensor(HR.data.astype(np.float32))
    value = penalty(GradientPenalty(rng(), strength=3.0), d, hr, hr)
    np.testing.assert_allclose(value.item(), 3, rtol=1e-5)
    assert np.isfinite(grad(value, d.w)[0].data).all()


def test_without_batch_norm_the_gradient_of_each_logit_is_that_image_by_itself():
    d, images = small_d().to(dtype=np.float64), normal(3, 16, 16, 3, seed=4)
    alone = [image_gradients(d, Tensor(images.data[i : i + 1])).data[0] for i in range(3)]
    np.testing.assert_allclose(image_gradients(d, images).data, alone, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("regulariser", [R1, GradientPenalty])
def test_a_d_whose_batch_norm_ties_images_together_is_refused_while_it_trains(regulariser):
    d, images = small_d(batch_norm=True), normal(2, 16, 16, 3, dtype=np.float32)
    with pytest.raises(ConfigError, match="batch_norm=False"):
        penalty(regulariser(rng()), d, images, images)
    assert penalty(regulariser(rng()), d.eval(), images, images).item() > 0


def test_a_penalty_leaves_no_trace_in_d():
    d, images = small_d(spectral_norm=True), normal(2, 16, 16, 3, dtype=np.float32)
    before = d.state()
    image_gradients(d, images)
    assert same_state(d.state(), before)


@pytest.mark.parametrize("name", REGULARISERS)
@pytest.mark.parametrize("adversarial", ADVERSARIAL)
def test_a_step_of_d_and_g_with_each_regulariser_and_game_reaches_all_weights_and_the_made_image(name, adversarial):
    kind = REGULARISERS[name]
    if adversarial not in kind.games:
        with pytest.raises(ConfigError, match=f"minimax, .*, and not with '{adversarial}'"):
            kind.check(adversarial)
        return
    kind.check(adversarial)
    d, regulariser = small_d(**kind.needs), kind(rng(1))
    hr, sr = (regulariser.disturb(normal(2, 16, 16, 3, seed=i, dtype=np.float32), 0.5) for i in (1, 2))
    real, fake = d(hr), d(sr)
    extra = regulariser.penalty(d, hr, sr, real, fake)
    assert extra.shape == () and extra.dtype == np.float32
    loss = ADVERSARIAL[adversarial].discriminator(real, fake) + extra
    for gradient, (weight, _) in zip(grad(loss, d.parameters()), d.named_parameters().items()):
        assert gradient.dtype == np.float32 and np.isfinite(gradient.data).all()
        # relativistic and Wasserstein losses see differences of logits only: the last bias falls out
        assert gradient.data.any() or weight.endswith("bias"), weight
    made = Tensor(sr.data, requires_grad=True)
    adversarial_loss = ADVERSARIAL[adversarial].generator_loss(d, hr, regulariser.disturb(made, 0.5))
    assert grad(adversarial_loss, made)[0].data.any()


def test_only_penalties_cost_something():
    d, hr, sr = small_d(), *(normal(2, 16, 16, 3, seed=i, dtype=np.float32) for i in (1, 2))
    free = {name for name, kind in REGULARISERS.items() if penalty(kind(rng()), d, hr, sr).item() == 0}
    assert free == {"none", "spectral-norm", "instance-noise"}


# label smoothing


def test_smoothing_is_the_cross_entropy_with_a_softer_label():
    real, fake = Tensor(rng(1).standard_normal(5), requires_grad=True), Tensor(rng(2).standard_normal(4))
    p, q = (1 / (1 + np.exp(-z.data)) for z in (real, fake))
    smooth = LabelSmoothing(rng(), strength=0.2).penalty(None, None, None, real, fake)
    loss = ADVERSARIAL["non-saturating"].discriminator(real, fake) + smooth
    expected = -(0.8 * np.log(p) + 0.2 * np.log(1 - p)).mean() - np.log(1 - q).mean()
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12)
    np.testing.assert_allclose(grad(loss, real)[0].data, (p - 0.8) / 5, rtol=1e-12)


def test_smoothing_is_the_square_of_the_distance_to_a_softer_label():
    real, fake = Tensor(rng(1).standard_normal(5), requires_grad=True), Tensor(rng(2).standard_normal(4))
    loss = ADVERSARIAL["least-squares"].discriminator(real, fake)
    loss = loss + LabelSmoothing(rng(), strength=0.2).penalty(None, None, None, real, fake)
    np.testing.assert_allclose(grad(loss, real)[0].data, (real.data - 0.8) / 5, rtol=1e-12)


# instance noise


@pytest.mark.parametrize("progress, std", [(0, 0.5), (0.6, 0.2), (1, 0)])
def test_instance_noise_fades_away(progress, std):
    images = Tensor(np.zeros((4, 50, 50, 3), np.float32), requires_grad=True)
    disturbed = InstanceNoise(rng(), strength=0.5).disturb(images, progress)
    assert disturbed.dtype == np.float32
    np.testing.assert_allclose(disturbed.data.std(), std, rtol=0.02)
    assert (grad(disturbed.sum(), images)[0].data == 1).all()


def test_instance_noise_is_new_each_time_and_goes_on_from_a_saved_state():
    noise, images = InstanceNoise(rng()), normal(2, 3, 3, 3)
    first = noise.disturb(images, 0).data
    state = noise.rng.bit_generator.state
    second = noise.disturb(images, 0).data
    assert (first != second).all()
    resumed = InstanceNoise(rng(7))
    resumed.rng.bit_generator.state = state
    np.testing.assert_array_equal(resumed.disturb(images, 0).data, second)


# spectral norm


def largest_singular_value(w):
    return np.linalg.svd(w.reshape(-1, w.shape[-1]), compute_uv=False)[0]


@pytest.mark.parametrize("layer", [Conv(rng(1), 3, 5), Dense(rng(1), 7, 4), Dense(rng(2), 5, 1)])
def test_a_normalised_layer_computes_with_weights_of_norm_one(layer):
    bounded = SpectralNormed(rng(3), layer)
    x = normal(2, 6, 6, layer.weight.shape[-2], dtype=np.float32)
    for _ in range(30):
        out = bounded(x)
    sigma = largest_singular_value(layer.weight.data)
    expected = layer(x, Tensor(layer.weight.data / sigma))
    np.testing.assert_allclose(out.data, expected.data, rtol=1e-3, atol=1e-4)
    assert abs(sigma - 1) > 0.1  # so that it made a difference


def test_at_its_own_singular_vectors_the_derivative_is_that_of_the_exact_norm():
    """The derivative of W/σ(W), with σ from an SVD, is the reference; ours holds u and v fixed."""
    bounded = SpectralNormed(rng(1), Dense(rng(2), 5, 4).to(dtype=np.float64)).to(dtype=np.float64)
    w, x = bounded.layer.weight, normal(3, 5, seed=3)
    bounded.u, bounded.v = power_iteration(w.data, bounded.v, 3000)
    v, step = rng(4).standard_normal((3, 4)), rng(5).standard_normal(w.shape)
    (gradient,) = grad(bounded(x), [w], Tensor(v))

    def exact(weight):
        return (v * (x.data @ (weight / largest_singular_value(weight)))).sum()

    central = (exact(w.data + 1e-6 * step) - exact(w.data - 1e-6 * step)) / 2e-6
    np.testing.assert_allclose((gradient.data * step).sum(), central, rtol=1e-7)


def test_the_gradient_has_no_part_along_the_weights():
    """W/σ does not change when W is scaled."""
    bounded = SpectralNormed(rng(1), Dense(rng(2), 5, 4).to(dtype=np.float64)).to(dtype=np.float64)
    (gradient,) = grad((bounded(normal(3, 5)) ** 2).sum(), bounded.layer.weight)
    assert abs(gradient.data).max() > 0.01
    np.testing.assert_allclose((gradient.data * bounded.layer.weight.data).sum(), 0, atol=1e-12)


def test_the_vectors_follow_the_weights_in_training_and_in_training_alone():
    d, images = small_d(spectral_norm=True), normal(2, 16, 16, 3, dtype=np.float32)
    vectors = {name for name in d.state() if name.endswith((".u", ".v"))}
    assert len(vectors) == 2 * (8 + 2)  # eight convolutions and two dense layers
    for weight in d.parameters():
        weight.data = weight.data + 0.1 * rng(3).standard_normal(weight.shape).astype(np.float32)
    before = d.state()
    with held(d):
        held_logits = d(images).data
    assert same_state(d.state(), before)
    np.testing.assert_array_equal(d.eval()(images).data, held_logits)
    assert same_state(d.state(), before)
    d.train()(images)
    after = d.state()
    assert {name for name in before if not np.array_equal(before[name], after[name])} >= vectors - {"logit.v"}


def test_a_checkpoint_holds_the_vectors():
    d, images = small_d(spectral_norm=True), normal(2, 16, 16, 3, dtype=np.float32)
    d(images)
    other = Discriminator(d.config, rng(8))
    other.load_state(d.state())
    np.testing.assert_array_equal(other(images).data, d(images).data)


def test_batch_norm_and_spectral_norm_are_not_used_together():
    with pytest.raises(ConfigError, match="choose one"):
        DiscriminatorConfig(spectral_norm=True)


def test_a_d_without_batch_norm_has_none():
    assert not any("gamma" in name or "running" in name for name in small_d().state())
    assert any("gamma" in name for name in small_d(batch_norm=True).state())
