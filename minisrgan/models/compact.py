"""Compact: plain convolutions at LR's size, and one shuffle. The shape of SRVGGNetCompact.

    LR ─ conv 3×3, PReLU ─ n × (conv 3×3, PReLU) ─ conv 3×3, shuffle ×scale ─(+)─ SR
     └────────────────────── nearest neighbour ×scale ─────────────────────────┘

Wang et al. 2021, "Real-ESRGAN", made this shape popular (realesr-animevideov3, realesr-general-x4v3). It has no skip
connection inside, so few feature maps wait in memory, and most programs know it.

As in every generator here LR is in [0, 1] and SR in [-1, 1]. The convolutions compute in [0, 1], so that their weights
are those of SRVGGNetCompact.
"""

from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from ..nn import Conv, Module, PReLU, SubpixelConv, chain
from ..tensor import Tensor
from .enlarging import enlarge_nearest
from .generator import whisper

FIRST_SLOPE = 0.25  # of a PReLU before it is trained


@dataclass(frozen=True)
class CompactConfig:
    """channels of each layer; blocks: how many times (conv, PReLU) between the first and the last layer."""

    channels: int = 64
    blocks: int = 16
    scale: int = 4
    architecture: str = field(default="compact", init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= 16:
            raise ConfigError(f"a compact generator's scale is from 1 to 16, not {self.scale}")
        if self.channels < 1 or self.blocks < 0:
            raise ConfigError("a compact generator has at least one channel and no fewer than 0 blocks")


class Compact(Module):
    def __init__(self, config: CompactConfig, rng: np.random.Generator) -> None:
        c = config.channels
        self.config = config
        self.body = []
        for cin in [3] + [c] * config.blocks:
            self.body += [Conv(rng, cin, c, slope=FIRST_SLOPE), PReLU(c)]
        self.body.append(whisper(SubpixelConv(rng, c, 3, r=config.scale)))  # untrained, it is nearest neighbour

    def forward(self, lr: Tensor) -> Tensor:
        x = lr
        for conv, prelu in zip(self.body[:-1:2], self.body[1::2]):
            x = chain(x, conv, prelu)
        return (chain(x, self.body[-1]) + enlarge_nearest(lr, self.config.scale)) * 2 - 1
