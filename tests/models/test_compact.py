"""The architectures beside the paper's: what they compute untrained, their derivatives, and training compact."""

from dataclasses import replace

import numpy as np
import pytest

from minisrgan.check import first_order_error
from minisrgan.errors import ConfigError, WeightsError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.models.architectures import build
from minisrgan.models.compact import CompactConfig
from minisrgan.models.enlarging import enlarge_bilinear, enlarge_nearest, fold_pixels
from minisrgan.models.esrgan import MSRResNetConfig, RRDBConfig
from minisrgan.tensor import Tensor
from minisrgan.training.config import TrainConfig
from minisrgan.training.presets import PRESETS
from minisrgan.training.run import Run
from minisrgan.training.trainer import Trainer
from minisrgan.weights.generators import load_generator

SMALL = [CompactConfig(3, 1, scale=3), RRDBConfig(3, 1, 2, scale=2, fold=2), MSRResNetConfig(3, 1, scale=2)]


def images(*shape):
    return Tensor(np.random.default_rng(0).random(shape))


def test_untrained_it_is_nearest_neighbour():
    lr, g = images(2, 9, 7, 3), build(PRESETS["compact"].generator, np.random.default_rng(0)).to(dtype=np.float64)
    nearest = enlarge_nearest(lr, 4).data
    np.testing.assert_array_equal(nearest, lr.data.repeat(4, 1).repeat(4, 2))
    assert 0 < np.abs(g(lr).data - (nearest * 2 - 1)).std() < 0.05


@pytest.mark.parametrize("config", SMALL, ids=str)
def test_the_derivatives(config):
    g, rng = build(config, np.random.default_rng(0)).to(dtype=np.float64), np.random.default_rng(1)
    for parameter in g.parameters():
        parameter.data[:] = rng.standard_normal(parameter.shape) / 3
    assert first_order_error(lambda lr: g(lr), [images(1, 5, 7, 3).data], rng) < 1e-6


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bilinear_is_between_the_centres_of_pixels(scale):
    lr = images(1, 4, 5, 1).data[0, :, :, 0]
    rows, columns = (np.clip((np.arange(side * scale) + 0.5) / scale - 0.5, 0, side - 1) for side in lr.shape)
    along = np.array([np.interp(columns, range(5), row) for row in lr])
    both = np.array([np.interp(rows, range(4), column) for column in along.T]).T
    np.testing.assert_allclose(enlarge_bilinear(Tensor(lr[None, :, :, None]), scale).data[0, :, :, 0], both, rtol=1e-12)


def test_pixels_are_folded_and_an_odd_side_is_mirrored():
    x = images(1, 3, 5, 2).data
    folded = fold_pixels(Tensor(x), 2).data
    assert folded.shape == (1, 2, 3, 8)
    np.testing.assert_array_equal(folded[0, 0, 0], x[0, :2, :2].ravel())
    np.testing.assert_array_equal(folded[0, 1, 2].reshape(2, 2, 2), x[0, [[2, 2], [1, 1]], [[4, 3], [4, 3]]])


@pytest.mark.parametrize("make", [
    lambda: CompactConfig(scale=0), lambda: CompactConfig(channels=0), lambda: RRDBConfig(scale=3),
    lambda: RRDBConfig(fold=3), lambda: RRDBConfig(growth=0), lambda: MSRResNetConfig(scale=5),
    lambda: MSRResNetConfig(blocks=-1),
])  # fmt: skip
def test_a_configuration_that_cannot_be(make):
    with pytest.raises(ConfigError):
        make()


@pytest.fixture
def trained(tmp_path, tiny_config, smooth_photo):
    """A function that trains a tiny compact generator in a run's folder, for so many steps or on to their end."""
    config = tiny_config(generator=CompactConfig(channels=4, blocks=1), ema=0.9)
    photos = PhotoSet([(str(i), smooth_photo(36, 40, seed=i)) for i in range(3)], 4, 16)

    def train(name, stop=6, resume=False):
        run = (
            Run(tmp_path / name)
            if resume
            else Run.create(tmp_path / name, config, data=None, photos=[], stages=["pretrain"])
        )
        trainer = Trainer(run.config()[0] if resume else config, photos, "numpy")
        if resume:
            run.restore(trainer)
        while trainer.step < stop:
            trainer.pretrain_step()
        run.save(trainer)
        run.unlock()
        return run

    return train


def test_a_run_of_it_is_resumed_to_the_same_bits(trained):
    whole, halves = trained("whole"), trained("halves", stop=3)
    trained("halves", resume=True)
    one, other = (load_generator(run.generator) for run in (whole, halves))
    assert one.config == CompactConfig(channels=4, blocks=1)
    assert all((array == other.state()[name]).all() for name, array in one.state().items())
    assert TrainConfig.from_dict(whole.config()[0].to_dict()) == whole.config()[0]


def test_the_gan_stage(tiny_config, smooth_photo):
    photos = PhotoSet([(str(i), smooth_photo(36, 40, seed=i)) for i in range(3)], 4, 16)
    trainer = Trainer(tiny_config(generator=CompactConfig(channels=4, blocks=1)), photos, "numpy")
    trainer.start_stage("gan")
    before = trainer.generator.state()
    assert trainer.gan_step()["loss_d"] > 0
    assert all((before[name] != array).any() for name, array in trainer.generator.state().items() if "weight" in name)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (CompactConfig(channels=4, blocks=2), r"\(blocks 2, this training 1\): name weights"),
        (PRESETS["compact"].generator, "channels 64, .*train with --preset compact"),
        (replace(PRESETS["tiny"].generator), r"\(architecture srresnet, this training compact\).*--preset tiny"),
    ],
)
def test_weights_of_another_architecture_are_refused(tiny_config, smooth_photo, config, says):
    photos = PhotoSet([(str(i), smooth_photo(36, 40)) for i in range(2)], 4, 16)
    trainer = Trainer(tiny_config(generator=CompactConfig(channels=4, blocks=1)), photos, "numpy")
    with pytest.raises(WeightsError, match=says):
        trainer.start_from(build(config, np.random.default_rng(0)))
