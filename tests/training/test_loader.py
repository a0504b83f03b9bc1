"""Loading beside the steps: it changes no bit, waits little, and hands on its errors."""

import threading
import time

import numpy as np
import pytest

from minisrgan.errors import ImageError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.training.loader import AHEAD, Ahead
from minisrgan.training.trainer import Trainer


class Slow(PhotoSet):
    """Photos that take a while to load, and note who loads them."""

    seconds, loads, error = 0.02, None, None

    def both(self, crops):
        self.loads.append((threading.current_thread().name, crops))
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return super().both(crops)


@pytest.fixture
def trainer(tiny_config, smooth_photo):
    photos = Slow([(str(i), smooth_photo(36, 40, seed=i)) for i in range(5)], 4, 16)
    photos.loads = []
    return Trainer(tiny_config(), photos, "numpy")


def steps(trainer, n, pause=0.0):
    found = []
    for _ in range(n):
        crops = trainer.choose_crops()
        found.append((crops, trainer.photos.hr(crops), trainer.photos.lr(crops)))
        time.sleep(pause)
    return found


def same(found, expected):
    return all(a[0] == b[0] and all(map(np.array_equal, a[1:], b[1:])) for a, b in zip(found, expected, strict=True))


def test_no_bit_depends_on_it(trainer):
    state = trainer.crop_rng.bit_generator.state
    expected = steps(trainer, 12)
    after = trainer.crop_rng.bit_generator.state
    trainer.crop_rng.bit_generator.state = state
    with Ahead(trainer) as ahead:
        assert trainer.photos is ahead and len(ahead) == 5 and ahead.crop == 16
        assert same(steps(trainer, 12), expected)
    assert trainer.photos is ahead.photos and trainer.crop_rng.bit_generator.state == after


def test_patches_are_loaded_in_a_thread_before_they_are_asked_for(trainer):
    with Ahead(trainer) as ahead:
        steps(trainer, 1)
        waited = ahead.waited
        assert waited >= Slow.seconds  # of the first step nothing is known before
        steps(trainer, 10, pause=3 * Slow.seconds)
        assert ahead.waited - waited < 0.05 * 10 * 3 * Slow.seconds
    assert all(name.startswith("photos") for name, _ in ahead.photos.loads)
    crops = [crops for _, crops in ahead.photos.loads]
    assert 11 <= len(crops) <= 11 + AHEAD and len({str(each) for each in crops}) == len(crops)  # none twice


def test_after_going_back_other_crops_are_loaded(trainer):
    state = trainer.crop_rng.bit_generator.state
    expected = steps(trainer, 3)
    with Ahead(trainer) as ahead:
        trainer.crop_rng.bit_generator.state = state
        steps(trainer, 2)
        trainer.roll_back(1)
        other = steps(trainer, 3)
        assert not same(other, expected)
        trainer.crop_rng.bit_generator.state = state
        assert same(steps(trainer, 3), expected)
        waited = ahead.waited
        steps(trainer, 5, pause=3 * Slow.seconds)
        assert ahead.waited - waited < 5 * Slow.seconds / 2  # for what was asked for last; the others come ahead again


def test_a_step_may_take_a_part_of_its_crops(trainer):
    expected = steps(trainer, 1)[0]
    trainer.crop_rng = np.random.default_rng([0, 2])  # as it was
    with Ahead(trainer) as ahead:
        ahead.part = slice(1, 2)
        for _ in range(3):
            crops = trainer.choose_crops()
            assert len(ahead.hr(crops[1:])) == len(ahead.lr(crops[1:])) == 1
        assert crops != expected[0]
    assert all(len(crops) == 1 for _, crops in ahead.photos.loads)


def test_its_errors_are_those_of_the_step_that_needs_the_patches(trainer):
    with Ahead(trainer) as ahead:
        steps(trainer, 2)
        ahead.photos.error = ImageError("a.png: the photo cannot be read")
        with pytest.raises(ImageError, match="a.png"):
            steps(trainer, AHEAD + 2)
    assert not isinstance(trainer.photos, Ahead)
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("photos") for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.name.startswith("photos") for thread in threading.enumerate())
