"""What can befall a photo, by kind and strength; and how well a distance between images tells the strengths apart.

A perceptual distance is worth its name if it grows with the distortion, whatever the photo shows. So of a kind of
distortion take many crops, each at a few strengths. Of two of these with different strengths, from whichever crops,
the stronger should be the farther from its original: the share of pairs for which that holds is 1 for a perfect
distance, and 1/2 for a guess. (From one crop alone, nearly any distance gets them right.)
"""

from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from ..arrays import to_device, to_numpy
from ..imaging.patches import PhotoSet
from ..imaging.pixels import hr_from_uint8
from ..tensor import Tensor, no_grad

MARGIN = 12  # pixels around a crop, so that no distortion meets the edge of the photo
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)  # at which distances are compared


def geometric(low, high, strength):
    """From low at strength 0 to high at strength 1, by the same factor for the same difference."""
    return low * (high / low) ** strength


def blur(image, strength, rng):
    """Gaussian, of a standard deviation from 0.4 to 5 pixels."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(geometric(0.4, 5, strength))))


def noise(image, strength, rng):
    """Normal, of a standard deviation from 2 to 60 levels of 255."""
    return levels(image + geometric(2, 60, strength) * rng.standard_normal(image.shape))


def jpeg(image, strength, rng):
    """JPEG of a quality from 95 to 5."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=round(95 - 90 * strength))
    return np.asarray(Image.open(file))


def shift(image, strength, rng):
    """By 1 to 10 pixels in one of four directions. (What comes in at the edge lies within the margin.)"""
    return np.roll(image, int(rng.choice([-1, 1])) * round(geometric(1, 10, strength)), axis=int(rng.integers(2)))


def enlarge(image, strength, rng):
    """Reduced to a side from 1/1.25 to 1/8, and enlarged again, both by bicubic: what super-resolution is to undo."""
    height, width = image.shape[:2]
    factor = geometric(1.25, 8, strength)
    small = Image.fromarray(image).resize((round(width / factor), round(height / factor)), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def brightness(image, strength, rng):
    """Lighter or darker by 2 to 60 levels of 255."""
    return levels(image + rng.choice([-1, 1]) * geometric(2, 60, strength))


def contrast(image, strength, rng):
    """Each sample's distance from its colour's mean times a factor from 1.05 to 2.5, or divided by it."""
    mean = image.mean((0, 1))
    return levels(mean + (image - mean) * geometric(1.05, 2.5, strength) ** rng.choice([-1, 1]))


def levels(image):
    """Rounded and clipped to uint8."""
    return (image + 0.5).clip(0, 255).astype(np.uint8)


KINDS = {kind.__name__: kind for kind in (blur, noise, jpeg, shift, enlarge, brightness, contrast)}


def inner(image):
    """An image, or a batch of them, without its margin."""
    return image[..., MARGIN:-MARGIN, MARGIN:-MARGIN, :]


class Trial:
    """Crops, and each of them distorted by every kind at every strength.

    photos   (name, uint8 (H, W, 3)) pairs; `crops` crops of a `side` are taken at random, from one photo after another
    """

    def __init__(self, photos, crops=32, side=48, seed=0):
        rng = np.random.default_rng(seed)
        photos = PhotoSet(photos, scale=1, crop=side + 2 * MARGIN)
        patches = photos.hr(photos.choose(rng, crops))
        self.originals = inner(patches)
        self.distorted = {  # {kind: (strengths, crops, side, side, 3)}
            name: inner(np.array([[kind(patch, s, rng) for patch in patches] for s in STRENGTHS]))
            for name, kind in KINDS.items()
        }

    def scores(self, features):
        """{kind: share of pairs in the right order} by the MSE of `features`, a function of uint8 images."""
        originals = features(self.originals)
        return {
            name: rightly_ordered(np.array([mse(features(batch), originals) for batch in batches]))
            for name, batches in self.distorted.items()
        }


def mse(a, b):
    """The mean squared difference of each image from the other."""
    return ((a - b) ** 2).mean((1, 2, 3))


def features_of(vgg, device):
    """A VGG as a function of uint8 images that gives its last feature map."""

    def features(images):
        with no_grad():
            return to_numpy(vgg(Tensor(to_device(hr_from_uint8(images), device))).data)

    return features


def say_ranking(trial, features, say=print):
    """Say a row for each of the `features`, {name: function}; returns {name: scores}."""
    results = {name: trial.scores(each) for name, each in features.items()}
    width = max(map(len, results)) + 2
    say(" " * width + "".join(f"{kind:>12}" for kind in trial.distorted) + f"{'mean':>9}")
    for name, scores in results.items():
        shares = "".join(f"{share:12.3f}" for share in scores.values())
        say(f"{name:{width}}{shares}{np.mean([*scores.values()]):9.3f}")
    say(f"share of pairs of {len(trial.originals)} crops, each at {len(STRENGTHS)} strengths, of which the stronger is "
        "farther from its original; a guess: 0.5")  # fmt: skip
    return results


def rightly_ordered(distances):
    """The share of pairs of different strengths of which the stronger is farther; (strengths, crops). A tie is half."""
    shares = [
        np.mean((stronger[:, None] > weaker) + 0.5 * (stronger[:, None] == weaker))
        for i, weaker in enumerate(distances)
        for stronger in distances[i + 1 :]
    ]
    return float(np.mean(shares))
