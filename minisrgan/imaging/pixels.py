"""Conversions between the levels of a photo and the numbers of a network. No other module converts.

======  =================  ==========================
where   range              used for
======  =================  ==========================
uint8   0 ... 255          photos: files, metrics
uint16  0 ... 65535        photos of 16 bits: files
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


def lr_from_levels(image: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """x / 255, or x / 65535: a uint8 or uint16 photo in the generator's input range. 8 bits as `lr_from_uint8`."""
    return image.astype(dtype) / top(image.dtype)


def levels_from_sr(sr: np.ndarray, dtype: str) -> np.ndarray:
    """The levels, uint8 or uint16 as `dtype` says, that SR stands for. 8 bits as `uint8_from_sr`; 16 bits have half of
    65535 in place of its 127.5. Float32 SR has 24 bits, so that a level of 16 comes back exactly."""
    return ((sr.clip(-1, 1) + 1) * (top(dtype) / 2) + 0.5).astype(dtype)


def lr_from_sr(sr: np.ndarray) -> np.ndarray:
    """(x + 1) / 2, clipped to 0 ... 1: SR as the LR of another enlargement."""
    return (sr.clip(-1, 1) + 1) / 2


def levels_as(levels: np.ndarray, dtype: str) -> np.ndarray:
    """The nearest levels of another number of bits: round(v / 257) for fewer, 257 v for more."""
    if levels.dtype == dtype:
        return levels
    return ((levels.astype("uint32") + 128) // 257 if top(dtype) == 255 else levels * np.uint32(257)).astype(dtype)


def top(dtype: str | np.dtype) -> int:
    """The level of white: 255 or 65535."""
    return np.iinfo(dtype).max


def grey_of(rgb: np.ndarray) -> np.ndarray:
    """0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), (..., 3) to (..., 1): what the eye sees as brightness."""
    return rgb[..., :1] * 0.299 + rgb[..., 1:2] * 0.587 + rgb[..., 2:] * 0.114


def luma(rgb: np.ndarray) -> np.ndarray:
    """Y = (65.481 R + 128.553 G + 24.966 B) / 255 + 16 in float64, not rounded: 16 for black, 235 for white.

    This is ITU-R BT.601 studio swing, the Y of MATLAB's `rgb2ycbcr` and of the super-resolution tables. `rgb` is
    (..., 3) in 0 ... 255 and Y is (...). Raises ShapeError if the last axis is not 3 long.
    """
    if rgb.ndim == 0 or rgb.shape[-1] != 3:
        raise ShapeError(f"luma takes (..., 3) RGB, not {rgb.shape}")
    rgb = rgb.astype("float64")
    return (65.481 * rgb[..., 0] + 128.553 * rgb[..., 1] + 24.966 * rgb[..., 2]) / 255 + 16
