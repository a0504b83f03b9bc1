"""How good is a generator? Shrink photos, enlarge them again, compare."""

from typing import NamedTuple

import numpy as np

from ..errors import ImageError
from ..imaging.files import find_photos, read_photo
from ..imaging.metrics import Score, score
from ..imaging.resize import crop_to_multiple, downsample, upsample
from ..upscale import upscale

HEADER = f"{'':24}{'bicubic':>26}{'model':>26}\n{'':24}" + f"{'PSNR Y':>10}{'PSNR RGB':>9}{'SSIM':>7}" * 2


class Trial(NamedTuple):
    """A photo cut to a multiple of the scale, its reduction, and the reduction enlarged again."""

    hr: np.ndarray
    lr: np.ndarray
    bicubic: np.ndarray
    sr: np.ndarray


def try_photo(generator, rgb, device):
    """Reduce a uint8 (H, W, 3) photo by MATLAB's bicubic, and enlarge it by bicubic and by the generator."""
    scale = generator.config.scale
    hr = crop_to_multiple(rgb, scale)
    lr = downsample(hr, scale)
    return Trial(hr, lr, upsample(lr, scale), upscale(generator, lr, device))


def mean_score(scores):
    """The mean of each figure over the photos."""
    return Score(*np.mean(scores, axis=0))


def row(name, *scores):
    """A line of the table."""
    return f"{name[:23]:24}" + "".join(f"{s.psnr_y:10.2f}{s.psnr_rgb:9.2f}{s.ssim_y:7.4f}" for s in scores)


def evaluate(generator, folder, device, say=print):
    """Say a row for each photo of the folder and then the mean; returns the two means (bicubic, model)."""
    border, paths = generator.config.scale, find_photos(folder)
    say(HEADER)
    results = []
    for path in paths:
        rgb = read_photo(path)[0]
        try:
            trial = try_photo(generator, rgb, device)
            results.append([score(enlarged, trial.hr, border) for enlarged in (trial.bicubic, trial.sr)])
        except ImageError:
            say(f"{path.name[:23]:24}left out: {rgb.shape[1]}×{rgb.shape[0]} pixels are too few to measure")
        else:
            say(row(path.name, *results[-1]))
    if not results:
        raise ImageError(f"{folder}: every photo is too small to measure: add some of at least 32 x 32 pixels")
    means = [mean_score(scores) for scores in zip(*results)]
    say(row(f"mean of {len(results)}", *means))
    if len(results) < len(paths):
        say(f"{len(paths) - len(results)} of {len(paths)} photos left out, being too small")
    say(f"dB, on Y (BT.601 studio swing) and RGB; SSIM on Y; a border of {border} pixels is left out")
    return means
