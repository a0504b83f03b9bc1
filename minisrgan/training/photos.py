"""Photos to learn from: those in a folder of the user's, or those that come with scikit-image and matplotlib."""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, ImageError
from ..imaging.files import PHOTO_SUFFIXES, load_photo, look_for_photos
from ..imaging.patches import PhotoSet, fingerprint
from ..imaging.resize import shrink
from ..imaging.transparency import over_white
from ..nn import Module
from ..progress import progress_bar
from .config import TrainConfig
from .run import Run

# They are in the packages' wheels, so nothing is downloaded. motorcycle_right shows the same as motorcycle_left, and
# the drawings, texts and microscope slides among the others are not photos.
TRAINING = {
    "skimage": "astronaut.png brick.png camera.png coins.png grass.png gravel.png motorcycle_left.png rocket.jpg",
    "matplotlib": "grace_hopper.jpg",
}
HELD_OUT = {"skimage": "chelsea.png coffee.png"}
COPY = 0.8  # each copy of a photo has this fraction of the size of the one before
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
    found, others = look_for_photos(folder)
    photos, bad, several = [], [], []
    for path in waiting(found, "reading photos"):
        try:
            photo = load_photo(path)
        except ImageError as error:
            bad.append(str(error))
            continue
        photos.append((name_in(folder, path), over_white(photo.rgb, photo.alpha)))
        if photo.frames > 1:
            several.append(photos[-1][0])
    if several:
        say(firsts_of(several))
    for line in bad:
        say(f"left out: {line}")
    if bad:
        say(f"{len(bad)} of {len(found)} photos left out, because they cannot be read")
    if others:
        say(others_in(folder, others))
    return photos, bad


def patches(config: TrainConfig, photos: list[tuple[str, np.ndarray]]) -> PhotoSet:
    """The PhotoSet to train on: the photos, and `config.copies` smaller copies of each."""
    copies = [(f"{name} at {COPY**k:.3g}", rgb, COPY**k) for k in range(1, config.copies + 1) for name, rgb in photos]
    shrunk = ((name, shrink(rgb, factor)) for name, rgb, factor in waiting(copies, "making copies"))
    whole = waiting(photos, "reducing photos")
    return PhotoSet(chain(whole, shrunk), config.generator.scale, config.discriminator.crop)


def others_in(folder: Path | str, others: list[Path]) -> str:
    """A line that says which files of a folder are left out because of their names."""
    kinds = {path.suffix.lower() or "without a suffix" for path in others if path.suffix.lower() not in PHOTO_SUFFIXES}
    reduced = {path.relative_to(folder).parent.as_posix() for path in others if path.suffix.lower() in PHOTO_SUFFIXES}
    why = [f"not named as photos ({', '.join(sorted(kinds))})"] * bool(kinds)
    why += [f"in folders of low-resolution copies ({', '.join(sorted(reduced))})"] * bool(reduced)
    return f"{folder}: left out {len(others)} others, {' or '.join(why)}"


def firsts_of(names: Iterable[str]) -> str:
    """A line that says which files have several pictures, of which only the first was read."""
    return f"only the first picture is taken from files with several: {', '.join(names)}"


def name_in(folder: Path | str, path: Path) -> str:
    """A photo's name in tables and logs: its path within the folder, so that no two names are the same."""
    return path.relative_to(folder).as_posix()


def named(path: Path) -> tuple[str, np.ndarray]:
    """(name, rgb) of the photo in a file, laid over white if it is transparent."""
    photo = load_photo(path)
    return path.name, over_white(photo.rgb, photo.alpha)


def hashes(crops: PhotoSet, held_out: Iterable[tuple[str, np.ndarray]], vgg: Module | None = None) -> dict[str, Any]:
    """The entries of config.json by which a PhotoSet, held-out (name, rgb) pairs and a VGG are recognised later."""
    return {
        "photos": crops.hashes,
        "held_out": {name: fingerprint(rgb) for name, rgb in held_out},
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
