"""Photos to learn from: the user's, or those that come with scikit-image and matplotlib.

Few photos are held in memory; many are decoded into the cache (cache.py). The training is the same, to the bit.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, ImageError
from ..imaging.degrade import Degradation
from ..imaging.files import load_photo
from ..imaging.patches import SHOWN, Entry, PhotoSet, centre, fingerprint
from ..imaging.pictures import Held
from ..imaging.resize import crop_to_multiple, downsample, shrink
from ..imaging.transparency import over_white
from ..nn import Module
from ..progress import progress_bar
from .cache import Made, PictureCache, hash_of, name_of
from .config import TrainConfig
from .run import Run
from .sources import Source, find_sources, size_of

# They are in the packages' wheels, so nothing is downloaded. motorcycle_right shows the same as motorcycle_left, and
# the drawings, texts and microscope slides among the others are not photos.
TRAINING = {
    "skimage": "astronaut.png brick.png camera.png coins.png grass.png gravel.png motorcycle_left.png rocket.jpg",
    "matplotlib": "grace_hopper.jpg",
}
HELD_OUT = {"skimage": "chelsea.png coffee.png"}
COPY = 0.8  # each copy of a photo has this fraction of the size of the one before
MIDDLE = f"the middle {SHOWN}"  # in the names of the cache, where a photo's size would be
MEMORY = 2**29  # bytes that the photos of a training may take in memory; more are kept in the cache
FOLDERS = {"skimage": "data", "matplotlib": "mpl-data/sample_data"}


class Photos(NamedTuple):
    """(name, uint8 (H, W, 3)) pairs to train on; pairs held out to measure on; the names of photos too small."""

    training: list
    held_out: list
    small: list


def packaged(names: Mapping[str, Any]) -> list[Path]:
    """The paths of photos in installed packages. Raises ImageError if a package was installed without them."""
    paths = [
        Path(getattr(find_spec(package), "origin", "")).parent / FOLDERS[package] / name
        for package, photos in names.items()
        for name in photos.split()
    ]
    for path in paths:
        if not path.is_file():
            raise ImageError(
                f"{path}: this photo should have come with its package; use --data with photos of your own"
            )
    return paths


def print_to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def training_photos(
    folder: Path | str | None = None, least: int = 1, say: Callable[[str], object] = print_to_stderr
) -> Photos:
    """The photos of at least `least` pixels on a side in a folder and its subfolders; by default the packaged ones.

    Every tenth photo of a folder is held out, so at least one is. Files that cannot be read or are not photos are left
    out, and `say` is told. Transparent photos are laid over white. Raises ImageError if no photo is left to train on.
    """
    if folder is None:
        return Photos(list(map(named, packaged(TRAINING))), list(map(named, packaged(HELD_OUT))), [])
    photos, bad = read_all(folder, say)
    large = [photo for photo in photos if min(photo[1].shape[:2]) >= least]
    if len(large) < 2:
        why = f"; {len(bad)} cannot be read, such as {bad[0]}" if bad else ""
        raise ImageError(
            f"{folder}: {len(large)} of {len(photos) + len(bad)} photos here have at least {least} x {least} pixels: "
            f"a training needs two, one of them to measure on{why}"
        )
    small = [name for name, rgb in photos if min(rgb.shape[:2]) < least]
    return Photos([photo for i, photo in enumerate(large) if i % 10], large[::10], small)


def read_all(
    folder: Path | str, say: Callable[[str], object] = print_to_stderr
) -> tuple[list[tuple[str, np.ndarray]], list[str]]:
    """Read the photos in a folder and its subfolders: ((name, rgb) pairs, what is wrong with each of the others).

    `say` is told which files are left out, and from which files only the first of several pictures is taken.
    """
    found, photos, bad, several = find_sources([str(folder)], [], 1, say), [], [], []
    for source in waiting(found, "reading photos"):
        try:
            rgb, frames = read(source.path)
        except ImageError as error:
            bad.append(str(error))
            continue
        photos.append((source.name, rgb))
        if frames > 1:
            several.append(source.name)
    say_left_out(several, bad, len(found), say)
    return photos, bad


def read(path: Path) -> tuple[np.ndarray, int]:
    """(rgb, how many pictures the file has) of a photo, laid over white if it is transparent."""
    photo = load_photo(path)
    return over_white(photo.rgb, photo.alpha), photo.frames


def say_left_out(several: list[str], bad: list[str], n: int, say: Callable[[str], object]) -> None:
    """Say which of `n` files have several pictures, and what is wrong with others."""
    if several:
        say(firsts_of(several))
    for line in bad:
        say(f"left out: {line}")
    if bad:
        say(f"{len(bad)} of {n} photos left out, because they cannot be read")


# ---- A training's photos ----------------------------------------------------------------------------------


class HeldOut(NamedTuple):
    """A photo to measure on: its name, uint8 (H, W, 3), its LR if bicubic is not to make it, and its fingerprint.

    If it has an LR, or comes from the cache, only its middle is kept.
    """

    name: str
    rgb: np.ndarray
    lr: np.ndarray | None
    hash: str


class Gathered(NamedTuple):
    """The photos of a training: to train on, to measure on; how many are to train on without their copies; the names
    of those too small."""

    crops: PhotoSet
    held_out: list[HeldOut]
    training: int
    small: list[str]


def gather(
    config: TrainConfig,
    about: Mapping[str, Any],
    say: Callable[[str], object] = print_to_stderr,
    most: float | None = None,
) -> Gathered:
    """The photos that a run's config.json names, and `config.copies` smaller copies of each to train on.

    about   its entries beside the configuration: data, data_lr and degrade; of a run that was begun, its photos too
    most    bytes on the disk that the cache may take (PictureCache)

    Every tenth photo is held out, so at least one is. Raises ImageError if no photo is left to train on, and whatever
    find_sources raises.
    """
    degrade = Degradation.from_dict(about["degrade"]) if about.get("degrade") else None
    data, data_lr = (as_list(about.get(name)) for name in ("data", "data_lr"))
    if data_lr and (degrade or config.copies):
        what = "be degraded" if degrade else "have smaller copies (--copies 0)"
        raise ConfigError(f"photos that come with their LR cannot {what}: leave out --data-lr, or that")
    scale, crop = config.generator.scale, config.discriminator.crop
    if data:
        sources = find_sources(data, data_lr, scale, say, {*about.get("photos", ()), *about.get("held_out", ())})
        apart = []
    else:
        apart = packaged(HELD_OUT)
        sources = [Source(path.name, path) for path in apart + packaged(TRAINING)]
    cache = None if bytes_of(sources, config) <= MEMORY else PictureCache(most)
    levels: list[list[Entry]] = [[] for _ in range(config.copies + 1)]  # by how often they were shrunk
    held_out, small, bad, several, skipped, large = [], [], [], [], [], 0
    for source in waiting(sources, "preparing photos"):
        held = source.path in apart if apart else large % 10 == 0
        try:
            photo = Prepared(source, scale, cache)
            if min(photo.about["shape"]) < crop and not (apart and held):
                small.append(source.name)
                continue
            if held:
                held_out.append(photo.held_out(degrade, len(held_out)))
            else:
                for k, level in enumerate(levels):
                    if ceil(min(photo.about["shape"]) * COPY**k) >= crop:
                        level.append(photo.entry(k))
                    else:
                        skipped.append(copy_name(source.name, k))
        except ImageError as error:
            bad.append(str(error))
            continue
        if photo.about["frames"] > 1:
            several.append(source.name)
        large += 1
    say_left_out(several, bad, len(sources), say)
    if large < 2:
        why = f"; {len(bad)} cannot be read, such as {bad[0]}" if bad else ""
        raise ImageError(
            f"{', '.join(data) or 'packaged'}: {large} of {len(sources)} photos here have at least {crop} x {crop} "
            f"pixels: a training needs two, one of them to measure on{why}"
        )
    shown = {photo.hash: photo.name for photo in held_out}
    if copies := [(entry.name, shown[entry.hash]) for entry in levels[0] if entry.hash in shown]:
        say(
            f"{copies[0][0]} is learned from, and is the same picture as {copies[0][1]}, which is held out to measure "
            f"on ({len(copies)} in all): remove one of them, or PSNR is too good"
        )
    crops = PhotoSet.of(chain(*levels), scale, crop, degrade)
    crops.skipped = skipped
    if cache and (anew := sum(not picture.kept for picture in crops.pictures)):
        say(
            f"{anew} of {len(crops)} photos and copies have no room in the cache, {cache.folder}, and are read anew "
            "for each crop, which is slow: give it more with --cache"
        )
    return Gathered(crops, held_out, len(levels[0]), small)


class Decoded(NamedTuple):
    """A photo that was read: rgb, its LR if that has a file of its own, and its hash, shape and number of frames."""

    rgb: np.ndarray
    lr: np.ndarray | None
    about: dict[str, Any]


class Prepared:
    """A photo on its way into a training: read once, and only if the cache lacks something of it."""

    def __init__(self, source: Source, scale: int, cache: PictureCache | None) -> None:
        """Raises ImageError for a photo that cannot be read, as all else here."""
        self.source, self.scale, self.cache = source, scale, cache
        self._decoded: Decoded | None = None
        self.of: list[Any] = []  # what its pictures in the cache are made of
        known = None
        if cache:
            try:
                self.of = [*(hash_of(each) for each in (source.path, source.lr) if each), scale]
            except OSError:
                self.decoded()  # says what is wrong
                raise
            found = (cache.find(name_of(*self.of, what)) for what in (MIDDLE, COPY**0))
            known = next((about for about in found if about), None)
        self.about = known or self.decoded().about

    def decoded(self) -> Decoded:
        """What is in its files."""
        if not self._decoded:
            rgb, frames = read(self.source.path)
            lr = read(self.source.lr)[0] if self.source.lr else None
            if lr is not None and lr.shape[:2] != tuple(side // self.scale for side in rgb.shape[:2]):
                raise ImageError(f"{self.source.lr}: does not fit {self.source.path}")
            hash = fingerprint(rgb) if lr is None else fingerprint(rgb, lr)
            self._decoded = Decoded(rgb, lr, {"hash": hash, "shape": [*rgb.shape[:2]], "frames": frames})
        return self._decoded

    def entry(self, k: int) -> Entry:
        """The photo, shrunk k times, to train on."""
        name = copy_name(self.source.name, k)
        if not self.cache:
            made = self.made(k)
            return Entry(name, made.about["hash"], Held(made.hr, made.lr))
        picture = self.cache.get(name_of(*self.of, COPY**k), partial(self.made, k))
        # a function that does not hold the photo in memory
        picture.make = partial(made_anew, self.source, self.scale, k, picture.head.about)
        return Entry(name, picture.head.about["hash"], picture)

    def made(self, k: int) -> Made:
        """HR and LR of the photo, shrunk k times."""
        rgb, lr, about = self.decoded()
        if k:
            rgb = shrink(rgb, COPY**k)
            about = about | {"hash": fingerprint(rgb)}
        hr = crop_to_multiple(rgb, self.scale)
        return Made(hr, downsample(hr, self.scale) if lr is None else lr, about)

    def held_out(self, degrade: Degradation | None, seed: int) -> HeldOut:
        """The photo to measure on."""
        hash = self.about["hash"]
        if not (self.cache or degrade or self.source.lr):
            return HeldOut(self.source.name, self.decoded().rgb, None, hash)
        if self.cache:
            hr, lr = self.cache.get(name_of(*self.of, MIDDLE), self.made_middle).whole()
        else:
            hr, lr, _ = self.made_middle()
        if degrade:
            picture = Held(crop_to_multiple(hr, self.scale), lr)
            lr = degrade.part(picture, (slice(0, lr.shape[0]), slice(0, lr.shape[1])), self.scale, seed)
        return HeldOut(self.source.name, hr, lr if degrade or self.source.lr else None, hash)

    def made_middle(self) -> Made:
        """HR and LR of the photo's middle."""
        rgb, lr, about = self.decoded()
        if lr is None:
            hr = centre(rgb)
            return Made(hr, downsample(crop_to_multiple(hr, self.scale), self.scale), about)
        middle = centre(lr, SHOWN // self.scale)
        rows, columns = (
            slice((whole - part) // 2 * self.scale, ((whole - part) // 2 + part) * self.scale)
            for whole, part in zip(lr.shape[:2], middle.shape)
        )
        return Made(rgb[rows, columns], middle, about)


def made_anew(source: Source, scale: int, k: int, about: Mapping[str, Any]) -> Made:
    """HR and LR of a photo, shrunk k times, read again. Raises ImageError unless it is still the same photo."""
    made = Prepared(source, scale, None).made(k)
    if made.about != about:
        raise ImageError(f"{source.path}: the photo has changed since the training began: begin a new one")
    return made


def copy_name(name: str, k: int) -> str:
    """The name of a photo that was shrunk k times."""
    return f"{name} at {COPY**k:.3g}" if k else name


def bytes_of(sources: Iterable[Source], config: TrainConfig) -> float:
    """Bytes that the photos take in memory, with their copies and LR, as far as their files say how large they are."""
    pixels = sum(size[0] * size[1] for size in (size_of(source.path) for source in sources) if size)
    return 3 * pixels * (1 + config.generator.scale**-2) * sum(COPY ** (2 * k) for k in range(config.copies + 1))


def as_list(data: Any) -> list[str]:
    """An entry of config.json as a list: it is a path, several, or null."""
    return [data] if isinstance(data, str) else list(data or [])


def firsts_of(names: Iterable[str]) -> str:
    """A line that says which files have several pictures, of which only the first was read."""
    return f"only the first picture is taken from files with several: {', '.join(names)}"


def named(path: Path) -> tuple[str, np.ndarray]:
    """(name, rgb) of the photo in a file, laid over white if it is transparent."""
    photo = load_photo(path)
    return path.name, over_white(photo.rgb, photo.alpha)


def hashes(crops: PhotoSet, held_out: Iterable[HeldOut], vgg: Module | None = None) -> dict[str, Any]:
    """The entries of config.json by which a PhotoSet, held-out photos and a VGG are recognised later."""
    return {
        "photos": crops.hashes,
        "held_out": {photo.name: photo.hash for photo in held_out},
        "vgg_sha256": vgg and fingerprint(*vgg.state().values()),
    }


def check_same(run: Run, about: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the photos and the VGG are those that the run began with, as far as it recorded them.

    about   the entries of the run's config.json
    here    what `hashes` says of the present photos and VGG
    """
    photos, now = about["photos"], here["photos"] | here["held_out"]
    if isinstance(photos, list):  # the first versions recorded names without hashes
        photos = {name: now.get(name) for name in photos}
    held_out = about.get("held_out", here["held_out"])
    before = photos | held_out
    gone = [f"{name} is gone" for name in before if name not in now]
    changed = [f"{name} is not the same picture as before" for name in before if before[name] != now.get(name)]
    moved = (list(photos), list(held_out)) != (list(here["photos"]), list(here["held_out"]))
    if what := [*gone, *changed, *["some were added, removed or reordered"] * moved]:
        raise ConfigError(
            f"the photos are not those that {run.folder} began with: {what[0]}; see its config.json. "
            f"`minisrgan train --resume {run.folder} --data FOLDER` says where they are"
        )
    if here["vgg_sha256"] and here["vgg_sha256"] != about.get("vgg_sha256", here["vgg_sha256"]):
        raise ConfigError(f"the VGG is not the one that {run.folder} began with: name that one's file with --vgg")


def waiting(items: Any, what: str) -> Any:
    """The items, with a progress bar if going through them takes longer than a second."""
    return progress_bar(items, desc=what, delay=1, leave=False)
