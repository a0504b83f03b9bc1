"""Which photos --data and --data-lr name: folders, lists, and LR beside HR."""

import numpy as np
import pytest
from PIL import Image

from minisrgan.errors import ConfigError, ImageError
from minisrgan.imaging.resize import crop_to_multiple, downsample
from minisrgan.training import photos
from minisrgan.training.sources import find_sources


@pytest.fixture
def two(tmp_path, smooth_photo):
    """Two folders of HR, `a` with a folder in it, each with its LR at `lr/a` and `lr/b`."""
    names = ["a/1.png", "a/in/2.png", "a/3.png", "b/1.png", "b/4.png"]
    for i, name in enumerate(names):
        hr = smooth_photo(36 + i, 41, seed=i)  # cut to a multiple of 4 before the reduction
        folder, _, rest = name.partition("/")
        lr = tmp_path / "lr" / folder / (rest if i % 2 else rest.replace(".png", "x4.png"))
        for path, rgb in [(tmp_path / name, hr), (lr, 255 - downsample(crop_to_multiple(hr, 4), 4))]:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rgb).save(path)
    return tmp_path


def names(data, data_lr=(), said=None):
    return [source.name for source in find_sources([str(each) for each in data], [str(each) for each in data_lr], 4,
                                                   (said if said is not None else []).append)]  # fmt: skip


def test_a_folder_has_names_within_it_and_several_have_their_own(two):
    assert names([two / "a"]) == ["1.png", "3.png", "in/2.png"]
    assert names([two / "a", two / "b"]) == ["a/1.png", "a/3.png", "a/in/2.png", "b/1.png", "b/4.png"]
    (two / "c").mkdir()
    (two / "b").rename(two / "c" / "a")
    assert names([two / "a", two / "c" / "a"])[-1] == "a-2/4.png"
    for name in ("d/a-2/5.png", "d/d/a/5.png"):  # a-2 is a name of its own
        (two / name).parent.mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(two / name)
    several = names([two / "a", two / "c" / "a", two / "d" / "a-2", two / "d" / "d" / "a"])
    assert several[-3:] == ["a-2/4.png", "a-2-2/5.png", "a-3/5.png"]
    assert names([two / "a", two / "a" / "in"]) == ["a/1.png", "a/3.png", "a/in/2.png"]  # each file once


def test_a_list_names_photos_seen_from_its_folder(two):
    text = "# the best\n\na/in/2.png\n  b/4.png  \n"
    (two / "best.txt").write_text(text, encoding="utf-8")
    assert names([two / "best.txt"]) == ["a/in/2.png", "b/4.png"]
    assert names([two / "best.txt", two / "b"]) == ["best/a/in/2.png", "best/b/4.png", "b/1.png"]
    with open(two / "best.txt", "a") as file:
        file.write("b/5.png\n")
    with pytest.raises(ImageError, match=r"best.txt, line 5: there is no file .*5.png"):
        names([two / "best.txt"])
    with pytest.raises(ImageError, match="this is a photo"):
        names([two / "a" / "1.png"])
    (two / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ImageError, match="no photos in this list"):
        names([two / "empty.txt"])
    (two / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(ImageError, match="no list"):
        names([two / "binary"])


def test_pairs_are_matched_by_name_and_checked_by_size(two):
    found = find_sources([str(two / "a"), str(two / "b")], [str(two / "lr" / "a"), str(two / "lr" / "b")], 4, print)
    assert [each.lr.relative_to(two / "lr").as_posix() for each in found] == [
        "a/1x4.png", "a/3x4.png", "a/in/2.png", "b/1.png", "b/4x4.png"
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="for each of --data: 2, not 1"):
        names([two / "a", two / "b"], [two / "lr" / "a"])
    with pytest.raises(ConfigError, match=r"lr/b: it would be called 3.png or 3x4.png there"):
        names([two / "a"], [two / "lr" / "b"])
    Image.fromarray(np.zeros((9, 11, 3), np.uint8)).save(two / "lr" / "a" / "3x4.png")
    with pytest.raises(ConfigError, match=r"3x4.png does not fit .*a/3.png: it has 11 x 9 .* 41 x 38 .* are 10 x 9"):
        names([two / "a"], [two / "lr" / "a"])
    with pytest.raises(ImageError, match="--data-lr"):
        names([two / "a"], [two / "nowhere"])


@pytest.mark.parametrize("memory", [1e9, 0], ids=["held", "cached"])
def test_a_training_learns_from_the_given_lr(two, tiny_config, monkeypatch, tmp_path, memory):
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(photos, "MEMORY", memory)
    about = {"data": str(two / "a"), "data_lr": [str(two / "lr" / "a")]}
    gathered = photos.gather(tiny_config(), about)
    crops = gathered.crops.choose(np.random.default_rng(0), 4)
    hr, lr = gathered.crops.both(crops)
    for one, other in zip(lr, hr):
        assert np.abs(255 - downsample(other, 4).astype(int) - one)[1:-1, 1:-1].max() < 40  # but for its own borders
    (held,) = gathered.held_out
    np.testing.assert_array_equal(held.lr, 255 - downsample(crop_to_multiple(held.rgb, 4), 4))
    with pytest.raises(ConfigError, match="--copies 0"):
        photos.gather(tiny_config(copies=1), about)
    with pytest.raises(ConfigError, match="degraded"):
        photos.gather(tiny_config(), about | {"degrade": {"blur": [1, 2]}})
    Image.fromarray(np.full((9, 10, 3), 7, np.uint8)).save(two / "lr" / "a" / "3x4.png")
    assert photos.gather(tiny_config(), about).crops.hashes != gathered.crops.hashes  # LR is part of the photo


def test_what_upscale_made_is_no_original(two):
    for name in ("1-x4.png", "in/2-x2.5.jpg", "out/3.png-x4.png", "9-x4.png"):  # of the last there is no 9.png
        (two / "a" / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40)).save(two / "a" / name)
    said = []
    assert names([two / "a"], said=said) == ["1.png", "3.png", "9-x4.png", "in/2.png"]
    assert said == [f"{two / 'a'}: left out 3 others, made by `upscale` from others, by their names "
                    "(1-x4.png, in/2-x2.5.jpg, out/3.png-x4.png)"]  # fmt: skip


def test_a_run_of_an_earlier_version_keeps_the_photos_that_it_began_with(two, tiny_config):
    Image.new("RGB", (40, 40)).save(two / "a" / "1-x4.png")
    about = {"data": str(two / "a"), "photos": {"1-x4.png": "hash"}, "held_out": {"1.png": "hash"}}
    assert "1-x4.png" in [photo.name for photo in photos.gather(tiny_config(), about, print).held_out]
    assert "1-x4.png" not in photos.gather(tiny_config(), {"data": str(two / "a")}, print).crops.names


@pytest.mark.parametrize("memory", [2**29, 0])
def test_a_copy_of_a_held_out_photo_is_named(two, tiny_config, monkeypatch, tmp_path, memory):
    monkeypatch.setattr(photos, "MEMORY", memory)
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))
    said = []
    photos.gather(tiny_config(), {"data": str(two / "a")}, said.append)
    assert not any("same picture" in line for line in said)
    Image.open(two / "a" / "1.png").save(two / "a" / "again.png", compress_level=1)
    photos.gather(tiny_config(), {"data": str(two / "a")}, said.append)
    assert any(line.startswith("again.png is learned from, and is the same picture as 1.png") for line in said)
