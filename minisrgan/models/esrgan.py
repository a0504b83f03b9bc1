"""The networks of ESRGAN and of BasicSR, in whose shape most models are shared. They are here to be used, and exported.

RRDB, ESRGAN's generator (Wang et al. 2018), in which dense blocks of convolutions hand all that they have seen on:

    LR ─ conv ─┬─ blocks of 3 dense blocks ─ conv ─(+)─ [nearest ×2, conv, LeakyReLU] … ─ conv, LeakyReLU ─ conv ─ SR
               └─────────────────────────────────┘

MSRResNet, BasicSR's variant of SRResNet:

    LR ─ conv, LeakyReLU ─ residual blocks ─ [conv, shuffle, LeakyReLU] … ─ conv, LeakyReLU ─ conv ─(+)─ SR
     └─────────────────────────────────── bilinear ×scale ────────────────────────────────────────┘

All kernels are 3×3. The weights compute in [0, 1]; SR is in [-1, 1], as of every generator here. The attributes have
the names of BasicSR's code, which are those in its files.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from ..nn import Conv, LeakyReLU, Module, ReLU, SubpixelConv, chain
from ..tensor import Tensor
from .enlarging import crop_to, enlarge_bilinear, enlarge_nearest, fold_pixels, join

RESIDUAL = 0.2  # times a branch, before it is added (Wang et al. 2018, section 3.1)


@dataclass(frozen=True)
class RRDBConfig:
    """channels and blocks of the trunk; growth: channels that each convolution of a dense block adds; fold: pixels
    along a side of LR that become one pixel of the trunk (Real-ESRGAN's way to scales 2 and 1)."""

    channels: int = 64
    blocks: int = 23
    growth: int = 32
    scale: int = 4
    fold: int = 1
    architecture: str = field(default="rrdb", init=False)

    def __post_init__(self) -> None:
        if self.scale not in (1, 2, 4, 8, 16) or self.fold not in (1, 2, 4):
            raise ConfigError("an RRDB's scale is 1, 2, 4, 8 or 16, and it folds 1, 2 or 4 pixels")
        if min(self.channels, self.growth) < 1 or self.blocks < 0:
            raise ConfigError("an RRDB has at least one channel, a growth of 1 and no fewer than 0 blocks")


class DenseBlock(Module):
    """x + 0.2·conv(x, x₁, … x₄), where xᵢ = LeakyReLU(conv(x, x₁, … xᵢ₋₁))."""

    def __init__(self, rng: np.random.Generator, channels: int, growth: int) -> None:
        self.conv1, self.conv2, self.conv3, self.conv4 = (Conv(rng, channels + i * growth, growth) for i in range(4))
        self.conv5 = Conv(rng, channels + 4 * growth, channels)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(chain(join(*seen), conv, LeakyReLU(0.2)))
        return chain(join(*seen), self.conv5) * RESIDUAL + x


class RRDBlock(Module):
    """x + 0.2·(three dense blocks)(x)."""

    def __init__(self, rng: np.random.Generator, channels: int, growth: int) -> None:
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(rng, channels, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * RESIDUAL + x


class RRDB(Module):
    def __init__(self, config: RRDBConfig, rng: np.random.Generator) -> None:
        c = config.channels
        self.config = config
        self.conv_first = Conv(rng, 3 * config.fold**2, c)
        self.body = [RRDBlock(rng, c, config.growth) for _ in range(config.blocks)]
        self.conv_body = Conv(rng, c, c)
        self.doublings = int(math.log2(config.scale * config.fold))
        for i in range(self.doublings):
            setattr(self, f"conv_up{i + 1}", Conv(rng, c, c))
        self.conv_hr = Conv(rng, c, c)
        self.conv_last = Conv(rng, c, 3)

    def forward(self, lr: Tensor) -> Tensor:
        scale, fold = self.config.scale, self.config.fold
        first = x = chain(lr if fold == 1 else fold_pixels(lr, fold), self.conv_first)
        for block in self.body:
            x = block(x)
        x = chain(x, self.conv_body, residual=first)
        for i in range(self.doublings):
            x = chain(enlarge_nearest(x, 2), getattr(self, f"conv_up{i + 1}"), LeakyReLU(0.2))
        x = chain(chain(x, self.conv_hr, LeakyReLU(0.2)), self.conv_last)
        return (x if fold == 1 else crop_to(x, lr, scale)) * 2 - 1


@dataclass(frozen=True)
class MSRResNetConfig:
    """channels and residual blocks of the trunk; scale: 2, 3 or 4."""

    channels: int = 64
    blocks: int = 16
    scale: int = 4
    architecture: str = field(default="msrresnet", init=False)

    def __post_init__(self) -> None:
        if self.scale not in (2, 3, 4):
            raise ConfigError(f"an MSRResNet's scale is 2, 3 or 4, not {self.scale}")
        if self.channels < 1 or self.blocks < 0:
            raise ConfigError("an MSRResNet has at least one channel and no fewer than 0 blocks")


class PlainBlock(Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, rng: np.random.Generator, channels: int) -> None:
        self.conv1, self.conv2 = Conv(rng, channels, channels), Conv(rng, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return chain(chain(x, self.conv1, ReLU()), self.conv2, residual=x)


class MSRResNet(Module):
    def __init__(self, config: MSRResNetConfig, rng: np.random.Generator) -> None:
        c = config.channels
        self.config = config
        self.conv_first = Conv(rng, 3, c)
        self.body = [PlainBlock(rng, c) for _ in range(config.blocks)]
        self.upconv1 = SubpixelConv(rng, c, r=3 if config.scale == 3 else 2)
        if config.scale == 4:
            self.upconv2 = SubpixelConv(rng, c, r=2)
        self.conv_hr = Conv(rng, c, c)
        self.conv_last = Conv(rng, c, 3)

    def forward(self, lr: Tensor) -> Tensor:
        x = chain(lr, self.conv_first, LeakyReLU(0.1))
        for block in self.body:
            x = block(x)
        x = chain(x, self.upconv1, LeakyReLU(0.1))
        if self.config.scale == 4:
            x = chain(x, self.upconv2, LeakyReLU(0.1))
        x = chain(chain(x, self.conv_hr, LeakyReLU(0.1)), self.conv_last)
        return (x + enlarge_bilinear(lr, self.config.scale)) * 2 - 1
