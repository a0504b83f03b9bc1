"""The cache of decoded photos: the same bits, a bound on disk and in memory, and nothing that a kill can spoil."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from minisrgan.errors import ImageError
from minisrgan.training import cache as caches
from minisrgan.training import photos
from minisrgan.training.cache import Made, PictureCache


@pytest.fixture
def folder(tmp_path, smooth_photo):
    """Twelve photos, of which two are held out."""
    (tmp_path / "photos").mkdir()
    for i in range(12):
        Image.fromarray(smooth_photo(140 + i, 150 + 2 * i, seed=i)).save(tmp_path / "photos" / f"{i:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def gather(monkeypatch, tmp_path, tiny_config, folder):
    """A function that gathers the photos through the cache, which says what it did."""
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))

    def build(memory=0, most=None, degrade=None, **changes):
        monkeypatch.setattr(photos, "MEMORY", memory)
        about = {"data": str(folder)} | ({"degrade": degrade} if degrade else {})
        return photos.gather(tiny_config(**changes), about, said.append, most)

    said = build.said = []
    return build


def patches(gathered, steps=40):
    rng, digest = np.random.default_rng(0), hashlib.sha256()
    for _ in range(steps):
        for each in gathered.crops.both(gathered.crops.choose(rng, 4)):
            digest.update(each)
    return digest.hexdigest()


def files(tmp_path):
    return sorted((tmp_path / "cache" / "photos").glob("*.picture"))


@pytest.mark.parametrize("degrade", [None, {"blur": [0.2, 2], "jpeg": [40, 95]}], ids=["plain", "degraded"])
def test_a_training_is_the_same_from_the_cache_to_the_bit(gather, tmp_path, degrade):
    held, cached = gather(1e9, copies=2, degrade=degrade), gather(copies=2, degrade=degrade)
    assert len(files(tmp_path)) == 3 * 10 + 2
    again = gather(copies=2, degrade=degrade)
    anew = gather(copies=2, degrade=degrade, most=0)
    for other in (cached, again, anew):
        assert other.crops.names == held.crops.names and other.crops.hashes == held.crops.hashes
        assert [(each.name, each.hash) for each in other.held_out] == [(each.name, each.hash) for each in held.held_out]
        for one, two in zip(other.held_out, held.held_out):
            np.testing.assert_array_equal(one.rgb, two.rgb)  # photos are no larger than the middle here
            assert (one.lr is None) == (two.lr is None) and (one.lr is None or np.array_equal(one.lr, two.lr))
    assert patches(held) == patches(cached) == patches(again)


def test_photos_that_are_damaged_or_small_are_left_out_of_the_cache_too(gather, folder, smooth_photo):
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:2000])
    Image.fromarray(smooth_photo(15, 90)).save(folder / "00.png")
    held, cached, again = gather(1e9), gather(), gather()
    assert held.small == cached.small == again.small == ["00.png"]
    assert len(held.crops) == 9 and held.held_out[0].name == "01.png"
    assert held.crops.names == cached.crops.names == again.crops.names
    first, second, third = (gather.said[i : i + 2] for i in (0, 2, 4))
    assert first == second == third and "03.png" in first[0]


def test_what_is_in_the_cache_is_not_decoded_again(gather, monkeypatch):
    gather(copies=1)
    monkeypatch.setattr(photos, "load_photo", lambda path: pytest.fail(f"{path} was read"))
    assert len(gather(copies=1).crops) == 20


def test_without_room_photos_are_read_anew_and_nothing_changes(gather, tmp_path):
    expected = patches(gather(1e9))
    for most in (0, 5e5):  # bytes; each takes about 0.14 million
        for path in files(tmp_path):
            path.unlink()
        gather.said.clear()
        gathered = gather(most=most)
        assert sum(path.stat().st_size for path in files(tmp_path)) <= most
        (line,) = gather.said
        assert "--cache" in line and 0 < int(line.split()[0]) <= 10
        assert patches(gathered) == expected
    assert files(tmp_path)


def test_the_files_that_were_not_used_for_longest_make_room(tmp_path):
    cache, used = PictureCache(folder=tmp_path / "c", most=3e5), []
    image = np.zeros((200, 200, 3), np.uint8)
    made = Made(image, image[:50, :50], {"hash": "0"})
    for i, name in enumerate("abc"):
        cache.get(name, lambda: made)
        used.append(cache.folder / f"{name}.picture")
        os.utime(used[-1], (time.time() - 3600 + i,) * 2)
    assert [path.exists() for path in used] == [False, True, True]  # three are more than there is room for
    os.utime(used[1])
    cache.get("d", lambda: made)
    assert [path.exists() for path in used] == [False, True, False]
    assert not cache.get("e", lambda: made).kept  # the others are in use


def damage_head(path):
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)


def damage_hr(path):
    data = bytearray(path.read_bytes())
    data[caches.START + 1000] ^= 1
    path.write_bytes(data)


def damage_lr(path):
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # after it come the checksums of three bands and of one
    path.write_bytes(data)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "when, harm",
    [
        *(("before the run", harm) for harm in (damage_head, damage_hr, damage_lr, cut, os.unlink)),
        *(("during the run", harm) for harm in (damage_hr, damage_lr, cut, os.unlink)),
    ],
)
def test_a_damaged_file_is_noticed_and_made_again(gather, tmp_path, when, harm):
    gathered = gather()
    before = {path.name: path.read_bytes() for path in files(tmp_path)}
    expected = patches(gather(1e9))
    for path in files(tmp_path):
        harm(path)
    assert patches(gathered if when == "during the run" else gather()) == expected
    after = {path.name: path.read_bytes() for path in files(tmp_path)}
    used = {picture.path.name for picture in gathered.crops.pictures}
    assert {name: after[name] for name in used} == {name: before[name] for name in used}


def test_a_folder_that_is_deleted_during_a_run_is_made_again(gather, tmp_path):
    gathered = gather()
    before = {path.name: path.read_bytes() for path in files(tmp_path)}
    expected = patches(gather(1e9))
    shutil.rmtree(tmp_path / "cache")
    assert patches(gathered) == expected
    after = {path.name: path.read_bytes() for path in files(tmp_path)}
    assert {picture.path.name for picture in gathered.crops.pictures} == {*after} and after.items() <= before.items()


def test_what_a_killed_process_left_is_removed(gather, tmp_path):
    (tmp_path / "cache" / "photos").mkdir(parents=True)
    (tmp_path / "cache" / "photos" / ".minisrgan-1.part").write_bytes(b"half of a photo")
    gather()
    assert {path.suffix for path in (tmp_path / "cache" / "photos").iterdir()} == {".picture", ""}  # and the lock


def test_a_photo_that_changes_during_a_run_ends_it(gather, folder, tmp_path, smooth_photo):
    gathered = gather()
    for path in files(tmp_path):
        path.unlink()
    for path in folder.iterdir():
        Image.fromarray(smooth_photo(150, 150, seed=99)).save(path)
    with pytest.raises(ImageError, match="changed since"):
        patches(gathered)


def test_two_runs_at_the_same_time(gather, tmp_path):
    expected, found = patches(gather(1e9)), []

    def train():
        gathered = gather(most=1e6)  # not enough for all
        for _ in range(2):
            found.append(patches(gathered, 40))

    threads = [threading.Thread(target=train) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [expected] * 4
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 1e6


MANY = """
import re, sys
import numpy as np
from minisrgan.training import photos
from minisrgan.training.presets import PRESETS
from minisrgan.training.trainer import Trainer
from minisrgan.training.loader import Ahead
photos.MEMORY = float(sys.argv[2])
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 2**10
least = peak()
gathered = photos.gather(PRESETS["tiny"], {"data": sys.argv[1]})
rng = np.random.default_rng(0)
for _ in range(100):
    gathered.crops.both(gathered.crops.choose(rng, 8))
print(len(gathered.crops), peak() - least)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/status")
def test_memory_does_not_grow_with_the_number_of_photos(tmp_path, smooth_photo):
    (tmp_path / "many").mkdir()
    photo = smooth_photo(700, 1000)
    for i in range(40):  # 2 MiB each, decoded
        Image.fromarray(np.roll(photo, 7 * i, axis=1)).save(tmp_path / "many" / f"{i:02}.jpg")
    environment = os.environ | {"MINISRGAN_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def mebibytes(memory):
        words = [sys.executable, "-c", MANY, str(tmp_path / "many"), str(memory)]
        ran = subprocess.run(words, capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        n, size = ran.stdout.split()
        assert n == "36"
        return float(size)

    assert mebibytes(1e9) > 70  # so the bound below can fail
    assert mebibytes(0) < 40
