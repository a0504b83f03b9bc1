"""Bands: the result has the same bits as the whole photo enlarged at once."""

import tracemalloc
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_helpers import DEVICE, needs_kernels

from minisrgan.arrays import to_numpy
from minisrgan.device import blas, use_device
from minisrgan.device.conv import winograd_pays
from minisrgan.errors import ShapeError
from minisrgan.imaging.files import find_photos, read_photo
from minisrgan.imaging.metrics import score
from minisrgan.imaging.pixels import lr_from_uint8, uint8_from_sr
from minisrgan.imaging.resize import crop_to_multiple, downsample, upsample
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.nn import Conv, chain
from minisrgan.tensor import Tensor, no_grad
from minisrgan.upscaling.bands import LEAST, Bands, band_stops
from minisrgan.upscaling.upscale import lr_bands, upscale
from minisrgan.weights.generators import load_generator, packaged


def generator(**config):
    """A generator that uses its whole receptive field: positive weights, and each layer keeps the mean level."""
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
        return g.eval()(Tensor(lr_from_uint8(photo[None]))).data[0]


def in_bands(g, photo, device, axis, lines):
    """SR before it is rounded, so that a difference of one bit shows."""
    with no_grad():
        return (
            g.eval()(lr_bands(photo, device, axis, lines)).reader().take(photo.shape[axis - 1] * g.config.scale).data[0]
        )


CONFIGS = [
    dict(channels=16, blocks=1),
    dict(channels=9, scale=2, edge_kernel=5),  # a channel more than few outputs are worth on numpy
    dict(channels=9, bicubic_skip=True, edge_kernel=1),
    dict(channels=16, bicubic_skip=True, direct=True),
    dict(blocks=1, batch_norm=True, edge_kernel=9),
    dict(channels=9, scale=3, edge_kernel=5),
    dict(channels=16, scale=3, bicubic_skip=True, direct=True),
]
devices = pytest.mark.parametrize("device", ["numpy", pytest.param(DEVICE, marks=needs_kernels)])


@devices
@pytest.mark.parametrize("config", CONFIGS)
@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    height=st.integers(1, 45), width=st.integers(1, 45), step=st.sampled_from([4, 8, 24]), axis=st.sampled_from([1, 2])
)
def test_bands_have_the_bits_of_one_piece(device, config, height, width, step, axis):
    g, photo = generator(**config), noise(height, width)
    with use_device(device), patch.multiple(blas, AT_ONCE=2000):  # numpy's products are of a few rows too
        whole = in_one_piece(g.to(device), photo)
        banded = in_bands(g, photo, device, 1 if device == "numpy" else axis, step)
    np.testing.assert_array_equal(to_numpy(banded), to_numpy(whole))


@devices
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 1), (29, 61), (64, 21)])
@pytest.mark.parametrize("tile", [None, 1, 7, 16])
def test_a_photo_is_one_piece_whatever_its_size_and_the_bands(device, size, tile):
    g, photo = generator(blocks=2, bicubic_skip=True), noise(*size)
    with use_device(device):
        whole, tiled = uint8_from_sr(to_numpy(in_one_piece(g.to(device), photo))), upscale(g, photo, device, tile=tile)
    assert tiled.dtype == np.uint8
    np.testing.assert_array_equal(tiled, whole)
    if min(size) > 1:
        assert len(np.unique(whole)) > 20


@pytest.mark.parametrize("length", range(1, 60))
def test_no_band_is_too_short_to_be_judged_as_the_whole_is(length):
    for lines in (4, 8, 16):
        stops = band_stops(length, range(lines, length + 9, lines))
        assert stops[-1] == length and all(stop % lines == 0 for stop in stops[:-1])
        extents = np.diff([0, *stops]).tolist()
        assert min(extents) > 0 and (extents == [length] or extents[-1] >= LEAST)
        for extent, other in product({*extents}, range(1, 40)):
            at = [np.empty((1, side, other, 16), np.float32) for side in (extent, length)]
            judged = [winograd_pays(x, (3, 3, 16, 16), (1, 1), x.shape[1:3]) for x in at]
            assert judged[0] == judged[1]


def test_no_more_is_held_than_a_few_bands():
    """A long photo takes no more memory than a short one, but for its own pixels."""
    g, peaks = generator(channels=16, blocks=2, bicubic_skip=True), []
    for length in (200, 800):
        photo = noise(length, 100)  # so wide that its lines weigh more than the lists of its bands
        with patch.multiple(blas, AT_ONCE=2000):
            tracemalloc.start()
            upscale(g, photo, "numpy", tile=8)
            peaks.append(tracemalloc.get_traced_memory()[1] - 16 * photo.nbytes)
            tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


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
    np.testing.assert_array_equal(one, two)
    assert all(np.array_equal(before[name], array) for name, array in g.state().items())


@pytest.mark.parametrize("training", [True, False])
def test_the_generator_is_left_in_its_mode(training):
    g = generator(blocks=1, batch_norm=True).train(training)
    upscale(g, noise(5, 5), "numpy")
    assert all(module.training == training for _, module in g.modules())
    with pytest.raises(ZeroDivisionError):
        upscale(g, noise(5, 5), "numpy", progress=lambda tiles: 1 / 0)
    assert g.training == training


def test_no_band_is_longer_than_the_others():
    """Not even the last one, when the layers compute all the lines that they held back."""
    for length, lines in product((41, 64, 101), (8, 16)):
        with use_device("cpu"):  # that kernels have a grain of 4 is all that is asked of it
            stops = [0, *generator(blocks=6, bicubic_skip=True)(lr_bands(noise(length, 5), "cpu", 1, lines)).stops]
        assert len(stops) > 3 and np.diff(stops).max() < 4 * (lines + LEAST)


def test_progress_sees_every_band():
    seen = []
    with patch.multiple(blas, AT_ONCE=2000):
        upscale(generator(), noise(60, 8), "numpy", tile=7, progress=lambda bands: seen.extend(bands) or bands)
    assert len(seen) > 2 and seen[0][1] == 0 and seen[-1][2] == 240
    assert all(number == 0 and stop == after for (number, _, stop), (_, after, _) in zip(seen, seen[1:]))


def test_a_stride_makes_no_bands():
    with pytest.raises(ShapeError, match="stride 1"):
        chain(Bands((8, 8), 1, 8, [8], iter([])), Conv(np.random.default_rng(0), 3, 3, stride=2))


def test_the_photo_is_only_read():
    photo = noise(5, 5)
    photo.flags.writeable = False
    upscale(generator(), photo, "numpy")


@devices
@pytest.mark.parametrize("size", [(9, 14), (14, 9)])
def test_the_ensemble_is_the_mean_of_eight_before_it_is_rounded(device, size):
    g, photo, enlarged = generator(channels=16, blocks=1, bicubic_skip=True), noise(*size), []
    with use_device(device):
        g.to(device)
        for mirrored in (False, True):
            for quarters in range(4):
                turned = np.rot90(photo[:, ::-1] if mirrored else photo, quarters)
                back = np.rot90(to_numpy(in_one_piece(g, np.ascontiguousarray(turned))), -quarters)
                enlarged.append(back[:, ::-1] if mirrored else back)
        made = upscale(g, photo, device, ensemble=True)
    assert len(np.unique(np.stack(enlarged).round(4), axis=0)) == 8  # or turning is not seen here
    np.testing.assert_array_equal(made, uint8_from_sr(np.mean(enlarged, axis=0)))


def test_the_ensemble_of_a_turned_photo_is_the_turned_ensemble():
    g, photo = generator(blocks=1), noise(8, 11)
    straight, turned = (upscale(g, each, "numpy", ensemble=True).astype(int) for each in (photo, np.rot90(photo)))
    assert np.abs(np.rot90(straight) - turned).max() <= 1  # the eight are summed in another order


def test_the_ensemble_is_nearer_to_the_original(measurement_data):
    g, found = load_generator(packaged("tiny", "stage1")), []
    for path in find_photos(measurement_data / "Set5"):
        hr = crop_to_multiple(read_photo(path)[0][:128, :128], 4)
        lr = downsample(hr, 4)
        found.append([score(upscale(g, lr, "numpy", ensemble=each), hr, 4).psnr_y for each in (False, True)])
    assert len(found) == 5
    assert np.diff(np.mean(found, axis=0)) > 0.05
