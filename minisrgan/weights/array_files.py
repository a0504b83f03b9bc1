"""Arrays in safetensors files, which hold numbers and text and no code that could run. Ours carry a checksum.

    8 bytes   the header's length
    header    JSON: {"__metadata__": {"minisrgan": text}, name: {"dtype": "F32", "shape": [...], "data_offsets": [...]}}
    numbers   one array's after another's

The text is JSON again. It describes the arrays, and its first entry is a SHA-256: of the arrays' names, dtypes, shapes
and numbers, and of the text itself, in which the checksum's own digits count as zeros. So a flipped bit anywhere in one
of our files is noticed. Files from elsewhere, and files of our first versions, have no checksum: they are read all the
same, and one line says that they have none.
"""

import hashlib
import json
import logging
import math
import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from ..errors import WeightsError
from ..files import write_whole

KEY = "minisrgan"  # the key of our metadata in a file
CHECKSUM = "sha256"  # the metadata's first entry
ZEROS = "0" * 64  # stand in for the checksum while it is computed
MOST_HEADER = 1 << 24  # bytes; a generator with a thousand arrays has a header of 100 thousand
MOST_AXES = 8
PIECE = 1 << 20  # bytes hashed at a time
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # NumPy has no bfloat16, so its bits are read


class Lazy(NamedTuple):
    """An array that is still in its file: its shape, and a function that reads it as float32."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class Stored(NamedTuple):
    """Where an array is in a file: bytes `start` (included) to `end` (excluded)."""

    kind: str
    shape: tuple
    start: int
    end: int


class SafetensorsFile:
    """An open file's `arrays`, {name: Stored}, and `metadata`, {text: text}. Raises ValueError for a damaged file."""

    def __init__(self, file: Any) -> None:
        self.file, size = file, file.seek(0, os.SEEK_END)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, MOST_HEADER):
            raise ValueError("its header is incomplete")
        header = json.loads(file.read(length).decode())
        if not isinstance(header, dict):
            raise ValueError("its header is not a dictionary")
        self.metadata = header.pop("__metadata__", None) or {}
        if not isinstance(self.metadata, dict) or not all(isinstance(text, str) for text in self.metadata.values()):
            raise ValueError("its metadata has values that are not text")
        self.arrays = {name: parse_entry(name, about, 8 + length) for name, about in header.items()}
        end = 8 + length
        for each in sorted(self.arrays.values(), key=lambda each: (each.start, each.end)):
            if each.start != end or each.end < end:
                raise ValueError("its arrays overlap, or leave gaps")
            end = each.end
        if end != size:
            raise ValueError(f"its header describes {end:,} bytes, but the file has {size:,}")

    def read(self, name: str) -> np.ndarray:
        """An array as float32. Raises ValueError if its numbers are not floating-point."""
        return read_stored(self.file, name, self.arrays[name])

    def digest(self) -> str:
        """The SHA-256 of everything in the file but the checksum itself."""
        found = hashlib.sha256()
        for name, (kind, shape, start, end) in sorted(self.arrays.items()):
            found.update(json.dumps([name, kind, shape]).encode())
            self.file.seek(start)
            while start < end and (piece := self.file.read(min(PIECE, end - start))):
                found.update(piece)
                start += len(piece)
        checksum = self.about().get(CHECKSUM)
        texts = self.metadata | ({KEY: self.metadata[KEY].replace(checksum, ZEROS, 1)} if checksum else {})
        found.update(json.dumps(sorted(texts.items())).encode())
        return found.hexdigest()

    def about(self) -> dict[str, str]:
        """The metadata that `write_arrays` was given, and the checksum; {} for a file from elsewhere."""
        about = json.loads(self.metadata.get(KEY, "{}"))
        if not isinstance(about, dict):
            raise ValueError("its description of the arrays is not a dictionary")
        return about

    def check(self) -> None:
        """Raise ValueError if the file carries a checksum that does not match its content."""
        about = self.about()
        checksum = about.get(CHECKSUM)
        if any(name != KEY and f'"{CHECKSUM}": "' in text for name, text in self.metadata.items()):
            raise ValueError("the name of its metadata is damaged")
        if checksum is None:
            if (first := next(iter(about.values()), None)) and isinstance(first, str) and len(first) == len(ZEROS):
                raise ValueError("the name of its checksum is damaged")
            return
        if not isinstance(checksum, str) or len(checksum) != len(ZEROS) or self.digest() != checksum:
            raise ValueError("its checksum does not match its numbers and metadata")


def parse_entry(name: str, about: Any, offset: int) -> Stored:
    """The Stored of an array's entry in the header; its offsets count from `offset`. Raises ValueError if damaged."""
    match about:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(start), int(end)]}:
            sound = re.fullmatch("[A-Z0-9_]{1,20}", kind) and len(shape) <= MOST_AXES
            if sound and all(type(side) is int and side >= 0 for side in shape):
                size = math.prod(shape) * np.dtype(KINDS[kind]).itemsize if kind in KINDS else end - start
                if size == end - start:
                    return Stored(kind, tuple(shape), offset + start, offset + end)
    raise ValueError(f"its header is damaged at {name[:80]!r}")


def read_stored(file: Any, name: str, stored: Stored) -> np.ndarray:
    """An array of an open file as float32. Raises ValueError if its numbers are not floating-point."""
    kind, shape, start, end = stored
    if kind not in KINDS:
        raise ValueError(f"{name[:80]!r} holds {kind} numbers instead of weights")
    file.seek(start)
    data = bytearray(end - start)  # not bytes: the array on top of it shall be writeable
    if file.readinto(data) != len(data):
        raise ValueError(f"{name[:80]!r} is incomplete")
    numbers = np.frombuffer(data, KINDS[kind]).reshape(shape)
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite; check_finite finds it
        return from_bfloat16(numbers) if kind == "BF16" else numbers.astype(np.float32, copy=False)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """float32 numbers from the bits of bfloat16 numbers, which are the upper half of a float32's."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write_arrays(path: Path | str, arrays: Mapping[str, np.ndarray], **metadata: Any) -> None:
    """Write {name: NumPy array} with metadata that JSON can hold. If writing fails, an older file stays as it was."""
    # All the metadata is under one key, because safetensors does not keep the order of several.
    text = json.dumps({CHECKSUM: ZEROS} | metadata | {CHECKSUM: ZEROS})
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {KEY: text})
    checksum = SafetensorsFile(BytesIO(data)).digest()
    place = data.index(ZEROS.encode(), data.index(f'\\"{CHECKSUM}\\"'.encode()))
    data = memoryview(data)
    write_whole(path, [data[:place], checksum.encode(), data[place + len(ZEROS) :]])


def read_arrays(
    path: Path | str, advice: str = "give a generator.safetensors of a run", damaged: str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """({name: float32 array}, the metadata with CHECKSUM) of a file that this or an earlier `write_arrays` wrote.

    Raises WeightsError for any other file, with `advice`, and for a number that is not finite, with `damaged` (by
    default the same as `advice`).
    """
    with open_checked(path, advice) as file:
        arrays, about = {name: file.read(name) for name in file.arrays}, file.about()
    for name, array in arrays.items():
        check_finite(path, name, array, damaged or advice)
    return arrays, about


@contextmanager
def open_checked(path: Path | str, advice: str) -> Generator[SafetensorsFile, None, None]:
    """The SafetensorsFile at a path. Raises WeightsError if there is none, or if anything goes wrong while it is read.

    A checksum, if there is one, has been checked. If there is none, the caller says so once all else is in order.
    """
    check_regular(path, advice)
    try:
        with open(path, "rb") as file:
            found = SafetensorsFile(file)
            found.check()
            yield found
    except (ValueError, OSError, RecursionError) as error:
        why = "its header is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise WeightsError(
            f"{path}: not a safetensors file, or a damaged one ({why}); {advice_for(path, advice)}"
        ) from None


def lazy_array(path: Path | str, name: str, stored: Stored, advice: str) -> Lazy:
    """The Lazy of an array in a safetensors file that has been checked."""

    def read():
        try:
            with open(path, "rb") as file:
                return read_stored(file, name, stored)
        except (ValueError, OSError) as error:
            raise WeightsError(f"{path}: {error}; {advice}") from None

    return Lazy(stored.shape, read)


def say_if_unchecked(path: Path | str, about: Mapping[str, Any]) -> None:
    """Say that a file has no checksum, once for each file, unless its metadata `about` has one."""
    if CHECKSUM not in about:
        say_unchecked(path)


@cache
def say_unchecked(path: Path | str) -> None:
    logging.getLogger(__name__).warning(
        f"{path}: has no checksum, because an earlier version or another program wrote it: damage could go unnoticed"
    )


def check_regular(path: Path | str, advice: str) -> None:
    """Raise WeightsError unless the path is a regular file's: reading a pipe could wait for ever."""
    path = Path(path)
    try:
        if path.is_file():
            return
        problem = "it is a folder: name the file in it" if path.is_dir() else "it is a pipe or a device, not a file"
        if not path.exists():
            problem = "there is no such file"
    except (OSError, ValueError) as error:  # the name is too long, or has a zero byte
        problem = f"no file can be read there ({getattr(error, 'strerror', None) or error})"
    raise WeightsError(f"{path}: {problem}; {advice}")


def advice_for(path: Path | str, advice: str) -> str:
    """Advice for a file that cannot be read: by its first bytes if they tell what it is, else the given advice."""
    start = first_bytes(path)
    if not start:
        return "it is empty: download or copy it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: run `git lfs pull` to get the file itself"
    if start.lstrip().startswith(b"<"):
        return "it is a web page that a server sent instead of the file: get the file itself"
    return advice


def first_bytes(path: Path | str) -> bytes:
    """The first 64 bytes of a file; b"" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(64)
    except OSError:
        return b""


def check_finite(path: Path | str, name: str, array: np.ndarray, advice: str) -> None:
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name[:80]!r} holds NaN or infinity; {advice}")
