"""Degradations: each is its formula, and a part is the same as that part of the whole."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from minisrgan.errors import ConfigError
from minisrgan.imaging.degrade import Degradation, as_jpeg, blurred_reduction
from minisrgan.imaging.patches import Crop, Entry, PhotoSet, orient
from minisrgan.imaging.pictures import Held
from minisrgan.imaging.resize import crop_to_multiple, downsample, resize_matrix

ALL = "blur=0.2..2", "noise=0..15", "jpeg=40..95"


def picture(rgb, scale=4):
    hr = crop_to_multiple(rgb, scale)
    return Held(hr, downsample(hr, scale))


def everything(picture):
    return tuple(slice(0, side) for side in picture.size)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_blur_is_a_gaussian_before_the_reduction(smooth_photo, scale):
    hr = crop_to_multiple(smooth_photo(90, 120), scale)
    blurred = np.stack([gaussian_filter(hr[..., c] * 1.0, 1.7, truncate=6, mode="nearest") for c in range(3)], axis=-1)
    down, across = (resize_matrix(n, n // scale, 1 / scale) for n in hr.shape[:2])
    expected = np.einsum("ij,jkc,lk->ilc", down, blurred, across, optimize=True).clip(0, 255)
    whole = blurred_reduction(picture(hr, scale), everything(picture(hr, scale)), scale, 1.7)
    inside = slice(4, -4)  # beyond the edge, HR is repeated before the blur here, and after it there
    assert np.abs(whole - expected)[inside, inside].max() < 0.51


@pytest.mark.parametrize("strengths", [["blur=1.5"], ["jpeg=40"], ["blur=0.8", "jpeg=70"]])
@pytest.mark.parametrize("top, left", [(17, 9), (16, 32), (0, 43), (33, 0), (15, 31)])
def test_a_part_is_that_part_of_the_whole(smooth_photo, strengths, top, left):
    degrade, photo = Degradation.parse(strengths), picture(smooth_photo(240, 300))
    place = slice(top, top + 16), slice(left, left + 32)
    part = degrade.part(photo, place, 4, seed=3)
    assert part.shape == (16, 32, 3) and part.dtype == np.uint8
    np.testing.assert_array_equal(part, degrade.part(photo, everything(photo), 4, seed=3)[place])
    assert np.abs(part.astype(int) - photo.lr(*place).view(np.uint8).reshape(part.shape)).max() > 2


def test_noise_has_its_strength_and_jpeg_its_quality():
    photo = picture(np.full((800, 800, 3), 128, np.uint8))
    noise = Degradation.parse(["noise=12"]).part(photo, everything(photo), 4, seed=0) - 128.0
    assert abs(noise.std() - 12) < 0.2 and abs(noise.mean()) < 0.2
    rough = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    errors = [np.abs(as_jpeg(rough, quality) - rough.astype(int)).mean() for quality in (95, 70, 40, 10)]
    assert errors == sorted(errors) and errors[0] > 0


def test_strengths_are_drawn_from_their_ranges_by_the_seed(monkeypatch, smooth_photo):
    photo, drawn = picture(smooth_photo(64, 64)), []
    monkeypatch.setattr(
        "minisrgan.imaging.degrade.as_jpeg", lambda image, quality: drawn.append(quality) or np.asarray(image)
    )
    degrade = Degradation.parse(["jpeg=40..95"])
    for seed in range(300):
        degrade.part(photo, everything(photo), 4, seed)
    assert min(drawn) in range(40, 44) and max(drawn) in range(92, 96) and abs(np.mean(drawn) - 67.5) < 3


def test_the_same_seed_gives_the_same_bits_and_the_same_crops(smooth_photo):
    entries = [Entry(str(i), "", picture(smooth_photo(160, 160, seed=i))) for i in range(3)]
    degraded, plain = (PhotoSet.of(entries, 4, 32, each) for each in (Degradation.parse([*ALL]), None))
    first, second = (np.random.default_rng(1) for _ in range(2))
    seeds = set()
    for _ in range(20):
        crops, others = degraded.choose(first, 4), plain.choose(second, 4)
        assert [crop._replace(seed=0) for crop in crops] == others
        seeds |= {crop.seed for crop in crops}
        np.testing.assert_array_equal(degraded.hr(crops), plain.hr(others))
        np.testing.assert_array_equal(degraded.lr(crops), degraded.lr(crops))
        assert (degraded.lr(crops) != plain.lr(others)).mean() > 0.3
    assert len(seeds) == 80
    upright = crops[0]._replace(orientation=0)
    np.testing.assert_array_equal(
        degraded.lr([upright._replace(orientation=5)])[0], orient(degraded.lr([upright])[0], 5)
    )


def test_no_blur_no_noise_and_no_jpeg_is_the_bicubic_reduction(smooth_photo):
    entries = [Entry("a", "", picture(smooth_photo(160, 160)))]
    crops = [Crop(0, 3, 5, 6, seed=8)]
    degraded = PhotoSet.of(entries, 4, 32, Degradation.parse(["blur=0", "noise=0"]))
    np.testing.assert_array_equal(degraded.lr(crops), PhotoSet.of(entries, 4, 32).lr(crops))


@pytest.mark.parametrize(
    "words", [["fog=1"], ["blur"], ["blur=a"], ["jpeg=0..5"], ["blur=2..1"], ["noise=-1"], ["blur=1", "blur=2"]]
)
def test_mistakes(words):
    with pytest.raises(ConfigError, match=words[0].partition("=")[0]):
        Degradation.parse(words)


def test_it_can_be_written_and_read():
    degrade = Degradation.parse([*ALL])
    assert Degradation.from_dict(degrade.to_dict()) == degrade
    assert degrade.to_dict() == {"blur": [0.2, 2.0], "noise": [0.0, 15.0], "jpeg": [40.0, 95.0]}
