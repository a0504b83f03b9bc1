"""Arrays in files: safetensors, which hold numbers and text and can run nothing. Ours carry a checksum.

    8 bytes   the header's length
    header    JSON: {"__metadata__": {"minisrgan": text}, name: {"dtype": "F32", "shape": [...], "data_offsets": [...]}}
    numbers   of one array after another

The text is JSON again: what the arrays are, and first of all the SHA-256 of names, kinds, shapes, numbers and the text
itself, in which its own digits count as zeros. A flipped bit anywhere in a file of ours is thus noticed. Files from
elsewhere, and those of our first versions, have no checksum: they are read, and one line says so.
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

KEY = "minisrgan"  # of our metadata in a file
CHECKSUM = "sha256"  # its first entry
ZEROS = "0" * 64  # in its place, while it is computed
MOST_HEADER = 1 << 24  # bytes; a generator of a thousand arrays has 100 thousand
MOST_AXES = 8
PIECE = 1 << 20  # bytes that are hashed at a time
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # of weights; NumPy has no bfloat16: its bits


class Lazy(NamedTuple):
    """An array that is still in its file: its shape, and a function that reads it as float32."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class Stored(NamedTuple):
    """Where an array lies in a file: from byte `start` to before byte `end`."""

    kind: str
    shape: tuple
    start: int
    end: int


class SafetensorsFile:
    """An open file's `arrays`, {name: Stored}, and `metadata`, {text: text}. Raises ValueError for a damaged one."""

    def __init__(self, file: Any) -> None:
        self.file, size = file, file.seek(0, os.SEEK_END)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, MOST_HEADER):
            raise ValueError("its header is not all there")
        header = json.loads(file.read(length).decode())
        if not isinstance(header, dict):
            raise ValueError("its header is no dictionary")
        self.metadata = header.pop("__metadata__", None) or {}
        if not isinstance(self.metadata, dict) or not all(isinstance(text, str) for text in self.metadata.values()):
            raise ValueError("its metadata is not of texts")
        self.arrays = {name: stored(name, about, 8 + length) for name, about in header.items()}
        end = 8 + length
        for each in sorted(self.arrays.values(), key=lambda each: (each.start, each.end)):
            if each.start != end or each.end < end:
                raise ValueError("its arrays overlap, or leave gaps")
            end = each.end
        if end != size:
            raise ValueError(f"its header tells of {end:,} bytes, and it has {size:,}")

    def read(self, name: str) -> np.ndarray:
        """An array as float32. Raises ValueError for one that holds no floating-point numbers."""
        kind, shape, start, end = self.arrays[name]
        if kind not in KINDS:
            raise ValueError(f"{name[:80]!r} holds {kind} numbers, where weights should be")
        self.file.seek(start)
        data = bytearray(end - start)  # of which the array is to be: writeable
        if self.file.readinto(data) != len(data):
            raise ValueError(f"{name[:80]!r} is not all there")
        numbers = np.frombuffer(data, KINDS[kind]).reshape(shape)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is found
            return from_bfloat16(numbers) if kind == "BF16" else numbers.astype(np.float32, copy=False)

    def digest(self) -> str:
        """The SHA-256 of all that is in the file but the checksum."""
        found = hashlib.sha256()
        for name, (kind, shape, start, end) in sorted(self.arrays.items()):
            found.update(json.dumps([name, kind, shape]).encode())
            self.file.seek(start)
            while start < end and (piece := self.file.read(min(PIECE, end - start))):
                found.update(piece)
                start += len(piece)
        said = self.about().get(CHECKSUM)
        texts = self.metadata | ({KEY: self.metadata[KEY].replace(said, ZEROS, 1)} if said else {})
        found.update(json.dumps(sorted(texts.items())).encode())
        return found.hexdigest()

    def about(self) -> dict[str, str]:
        """What `write_arrays` was told of the arrays, and the checksum; {} in a file from elsewhere."""
        about = json.loads(self.metadata.get(KEY, "{}"))
        if not isinstance(about, dict):
            raise ValueError("what it says of its arrays is no dictionary")
        return about

    def check(self) -> None:
        """Raise ValueError where the file carries a checksum, and it is of something else."""
        about = self.about()
        said = about.get(CHECKSUM)
        if any(name != KEY and f'"{CHECKSUM}": "' in text for name, text in self.metadata.items()):
            raise ValueError("the name of its metadata is damaged")
        if said is None:
            if (first := next(iter(about.values()), None)) and isinstance(first, str) and len(first) == len(ZEROS):
                raise ValueError("the name of its checksum is damaged")
            return
        if not isinstance(said, str) or len(said) != len(ZEROS) or self.digest() != said:
            raise ValueError("its checksum is of other numbers or metadata")


def stored(name: str, about: Any, offset: int) -> Stored:
    match about:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(start), int(end)]}:
            sound = re.fullmatch("[A-Z0-9_]{1,20}", kind) and len(shape) <= MOST_AXES
            if sound and all(type(side) is int and side >= 0 for side in shape):
                size = math.prod(shape) * np.dtype(KINDS[kind]).itemsize if kind in KINDS else end - start
                if size == end - start:
                    return Stored(kind, tuple(shape), offset + start, offset + end)
    raise ValueError(f"its header is damaged at {name[:80]!r}")


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """float32 numbers from bfloat16 ones, whose bits are the upper half of theirs."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write_arrays(path: Path | str, arrays: Mapping[str, np.ndarray], **metadata: Any) -> None:
    """Write {name: NumPy array} with JSON-able metadata, whole or not at all."""
    text = json.dumps(
        {CHECKSUM: ZEROS} | metadata | {CHECKSUM: ZEROS}
    )  # under one key: of several, safetensors would mix up the order
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {KEY: text})
    checksum = SafetensorsFile(BytesIO(data)).digest()
    place = data.index(ZEROS.encode(), data.index(f'\\"{CHECKSUM}\\"'.encode()))
    data = memoryview(data)
    write_whole(path, [data[:place], checksum.encode(), data[place + len(ZEROS) :]])


def read_arrays(
    path: Path | str, advice: str = "give a generator.safetensors of a run", damaged: str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """({name: float32 array}, metadata and CHECKSUM) of a file that `write_arrays` wrote, or its first versions.

    Raises WeightsError for any other, and where a number is not finite; `advice` and `damaged`, by default the same,
    say what to do in the two cases.
    """
    with opened(path, advice) as file:
        arrays, about = {name: file.read(name) for name in file.arrays}, file.about()
    for name, array in arrays.items():
        check_finite(path, name, array, damaged or advice)
    return arrays, about


@contextmanager
def opened(path: Path | str, advice: str) -> Generator[SafetensorsFile, None, None]:
    """The SafetensorsFile at a path. WeightsError, if there is none, or whatever goes wrong while it is read.

    If it has a checksum, that is right. To say that it has none is the caller's, when it is otherwise in order.
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
            f"{path}: not a safetensors file, or a damaged one ({why}); {what_to_do(path, advice)}"
        ) from None


def lazy_array(path: Path | str, name: str, shape: tuple[int, ...], advice: str) -> Lazy:
    """Lazy of an array in a safetensors file that was checked."""

    def read():
        try:
            with open(path, "rb") as file:
                return SafetensorsFile(file).read(name)
        except (ValueError, OSError, KeyError, RecursionError) as error:
            raise WeightsError(f"{path}: {error}; {advice}") from None

    return Lazy(shape, read)


def say_if_unchecked(path: Path | str, about: Mapping[str, Any]) -> None:
    """Say, once for each file, that it has no checksum, unless what it says of its arrays has one."""
    if CHECKSUM not in about:
        say_unchecked(path)


@cache
def say_unchecked(path: Path | str) -> None:
    logging.getLogger(__name__).warning(
        f"{path}: has no checksum, being of an earlier version or from elsewhere: damage to it could go unnoticed"
    )


def check_regular(path: Path | str, advice: str) -> None:
    """Raise WeightsError unless the path is of a file: a pipe would be waited for, for ever."""
    path = Path(path)
    try:
        if path.is_file():
            return
        problem = "it is a folder: name the file in it" if path.is_dir() else "it is no file, but a pipe or a device"
        if not path.exists():
            problem = "there is no such file"
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero
        problem = f"no file can be read there ({getattr(error, 'strerror', None) or error})"
    raise WeightsError(f"{path}: {problem}; {advice}")


def what_to_do(path: Path | str, advice: str) -> str:
    start = beginning(path)
    if not start:
        return "it is empty: download or copy it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: run `git lfs pull` to get the file itself"
    if start.lstrip().startswith(b"<"):
        return "it is a web page, such as a server sends instead of a file: get the file itself"
    return advice


def beginning(path: Path | str) -> bytes:
    """The first 64 bytes of a file; none of what cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(64)
    except OSError:
        return b""


def check_finite(path: Path | str, name: str, array: np.ndarray, advice: str) -> None:
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name[:80]!r} holds NaN or infinity; {advice}")
