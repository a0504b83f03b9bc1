"""Measure as the tables of super-resolution do.

psnr_y     PSNR in dB of one enlarged photo against its original: on Y of BT.601, in whole numbers, without the border
mean_psnr  the one figure that a table shows for a set of photos
ssim_map   SSIM at every position of a sliding window

Photos are uint8 (H, W, 3), RGB. The peak is 255 throughout.
"""

import numpy as np


def psnr_y(sr, hr, border):
    """PSNR in dB between two uint8 (H, W, 3) photos.

    Y = 16 + (65.481 R + 128.553 G + 24.966 B)/255, rounded to whole numbers (halves go up). `border` pixels are cut
    off on each of the four sides; 0 cuts off nothing.
    """
    # >>> Convert both photos to rounded Y, cut off the border, take the mean square of the difference, return it in dB
    y_sr, y_hr = (np.floor(16 + rgb @ [65.481, 128.553, 24.966] / 255 + 0.5) for rgb in (sr, hr))
    height, width = y_hr.shape
    error = (y_sr - y_hr)[border : height - border, border : width - border]
    return 10 * np.log10(255**2 / np.mean(error**2))
    # <<<


def mean_psnr(pairs, border):
    """The figure that a table shows for [(sr, hr), ...]. The photos of different pairs may differ in size."""
    # >>> Return one figure for all the photos
    return np.mean([psnr_y(sr, hr, border) for sr, hr in pairs])
    # <<<


def ssim_map(a, b, mean):
    """SSIM of two float64 (H, W) images in 0...255, at every position of the window.

    `mean(x)` takes an (H, W) image x and returns its weighted mean under the window, at every position. Its shape is
    (H', W'), and so is the shape of the result.
    """
    # >>> Compute means, variances and covariance with `mean`, then the formula with C1 and C2
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a**2) - mean_a**2, mean(b**2) - mean_b**2
    cov = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    return luminance * structure
    # <<<
