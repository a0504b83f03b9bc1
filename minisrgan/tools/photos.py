"""Photos to learn from: a folder of the user's, or those that scikit-image and matplotlib bring along."""

from importlib.util import find_spec
from pathlib import Path

from ..errors import ImageError
from ..imaging.files import find_photos

# In the packages' wheels, so nothing is downloaded. motorcycle_right shows what motorcycle_left does, and the
# drawings, texts and microscope slides among the others are no photos.
TRAINING = {
    "skimage": "astronaut.png brick.png camera.png coins.png grass.png gravel.png motorcycle_left.png rocket.jpg",
    "matplotlib": "grace_hopper.jpg",
}
HELD_OUT = {"skimage": "chelsea.png coffee.png"}
FOLDERS = {"skimage": "data", "matplotlib": "mpl-data/sample_data"}


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


def training_photos(folder=None):
    """(paths to train on, paths held out to measure with); without a folder, the packaged ones.

    Of a folder every tenth photo is held out, at least one; a single photo is both.
    """
    if folder is None:
        return packaged(TRAINING), packaged(HELD_OUT)
    paths = find_photos(folder)
    if len(paths) == 1:
        return paths, paths
    held_out = paths[::10]
    return [path for path in paths if path not in held_out], held_out
