"""Tiles: the photo comes out as it would in one piece."""

import numpy as np
import pytest

from minisrgan.autodiff import Tensor, no_grad
from minisrgan.imaging.pixels import lr_from_uint8, uint8_from_sr
from minisrgan.imaging.resize import upsample
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.upscale import upscale


def generator(**config):
    """One that sees as far as it can: each weight is positive, and each layer keeps the mean level."""
    values = dict(channels=2, blocks=0, edge_kernel=3, batch_norm=False) | config
    made = Generator(GeneratorConfig(**values), np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for name, parameter in made.named_parameters().items():
        if name.endswith("weight"):
            fan_in = parameter.size // parameter.shape[-1]
            parameter.data[:] = rng.uniform(0.5, 1.5, parameter.shape) / fan_in
    return made


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def in_one_piece(g, photo):
    with no_grad():
        return uint8_from_sr(g.eval()(Tensor(lr_from_uint8(photo[None]))).data[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 1), (29, 31), (14, 21)])
@pytest.mark.parametrize("tile", [1, 7, 16])
@pytest.mark.parametrize(
    "config", [dict(), dict(scale=2, edge_kernel=5), dict(bicubic_skip=True), dict(blocks=2, batch_norm=True)]
)
def test_tiles_are_as_good_as_one_piece(size, tile, config):
    if tile == 1 and size[0] * size[1] > 50:
        size = size[0] // 4 + 1, size[1] // 4 + 1  # as many tiles as pixels: a few will do
    g, photo = generator(**config), noise(*size)
    whole, tiled = in_one_piece(g, photo), upscale(g, photo, "numpy", tile=tile)
    assert whole.shape == tiled.shape and tiled.dtype == np.uint8
    difference = np.abs(whole.astype(int) - tiled)
    # matrix products of other sizes may round a last bit otherwise, and that a level
    assert difference.max() <= 1 and (difference > 0).mean() <= 1e-3
    if min(size) > 1:
        assert len(np.unique(whole)) > 20


@pytest.mark.parametrize("channel", range(3))
def test_a_pixel_stays_where_it_is_and_keeps_its_colour(channel):
    g = generator(bicubic_skip=True)
    g.tail.weight.data[:] = 0
    photo = np.zeros((9, 20, 3), np.uint8)
    photo[2, 15, channel] = 200
    out = upscale(g, photo, "numpy", tile=6)
    assert np.abs(out.astype(int) - upsample(photo, 4)).max() <= 1
    brightest = np.unravel_index(out.argmax(), out.shape)
    assert (brightest[0] // 4, brightest[1] // 4, brightest[2]) == (2, 15, channel)


def test_statistics_are_frozen_even_if_the_generator_was_training():
    g = generator(blocks=1, batch_norm=True).train()
    before = {name: array.copy() for name, array in g.state().items()}
    one, two = (upscale(g, noise(20, 20), "numpy", tile=tile) for tile in (7, 32))
    assert np.abs(one.astype(int) - two).max() <= 1
    assert all(np.array_equal(before[name], array) for name, array in g.state().items())


@pytest.mark.parametrize("training", [True, False])
def test_the_generator_is_left_in_its_mode(training):
    g = generator(blocks=1, batch_norm=True).train(training)
    upscale(g, noise(5, 5), "numpy")
    assert all(module.training == training for _, module in g.modules())
    with pytest.raises(ZeroDivisionError):
        upscale(g, noise(5, 5), "numpy", progress=lambda tiles: 1 / 0)
    assert g.training == training


def test_progress_sees_every_tile():
    seen = []
    upscale(generator(), noise(15, 8), "numpy", tile=7, progress=lambda tiles: seen.extend(tiles) or tiles)
    assert seen == [(y, x) for y in (0, 7, 14) for x in (0, 7)]


def test_the_photo_is_only_read():
    photo = noise(5, 5)
    photo.flags.writeable = False
    upscale(generator(), photo, "numpy")
