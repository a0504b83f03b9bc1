"""Training crops: aligned in both resolutions, evenly drawn, and honest about photos left out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minisrgan.errors import ConfigError, ImageError
from minisrgan.imaging.patches import Crop, PhotoSet, orient
from minisrgan.imaging.resize import crop_to_multiple, downsample


def noise(*shape, seed=0):
    """RGB noise far enough from 0 and 255 that no resize overshoots and is clipped."""
    return np.random.default_rng(seed).integers(64, 192, (*shape, 3), dtype=np.uint8)


def photo_set(*sizes, **options):
    return PhotoSet([(f"{i}.png", noise(*size, seed=i)) for i, size in enumerate(sizes)], **options)


@settings(deadline=None, max_examples=25)
@given(height=st.integers(24, 60), width=st.integers(24, 60), scale=st.sampled_from([2, 4]), seed=st.integers(0, 999))
def test_low_resolution_patches_are_the_same_places_shrunk(height, width, scale, seed):
    photos = photo_set((height, width), scale=scale, crop=24)
    for crop in photos.choose(np.random.default_rng(seed), 8):
        upright = [crop._replace(orientation=0)]
        shrunk = downsample(photos.hr(upright)[0], scale)
        # The kernel reaches 2 LR pixels beyond the patch's own edge: within those, every sample agrees.
        np.testing.assert_array_equal(photos.lr(upright)[0, 2:-2, 2:-2], shrunk[2:-2, 2:-2])
        turned = photos.lr([crop])[0].astype(int)
        shrunk = downsample(photos.hr([crop])[0], scale)
        # Turned by 90 degrees, the columns are resized and rounded first: a sample may be off by a rounding.
        assert np.abs(turned - shrunk)[2:-2, 2:-2].max() <= 2


def test_patches_are_cut_from_the_photo_and_from_the_whole_photo_shrunk():
    hr = noise(50, 63)
    photos = PhotoSet([("a", hr)], scale=4, crop=24)
    lr = downsample(crop_to_multiple(hr, 4), 4)
    crop = Crop(photo=0, top=3, left=9, orientation=0)
    np.testing.assert_array_equal(photos.hr([crop])[0], hr[12:36, 36:60])
    np.testing.assert_array_equal(photos.lr([crop])[0], lr[3:9, 9:15])
    assert photos.hr([crop] * 5).shape == (5, 24, 24, 3) and photos.lr([crop] * 5).shape == (5, 6, 6, 3)
    assert photos.hr([crop]).dtype == photos.lr([crop]).dtype == np.uint8


def test_the_eight_orientations_are_the_symmetries_of_the_square():
    image = noise(4, 4)
    turned = [orient(image, i) for i in range(8)]
    assert len({t.tobytes() for t in turned}) == 8
    symmetries = [np.rot90(m, k) for m in (image, image.swapaxes(0, 1)) for k in range(4)]
    assert {s.tobytes() for s in symmetries} == {t.tobytes() for t in turned}


@settings(deadline=None, max_examples=30)
@given(n_photos=st.integers(1, 7), n=st.integers(0, 20), seed=st.integers(0, 999))
def test_every_photo_is_used_before_any_repeats(n_photos, n, seed):
    photos = photo_set(*[(8, 8)] * n_photos, crop=8)
    counts = Counter(crop.photo for crop in photos.choose(np.random.default_rng(seed), n))
    used = [counts[i] for i in range(n_photos)]
    assert sum(used) == n and max(used) - min(used) <= 1


def test_photos_places_and_orientations_are_all_equally_likely():
    photos = photo_set((8, 8), (16, 12), (40, 40), crop=8)  # photo 1 has 3 x 2 places
    rng = np.random.default_rng(0)
    crops = [photos.choose(rng, 1)[0] for _ in range(6000)]
    for found, expected in [
        (Counter(c.photo for c in crops), dict.fromkeys(range(3), 1 / 3)),
        (Counter(c.orientation for c in crops), dict.fromkeys(range(8), 1 / 8)),
        (
            Counter((c.top, c.left) for c in crops if c.photo == 1),
            dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)], 1 / 6),
        ),
    ]:
        assert found.keys() == expected.keys()
        total = sum(found.values())
        for key, share in expected.items():
            assert abs(found[key] / total - share) < 5 * (share * (1 - share) / total) ** 0.5
    assert {c.top for c in crops if c.photo == 2} == {c.left for c in crops if c.photo == 2} == set(range(9))


def test_the_same_generator_chooses_the_same_crops():
    photos = photo_set((30, 40), (50, 20), (33, 33), crop=12)
    first, again = (photos.choose(np.random.default_rng(7), 10) for _ in range(2))
    assert first == again != photos.choose(np.random.default_rng(8), 10)


def test_photos_too_small_are_left_out_by_name(tmp_path):
    for name, size in [("a.png", (24, 24)), ("b.png", (23, 90)), ("c.png", (90, 23)), ("d.png", (25, 31))]:
        Image.fromarray(noise(*size)).save(tmp_path / name)
    photos = PhotoSet.from_files(sorted(tmp_path.iterdir()), scale=4, crop=24)
    assert photos.names == ["a.png", "d.png"] and photos.skipped == ["b.png", "c.png"] and len(photos) == 2
    np.testing.assert_array_equal(photos.hr([Crop(0, 0, 0, 0)])[0], noise(24, 24))
    with pytest.raises(ImageError, match="100 x 100"):
        PhotoSet.from_files(sorted(tmp_path.iterdir()), scale=4, crop=100)


@pytest.mark.parametrize("scale, crop", [(4, 94), (3, 32), (4, 0), (0, 96), (4, -4)])
def test_a_crop_that_the_scale_does_not_divide_is_refused(scale, crop):
    with pytest.raises(ConfigError, match=str(crop)):
        photo_set((100, 100), scale=scale, crop=crop)
