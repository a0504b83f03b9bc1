"""How good is a generator? Shrink photos, enlarge them again, compare.

PSNR and SSIM say how far an image is from the original, pixel by pixel. A perceptual distance compares what a network
makes of the two images: the mean (φ(SR) - φ(HR))² of a VGG, or ST-LPIPS, which was learned from people's judgements.
Smaller is better. The grid is a pattern of period 4 that a generator may draw even where the original has none.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..arrays import to_device
from ..errors import ImageError
from ..imaging.files import extent_of, load_photo
from ..imaging.metrics import Score, grid, score
from ..imaging.pixels import hr_from_uint8
from ..imaging.transparency import over_white
from ..losses import feature_mse
from ..models.architectures import Network
from ..models.st_lpips import LEAST, STLPIPS
from ..models.vgg import VGG
from ..ranks.communicator import Communicator
from ..ranks.sharing import shared_out
from ..tensor import Tensor, no_grad
from ..training.photos import firsts_of
from ..training.sources import name_in, originals_in, others_in
from ..upscaling.trial import try_photo
from ..upscaling.upscale import upscale
from ..weights.st_lpips import fetched, load_st_lpips
from ..weights.vgg import EMBEDDED_NAME, load_content, load_vgg
from . import Say

Rulers = dict[str, Callable[[np.ndarray, np.ndarray], float]]  # by name: what measures an image beside its original
Keep = Callable[[str, Mapping[str, np.ndarray]], object]  # given a photo's name and its images by version
Take = Callable[[str, "Mapping[str, Quality] | str"], object]  # given a photo's name and what was found, or a problem

TILE = 256  # the most pixels a side that a VGG sees at a time: its maps are much larger than the image
WHOLE = 1024  # the most pixels a side that ST-LPIPS sees at a time
GENUINE = "vgg54"  # the layer of a VGG19 that is compared: the paper's
ST_LPIPS = "ST-LPIPS"
PLACES = {"grid": 2, ST_LPIPS: 4}  # decimal places in tables; others have 5


class Quality(NamedTuple):
    """How good an image is, or several in the mean: the score, and what each ruler measured, by its name."""

    score: Score
    distances: dict[str, float]

    def figures(self) -> list[float]:
        """All of them, in the order of a table's columns."""
        return [*self.score, *self.distances.values()]


class Measured(NamedTuple):
    """A photo's Qualities, by version; how many pictures its file has; why it was left out, or None."""

    qualities: list[Quality]
    frames: int
    problem: str | None = None


def rulers(device: str, vgg: str | Path | None = None, family: str | None = None) -> Rulers:
    """What to measure uint8 (H, W, 3) images by.

    These are the grid, and distances by the package's small VGG, by the VGG19 in the file `vgg` if one is named, and
    by ST-LPIPS if its network was fetched.
    """
    vggs = {EMBEDDED_NAME: load_content(EMBEDDED_NAME)}
    if vgg:
        vggs[GENUINE] = load_vgg(vgg, GENUINE, family=family)
    found: Rulers = {"grid": lambda image, hr: grid(image)}
    for name, each in vggs.items():
        found[name] = partial(perceptual_distance, each.to(device), device=device)
    if fetched().exists():
        found[ST_LPIPS] = partial(st_lpips_distance, load_st_lpips(device))
    return found


def st_lpips_distance(network: STLPIPS, image: np.ndarray, hr: np.ndarray) -> float:
    """ST-LPIPS of two uint8 (H, W, 3) images; NaN for images that are too small for it.

    It sees an image of up to WHOLE pixels a side in one piece, and a larger one in tiles: its first map has 64 numbers
    for each pixel.
    """
    if min(hr.shape[:2]) < LEAST:
        return np.nan
    return mean_of_tiles(network.distance, image, hr, network.device, WHOLE)


def perceptual_distance(vgg: VGG, image: np.ndarray, hr: np.ndarray, device: str) -> float:
    """The mean (φ(SR) - φ(HR))² of two uint8 (H, W, 3) images, tile by tile."""
    with no_grad():
        return mean_of_tiles(lambda sr, hr: feature_mse(vgg, sr, hr).item(), image, hr, device, TILE)


def mean_of_tiles(
    distance: Callable[[Tensor, Tensor], float], image: np.ndarray, hr: np.ndarray, device: str, largest: int
) -> float:
    """The mean of a distance over tiles of at most `largest` pixels a side. A tile counts as often as it has pixels.

    distance   takes two Tensors (1, H, W, 3) in [-1, 1]
    """
    rows, columns = (np.array_split(range(size), -(-size // largest)) for size in hr.shape[:2])
    total = 0.0
    for y, x in ((y, x) for y in rows for x in columns):
        tiles = (Tensor(to_device(hr_from_uint8(each[np.ix_(y, x)][None]), device)) for each in (image, hr))
        total += distance(*tiles) * len(y) * len(x)
    return total / (hr.shape[0] * hr.shape[1])


def judge(image: np.ndarray, hr: np.ndarray, border: int, rulers: Rulers, grey: bool = False) -> Quality:
    """The Quality of a uint8 image beside its original. `grey` says whether the original's file is: see `score`.

    Raises ImageError for an image that is too small.
    """
    found = score(image, hr, border, grey)
    return Quality(found, {name: ruler(image, hr) for name, ruler in rulers.items()})


def mean_quality(qualities: Sequence[Quality]) -> Quality:
    """The mean of each figure over the photos."""
    scores, distances = zip(*qualities)
    means = {}
    for name in distances[0]:
        measured = [each[name] for each in distances if not np.isnan(each[name])]  # it is NaN for a small photo
        means[name] = float(np.mean(measured)) if measured else np.nan
    return Quality(Score(*np.mean(scores, axis=0)), means)


def header(rulers: Rulers, *columns: str, width: int = 24) -> str:
    """The two lines above a table: the columns' names, and under each the names of its figures.

    width   of the names of the rows, which come first in each line
    """
    figures = f"{'PSNR Y':>10}{'PSNR RGB':>9}{'SSIM':>7}" + "".join(f"{name:>10}" for name in rulers)
    names = "".join(f"{name:>{len(figures)}}" for name in columns)
    return f"{'':{width}}{names}\n{'':{width}}{figures * len(columns)}"


def row(name: str, *qualities: Quality, width: int = 24) -> str:
    """A line of the table, with a Quality for each column."""
    return f"{name:{width - 1}} " + "".join(
        f"{q.score.psnr_y:10.2f}{q.score.psnr_rgb:9.2f}{q.score.ssim_y:7.4f}"
        + "".join(f"{number:10.{PLACES.get(name, 5)}f}" for name, number in q.distances.items())
        for q in qualities
    )


def say_means(means: dict[str, Quality], rulers: Rulers, say: Say, width: int = 24) -> None:
    """Say a table of mean Qualities by name, one in a row."""
    _, columns = header(rulers, "", width=width).splitlines()
    say(columns)
    for name, mean in means.items():
        say(row(name, mean, width=width))


def evaluate(
    generator: Network,
    folder: str | Path,
    device: str,
    rulers: Rulers,
    say: Say = print,
    ensemble: bool = False,
    keep: Keep = lambda *_: None,
    take: Take = lambda *_: None,
    ranks: Communicator | None = None,
) -> list[Quality]:
    """Say a row for each photo of a folder and the folders in it, and then the mean.

    Returns the mean Quality of bicubic and of the model. With `ensemble` there is a third: that of the model's mean
    over the photo turned and mirrored in all eight ways. `keep` is given each photo that was measured, and `take` also
    those that were left out, with the reason.

    Several ranks share out the photos. Then `keep` is called by the rank that has measured the photo, and all else is
    rank 0's: the others say nothing and return [].

    A photo that cannot be read or measured is left out, named and counted. So is a photo that bicubic or the model
    enlarges without any error, such as a flat one: its PSNR is infinite, and so would be the mean. The transparent
    parts of a photo are laid on white. Raises ImageError if no photo is left.
    """
    border, (paths, others) = generator.config.scale, originals_in(folder)
    names = [name_in(folder, path) for path in paths]
    width = max(24, *(len(name) + 1 for name in names))  # names are not cut, since two could then look the same
    columns = ["bicubic", "model", *(["ensemble of 8"] if ensemble else [])]
    say(header(rulers, *columns, width=width))

    def measure(i: int) -> Measured:
        frames = 1
        try:
            photo = load_photo(paths[i])
            frames = photo.frames
            trial = try_photo(generator, over_white(photo.rgb, photo.alpha), device)
            images = [trial.bicubic, trial.sr]
            if ensemble:
                images.append(upscale(generator, trial.lr, device, ensemble=True))
            qualities = [judge(image, trial.hr, border, rulers, photo.grey) for image in images]
            if not all(np.isfinite(each.score).all() for each in qualities):
                raise ImageError("enlarged without any error, so its PSNR is infinite")
        except ImageError as error:
            return Measured([], frames, str(error).removeprefix(f"{paths[i]}: "))
        keep(names[i], dict(zip(columns, images)) | {"HR": trial.hr})
        return Measured(qualities, frames)

    results, left_out, several = [], [], []
    found = on_ranks(measure, paths, ranks) if ranks else map(measure, range(len(paths)))
    for name, (qualities, frames, problem) in zip(names, found):
        several += [name] * (frames > 1)
        if problem:
            left_out.append(problem)
            take(name, problem)
            say(f"{name:{width - 1}} left out: {problem}")
        else:
            results.append(qualities)
            say(row(name, *qualities, width=width))
            take(name, dict(zip(columns, qualities)))
    if ranks and ranks.rank:
        return []
    if not results:
        raise ImageError(f"{folder}: none of the {len(paths)} photos here can be measured, such as: {left_out[0]}")
    means = [mean_quality(qualities) for qualities in zip(*results)]
    say(row(f"mean of {len(results)}", *means, width=width))
    if left_out:
        say(f"{len(left_out)} of {len(paths)} photos left out")
    if several:
        say(firsts_of(several))
    if others:
        say(others_in(folder, others))
    say(f"dB, on Y (BT.601 studio swing) and RGB; SSIM on Y; a border of {border} pixels is left out")
    say("Y is the values of a greyscale file; for any other file, even one that looks grey, it is computed from RGB")
    say_rulers(rulers, say)
    return means


def on_ranks(measure: Callable[[int], Measured], paths: Sequence[Path], ranks: Communicator) -> Iterator[Measured]:
    """On rank 0, what `measure` finds of each photo, in order. Raises ConfigError unless all see the same files."""
    ranks.check_alike({"set of photos": f"{len(paths)} ({hashlib.sha256(str(paths).encode()).hexdigest()[:8]})"})
    extents = [extent_of(path) or (0, 0, 0) for path in paths]
    for qualities, frames, problem in shared_out(ranks, measure, [width * height for width, height, _ in extents]):
        yield Measured([Quality(Score(*score), distances) for score, distances in qualities], frames, problem)


def say_rulers(rulers: Rulers, say: Say) -> None:
    """Say what the columns of a table mean, beside those of a Score."""
    say("grid: by how many dB the pattern of period 4 stands out; photos have about 0")
    vggs = [name for name in rulers if name not in ("grid", ST_LPIPS)]
    say(f"{', '.join(vggs)}: perceptual distance, the mean squared difference of its features; less is better")
    if ST_LPIPS in rulers:
        say("ST-LPIPS: perceptual distance learned from people's judgements; less is better, and 0 is the same image")
    else:
        say("`minisrgan vgg fetch --st-lpips` gets a network learned from people's judgements, to measure with too")
