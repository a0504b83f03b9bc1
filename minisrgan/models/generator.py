"""G, the generator: a low-resolution image to a high-resolution one. Ledig et al. 2017, figure 4.

    LR ─ conv 9×9, PReLU ─┬─ residual blocks ─ conv 3×3, BN ─(+)─ [conv 3×3, shuffle ×2, PReLU] … ─ conv 9×9 ─ SR
                          └──────────────────────────────────┘

LR is (N, h, w, 3) in [0, 1]; SR is (N, scale·h, scale·w, 3), nominally in [-1, 1]. Three options leave the paper:

    no batch norm   which causes artifacts (Lim et al. 2017)
    bicubic skip    adds the bicubic enlargement to the output, so that the network learns only what bicubic lacks
    direct end      one convolution, shuffled ×scale into RGB, in place of the shuffles and the last convolution
                    (Shi et al. 2016). Most of the computation then stays at LR's size

Every residual branch starts as a whisper: the weights of its last layer are WHISPER times their usual size. So the
untrained trunk passes on its input, however deep it is (Zhang et al. 2019, Fixup; with batch norm Goyal et al. 2017).
With the bicubic skip, the untrained network is nearly bicubic.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..arrays import Array, array_module
from ..errors import ConfigError
from ..imaging.resize import resize_matrix
from ..nn import BatchNorm, Conv, Module, PReLU, Sequential, SubpixelConv, chain
from ..ops import Concatenate, Conv2d, PixelShuffle
from ..tensor import Tensor, definition

WHISPER = 0.01  # times the usual weights, in the last layer of a branch beside a skip connection
SHUFFLES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}  # a scale: the enlargements that make it up


@dataclass(frozen=True)
class GeneratorConfig:
    """channels and residual blocks of the trunk; edge_kernel: side of the first and last kernel; scale: 2, 3, 4 or 8;
    direct: the end is one 3×3 convolution, shuffled ×scale into RGB."""

    channels: int = 64
    blocks: int = 16
    edge_kernel: int = 9
    batch_norm: bool = True
    bicubic_skip: bool = False
    scale: int = 4
    direct: bool = False

    def __post_init__(self) -> None:
        if self.scale not in SHUFFLES:
            raise ConfigError(f"a generator's scale is 2, 3, 4 or 8, not {self.scale}")
        if self.edge_kernel < 1 or self.edge_kernel % 2 == 0:
            raise ConfigError(f"a generator's edge kernel is odd, not {self.edge_kernel}")
        if self.channels < 1 or self.blocks < 0:
            raise ConfigError("a generator has at least one channel and no fewer than 0 blocks")


class ResidualBlock(Module):
    """x + BN(conv(PReLU(BN(conv(x)))))."""

    def __init__(self, rng: np.random.Generator, channels: int, batch_norm: bool) -> None:
        self.conv1 = norm_conv(rng, channels, batch_norm)
        self.prelu = PReLU(channels)
        self.conv2 = whisper(norm_conv(rng, channels, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        return chain(chain(x, self.conv1, self.prelu), self.conv2, residual=x)


def norm_conv(rng: np.random.Generator, channels: int, batch_norm: bool) -> Conv | Sequential:
    conv = Conv(rng, channels, channels)
    return Sequential(conv, BatchNorm(channels)) if batch_norm else conv


def whisper(branch: Conv | Sequential) -> Conv | Sequential:
    """The branch, whose last layer now has WHISPER times its usual weights."""
    *_, weight, _ = branch.parameters()  # the last layer's weights and bias, or batch norm's γ and β
    weight.data *= WHISPER
    return branch


class Generator(Module):
    def __init__(self, config: GeneratorConfig, rng: np.random.Generator) -> None:
        c = config.channels
        self.config = config
        self.head = Sequential(Conv(rng, 3, c, kernel=config.edge_kernel), PReLU(c))
        self.blocks = [ResidualBlock(rng, c, config.batch_norm) for _ in range(config.blocks)]
        self.trunk = whisper(norm_conv(rng, c, config.batch_norm))
        shuffles = () if config.direct else SHUFFLES[config.scale]
        self.upsample = [Sequential(SubpixelConv(rng, c, r=r), PReLU(c)) for r in shuffles]
        edge = config.edge_kernel
        self.tail = SubpixelConv(rng, c, 3, r=config.scale) if config.direct else Conv(rng, c, 3, kernel=edge)
        if config.bicubic_skip:
            whisper(self.tail)

    def forward(self, lr: Tensor) -> Tensor:
        first = x = chain(lr, self.head)
        for block in self.blocks:
            x = block(x)
        x = chain(x, self.trunk, residual=first)
        for enlarge in self.upsample:
            x = chain(x, enlarge)
        sr = chain(x, self.tail)
        return sr + (enlarge_bicubic(lr, self.config.scale) * 2 - 1) if self.config.bicubic_skip else sr

    def receptive_radius(self) -> int:
        """The radius of the receptive field: how far away, in LR pixels, an input can change an output pixel."""
        edge = self.config.edge_kernel // 2
        doubling = sum(1 / 2**i for i in range(len(self.upsample)))  # 3×3 kernels, on pixels half as large each time
        end = 1 if self.config.direct else doubling + edge / self.config.scale
        return max(2, math.ceil(edge + 2 * self.config.blocks + 1 + end))  # bicubic: 2


@definition
def enlarge_bicubic(x: Tensor, scale: int) -> Tensor:
    """(N, h, w, C) → (N, scale·h, scale·w, C) by bicubic interpolation.

    Each LR pixel becomes scale² pixels, which depend on the 5×5 pixels around it. So it is a convolution to scale²
    channels, shuffled. Beyond an edge, the edge pixel is repeated.
    """
    return enlarge_inner(repeat_ends(repeat_ends(x, 1), 2), scale)


def repeat_ends(x: Tensor, axis: int) -> Tensor:
    """x with its first and its last line along the axis repeated twice."""
    before = (slice(None),) * axis
    first, last = x[(*before, slice(None, 1))], x[(*before, slice(-1, None))]
    return Concatenate(first, first, x, last, last, axis=axis)


def enlarge_inner(x: Tensor, scale: int) -> Tensor:
    """The bicubic enlargement of x without its two outermost pixels on each side."""
    weights = bicubic_weights(x.shape[3], scale, array_module(x.data), x.dtype)
    return PixelShuffle(Conv2d(x, Tensor(weights)), r=scale)


@cache  # which also spares a GPU the copies
def bicubic_weights(channels: int, scale: int, xp: Any = np, dtype: Any = np.float64) -> Array:
    """(5, 5, channels, scale²·channels): the weights of the 5×5 for each of scale² pixels, channel by channel."""
    line = resize_matrix(5, 5 * scale, scale)[2 * scale : 3 * scale]  # (scale, 5): from 5 pixels to those of the middle
    squares = np.einsum("pi,qj->ijpq", line, line).reshape(5, 5, 1, scale * scale, 1)  # rows times columns
    return xp.asarray((squares * np.eye(channels)[:, None]).reshape(5, 5, channels, -1), dtype)
