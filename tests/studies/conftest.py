"""Fixtures that the tests of several studies share."""

from functools import partial

import numpy as np
import pytest

from minisrgan.models.vgg import VGG, VGGConfig, VGGFeatures
from minisrgan.studies.evaluate import perceptual_distance


@pytest.fixture(scope="session")
def by():
    """A ruler by the name of "random": a VGG with random weights."""
    config = VGGConfig(((4,), (6,)))
    vgg = VGGFeatures(config, VGG(config, np.random.default_rng(0)).state(), scale=1.0)
    return {"random": partial(perceptual_distance, vgg, device="numpy")}
