"""A trial: a photo shrunk, and enlarged again."""

import numpy as np

from minisrgan.imaging.resize import downsample, upsample
from minisrgan.upscaling.trial import try_photo
from minisrgan.upscaling.upscale import upscale
from minisrgan.weights.generators import load_generator


def test_a_trial_is_the_photo_shrunk_and_enlarged(generator_file, smooth_photo):
    g, photo = load_generator(generator_file), smooth_photo(30, 41)
    trial = try_photo(g, photo, "numpy")
    np.testing.assert_array_equal(trial.hr, photo[:28, :40])
    np.testing.assert_array_equal(trial.lr, downsample(photo[:28, :40], 4))
    np.testing.assert_array_equal(trial.bicubic, upsample(trial.lr, 4))
    np.testing.assert_array_equal(trial.sr, upscale(g, trial.lr, "numpy"))
    assert not np.array_equal(trial.sr, trial.bicubic)
