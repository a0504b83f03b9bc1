"""Training crops: high-resolution patches and the matching low-resolution patches."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ..errors import ConfigError, ImageError
from .files import read_photo
from .resize import crop_to_multiple, downsample
from .transparency import over_white


class Crop(NamedTuple):
    """Where a patch is: which photo, its top left corner in LR pixels, and one of the 8 orientations."""

    photo: int
    top: int
    left: int
    orientation: int


def orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """The image under one of the square's 8 symmetries: mirrored from 4 on, then turned by orientation * 90 degrees."""
    return np.rot90(image[:, ::-1] if orientation >= 4 else image, orientation % 4)


def fingerprint(*arrays: np.ndarray) -> str:
    """The SHA-256 of arrays' dtypes, shapes and numbers."""
    digest = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def as_pixels(image: np.ndarray) -> np.ndarray:
    """A uint8 (H, W, 3) image as (H, W) pixels: NumPy turns and mirrors whole pixels three times as fast as bytes."""
    return np.ascontiguousarray(image).view("V3")[..., 0]


class PhotoSet:
    """Photos in memory as uint8, in high and in low resolution, from which aligned patches are cut.

    The low-resolution photos are made once, from whole photos. A patch shrunk by itself would have wrong pixels
    along its edges, where the resize kernel needs pixels from outside of the patch.

    names     the names of the photos; `Crop.photo` is an index into them
    hashes    {name: the photo's `fingerprint`}
    skipped   the names of the photos left out because a side is shorter than the crop
    """

    def __init__(self, photos: Iterable[tuple[str, np.ndarray]], scale: int = 4, crop: int = 96) -> None:
        """`photos` are (name, rgb) pairs with rgb uint8 (H, W, 3); `crop` is the side of a patch in HR pixels.

        Raises ConfigError for a crop that is not a multiple of the scale, and ImageError if no photo is large enough.
        """
        if scale < 1 or crop < 1 or crop % scale:
            raise ConfigError(
                f"a crop of {crop} pixels is not a multiple of the scale {scale}: "
                "both start at 1, and the low-resolution crop is crop / scale"
            )
        self.scale, self.crop = scale, crop
        self.names, self.hashes, self.skipped = [], {}, []
        self._hr, self._lr = [], []
        for name, rgb in photos:
            if min(rgb.shape[:2]) < crop:
                self.skipped.append(name)
                continue
            hr = crop_to_multiple(rgb, scale)
            self.names.append(name)
            self.hashes[name] = fingerprint(rgb)
            self._hr.append(as_pixels(hr))
            self._lr.append(as_pixels(downsample(hr, scale)))
        if not self.names:
            raise ImageError(
                f"none of the {len(self.skipped)} photos is large enough to train on: "
                f"at least {crop} x {crop} pixels are needed"
            )

    @classmethod
    def from_files(cls, paths: Iterable[Path], scale: int = 4, crop: int = 96) -> Self:
        """The photos at `paths`, laid over white if transparent. Raises ImageError for one that cannot be read."""
        return cls(((Path(path).name, over_white(*read_photo(path))) for path in paths), scale, crop)

    def __len__(self) -> int:
        return len(self.names)

    def choose(self, rng: np.random.Generator, n: int) -> list[Crop]:
        """A list of `n` random crops of distinct photos; if there are fewer, each is used before any is repeated.

        All photos are equally likely, whatever their size; so are all places within a photo, and all orientations.
        The crops depend on nothing but the state of `rng`, a `numpy.random.Generator`.
        """
        rounds = [rng.permutation(len(self)).tolist() for _ in range(0, n, len(self))]
        return [self._crop_of(rng, photo) for photo in sum(rounds, [])[:n]]

    def _crop_of(self, rng, photo):
        height, width = self._lr[photo].shape
        side = self.crop // self.scale
        top, left, orientation = rng.integers([height - side + 1, width - side + 1, 8]).tolist()
        return Crop(photo, top, left, orientation)

    def hr(self, crops: Sequence[Crop]) -> np.ndarray:
        """The high-resolution patches, uint8 (n, crop, crop, 3)."""
        return self._patches_from(self._hr, crops, self.scale)

    def lr(self, crops: Sequence[Crop]) -> np.ndarray:
        """The low-resolution patches of the same places and orientations, uint8 (n, crop / scale, crop / scale, 3)."""
        return self._patches_from(self._lr, crops, 1)

    def _patches_from(self, images, crops, unit):
        """Patches from `images` (of pixels), whose sides are `unit` times those of the low-resolution photos."""
        side = self.crop // self.scale * unit
        patches = np.empty((len(crops), side, side, 3), np.uint8)
        for patch, (photo, top, left, orientation) in zip(patches.view("V3")[..., 0], crops, strict=True):
            top, left = top * unit, left * unit
            patch[:] = orient(images[photo][top : top + side, left : left + side], orientation)
        return patches
