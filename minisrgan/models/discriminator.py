"""D, the discriminator: how likely is it that an image is real? Ledig et al. 2017, figure 4.

    image ─ 8 × [conv 3×3, BN but on the first, LeakyReLU 0.2] ─ dense, LeakyReLU ─ dense 1 ─ logit

The channels are c, c, 2c, 2c, 4c, 4c, 8c, 8c, and the strides 1, 2, 1, 2, 1, 2, 1, 2. The
images are (N, crop, crop, 3) in [-1, 1]; the logits z are (N,), and σ(z) is the probability.

Two options depart from the paper. Without batch norm an image's logit depends on that image alone, which penalties on
its gradient need. With spectral norm instead, the weights of every layer are divided by their largest singular value.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, ShapeError
from ..nn import BatchNorm, Conv, Dense, LeakyReLU, Module, Sequential, SpectralNormed, chain
from ..tensor import Tensor

SLOPE = 0.2  # of the rectifiers, where their input is negative


@dataclass(frozen=True)
class DiscriminatorConfig:
    """channels of the first convolution, units of the dense layer, and the size of the images it judges."""

    channels: int = 64
    dense: int = 1024
    crop: int = 96
    batch_norm: bool = True
    spectral_norm: bool = False

    def __post_init__(self) -> None:
        if min(self.channels, self.dense, self.crop) < 1:
            raise ConfigError("a discriminator's channels, dense units and crop are at least 1")
        if self.batch_norm and self.spectral_norm:
            raise ConfigError("batch norm would undo spectral norm, which bounds what batch norm rescales: choose one")


class Discriminator(Module):
    def __init__(self, config: DiscriminatorConfig, rng: np.random.Generator) -> None:
        def bounded(layer):
            return SpectralNormed(rng, layer) if config.spectral_norm else layer

        self.config = config
        self.layers = []
        cin, size = 3, config.crop
        for width in (1, 2, 4, 8):
            for stride in (1, 2):
                cout = config.channels * width
                conv = bounded(Conv(rng, cin, cout, stride=stride, slope=SLOPE))
                norm = [BatchNorm(cout)] if config.batch_norm and self.layers else []
                self.layers.append(Sequential(conv, *norm, LeakyReLU(SLOPE)))
                cin, size = cout, -(-size // stride)
        dense = bounded(Dense(rng, size * size * cin, config.dense, slope=SLOPE))
        self.dense = Sequential(dense, LeakyReLU(SLOPE))
        self.logit = bounded(Dense(rng, config.dense, 1, slope=1.0))

    def forward(self, image: Tensor) -> Tensor:
        crop = self.config.crop
        if image.shape[1:] != (crop, crop, 3):
            raise ShapeError(f"this discriminator judges images (N, {crop}, {crop}, 3), not {image.shape}")
        x = chain(image, *self.layers)
        n, h, w, c = x.shape
        return self.logit(self.dense(x.reshape((n, h * w * c)))).reshape((n,))
