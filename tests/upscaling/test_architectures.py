"""Each architecture has the same bits band by band as in one piece, and is as deep as shared models are."""

import numpy as np
import pytest
from kernel_helpers import DEVICE, needs_kernels
from test_upscale import in_bands, in_one_piece, noise

from minisrgan.arrays import to_numpy
from minisrgan.device import blas, use_device
from minisrgan.imaging.pixels import lr_from_uint8, uint8_from_sr
from minisrgan.models.architectures import build
from minisrgan.models.compact import CompactConfig
from minisrgan.models.esrgan import MSRResNetConfig, RRDBConfig
from minisrgan.tensor import Tensor, no_grad
from minisrgan.upscaling.upscale import upscale, upscale_strips

CONFIGS = [
    CompactConfig(16, 2),
    CompactConfig(8, 1, scale=3),
    CompactConfig(8, 1, scale=1),
    MSRResNetConfig(16, 2),
    MSRResNetConfig(8, 1, scale=3),
    RRDBConfig(8, 1, growth=4),
    RRDBConfig(16, 1, growth=16, scale=2, fold=2),
    RRDBConfig(8, 1, growth=4, scale=1, fold=4),
    RRDBConfig(8, 1, growth=4, scale=8),
]


def network(config):
    """A network whose branches are all as strong as its trunk."""
    made, rng = build(config, np.random.default_rng(0)), np.random.default_rng(1)
    for name, parameter in made.named_parameters().items():
        fan_in = parameter.size // parameter.shape[-1]
        parameter.data[:] = rng.standard_normal(parameter.shape) * (0.3 if "bias" in name else (2 / fan_in) ** 0.5)
    return made


@pytest.mark.parametrize("device", ["numpy", pytest.param(DEVICE, marks=needs_kernels)])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_bands_have_the_bits_of_one_piece(device, config, monkeypatch):
    monkeypatch.setattr(blas, "AT_ONCE", 2000)  # numpy's products are of a few rows too
    g = network(config)
    for size in [(1, 1), (1, 30), (33, 1), (29, 61), (41, 40)]:
        for axis, step in [(1, 4), (1, 24)] + [(2, 8)] * (device != "numpy"):
            with use_device(device):
                whole = in_one_piece(g.to(device), noise(*size))
                banded = in_bands(g, noise(*size), device, axis, step)
            assert whole.shape == (size[0] * config.scale, size[1] * config.scale, 3)
            np.testing.assert_array_equal(to_numpy(banded), to_numpy(whole))


def test_a_network_that_folds_pixels_enlarges_what_it_made():
    """Twice in a row, from an odd size, to a scale in between."""
    g, photo = network(RRDBConfig(8, 1, growth=4, scale=2, fold=2)), noise(9, 7)
    rows = np.concatenate(list(upscale_strips(g, photo, "numpy", 3, "uint8")))
    assert rows.shape == (27, 21, 3)
    twice = list(upscale_strips(g, photo, "numpy", 4, "uint8"))
    with no_grad():
        once = g.eval()(Tensor(lr_from_uint8(photo[None])))
        whole = g(Tensor(np.clip(once.data * 0.5 + 0.5, 0, 1)))
    difference = np.concatenate(twice).astype(int) - uint8_from_sr(whole.data[0])
    assert abs(difference).max() <= 1


@needs_kernels
def test_the_deepest_network_in_use_runs_in_bands():
    """ESRGAN's has 345 convolutions one after another, each of which asks the one before it for lines."""
    g = build(RRDBConfig(channels=2, growth=1), np.random.default_rng(0))
    with use_device(DEVICE):
        assert upscale(g.to(DEVICE), noise(40, 9), DEVICE, tile=8).shape == (160, 36, 3)
