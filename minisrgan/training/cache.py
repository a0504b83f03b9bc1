"""Decoded photos in files, so that a training needs no memory for more photos than it holds.

A picture's file has HR and LR as bytes, and is mapped when a part of it is asked for. So memory holds a few pages of
it, and the system's own cache the rest, as far as there is room. A file is made once for all later runs: it is named by
the SHA-256 of the photo's file and by what was made of it.

    "minisrgan picture 1", the checksum and the length of the head; the head as JSON; zeros up to START; HR; LR

Any number of runs may use the folder at the same time. A file gets its name when all of it is on the disk; only one
process at a time adds or removes files; and a picture whose file is gone or damaged is made again. So is one for which
there is no room, each time that it is asked for.
"""

import hashlib
import json
import mmap
import os
import shutil
import time
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

from ..errors import ImageError
from ..files import lock_file, make_cache_folder, write_whole
from ..imaging.pictures import as_image, as_pixels

KIND = "minisrgan picture 1"
START = 2**16  # bytes before HR
BAND = 64  # rows whose bytes have a checksum; they are checked when the first of them is read
IN_USE = 900  # seconds since its last use for which a file is not removed
TOUCH = 120  # seconds between two notes that a file is in use
SUFFIX = ".picture"


class Made(NamedTuple):
    """What a picture's file is made of: HR and LR, uint8 (H, W, 3), and what is kept beside them."""

    hr: np.ndarray
    lr: np.ndarray
    about: dict[str, Any]


class DamagedError(Exception):
    """A file of the cache is not what was written."""


class PictureCache:
    """The folder of pictures.

    most   bytes that all files together may take; None: half of the disk's free space, what they take included
    """

    def __init__(self, most: float | None = None, folder: Path | None = None) -> None:
        self.folder = folder or make_cache_folder() / "photos"
        self.folder.mkdir(parents=True, exist_ok=True)
        if most is None:
            most = (shutil.disk_usage(self.folder).free + sum(stat.st_size for _, stat in self._files())) / 2
        self.most = most
        self.last: tuple[Path, Made] | None = None

    def get(self, name: str, make: Callable[[], Made]) -> "Cached":
        """The picture of this name, whose file is made if need be. Raises what `make` raises."""
        path = self.folder / (name + SUFFIX)
        try:
            head = read_head(path)
        except (FileNotFoundError, DamagedError):
            made = make()
            head = Head([made.hr.shape[:2], made.lr.shape[:2]], checksums_of(made), made.about)
            self.add(path, made)
        return Cached(path, head, self, make)

    def find(self, name: str) -> "dict[str, Any] | None":
        """What is kept beside the picture of this name, if its file is there."""
        with suppress(FileNotFoundError, DamagedError):
            return read_head(self.folder / (name + SUFFIX)).about
        return None

    def add(self, path: Path, made: Made) -> None:
        """Write a picture's file, if there is room for it, and keep the picture in memory until the next one."""
        self.last = path, made
        start = head_of(made)
        parts = [start, *(np.ascontiguousarray(each).data.cast("B") for each in (made.hr, made.lr))]
        with suppress(OSError), self._alone():  # such as a full disk
            path.unlink(missing_ok=True)  # a damaged one
            if len(start) == START and self._make_room(sum(map(len, parts))):
                write_whole(path, parts)

    def _make_room(self, size):
        """Remove the files that were not used for the longest time, until there are `size` bytes left for another."""
        files = sorted(self._files(), key=lambda each: each[1].st_mtime)
        left = self.most - sum(stat.st_size for _, stat in files)
        for path, stat in files:
            if left >= size or time.time() - stat.st_mtime < IN_USE:
                break
            path.unlink(missing_ok=True)
            left += stat.st_size
        return left >= size

    def _files(self):
        """[(path, stat)] of all pictures' files."""
        found = []
        for path in self.folder.glob("*" + SUFFIX):
            with suppress(FileNotFoundError):
                found.append((path, path.stat()))
        return found

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """Within the block, no other process adds or removes files."""
        while True:
            try:
                lock = lock_file(self.folder / "lock")
                break
            except BlockingIOError:
                time.sleep(0.02)
        try:
            yield
        finally:
            if lock:
                lock.close()


class Head(NamedTuple):
    """A picture's head: HR's and LR's shapes, the checksums of their bands, and what is kept beside them."""

    shapes: Sequence[tuple[int, int]]
    checksums: Sequence[list[int]]
    about: dict[str, Any]

    @property
    def length(self) -> int:
        """Bytes of the file."""
        return START + sum(3 * height * width for height, width in self.shapes)


def checksums_of(made: Made) -> list[list[int]]:
    """The checksums of HR's bands and of LR's."""
    return [
        [zlib.crc32(np.ascontiguousarray(image[y : y + BAND]).data) for y in range(0, len(image), BAND)]
        for image in (made.hr, made.lr)
    ]


def head_of(made: Made) -> bytes:
    """The beginning of a picture's file: START bytes; more for a picture of too many bands."""
    head = {"shapes": [made.hr.shape[:2], made.lr.shape[:2]], "checksums": checksums_of(made), "about": made.about}
    text = json.dumps(head).encode()
    return (f"{KIND} {zlib.crc32(text):08x} {len(text)}\n".encode() + text).ljust(START, b"\0")


def read_head(path: Path) -> Head:
    """The head of a picture's file. Raises FileNotFoundError, and DamagedError."""
    with open(path, "rb") as file:
        line, _, rest = file.read(START).partition(b"\n")
        length = os.fstat(file.fileno()).st_size
    try:
        kind, checksum, size = line.decode().rsplit(" ", 2)
        text = rest[: int(size)]
        if kind != KIND or int(checksum, 16) != zlib.crc32(text):
            raise ValueError
    except ValueError:
        raise DamagedError(path) from None
    head = Head(**json.loads(text))
    if length != head.length:
        raise DamagedError(path)
    return head


class Cached:
    """A picture whose file is in the cache. If the file has gone or is damaged, the picture is made again."""

    def __init__(self, path: Path, head: Head, cache: PictureCache, make: Callable[[], Made]) -> None:
        self.path, self.head, self.cache, self.make = path, head, cache, make
        self.checked = [bytearray(len(each)) for each in head.checksums]
        self.touched = 0.0
        self._touch()

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.head.shapes[1]
        return height, width

    def hr(self, rows: slice, columns: slice) -> np.ndarray:
        return self._part(0, rows, columns)

    def lr(self, rows: slice, columns: slice) -> np.ndarray:
        return self._part(1, rows, columns)

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """All of HR and of LR, uint8 (H, W, 3)."""
        hr, lr = (as_image(self._part(i, slice(0, h), slice(0, w))) for i, (h, w) in enumerate(self.head.shapes))
        return hr, lr

    @property
    def kept(self) -> bool:
        """Whether there is a file of it."""
        return self.path.exists()

    def _part(self, which, rows, columns):
        try:
            return self._mapped(which, rows)[rows, columns]
        except (FileNotFoundError, DamagedError):
            pass
        path, made = self.cache.last or (None, None)
        if made is None or path != self.path:
            made = self.make()
            self.cache.add(self.path, made)
        for each in self.checked:
            each[:] = bytes(len(each))
        if made.about != self.head.about:
            raise ImageError(f"{made.about['hash']}: the photo has changed since the training began")
        return as_pixels((made.hr, made.lr)[which][rows])[:, columns]

    def _mapped(self, which, rows):
        """HR (0) or LR (1) as pixels in the mapped file, whose bands at these rows are sound."""
        height, width = self.head.shapes[which]
        with open(self.path, "rb") as file:
            if os.fstat(file.fileno()).st_size != self.head.length:  # to read beyond a file's end kills the process
                raise DamagedError(self.path)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        first = START + which * 3 * self.head.shapes[0][0] * self.head.shapes[0][1]
        image = np.frombuffer(mapped, "V3", height * width, first).reshape(height, width)
        checked, checksums = self.checked[which], self.head.checksums[which]
        for band in range(rows.start // BAND, -(-rows.stop // BAND)):
            if not checked[band]:
                if zlib.crc32(image[band * BAND : (band + 1) * BAND].data) != checksums[band]:
                    raise DamagedError(self.path)
                checked[band] = True
        if time.monotonic() - self.touched > TOUCH:
            self._touch()
        return image

    def _touch(self):
        """Note in the file's time that it is in use."""
        with suppress(OSError):
            os.utime(self.path)
        self.touched = time.monotonic()


def hash_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_of(*what: object) -> str:
    """A name for a picture made of these things by this version of Pillow, whose decoders may change."""
    return hashlib.sha256(repr((KIND, PIL.__version__, *what)).encode()).hexdigest()
