"""How close two images are: PSNR and SSIM, computed as in the published super-resolution tables.

Images are (H, W), such as the Y of `pixels.luma`, or (H, W, C), with values in 0 ... 255: the peak is
always 255. `border` pixels are first cut off at each side; in the tables, the border is the scale.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ImageError, ShapeError
from .pixels import luma

PEAK = 255
WINDOW = 11
SIGMA = 1.5


class Score(NamedTuple):
    """A super-resolved image compared with its original: PSNR of Y and of RGB in dB, SSIM of Y."""

    psnr_y: float
    psnr_rgb: float
    ssim_y: float


def _inner(a, b, border, least):
    """Both images in float64 without their borders, at least `least` pixels high and wide."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim not in (2, 3):
        raise ShapeError(f"images to compare share an (H, W) or (H, W, C) shape, not {a.shape} and {b.shape}")
    height, width = a.shape[:2]
    if border < 0 or min(height, width) - 2 * border < least:
        raise ImageError(
            f"{width} x {height} pixels cannot be measured with a border of {border} cut off: "
            f"at least {least} x {least} must be left"
        )
    inside = slice(border, height - border), slice(border, width - border)
    return a[inside].astype(np.float64), b[inside].astype(np.float64)


def psnr(a: np.ndarray, b: np.ndarray, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / mean((a - b)^2)); inf for identical images.

    The mean is over all values, so for (H, W, 3) images this is the RGB PSNR. Raises ShapeError if the shapes
    differ and ImageError if the border leaves nothing.
    """
    a, b = _inner(a, b, border, least=1)
    error = np.mean((a - b) ** 2)
    return float(10 * np.log10(PEAK**2 / error)) if error else float("inf")


def ssim(a: np.ndarray, b: np.ndarray, border: int = 0) -> float:
    """Mean structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004), at most 1.

    (2 ma mb + c1) (2 sab + c2) / ((ma^2 + mb^2 + c1) (saa + sbb + c2)),   ci = (Ki 255)^2

    with K1 = 0.01 and K2 = 0.03; m and s are the means and (co)variances under an 11 x 11 Gaussian window with
    sigma 1.5. The result is averaged over all places where the whole window is inside the image, and over the
    channels. Raises ShapeError if the shapes differ and ImageError if fewer than 11 x 11 pixels are left inside
    the border.
    """
    a, b = _inner(a, b, border, least=WINDOW)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    cov = _blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    return float((luminance * structure).mean())


def _blur(x: np.ndarray) -> Any:
    """The Gaussian mean wherever the window is inside the image: (H, W, ...) gives (H - 10, W - 10, ...)."""
    gauss = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    gauss /= gauss.sum()
    height, width = x.shape[0] - WINDOW + 1, x.shape[1] - WINDOW + 1
    rows: Any = sum(weight * x[i : i + height] for i, weight in enumerate(gauss))
    return sum(weight * rows[:, i : i + width] for i, weight in enumerate(gauss))


def score(sr_rgb_uint8: np.ndarray, hr_rgb_uint8: np.ndarray, border: int, grey: bool = False) -> Score:
    """The `Score` of a uint8 (H, W, 3) super-resolved image against its original, `border` pixels cut off.

    Y is rounded to whole values first, as in the published tables: MATLAB's `rgb2ycbcr` gives uint8 for
    uint8. Bicubic at x4 then scores 28.42 dB on Set5, as printed; without the rounding it would be 28.43 dB.
    grey   whether the original's file is grey. Then Y is its values, 0 ... 255, unchanged, as in MATLAB. An RGB file
           with equal channels, such as Set14's "man", is not grey: its Y is computed.

    Raises ShapeError for anything but two uint8 RGB images of one shape (floats in [-1, 1] would give a
    meaningless figure), and ImageError if they are too small.
    """
    for image in (sr_rgb_uint8, hr_rgb_uint8):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ShapeError(f"a score compares uint8 (H, W, 3) images, not {image.dtype} {image.shape}")
    sr_y, hr_y = (_rounded_y(image, grey) for image in (sr_rgb_uint8, hr_rgb_uint8))
    return Score(psnr(sr_y, hr_y, border), psnr(sr_rgb_uint8, hr_rgb_uint8, border), ssim(sr_y, hr_y, border))


def _rounded_y(image, grey):
    """Y rounded to whole values; `grey` stretches the studio swing, 16 ... 235, back to 0 ... 255."""
    y = (luma(image) - 16) * 255 / 219 if grey else luma(image)
    return np.floor(y + 0.5)


GRID_WIDTH, GRID_LINES = 64, 16  # pixels per spectrum; lines whose spectra are averaged


def grid(rgb: np.ndarray, period: int = 4) -> float:
    """How far the spectrum of a uint8 (H, W, 3) image stands out at a period of `period` pixels, in dB.

    A generator with that scale may draw a grid with that period. Each line (row or column) is cut into pieces of
    GRID_WIDTH pixels. A piece's power spectrum p(f) is taken after its mean is subtracted, under a Hann window, and p
    is averaged over GRID_LINES lines. The result is

        10·mean(log₁₀ p(1/period) - mean log₁₀ p(f) of six frequencies f around 1/period)

    over all places. The logarithm makes flat places count as much as detailed ones. Photos score about 0. An image
    that is too small gives NaN.
    """
    y = (rgb.astype(np.int64) @ (19595, 38470, 7471) + 32768 >> 16).astype(np.float64)  # full-range Y, rounded
    window, peak = np.hanning(GRID_WIDTH + 1)[:GRID_WIDTH], GRID_WIDTH // period
    about = [peak + offset for offset in (-5, -4, -3, 3, 4, 5)]
    found = []
    for lines in (y, y.T):
        rows, columns = len(lines) // GRID_LINES, lines.shape[1] // GRID_WIDTH
        pieces = lines[: rows * GRID_LINES, : columns * GRID_WIDTH].reshape(rows, GRID_LINES, columns, GRID_WIDTH)
        spectra = np.abs(np.fft.rfft((pieces - pieces.mean(-1, keepdims=True)) * window)) ** 2
        power = np.log10(spectra.mean(1) + 1e-2)  # 0.01 is less than the power of rounding to whole levels
        found.append(power[..., peak] - power[..., about].mean(-1))
    ratios = np.concatenate([each.ravel() for each in found])
    return float(10 * ratios.mean()) if ratios.size else math.nan
