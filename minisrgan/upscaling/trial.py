"""Tries a generator on a photo whose high-resolution original is known."""

from typing import NamedTuple

import numpy as np

from ..imaging.resize import crop_to_multiple, downsample, upsample
from ..models.architectures import Network
from .upscale import upscale


class Trial(NamedTuple):
    """A photo cut to a multiple of the scale, its reduction, and the reduction enlarged again."""

    hr: np.ndarray
    lr: np.ndarray
    bicubic: np.ndarray
    sr: np.ndarray


def try_photo(generator: Network, rgb: np.ndarray, device: str, lr: np.ndarray | None = None) -> Trial:
    """Enlarge the LR of a uint8 (H, W, 3) photo with bicubic and with the generator. MATLAB's bicubic makes the LR,
    unless it is given."""
    scale = generator.config.scale
    hr = crop_to_multiple(rgb, scale)
    lr = downsample(hr, scale) if lr is None else lr
    return Trial(hr, lr, upsample(lr, scale), upscale(generator, lr, device))
