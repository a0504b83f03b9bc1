"""Low-resolution images as cameras and websites make them: blurred, noisy, and saved as JPEG.

    LR = JPEG_q((HR ∗ k_σ)↓s + n),    k_σ(x, y) ∝ exp(-(x² + y²) / 2σ²),    n ~ N(0, ν²) for each value

It is the classical model of degradations, in the order of equation (1) of Wang et al. 2021 (Real-ESRGAN,
arXiv 2107.10833); Zhang et al. 2021 (BSRGAN, arXiv 2103.14006) has the same parts in random orders. ↓s is MATLAB's
bicubic reduction (resize.py). Each patch gets its own strengths, drawn evenly from the ranges that were asked for:

blur    σ, in HR pixels
noise   ν, in steps of 255
jpeg    the quality q, from 1 (worst) to 100; colours at half the resolution, as most programs save them
"""

from dataclasses import asdict, dataclass
from io import BytesIO
from math import ceil
from typing import Any, Self

import numpy as np
from PIL import Image

from ..errors import ConfigError
from .pictures import Picture, as_image
from .resize import cubic

LIMITS = {"blur": (0, 20), "noise": (0, 255), "jpeg": (1, 100)}  # the least and the most
BLOCK = 16  # pixels on a side that JPEG codes together, where colours have half the resolution

Range = tuple[float, float]
Place = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True)
class Degradation:
    """The range of each strength, (least, most); None: that degradation is left out."""

    blur: Range | None = None
    noise: Range | None = None
    jpeg: Range | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError for a range that makes no sense."""
        for name, (least, most) in LIMITS.items():
            if (strengths := getattr(self, name)) and not least <= strengths[0] <= strengths[1] <= most:
                raise ConfigError(f"{name} goes from {least} to {most}, not {strengths[0]:g}..{strengths[1]:g}")

    @classmethod
    def parse(cls, words: list[str]) -> Self:
        """The Degradation of texts such as blur=0.2..2, noise=5 and jpeg=40..95. Raises ConfigError for others."""
        ranges: dict[str, Range] = {}
        for word in words:
            name, _, value = word.partition("=")
            least, _, most = value.partition("..")
            if name not in LIMITS or name in ranges:
                raise ConfigError(f"degradations are {', '.join(LIMITS)}, each once, not {word!r}")
            try:
                ranges[name] = float(least), float(most or least)
            except ValueError:
                raise ConfigError(f"a degradation is {name}=STRENGTH or {name}=LEAST..MOST, not {word!r}") from None
        return cls(**ranges)

    def to_dict(self) -> dict[str, list[float]]:
        """{name: [least, most]}"""
        return {name: list(strengths) for name, strengths in asdict(self).items() if strengths}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The Degradation that `to_dict` wrote. Raises ConfigError for anything else."""
        return cls.parse([f"{name}={least}..{most}" for name, (least, most) in values.items()])

    def part(self, picture: Picture, place: Place, scale: int, seed: int) -> np.ndarray:
        """The picture's LR at a place, degraded: uint8 (rows, columns, 3). The same seed gives the same bits.

        Its borders are those of a larger degraded image: blur takes pixels of HR from outside of the part, and JPEG's
        blocks start at the photo's corner.
        """
        rng = np.random.default_rng(seed)
        sigma, noise, quality = (rng.uniform(*each) if each else None for each in (self.blur, self.noise, self.jpeg))
        whole = [slice(0, size) for size in picture.size]
        rows, columns = [with_blocks(*each) for each in zip(place, whole)] if quality else place
        if sigma:
            image = blurred_reduction(picture, (rows, columns), scale, sigma)
        else:
            image = as_image(picture.lr(rows, columns))
        if noise:
            image = to_bytes(image + noise * rng.standard_normal(image.shape))
        if quality:
            image = as_jpeg(image, round(quality))
        return image[tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(place, (rows, columns)))]


def with_blocks(part: slice, whole: slice) -> slice:
    """A part widened to the JPEG blocks that it and the pixels around it touch: decoders make colours smooth across
    blocks, so a pixel at a block's edge depends on the next block too."""
    return slice(max((part.start - 1) // BLOCK * BLOCK, 0), min(-(-(part.stop + 1) // BLOCK) * BLOCK, whole.stop))


def blurred_reduction(picture: Picture, place: Place, scale: int, sigma: float) -> np.ndarray:
    """The part (HR ∗ k_σ)↓s[place], uint8. Beyond the photo's edge, its edge pixels are repeated.

    Blur and reduction are one filter along each axis, c = (k_σ ∗ the reduction's cubic), of which every s-th output is
    taken. The result is rounded once.
    """
    filter_, start = reducing_filter(scale, sigma)
    parts, pads, matrices = [], [], []
    for part, size in zip(place, picture.size):
        n = part.stop - part.start
        first = part.start * scale + start
        last = first + (n - 1) * scale + len(filter_)
        inside = slice(max(first, 0), min(last, size * scale))
        parts.append(inside)
        pads.append((inside.start - first, last - inside.stop))
        matrix = np.zeros((n, last - first))
        for i in range(n):
            matrix[i, i * scale : i * scale + len(filter_)] = filter_
        matrices.append(matrix)
    hr = np.pad(as_image(picture.hr(*parts)), [*pads, (0, 0)], mode="edge").astype(np.float64)
    down, across = matrices
    height, width, _ = hr.shape
    reduced = (down @ hr.reshape(height, -1)).reshape(len(down), width, 3)
    return to_bytes(np.matmul(across, reduced))


def reducing_filter(scale: int, sigma: float) -> tuple[np.ndarray, int]:
    """(the weights c of blur and reduction together, at which HR pixel they start for LR pixel 0).

    MATLAB's reduction gives the HR pixel at a distance d from the LR pixel's centre the weight k(d / s), where k is
    Keys' cubic.
    """
    centre = (scale - 1) / 2  # of LR pixel 0, in HR pixels
    first = ceil(centre - 2 * scale)
    pixels = np.arange(first, centre + 2 * scale)
    reduction = cubic((pixels - centre) / scale)
    radius = ceil(4 * sigma)
    blur = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return np.convolve(reduction / reduction.sum(), blur / blur.sum()), first - radius


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """A uint8 (H, W, 3) image after it was saved as JPEG."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    with Image.open(file, formats=["JPEG"]) as saved:
        return np.asarray(saved)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Values rounded to 0 ... 255."""
    return np.floor(values + 0.5).clip(0, 255).astype(np.uint8)
