"""Distortions of a photo, by kind and strength, and how well a distance between images ranks the strengths.

A perceptual distance is worth its name if it grows with the distortion, whatever the photo shows. To test that, distort
many crops in one way, each at a few strengths. Then take two of different strengths, from the same crop or not: the
more strongly distorted one should be farther from its original. The share of pairs for which that holds is 1 for a
perfect distance, and 1/2 for a guess. (With one crop alone, nearly any distance ranks them rightly.)
"""

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from ..arrays import to_device, to_numpy
from ..imaging.patches import PhotoSet
from ..imaging.pixels import hr_from_uint8
from ..models.vgg import VGG
from ..tensor import Tensor, no_grad
from . import Say

Features = Callable[[np.ndarray], np.ndarray]  # of uint8 images (N, H, W, 3): (N, h, w, C)

MARGIN = 12  # pixels around a crop, so that no distortion meets the edge of the photo
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)  # at which distances are compared


def geometric(low: float, high: float, strength: float) -> float:
    """From low at strength 0 to high at strength 1. Equal differences of strength make equal factors."""
    return low * (high / low) ** strength


def blur(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian, with a standard deviation from 0.4 to 5 pixels."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(geometric(0.4, 5, strength))))


def noise(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Normal, with a standard deviation from 2 to 60 levels of 255."""
    return levels(image + geometric(2, 60, strength) * rng.standard_normal(image.shape))


def jpeg(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG, with a quality from 95 to 5."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=round(95 - 90 * strength))
    return np.asarray(Image.open(file))


def shift(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """By 1 to 10 pixels in one of four directions. (What comes in at the edge lies within the margin.)"""
    return np.roll(image, int(rng.choice([-1, 1])) * round(geometric(1, 10, strength)), axis=int(rng.integers(2)))


def enlarge(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Shrunk by a factor from 1.25 to 8, and enlarged again, both by bicubic: what super-resolution has to undo."""
    height, width = image.shape[:2]
    factor = geometric(1.25, 8, strength)
    small = Image.fromarray(image).resize((round(width / factor), round(height / factor)), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def brightness(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Lighter or darker by 2 to 60 levels of 255."""
    return levels(image + rng.choice([-1, 1]) * geometric(2, 60, strength))


def contrast(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """The distance of each value from its channel's mean, multiplied or divided by a factor from 1.05 to 2.5."""
    mean = image.mean((0, 1))
    return levels(mean + (image - mean) * geometric(1.05, 2.5, strength) ** rng.choice([-1, 1]))


def levels(image: np.ndarray) -> np.ndarray:
    """The image rounded, and clipped to uint8."""
    return (image + 0.5).clip(0, 255).astype(np.uint8)


KINDS = {kind.__name__: kind for kind in (blur, noise, jpeg, shift, enlarge, brightness, contrast)}


def without_margin(image: np.ndarray) -> np.ndarray:
    """An image, or a batch of them, without its margin."""
    return image[..., MARGIN:-MARGIN, MARGIN:-MARGIN, :]


class DistortedCrops:
    """Crops, and each of them distorted in every way at every strength.

    photos   (name, uint8 (H, W, 3)) pairs; `crops` crops of a `side` are taken at random, from one photo after another
    """

    def __init__(self, photos: Sequence[tuple[str, np.ndarray]], crops: int = 32, side: int = 48, seed: int = 0):
        rng = np.random.default_rng(seed)
        of = PhotoSet(photos, scale=1, crop=side + 2 * MARGIN)
        patches = of.hr(of.choose(rng, crops))
        self.originals = without_margin(patches)
        self.distorted = {  # {kind: (strengths, crops, side, side, 3)}
            name: without_margin(np.array([[kind(patch, s, rng) for patch in patches] for s in STRENGTHS]))
            for name, kind in KINDS.items()
        }

    def scores(self, features: Features) -> dict[str, float]:
        """The share of pairs that the MSE of `features` ranks rightly, by the kind of distortion."""
        originals = features(self.originals)
        return {
            name: rightly_ordered(np.array([mse(features(batch), originals) for batch in batches]))
            for name, batches in self.distorted.items()
        }


def mse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean squared difference of each pair of images, (N,)."""
    return ((a - b) ** 2).mean((1, 2, 3))


def features_of(vgg: VGG, device: str) -> Features:
    """The last feature map of a VGG, as a function of uint8 images."""

    def features(images: np.ndarray) -> np.ndarray:
        with no_grad():
            return to_numpy(vgg(Tensor(to_device(hr_from_uint8(images), device))).data)

    return features


def say_ranking(crops: DistortedCrops, features: dict[str, Features], say: Say = print) -> dict[str, dict[str, float]]:
    """Say a row for each of the `features`, and return the scores, by name."""
    results = {name: crops.scores(each) for name, each in features.items()}
    width = max(map(len, results)) + 2
    say(" " * width + "".join(f"{kind:>12}" for kind in crops.distorted) + f"{'mean':>9}")
    for name, scores in results.items():
        shares = "".join(f"{share:12.3f}" for share in scores.values())
        say(f"{name:{width}}{shares}{np.mean([*scores.values()]):9.3f}")
    say(
        f"{len(crops.originals)} crops, each at {len(STRENGTHS)} strengths: the share of pairs of which the stronger "
        "is farther from its original; a guess has 0.5"
    )
    return results


def rightly_ordered(distances: np.ndarray) -> float:
    """The share of pairs of different strengths in which the stronger has the larger distance. A tie counts half.

    distances   (strengths, crops), the weakest first
    """
    shares = [
        np.mean((stronger[:, None] > weaker) + 0.5 * (stronger[:, None] == weaker))
        for i, weaker in enumerate(distances)
        for stronger in distances[i + 1 :]
    ]
    return float(np.mean(shares))
