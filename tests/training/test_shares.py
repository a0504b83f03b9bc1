"""Weights by share: that a term pulls as hard as was asked, whatever the losses are measured in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisrgan.imaging.patches import PhotoSet
from minisrgan.losses import PixelMSE
from minisrgan.measures import JUMP, MEMORY, RANGE
from minisrgan.tensor import Tensor, grad
from minisrgan.training.shares import Shares
from minisrgan.training.trainer import Trainer


def test_the_weight_follows_the_mean_of_the_ratio():
    shares, ratios = Shares({"adversarial": 0.5}), [3.0, 2.0, 4.0, 1.0]
    weights = [shares.weight("adversarial", 6 * ratio, 6.0) for ratio in ratios]
    np.testing.assert_allclose(weights, [0.5 * np.mean(ratios[: i + 1]) for i in range(4)], rtol=1e-12)


def test_later_ratios_count_as_of_the_last_steps():
    shares = Shares({"tv": 1.0})
    for _ in range(MEMORY):
        shares.weight("tv", 2.0, 1.0)
    assert shares.weight("tv", 3.0, 1.0) == pytest.approx(2 + 1 / MEMORY, rel=1e-12)
    assert shares.weight("tv", 3.0, 1.0) == pytest.approx(2 + 1 / MEMORY + (1 - 1 / MEMORY) / MEMORY, rel=1e-12)


def test_a_step_without_a_slope_does_not_raise_its_voice():
    shares = Shares({"adversarial": 1.0})
    assert shares.weight("adversarial", 1.0, 0.0) == 0  # nothing to compare yet
    before = [shares.weight("adversarial", 1.0, 1.0) for _ in range(MEMORY)][-1]
    assert before < shares.weight("adversarial", 1.0, 0.0) <= before * (1 + (JUMP - 1) / MEMORY)


@given(st.lists(st.tuples(st.floats(0, 1e30), st.floats(0, 1e30)), max_size=300), st.floats(0, 10))
def test_the_weight_is_bounded_and_finite(lengths, share):
    shares, first, before = Shares({"tv": share}), None, None
    for content, length in lengths:
        weight = shares.weight("tv", content, length)
        if not shares.state():
            assert weight == 0
            continue
        mean, *_ = shares.state()["tv"]
        first = mean if first is None else first
        assert first / RANGE * (1 - 1e-9) <= mean <= first * RANGE * (1 + 1e-9)
        assert before is None or before / JUMP * (1 - 1e-9) <= mean <= before * JUMP * (1 + 1e-9)
        assert weight == share * mean and np.isfinite(weight)
        before = mean


@pytest.fixture
def trainer(tiny_config, smooth_photo):
    def build(**changes):
        config = tiny_config(**changes)
        photos = PhotoSet([(str(i), smooth_photo(36 + 4 * i, 40, seed=i)) for i in range(2)], 4, 16)
        made = Trainer(config, photos, "numpy")
        made.start_stage("gan")
        return made

    return build


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_share_is_the_same_whatever_the_losses_scales(trainer, scale):
    t = trainer(content="l1", content_weight=scale, adversarial_share=0.5, grid_share=0.25)
    pulls = [t.gan_step() for _ in range(3)]
    first = pulls[0]
    assert first["grad_adversarial"] == pytest.approx(0.5 * first["grad_content"], rel=1e-6)
    assert first["grad_grid"] == pytest.approx(0.25 * first["grad_content"], rel=1e-6)
    if scale != 1:  # the terms grow together, and Adam divides that out again
        plain = trainer(content="l1", adversarial_share=0.5, grid_share=0.25)
        for mine, its in zip(pulls, [plain.gan_step() for _ in range(3)]):
            assert mine["weight_adversarial"] == pytest.approx(scale * its["weight_adversarial"], rel=2e-3)


def test_the_weight_by_share_is_what_the_slope_is_made_of(trainer):
    t = trainer(content="l1", pixel_share=0.3, adversarial_weight=0.0)
    crops = t.choose_crops()
    hr = t.sample_hr(crops)
    sr = t.generate(t.downsample(crops))
    slope = t.generator_loss(hr, sr)
    here = Tensor(sr.data, requires_grad=True)
    content, pixel = (grad(loss, here)[0].data for loss in (t.content_loss(here, hr), PixelMSE(here, hr)))
    weight = 0.3 * np.linalg.norm(content) / np.linalg.norm(pixel)
    np.testing.assert_allclose(slope.data, content + weight * pixel, rtol=1e-4, atol=1e-8)
    assert t.measured["weight_pixel"] == pytest.approx(weight, rel=1e-5)
    total = t.measured["loss_content"] + weight * t.measured["loss_pixel"]
    assert t.measured["loss_g"] == pytest.approx(total, rel=1e-5)


def test_a_share_of_nothing_costs_nothing(trainer):
    t = trainer(content="l1", grid_share=0.0, adversarial_share=0.0)
    measured = t.gan_step()
    assert not {"loss_grid", "loss_adversarial", "weight_grid"} & measured.keys()


def test_weights_and_shares_replace_each_other(tiny_config):
    config = tiny_config().with_weights(adversarial=0.1).with_shares(adversarial=0.5, grid=0.1)
    assert config.shares == {"adversarial": 0.5, "grid": 0.1}
    assert config.with_weights(adversarial=0.2).shares == {"grid": 0.1}
