"""PSNR and SSIM against scikit-image, and what they do at the edges of their domain."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from minisrgan.errors import ImageError, ShapeError
from minisrgan.imaging.metrics import grid, psnr, score, ssim
from minisrgan.imaging.pixels import luma
from minisrgan.imaging.resize import downsample, upsample
from minisrgan.training.photos import HELD_OUT, named, packaged


def pair(*shape, seed=0, spread=30):
    """A fairly smooth image and a noisy copy of it, uint8."""
    rng = np.random.default_rng(seed)
    a = np.cumsum(rng.integers(-60, 61, shape), axis=0) + 128.0
    b = a + rng.normal(0, spread, shape)
    return a.clip(0, 255).astype(np.uint8), b.clip(0, 255).astype(np.uint8)


def reference_ssim(a, b):
    return structural_similarity(
        a.astype(float),
        b.astype(float),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2 if a.ndim == 3 else None,
    )


sides = st.integers(11, 40)
shapes = st.one_of(st.tuples(sides, sides), st.tuples(sides, sides, st.just(3)))


@settings(deadline=None, max_examples=40)
@given(shape=shapes, seed=st.integers(0, 999), spread=st.sampled_from([1, 30, 200]))
def test_both_agree_with_scikit_image(shape, seed, spread):
    a, b = pair(*shape, seed=seed, spread=spread)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)
    assert ssim(a, b) == pytest.approx(reference_ssim(a, b), abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(border=st.integers(0, 8), height=st.integers(27, 40), width=st.integers(27, 40))
def test_the_border_is_cut_off_all_four_sides(border, height, width):
    a, b = pair(height, width, 3)
    inside = np.s_[border : height - border, border : width - border]
    assert psnr(a, b, border) == psnr(a[inside], b[inside])
    assert ssim(a, b, border) == ssim(a[inside], b[inside])


def test_a_known_figure():
    a = np.full((12, 12), 100, np.uint8)
    assert psnr(a, a + 5) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(a, a - 5) == psnr(a, a + 5)  # a difference of bytes must not wrap round


def test_identical_images_are_infinitely_close():
    a, _ = pair(20, 20, 3)
    assert psnr(a, a.copy()) == math.inf
    assert ssim(a, a.copy()) == pytest.approx(1, abs=1e-12)


def test_a_score_is_of_y_and_of_rgb():
    sr, hr = pair(30, 26, 3)
    result = score(sr, hr, border=4)
    inside = np.s_[4:-4, 4:-4]
    y_sr, y_hr = (np.floor(luma(image) + 0.5)[inside] for image in (sr, hr))
    assert result.psnr_y == pytest.approx(peak_signal_noise_ratio(y_hr, y_sr, data_range=255))
    assert result.psnr_rgb == pytest.approx(peak_signal_noise_ratio(hr[inside], sr[inside], data_range=255))
    assert result.ssim_y == pytest.approx(reference_ssim(y_hr, y_sr))


def test_y_of_a_grey_file_is_its_values_and_that_of_an_rgb_file_that_looks_grey_is_computed():
    """The computed Y values are 219/255 as far apart: 20 lg (255/219), 1.32 dB."""
    values = np.tile(np.arange(5, 250, 5, dtype=np.uint8), (20, 1))
    hr, sr = (np.dstack([grey] * 3) for grey in (values, values + 5))
    as_grey, as_rgb = score(sr, hr, 2, grey=True), score(sr, hr, 2)
    assert as_grey.psnr_y == as_grey.psnr_rgb == pytest.approx(20 * math.log10(255 / 5))
    assert as_rgb.psnr_y == pytest.approx(as_grey.psnr_y + 20 * math.log10(255 / 219), abs=0.1)  # Y is rounded
    hr[10, 10, 0] += 1
    assert score(sr, hr, 2).psnr_y == pytest.approx(as_rgb.psnr_y, abs=0.01)


def test_images_too_small_to_measure_are_refused_with_their_size():
    a, b = pair(18, 25)
    ssim(a, b, border=3)
    with pytest.raises(ImageError, match="25 x 18.*11 x 11"):
        ssim(a, b, border=4)
    psnr(a, b, border=8)
    with pytest.raises(ImageError, match="25 x 18"):
        psnr(a, b, border=9)
    with pytest.raises(ImageError):
        psnr(a, b, border=-1)


def test_images_that_do_not_belong_together_are_refused():
    a, b = pair(20, 20, 3)
    for measure in (psnr, ssim):
        with pytest.raises(ShapeError):
            measure(a, b[:, :19])
        with pytest.raises(ShapeError):
            measure(a, b[..., 0])  # would broadcast
        with pytest.raises(ShapeError):
            measure(a[0, 0], b[0, 0])
    with pytest.raises(ShapeError):
        score(a / 127.5 - 1, b / 127.5 - 1, border=0)
    with pytest.raises(ShapeError):
        score(a[..., 0], b[..., 0], border=0)


def test_the_grid_of_photos_as_another_program_has_it():
    """Figures by the same definition from others' code, which uses Pillow's greys and NumPy's FFT."""
    found = {}
    for path in packaged(HELD_OUT):
        name, hr = named(path)
        hr = hr[40:200, 120:296]
        found[name] = [grid(upsample(downsample(hr, 4), 4)), grid(hr)]
    assert found["chelsea.png"] == pytest.approx([-6.37835, 0.19973], abs=1e-4)
    assert found["coffee.png"] == pytest.approx([-4.12108, 0.03155], abs=1e-4)


def striped(period, height=128, width=192):
    """Noise, with stripes of that period (None: no stripes) along its rows and along its columns."""
    noise = np.random.default_rng(0).normal(128, 4, (height, width, 3))
    for axis, side in enumerate((height, width)) if period else ():
        wave = 4 * np.cos(2 * np.pi * np.arange(side) / period)
        noise += np.expand_dims(wave, tuple({0, 1, 2} - {axis}))
    return noise.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("period", [2.5, 4, 8])
def test_the_grid_stands_out_at_its_period_alone(period):
    assert (grid(striped(period)) > 9) == (period == 4)
    assert abs(grid(striped(None))) < 0.5
    assert grid(striped(8), period=8) > 9


def test_an_image_too_small_for_a_grid_has_none():
    assert math.isnan(grid(np.zeros((15, 63, 3), np.uint8)))
