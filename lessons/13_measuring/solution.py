"""Measure as the tables of super-resolution do.

psnr_y     PSNR in dB of one enlarged photo beside its original: on Y of BT.601, in whole numbers, without the border
mean_psnr  the one figure of a table for a set of photos
ssim_map   SSIM at every place of a sliding window

Photos are uint8 (H, W, 3), RGB. The peak is 255 throughout.
"""

import numpy as np


def psnr_y(sr, hr, border):
    """PSNR in dB of two uint8 (H, W, 3) photos.

    Y = 16 + (65.481 R + 128.553 G + 24.966 B)/255, rounded to whole numbers (halves go up); `border` pixels are cut
    off each of the four sides, and none where it is 0.
    """
    # >>> Both photos to rounded Y, the border cut off, the mean square of the difference, and that in dB
    y_sr, y_hr = (np.floor(16 + rgb @ [65.481, 128.553, 24.966] / 255 + 0.5) for rgb in (sr, hr))
    height, width = y_hr.shape
    error = (y_sr - y_hr)[border : height - border, border : width - border]
    return 10 * np.log10(255**2 / np.mean(error**2))
    # <<<


def mean_psnr(pairs, border):
    """The figure of a table: that of [(sr, hr), ...], whose photos may be of different sizes."""
    # >>> One figure for all of the photos
    return np.mean([psnr_y(sr, hr, border) for sr, hr in pairs])
    # <<<


def ssim_map(a, b, mean):
    """SSIM of two float64 (H, W) images in 0...255 at every place of the window.

    `mean(x)` is the weighted mean of an (H, W) image x under the window, at every place: (H', W'), as is the result.
    """
    # >>> The means, variances and covariance by `mean`, then the formula with C1 and C2
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a**2) - mean_a**2, mean(b**2) - mean_b**2
    cov = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    return luminance * structure
    # <<<
