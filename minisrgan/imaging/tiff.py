"""Writes TIFF files strip by strip, not compressed, so that every strip's place is known before the first is written.

Source: TIFF 6.0, Adobe 1992; BigTIFF, which has offsets of 64 bits, where the file is longer than 32 bits can say.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import LONG, LONG8

from .about import About

STRIP = 1 << 16  # about how many bytes a strip has; more in a large photo, so that the list of the strips stays short
MOST_STRIPS = 1 << 14
LIMIT = 2**32 - 2**16  # bytes of pixels, from which on the file is a BigTIFF


def encode_tiff(
    shape: tuple[int, int, int], dtype: np.dtype, strips: Iterable[np.ndarray], about: About
) -> Iterator[bytes]:
    """The bytes of a TIFF file, part by part; the arguments are those of `encode_png`."""
    yield head(shape, dtype, about)
    for strip in strips:
        yield np.ascontiguousarray(strip, strip.dtype.newbyteorder("<")).tobytes()


def head(shape: tuple[int, int, int], dtype: np.dtype, about: About) -> bytes:
    """The first part of the file, which the pixels follow: its header and its tags, those of EXIF among them."""
    height, width, channels = shape
    row = width * channels * dtype.itemsize
    rows = min(max(STRIP // row, -(-height // MOST_STRIPS), 1), height)
    starts = [row * top for top in range(0, height, rows)]
    big = row * height > LIMIT
    header = struct.pack("<2s3HQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHL", b"II", 42, 8)
    directory = ImageFileDirectory_v2(header)
    directory.tagtype[273] = LONG8 if big else LONG
    tags: dict[int, Any] = dict(about.exif or {})
    tags.update(
        {
            256: width,
            257: height,
            258: (8 * dtype.itemsize,) * channels,
            259: 1,  # not compressed
            262: 1 if channels < 3 else 2,  # 0 is black; RGB
            273: tuple(starts),  # the strips' places, counted from the end of the tags
            277: channels,
            278: rows,
            279: tuple(b - a for a, b in zip(starts, [*starts[1:], row * height])),
            284: 1,  # the channels are interleaved
            339: (1,) * channels,  # unsigned
        }
    )
    if channels in (2, 4):
        tags[338] = 2  # the last channel is alpha, by which the colours are not multiplied
    if about.dpi:
        tags.update({282: about.dpi[0], 283: about.dpi[1], 296: 2})
    if about.xmp:
        tags[700] = about.xmp
    if about.profile:
        tags[34675] = about.profile
    for tag, value in tags.items():
        directory[tag] = value
    return header + directory.tobytes(len(header))
