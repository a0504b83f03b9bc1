"""The photos of a training: which ones it learns from, which are held out, and which part of each is used."""

import numpy as np
import pytest
from PIL import Image

from minisrgan.errors import ImageError
from minisrgan.imaging.files import read_photo
from minisrgan.imaging.patches import Crop
from minisrgan.imaging.resize import shrink
from minisrgan.training import loop as train
from minisrgan.training import photos


def test_the_packaged_photos_are_photos_and_none_is_both():
    training, held_out, small = photos.training_photos()
    names = [name for name, _ in training]
    assert len(names) == 9 and [name for name, _ in held_out] == ["chelsea.png", "coffee.png"] and small == []
    assert not set(names) & {name for name, _ in held_out}
    for _, rgb in training + held_out:
        assert min(rgb.shape[:2]) >= 96


def test_every_tenth_photo_that_is_large_enough_is_held_out(tmp_path, smooth_photo):
    for i in range(23):
        Image.fromarray(smooth_photo(8, 8 if i in (0, 10) else 9, seed=i)).save(tmp_path / f"{i:02}.png")
    (tmp_path / "notes.txt").write_text("no photo")
    training, held_out, small = photos.training_photos(tmp_path, least=8)
    assert [name for name, _ in held_out] == ["00.png", "10.png", "20.png"] and small == []
    Image.fromarray(smooth_photo(7, 99)).save(tmp_path / "00.png")
    training, held_out, small = photos.training_photos(tmp_path, least=8)
    assert [name for name, _ in held_out] == ["01.png", "11.png", "21.png"] and small == ["00.png"]
    assert len(training) == 19 and not {name for name, _ in training} & {name for name, _ in held_out}
    np.testing.assert_array_equal(held_out[0][1], read_photo(tmp_path / "01.png")[0])


def test_a_single_photo_is_too_few_to_train_and_to_measure(tmp_path, smooth_photo):
    Image.fromarray(smooth_photo(9, 9)).save(tmp_path / "one.png")
    with pytest.raises(ImageError, match="1 of 1 photos .* needs two"):
        photos.training_photos(tmp_path, 8)
    Image.fromarray(smooth_photo(7, 9)).save(tmp_path / "small.png")
    with pytest.raises(ImageError, match="1 of 2 photos here have at least 8 x 8 .* needs two"):
        photos.training_photos(tmp_path, 8)


def test_a_package_without_its_photos_gets_one_line():
    with pytest.raises(ImageError, match="mona_lisa.*--data"):
        photos.packaged({"skimage": "mona_lisa.png"})


@pytest.mark.parametrize("size", [(300, 700), (256, 256), (257, 100), (20, 20)])
def test_the_middle_is_the_middle(size):
    photo = np.arange(size[0] * size[1] * 3, dtype=np.uint32).reshape(*size, 3)
    cut = train.centre(photo)
    assert cut.shape == (min(size[0], 256), min(size[1], 256), 3)
    top, left = (size[0] - cut.shape[0]) // 2, (size[1] - cut.shape[1]) // 2
    assert (
        cut[0, 0, 0] == photo[top, left, 0]
        and cut[-1, -1, 2] == photo[top + cut.shape[0] - 1, left + cut.shape[1] - 1, 2]
    )


def test_copies_of_the_photos_are_learned_from_too(tiny_config, smooth_photo, tmp_path):
    pictures = [smooth_photo(40, 44), smooth_photo(22, 30, seed=1)]
    for name, rgb in zip(["0", "a", "b"], [pictures[0], *pictures]):
        Image.fromarray(rgb).save(tmp_path / f"{name}.png")
    crops = photos.gather(tiny_config(copies=2), {"data": str(tmp_path)}).crops
    assert crops.names == ["a.png", "b.png", "a.png at 0.8", "b.png at 0.8", "a.png at 0.64"]
    assert crops.skipped == ["b.png at 0.64"]
    assert photos.gather(tiny_config(), {"data": str(tmp_path)}).crops.names == ["a.png", "b.png"]
    copy = crops.hr([Crop(2, 0, 0, 0)])[0]
    np.testing.assert_array_equal(copy, shrink(pictures[0], 0.8)[:16, :16])
