"""Decoded photos in files, so that a training needs no memory for more photos than it holds.

A picture's file has HR and LR as bytes, and is mapped when a part of it is asked for. So memory holds a few pages of
it, and the system's own cache the rest, as far as there is room. A file is made once for all later runs: it is named by
the SHA-256 of the photo's file and by what was made of it.

    "minisrgan picture 1", the checksum and the length of the head; the head as JSON; zeros up to START
    HR, and then LR, in strips of STRIP columns, so that a patch lies in few pages
    the checksums of both, band by band

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
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

from ..files import cache_folder, lock_file, make_cache_folder, remove_leftovers, write_whole
from ..imaging.pictures import as_image, as_pixels

KIND = "minisrgan picture 1"
START = 4096  # bytes before HR
STRIP = 256  # columns
BAND = 64  # rows of a strip that have a checksum; they are checked when the first of them is read
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
        self.folder = folder or cache_folder() / "photos"
        self._make_folder()
        if most is None:
            most = (shutil.disk_usage(self.folder).free + sum(stat.st_size for _, stat in self._files())) / 2
        self.most = most
        self.last: tuple[Path, Made] | None = None

    def get(self, name: str, make: Callable[[], Made]) -> "Cached":
        """The picture of this name, whose file is made if need be. Raises what `make` raises."""
        path = self.folder / (name + SUFFIX)
        try:
            head = read_head(path)
        except (FileNotFoundError, DamagedError) as error:
            made = make()
            head = head_of(made)
            self.add(path, made, isinstance(error, DamagedError))
        return Cached(path, head, self, make)

    def find(self, name: str) -> "dict[str, Any] | None":
        """What is kept beside the picture of this name, if its file is there."""
        with suppress(FileNotFoundError, DamagedError):
            return read_head(self.folder / (name + SUFFIX)).about
        return None

    def add(self, path: Path, made: Made, damaged: bool = False) -> None:
        """Write a picture's file, if there is room for it, and keep the picture in memory until the next one.

        damaged   whether the file is to be replaced, if it is there
        """
        self.last = path, made
        head = head_of(made)
        strips = (np.ascontiguousarray(each).data.cast("B") for image in made[:2] for each in strips_of(image))
        with suppress(OSError), self._alone():  # such as a full disk
            if not damaged and path.exists():  # another process was quicker
                return
            remove_leftovers(self.folder)  # of processes that were killed: no other writes now
            path.unlink(missing_ok=True)
            if self._make_room(head.length):
                write_whole(path, chain([head.start()], strips, (each.tobytes() for each in head.checksums)))

    def _make_folder(self):
        if self.folder.parent == cache_folder():
            make_cache_folder()  # which only the user may read
        self.folder.mkdir(parents=True, exist_ok=True)

    def _make_room(self, size):
        """Remove the files that were not used for the longest time, until there are `size` bytes left for another."""
        if size > self.most:
            return False
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
        self._make_folder()  # it may have been deleted since
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
    """What is known of a picture without its pixels: HR's and LR's shapes, what is kept beside them, and the checksums
    of HR's bands and of LR's, uint32 (strips, bands)."""

    shapes: list[tuple[int, int]]
    about: dict[str, Any]
    checksums: list[np.ndarray]

    @property
    def length(self) -> int:
        """Bytes of the file."""
        return START + sum(3 * height * width for height, width in self.shapes) + sum(c.nbytes for c in self.checksums)

    def start(self) -> bytes:
        """The first START bytes of the file."""
        head = {
            "shapes": self.shapes,
            "about": self.about,
            "checksums": zlib.crc32(b"".join(map(bytes, self.checksums))),
        }
        text = json.dumps(head).encode()
        return (f"{KIND} {zlib.crc32(text):08x} {len(text)}\n".encode() + text).ljust(START, b"\0")


def head_of(made: Made) -> Head:
    """The head of a picture."""
    shapes = [(image.shape[0], image.shape[1]) for image in (made.hr, made.lr)]
    return Head(shapes, made.about, [checksums_of(image) for image in (made.hr, made.lr)])


def checksums_of(image: np.ndarray) -> np.ndarray:
    """The checksums of an image's bands, uint32 (strips, bands)."""
    strips = (map(np.ascontiguousarray, bands_of(strip)) for strip in strips_of(image))
    return np.array([[zlib.crc32(band.data) for band in strip] for strip in strips], "<u4")


def strips_of(image: np.ndarray) -> list[np.ndarray]:
    """An image in STRIPs of columns."""
    return [image[:, x : x + STRIP] for x in range(0, image.shape[1], STRIP)]


def bands_of(strip: np.ndarray) -> list[np.ndarray]:
    """A strip in BANDs of rows."""
    return [strip[y : y + BAND] for y in range(0, len(strip), BAND)]


def read_head(path: Path) -> Head:
    """The head of a picture's file. Raises FileNotFoundError, and DamagedError."""
    with open(path, "rb") as file:
        line, _, rest = file.read(START).partition(b"\n")
        try:
            kind, checksum, size = line.decode().rsplit(" ", 2)
            text = rest[: int(size)]
            if kind != KIND or int(checksum, 16) != zlib.crc32(text):
                raise ValueError
        except ValueError:
            raise DamagedError(path) from None
        head = json.loads(text)
        counts = [(-(-width // STRIP), -(-height // BAND)) for height, width in head["shapes"]]
        file.seek(START + sum(3 * height * width for height, width in head["shapes"]))
        end = file.read()
    if zlib.crc32(end) != head["checksums"]:  # so the file has its length too
        raise DamagedError(path)
    parts = np.split(np.frombuffer(end, "<u4"), [counts[0][0] * counts[0][1]])
    return Head(head["shapes"], head["about"], [each.reshape(count) for each, count in zip(parts, counts)])


class Cached:
    """A picture whose file is in the cache. If the file has gone or is damaged, the picture is made again."""

    def __init__(self, path: Path, head: Head, cache: PictureCache, make: Callable[[], Made]) -> None:
        self.path, self.head, self.cache, self.make = path, head, cache, make
        self.checked = [np.zeros(each.shape, bool) for each in head.checksums]
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
            return self._mapped(which, rows, columns)
        except (FileNotFoundError, DamagedError) as error:
            damaged = isinstance(error, DamagedError)
        path, made = self.cache.last or (None, None)
        if made is None or path != self.path:
            made = self.make()
            self.cache.add(self.path, made, damaged)
        for each in self.checked:
            each[:] = False
        return as_pixels((made.hr, made.lr)[which][rows])[:, columns]

    def _mapped(self, which, rows, columns):
        """A part of HR (0) or LR (1) as pixels, from the mapped file."""
        height, width = self.head.shapes[which]
        with open(self.path, "rb") as file:
            if os.fstat(file.fileno()).st_size != self.head.length:  # to read beyond a file's end kills the process
                raise DamagedError(self.path)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)  # or the system reads megabytes for each patch
        first = START + which * 3 * self.head.shapes[0][0] * self.head.shapes[0][1]
        part = np.empty((rows.stop - rows.start, columns.stop - columns.start), "V3")
        bands = slice(rows.start // BAND, -(-rows.stop // BAND))
        for i in range(columns.start // STRIP, -(-columns.stop // STRIP)):
            left, right = i * STRIP, min((i + 1) * STRIP, width)
            place, size = first + 3 * height * left, 3 * (right - left)  # of the strip; of its rows, in bytes
            checked = self.checked[which][i]
            needed = rows if checked[bands].all() else slice(bands.start * BAND, min(bands.stop * BAND, height))
            ask_for(mapped, place + needed.start * size, place + needed.stop * size)
            strip = np.frombuffer(mapped, "V3", height * (right - left), place).reshape(height, right - left)
            for band in range(bands.start, bands.stop):
                checksum = self.head.checksums[which][i][band]
                if not checked[band] and zlib.crc32(bands_of(strip)[band].data) != checksum:
                    raise DamagedError(self.path)
                checked[band] = True
            start, stop = max(left, columns.start), min(right, columns.stop)
            part[:, start - columns.start : stop - columns.start] = strip[rows, start - left : stop - left]
        if time.monotonic() - self.touched > TOUCH:
            self._touch()
        return part

    def _touch(self):
        """Note in the file's time that it is in use."""
        with suppress(OSError):
            os.utime(self.path)
        self.touched = time.monotonic()


def ask_for(mapped: mmap.mmap, start: int, stop: int) -> None:
    """Let the system read these bytes of a mapped file at once, not page by page."""
    if hasattr(mmap, "MADV_WILLNEED"):
        start -= start % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_WILLNEED, start, stop - start)


def hash_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_of(*what: object) -> str:
    """A name for a picture made of these things by this version of Pillow, whose decoders may change."""
    return hashlib.sha256(repr((KIND, PIL.__version__, *what)).encode()).hexdigest()
