"""Training crops: high-resolution patches and the matching low-resolution patches."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ..errors import ConfigError, ImageError
from .degrade import Degradation
from .files import read_photo
from .pictures import Held, Picture, as_pixels
from .pixels import luma
from .resize import crop_to_multiple, downsample
from .transparency import over_white

SHOWN = 256  # the side, in HR pixels, of the middle of a held-out photo, which is measured during training


class Crop(NamedTuple):
    """Where a patch is: which photo, its top left corner in LR pixels, and one of the 8 orientations; and the seed of
    its degradation, where there is one."""

    photo: int
    top: int
    left: int
    orientation: int
    seed: int = 0


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


class Entry(NamedTuple):
    """A photo of a PhotoSet: its name, the `fingerprint` of its file's pixels, and the picture."""

    name: str
    hash: str
    picture: Picture


class PhotoSet:
    """Photos in high and in low resolution, from which aligned patches are cut.

    The low-resolution photos are made once, from whole photos. A patch shrunk by itself would have wrong pixels
    along its edges, where the resize kernel needs pixels from outside of the patch.

    names     the names of the photos; `Crop.photo` is an index into them
    hashes    {name: the photo's `fingerprint`}
    skipped   the names of the photos left out because a side is shorter than the crop
    degrade   how low-resolution patches are degraded; None: they are not
    """

    def __init__(self, photos: Iterable[tuple[str, np.ndarray]], scale: int = 4, crop: int = 96) -> None:
        """`photos` are (name, rgb) pairs with rgb uint8 (H, W, 3), held in memory; `crop` is the side of a patch in HR
        pixels.

        Raises ConfigError for a crop that is not a multiple of the scale, and ImageError if no photo is large enough.
        """
        skipped: list[str] = []
        self._take((entry_of(*photo, scale, crop, skipped) for photo in photos), scale, crop, skipped)

    @classmethod
    def of(cls, entries: Iterable[Entry | None], scale: int, crop: int, degrade: Degradation | None = None) -> Self:
        """A set of pictures that are large enough; those that are None do not count. Raises as above."""
        photos = cls.__new__(cls)
        photos._take(entries, scale, crop, [])
        photos.degrade = degrade
        return photos

    def _take(self, entries, scale, crop, skipped):
        if scale < 1 or crop < 1 or crop % scale:
            raise ConfigError(
                f"a crop of {crop} pixels is not a multiple of the scale {scale}: "
                "both start at 1, and the low-resolution crop is crop / scale"
            )
        self.scale, self.crop, self.skipped = scale, crop, skipped
        self.degrade: Degradation | None = None
        entries = [entry for entry in entries if entry]
        self.names = [entry.name for entry in entries]
        self.hashes = {entry.name: entry.hash for entry in entries}
        self.pictures = [entry.picture for entry in entries]
        self._sizes = [picture.size for picture in self.pictures]
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
        The crops depend on nothing but the state of `rng`, a `numpy.random.Generator`. So do the seeds of degradations;
        they come from its `jumped` stream, so that with degradations or without the crops are the same.
        """
        own = np.random.Generator(rng.bit_generator.jumped()) if self.degrade else None  # pyrefly: ignore
        rounds = [rng.permutation(len(self)).tolist() for _ in range(0, n, len(self))]
        crops = [self._crop_of(rng, photo) for photo in sum(rounds, [])[:n]]
        return [crop._replace(seed=int(own.integers(2**63))) for crop in crops] if own else crops

    def _crop_of(self, rng, photo):
        height, width = self._sizes[photo]
        side = self.crop // self.scale
        top, left, orientation = rng.integers([height - side + 1, width - side + 1, 8]).tolist()
        return Crop(photo, top, left, orientation)

    def hr(self, crops: Sequence[Crop]) -> np.ndarray:
        """The high-resolution patches, uint8 (n, crop, crop, 3)."""
        return self._filled(crops, (self.crop, self._hr_patch))[0]

    def lr(self, crops: Sequence[Crop]) -> np.ndarray:
        """The low-resolution patches of the same places and orientations, uint8 (n, crop / scale, crop / scale, 3)."""
        return self._filled(crops, (self.crop // self.scale, self._lr_patch))[0]

    def both(self, crops: Sequence[Crop]) -> tuple[np.ndarray, np.ndarray]:
        """(`hr`, `lr`) of the same crops, picture by picture: for pictures that are read when they are asked for."""
        hr, lr = self._filled(crops, (self.crop, self._hr_patch), (self.crop // self.scale, self._lr_patch))
        return hr, lr

    def _filled(self, crops, *kinds):
        """The patches of each kind, which is (the side, crop → pixels)."""
        filled = [np.empty((len(crops), side, side, 3), np.uint8) for side, _ in kinds]
        for i, crop in enumerate(crops):
            for patches, (_, patch_of) in zip(filled, kinds):
                as_pixels(patches[i])[:] = orient(patch_of(crop), crop.orientation)
        return filled

    def _hr_patch(self, crop):
        return self.pictures[crop.photo].hr(*self._place(crop, self.scale))

    def _lr_patch(self, crop):
        picture, place = self.pictures[crop.photo], self._place(crop, 1)
        if self.degrade:
            return as_pixels(self.degrade.part(picture, place, self.scale, crop.seed))
        return picture.lr(*place)

    def _place(self, crop, unit):
        """(rows, columns) of a crop in a photo whose sides are `unit` times those of the low-resolution one."""
        side = self.crop // self.scale
        rows, columns = (slice(first * unit, (first + side) * unit) for first in (crop.top, crop.left))
        return rows, columns


def entry_of(name: str, rgb: np.ndarray, scale: int, crop: int, skipped: list[str]) -> Entry | None:
    """The photo in memory, with its reduction. If a side is shorter than the crop: None, and its name is `skipped`."""
    if min(rgb.shape[:2]) < crop:
        skipped.append(name)
        return None
    hr = crop_to_multiple(rgb, scale)
    return Entry(name, fingerprint(rgb), Held(hr, downsample(hr, scale)))


def centre(photo: np.ndarray, side: int = SHOWN) -> np.ndarray:
    """The middle of a photo, at most `side` pixels on a side."""
    top, left = (max((size - side) // 2, 0) for size in photo.shape[:2])
    return photo[top : top + side, left : left + side]


def place_of_most_contrast(image: np.ndarray, side: int) -> tuple[int, int]:
    """(top, left) of the side×side window with the most contrast between neighbours. Windows are half a side apart.

    In LR, that is where edges are left to restore, not where fine texture is lost for good.
    """
    y = luma(image)
    contrast = np.abs(np.diff(y, axis=0))[:, :-1] + np.abs(np.diff(y, axis=1))[:-1]
    places = [
        (top, left)
        for top in range(0, y.shape[0] - side + 1, max(side // 2, 1))
        for left in range(0, y.shape[1] - side + 1, max(side // 2, 1))
    ]
    return max(places, key=lambda p: contrast[p[0] : p[0] + side, p[1] : p[1] + side].sum())


def place_of_detail(image: np.ndarray, side: int, most: int = 1024) -> tuple[int, int]:
    """(top, left) of a side×side window with much contrast, within a large image. So that it takes little time and
    memory, about `most` pixels of its longer side are looked at."""
    every = max(max(image.shape[:2]) // most, 1)
    seen = image[::every, ::every]
    height, width = image.shape[:2]
    top, left = (each * every for each in place_of_most_contrast(seen, min(max(side // every, 2), *seen.shape[:2])))
    return max(min(top, height - side), 0), max(min(left, width - side), 0)
