"""Conversions between the bytes of a photo and the numbers of a network. No other module converts.

======  =================  ==========================
where   range              used for
======  =================  ==========================
uint8   0 ... 255          photos: files, metrics
LR      0 ... 1            the generator's input
HR, SR  -1 ... 1           the generator's output
======  =================  ==========================

The ranges are the paper's (Ledig et al. 2017, section 3.2). The functions use only operators and array methods,
so they take NumPy and CuPy arrays of any shape and return the same kind.
"""

import numpy as np

from ..errors import ShapeError


def lr_from_uint8(image: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """x / 255: a low-resolution image in the generator's input range, [0, 1]."""
    return image.astype(dtype) / 255


def hr_from_uint8(image: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """x / 127.5 - 1: a high-resolution image in the generator's output range, [-1, 1]."""
    return image.astype(dtype) / 127.5 - 1


def uint8_from_sr(sr: np.ndarray) -> np.ndarray:
    """floor(127.5 (x + 1) + 0.5), clipped to 0 ... 255: halves are rounded up, as by MATLAB's `uint8`.

    It is the inverse of `hr_from_uint8`, exact for all 256 values.
    """
    return ((sr.clip(-1, 1) + 1) * 127.5 + 0.5).astype("uint8")  # no value is negative, so the cast is a floor


def luma(rgb: np.ndarray) -> np.ndarray:
    """Y = (65.481 R + 128.553 G + 24.966 B) / 255 + 16 in float64, not rounded: 16 for black, 235 for white.

    This is ITU-R BT.601 studio swing, the Y of MATLAB's `rgb2ycbcr` and of the super-resolution tables. `rgb` is
    (..., 3) in 0 ... 255 and Y is (...). Raises ShapeError if the last axis is not 3 long.
    """
    if rgb.ndim == 0 or rgb.shape[-1] != 3:
        raise ShapeError(f"luma takes (..., 3) RGB, not {rgb.shape}")
    rgb = rgb.astype("float64")
    return (65.481 * rgb[..., 0] + 128.553 * rgb[..., 1] + 24.966 * rgb[..., 2]) / 255 + 16
