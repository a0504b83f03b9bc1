"""PNG files, written band by band."""

import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from minisrgan.imaging import png
from minisrgan.imaging.png import encode_png, filter_rows, paeth


def encoded(rgb, alpha=None, rows=8):
    """The PNG of a photo that comes in strips of some rows."""
    photo = rgb if alpha is None else np.dstack([rgb, alpha])
    strips = (photo[top : top + rows] for top in range(0, len(photo), rows))
    return encode_png(photo.shape, photo.dtype, strips)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (23, 17)])
@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("band", [1, 150, 1 << 22])
def test_pillow_reads_what_was_written(size, with_alpha, band, monkeypatch):
    monkeypatch.setattr(png, "BAND", band)
    rgb, alpha = noise(*size, 3), noise(*size, seed=1) if with_alpha else None
    image = Image.open(BytesIO(b"".join(encoded(rgb, alpha))))
    expected = rgb if alpha is None else np.dstack([rgb, alpha])
    assert image.mode == ("RGBA" if with_alpha else "RGB")
    np.testing.assert_array_equal(np.array(image), expected)


def test_a_row_takes_the_filter_that_suits_it(smooth_photo):
    row = noise(1, 40, 3)
    grey = np.repeat(np.repeat(noise(1, 1, 1), 40, axis=1), 3, axis=2)

    rows = np.concatenate([row, row, grey])
    chosen = [line[0] for line in np.frombuffer(filter_rows(rows), np.uint8).reshape(2, -1)]
    assert chosen == [2, 1]  # the row above again; one colour all along
    photo = smooth_photo(120, 160)
    ours, theirs = b"".join(encoded(photo)), BytesIO()
    Image.fromarray(photo).save(theirs, "PNG")
    assert len(ours) < 1.05 * len(theirs.getvalue())


def test_paeth_is_the_standards():
    def standard(a, b, c):
        p = a + b - c
        pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
        return a if pa <= pb and pa <= pc else b if pb <= pc else c

    a, b, c = noise(3, 500)
    assert paeth(a, b, c).tolist() == [standard(*map(int, each)) for each in zip(a, b, c)]


def test_only_a_band_is_held(monkeypatch):
    monkeypatch.setattr(png, "BAND", 1 << 15)
    photo = np.zeros((1000, 1000, 3), np.uint8)
    tracemalloc.start()
    size = sum(map(len, encoded(photo)))
    assert size < 1e5 and tracemalloc.get_traced_memory()[1] < photo.nbytes / 3
    tracemalloc.stop()
