"""The generators' architectures, by name: a configuration and the network that is built from it.

Each takes LR (N, h, w, 3) in [0, 1] and gives SR (N, scale·h, scale·w, 3), nominally in [-1, 1]. A configuration's
`architecture` names its own. A GeneratorConfig, which was the first, has no such field.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .compact import Compact, CompactConfig
from .esrgan import RRDB, MSRResNet, MSRResNetConfig, RRDBConfig
from .generator import Generator, GeneratorConfig

Config: TypeAlias = GeneratorConfig | CompactConfig | RRDBConfig | MSRResNetConfig
Network: TypeAlias = Generator | Compact | RRDB | MSRResNet


class Architecture(NamedTuple):
    """grows: the settings with which the sides of its arrays grow linearly. A setting may have (least, next) values
    other than 1 and 2. Besides these, it has `blocks` of three arrays or more."""

    config: type[Any]
    network: type[Any]
    grows: dict[str, Sequence[int]]


SRRESNET = "srresnet"
ARCHITECTURES = {
    SRRESNET: Architecture(GeneratorConfig, Generator, {"channels": (1, 2), "edge_kernel": (1, 3)}),
    "compact": Architecture(CompactConfig, Compact, {"channels": (1, 2)}),
    "rrdb": Architecture(RRDBConfig, RRDB, {"channels": (1, 2), "growth": (1, 2)}),
    "msrresnet": Architecture(MSRResNetConfig, MSRResNet, {"channels": (1, 2)}),
}


def name_of(config: Config) -> str:
    """The name of a configuration's architecture."""
    return getattr(config, "architecture", SRRESNET)


def build(config: Config, rng: np.random.Generator) -> Network:
    """The network of a configuration, with the weights that it has before it is trained."""
    return ARCHITECTURES[name_of(config)].network(config, rng)
