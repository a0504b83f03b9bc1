"""Compares the resampling with MATLAB's own files and with exact arithmetic; tests the conversions of pixels."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2ycbcr

from minisrgan.errors import ImageError, ShapeError
from minisrgan.imaging.files import find_photos, read_photo
from minisrgan.imaging.metrics import score
from minisrgan.imaging.pixels import hr_from_uint8, lr_from_uint8, luma, uint8_from_sr
from minisrgan.imaging.resize import crop_to_multiple, downsample, resize_matrix, shrink, upsample


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def exact_cubic(x):
    """Keys 1981, equation (15) as it is printed, for fractions."""
    x = abs(x)
    if x < 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    if x < 2:
        return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2
    return 0


def exact_weights(n_in, i, scale):
    """The weight of each input pixel in output pixel `i`, in exact arithmetic: {pixel: weight}."""
    shrink = min(scale, Fraction(1))
    centre = (i + Fraction(1, 2)) / scale - Fraction(1, 2)
    raw = {j: exact_cubic(shrink * (centre - j)) for j in range(-40, n_in + 40)}
    weights = dict.fromkeys(range(n_in), Fraction(0))
    for j, weight in raw.items():
        weights[min(max(j, 0), n_in - 1)] += weight / sum(raw.values())
    return weights


def exact_rows(image, scale):
    """One pass over the rows of a 2-D image, in exact arithmetic, rounded halves up."""
    out = []
    for i in range(int(len(image) * scale)):
        weights = exact_weights(len(image), i, scale)
        sums = [sum(w * int(image[j, x]) for j, w in weights.items() if w) for x in range(image.shape[1])]
        out.append([min(max(floor(s + Fraction(1, 2)), 0), 255) for s in sums])
    return np.array(out, np.uint8)


def exact_resize(image, scale):
    return exact_rows(exact_rows(image, scale).T, scale).T


@pytest.mark.parametrize("name", [f"img_00{i}.png" for i in range(1, 6)])
def test_downsampling_set5_gives_matlabs_files_without_a_differing_sample(measurement_data, name):
    hr, _ = read_photo(measurement_data / "Set5" / name)
    matlab, _ = read_photo(measurement_data / "Set5" / "LR_x4" / name)
    np.testing.assert_array_equal(downsample(crop_to_multiple(hr, 4), 4), matlab)


def test_bicubic_on_set5_scores_what_the_tables_print(measurement_data):
    scores = []
    for path in find_photos(measurement_data / "Set5"):
        hr = crop_to_multiple(read_photo(path)[0], 4)
        scores.append(score(upsample(downsample(hr, 4), 4), hr, border=4))
    assert len(scores) == 5
    assert round(np.mean([s.psnr_y for s in scores]), 2) == 28.42
    assert [round(s.psnr_y, 2) for s in scores] == [31.77, 30.18, 22.10, 31.58, 26.46]


small_images = given(
    height=st.integers(1, 4), width=st.integers(1, 4), scale=st.sampled_from([2, 4]), seed=st.integers(0, 999)
)


@settings(deadline=None, max_examples=15)
@small_images
def test_any_small_image_shrinks_as_in_exact_arithmetic(height, width, scale, seed):
    image = noise(height * scale, width * scale, seed=seed)
    np.testing.assert_array_equal(downsample(image, scale), exact_resize(image, Fraction(1, scale)))


@settings(deadline=None, max_examples=10)
@small_images
def test_any_small_image_grows_as_in_exact_arithmetic(height, width, scale, seed):
    image = noise(height, width, seed=seed)
    np.testing.assert_array_equal(upsample(image, scale), exact_resize(image, Fraction(scale)))


@pytest.mark.parametrize("n_in, scale", [(24, 4), (5, 3), (1, 4), (2, 2), (96, 1 / 4), (4, 1 / 4), (9, 1 / 3)])
def test_the_matrix_is_the_formula(n_in, scale):
    n_out = round(n_in * scale)
    exact = Fraction(scale).limit_denominator(10)
    matrix = resize_matrix(n_in, n_out, scale)
    assert matrix.dtype == np.float64 and matrix.shape == (n_out, n_in)
    expected = [list(exact_weights(n_in, i, exact).values()) for i in range(n_out)]
    np.testing.assert_allclose(matrix, np.array(expected, float), rtol=0, atol=1e-14)


@pytest.mark.parametrize("height, width, scale", [(1200, 8, 4), (8, 1200, 4), (600, 7, 1)])
def test_long_images_come_out_as_the_products_with_the_matrix(height, width, scale):
    image = noise(height, width)  # longer than the bands that the work is cut in
    for resize, factor in ((downsample, 1 / scale), (upsample, scale)):
        height_out, width_out = round(height * factor), round(width * factor)
        rows = np.floor(resize_matrix(height, height_out, factor) @ image + 0.5).clip(0, 255)
        both = np.floor(rows @ resize_matrix(width, width_out, factor).T + 0.5).clip(0, 255)
        np.testing.assert_array_equal(resize(image, scale), both)


def test_channels_are_resized_alike_and_apart():
    image = noise(16, 24, 3)
    for resize in (downsample, upsample):
        whole = resize(image, 4)
        assert whole.dtype == np.uint8 and whole.flags.c_contiguous
        for channel in range(3):
            np.testing.assert_array_equal(whole[..., channel], resize(image[..., channel].copy(), 4))


@settings(deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), scale=st.integers(1, 5), channels=st.sampled_from([(), (3,)])
)
def test_cropping_keeps_the_top_left_and_loses_less_than_the_scale(height, width, scale, channels):
    image = noise(height, width, *channels)
    if min(height, width) < scale:
        with pytest.raises(ImageError, match=f"{width} x {height}"):
            crop_to_multiple(image, scale)
        return
    cropped = crop_to_multiple(image, scale)
    assert cropped.shape[0] % scale == cropped.shape[1] % scale == 0
    assert height - cropped.shape[0] < scale and width - cropped.shape[1] < scale
    np.testing.assert_array_equal(cropped, image[: cropped.shape[0], : cropped.shape[1]])


@pytest.mark.parametrize(
    "image, scale",
    [
        (noise(9, 8), 4),
        (noise(8, 9, 3), 4),
        (noise(8, 8).astype(float), 4),
        (noise(8), 4),
        (noise(8, 8), 0),
        (noise(8, 8), 1.5),
        (np.zeros((0, 8), np.uint8), 4),
    ],
)
def test_what_cannot_be_resized_is_refused(image, scale):
    with pytest.raises(ShapeError):
        downsample(image, scale)
    if image.dtype != np.uint8 or image.ndim == 1 or 0 in image.shape or scale in (0, 1.5):
        with pytest.raises(ShapeError):
            upsample(image, scale)


ALL_VALUES = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_pixel_value_survives_the_way_into_the_model_and_back(dtype):
    hr, lr = hr_from_uint8(ALL_VALUES, dtype), lr_from_uint8(ALL_VALUES, dtype)
    assert hr.dtype == lr.dtype == dtype
    assert (hr[0], hr[255], lr[0], lr[255]) == (-1, 1, 0, 1)
    np.testing.assert_allclose(hr, 2 * lr - 1, atol=1e-6)
    np.testing.assert_array_equal(uint8_from_sr(hr), ALL_VALUES)


def test_generated_values_are_rounded_to_the_nearest_and_clipped():
    between = (np.array([-9, 0.49, 0.51, 99.5, 100.49, 254.51, 999]) - 127.5) / 127.5
    assert uint8_from_sr(between).tolist() == [0, 0, 1, 100, 100, 255, 255]


def test_luma_is_studio_swing_and_not_rounded():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    np.testing.assert_allclose(luma(colours), [16, 235, 81.481, 144.553, 40.966], atol=1e-12)
    image = noise(6, 5, 3)
    np.testing.assert_allclose(luma(image), rgb2ycbcr(image)[..., 0], atol=1e-9)
    with pytest.raises(ShapeError):
        luma(noise(6, 5))


@pytest.mark.parametrize("factor, size", [(0.8, (24, 18)), (0.5, (15, 11)), (0.64, (20, 15)), (1.0, (30, 22))])
def test_shrinking_by_any_factor_is_the_product_with_its_matrices(factor, size):
    image = np.random.default_rng(0).integers(0, 256, (30, 22, 3), dtype=np.uint8)
    found = shrink(image, factor)
    assert found.shape == (*size, 3)
    rows = np.floor(np.tensordot(resize_matrix(30, size[0], factor), image, 1) + 0.5).clip(0, 255)
    both = np.floor(np.einsum("jw,hwc->hjc", resize_matrix(22, size[1], factor), rows) + 0.5).clip(0, 255)
    np.testing.assert_array_equal(found, both)


@pytest.mark.parametrize("factor", [0, -1, 1.5])
def test_an_image_is_shrunk_and_not_enlarged(factor):
    with pytest.raises(ShapeError, match="from 0 to 1"):
        shrink(np.zeros((8, 8, 3), np.uint8), factor)
