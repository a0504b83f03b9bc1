"""Photos to learn from: a folder of the user's, or those that scikit-image and matplotlib bring along."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..errors import ImageError
from ..imaging.files import find_photos, read_photo
from .progress import progress_bar

# In the packages' wheels, so nothing is downloaded. motorcycle_right shows what motorcycle_left does, and the
# drawings, texts and microscope slides among the others are no photos.
TRAINING = {
    "skimage": "astronaut.png brick.png camera.png coins.png grass.png gravel.png motorcycle_left.png rocket.jpg",
    "matplotlib": "grace_hopper.jpg",
}
HELD_OUT = {"skimage": "chelsea.png coffee.png"}
FOLDERS = {"skimage": "data", "matplotlib": "mpl-data/sample_data"}


class Photos(NamedTuple):
    """(name, uint8 (H, W, 3)) pairs to train on, others held out to measure with; the names of those too small."""

    training: list
    held_out: list
    small: list


def packaged(names):
    """The paths of photos in installed packages. Raises ImageError where a package came without them."""
    paths = [
        Path(find_spec(package).origin).parent / FOLDERS[package] / name
        for package, photos in names.items()
        for name in photos.split()
    ]
    for path in paths:
        if not path.is_file():
            raise ImageError(
                f"{path}: this photo should have come with its package; use --data with photos of your own"
            )
    return paths


def training_photos(folder=None, least=1):
    """Photos of at least `least` pixels a side: of a folder, or by default the packaged ones.

    Of a folder every tenth of them is held out, and at least one. Raises ImageError if none is left to train on.
    """
    if folder is None:
        return Photos(list(map(named, packaged(TRAINING))), list(map(named, packaged(HELD_OUT))), [])
    photos = list(map(named, waiting(find_photos(folder), "reading photos")))
    large = [photo for photo in photos if min(photo[1].shape[:2]) >= least]
    if len(large) < 2:
        raise ImageError(
            f"{folder}: {len(large)} of {len(photos)} photos here with at least {least} x {least} pixels: "
            "a training needs two, one of them to measure with"
        )
    small = [name for name, rgb in photos if min(rgb.shape[:2]) < least]
    return Photos([photo for i, photo in enumerate(large) if i % 10], large[::10], small)


def named(path):
    """(name, rgb) of the photo in a file, its transparency ignored."""
    return path.name, read_photo(path)[0]


def waiting(items, what):
    """The items, with a progress bar if going through them takes longer than a second."""
    return progress_bar(items, desc=what, delay=1, leave=False)
