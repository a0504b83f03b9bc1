"""PNG and TIFF files that Pillow fails on, or reads wrongly without saying so."""

import re
import zlib
from io import BytesIO
from struct import unpack
from typing import Any, BinaryIO, NamedTuple

from ..errors import ImageError
from .about import COLOUR_CHUNKS, TEXT_CHUNKS

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST_PROFILE = 2**24  # bytes; printers' profiles have a few million
LARGEST_TEXT = 2**20  # bytes of a text that may hold a photo's orientation; Pillow reads no more


class PlainPNG(NamedTuple):
    """A PNG's pixels as a file of their own, its ICC profile or None, and how many frames it declares.

    chunks   (kind, data) of what else it says of its colours, its resolution and in words
    """

    file: BytesIO
    profile: bytes | None
    frames: int
    bits: int  # per sample
    chunks: list[tuple[bytes, bytes]]


def plain_png(file: BinaryIO) -> PlainPNG | None:
    """The PlainPNG of an open file. Pillow does not see notes, dates and texts: one fault in them makes it fail.

    Everything that the pixels depend on is kept: the critical chunks and tRNS, and the chunks that may hold the
    photo's orientation. An animated PNG keeps its default image. Raises ImageError for a profile of more than
    LARGEST_PROFILE bytes.
    """
    kept, profile, frames, bits, chunks = BytesIO(), None, 1, 8, []
    kept.write(file.read(len(PNG)))
    while len(header := file.read(8)) == 8:
        length, kind = unpack(">I4s", header)
        body = file.read(length + 4)
        data, sound = body[:length], body[length:] == zlib.crc32(kind + body[:length]).to_bytes(4, "big")
        if kind == b"IHDR" and length == 13:
            bits = data[8]
        if not kind[0] & 32 or kind == b"tRNS" or (sound and may_turn(kind, data)):
            kept.write(header + body)
        elif sound and kind == b"iCCP":
            profile = unpacked(data.partition(b"\0")[2][1:], LARGEST_PROFILE)
            if profile is not None and len(profile) > LARGEST_PROFILE:
                raise ImageError(f"its colour profile has more than {LARGEST_PROFILE >> 20} MB: save it without one")
        elif sound and kind == b"acTL" and length == 8:
            frames = unpack(">I", data[:4])[0]
        elif sound and may_go_on(kind, data):
            chunks.append((kind, data))
    kept.write(header)  # the partial header at the end of a file that was cut short
    kept.seek(0)
    return PlainPNG(kept, profile, frames, bits, chunks)


def may_go_on(kind: bytes, data: bytes) -> bool:
    """Whether a chunk about colours, resolution or in words may stand in another PNG of the same photo.

    EXIF, XMP and profiles in the guise of a text go other ways. A compressed text that is too long when it is unpacked
    would make Pillow refuse the file.
    """
    if kind not in TEXT_CHUNKS:
        return kind == b"pHYs" or len(data) == COLOUR_CHUNKS.get(kind)
    if len(data) > LARGEST_TEXT or data.startswith((b"XML:com.adobe.xmp\0", b"Raw profile type")):
        return False
    _, _, rest = data.partition(b"\0")
    if kind == b"iTXt" and rest[:1] == b"\1":
        rest = rest[2:].split(b"\0", 2)[-1]
    elif kind == b"zTXt":
        rest = rest[1:]
    else:
        return True
    text = unpacked(rest, LARGEST_TEXT)
    return text is not None and len(text) <= LARGEST_TEXT


def may_turn(kind: bytes, data: bytes) -> bool:
    """Whether a chunk may hold the photo's orientation: EXIF, XMP, or EXIF as ImageMagick once wrote it."""
    name, _, rest = data.partition(b"\0")
    if kind == b"iTXt":
        return name == b"XML:com.adobe.xmp" and rest[:1] == b"\0" and len(data) < LARGEST_TEXT  # not compressed
    if kind == b"zTXt":
        text = unpacked(rest[1:], LARGEST_TEXT) if name.startswith(b"Raw profile type") else None
        return text is not None and len(text) < LARGEST_TEXT
    return kind == b"eXIf"


def unpacked(data: bytes, most: int) -> bytes | None:
    """The data that zlib compressed, or its first `most` + 1 bytes; None if it is damaged."""
    try:
        return zlib.decompressobj().decompress(data, most + 1)
    except zlib.error:
        return None


SUBFILE, OLD_SUBFILE, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 258, 259, 262
SAMPLES, ROWS, PLANAR, SUBSAMPLING, FORMAT, PROFILE = 277, 278, 284, 530, 339, 34675
WHITE_IS_ZERO, YCBCR = 0, 6  # values of PHOTOMETRIC
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # values of FORMAT


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts with these bytes claims to be a TIFF."""
    return re.match(rb"II[*+]\0|MM\0[*+]", start) is not None


def find_full_picture(image: Any) -> None:
    """Go to the first picture of a TIFF that is not marked as a thumbnail or a mask.

    Raises ImageError if none can be read, as in a camera's raw file.
    """
    frame = 0
    while is_aside(image.tag_v2):
        frame += 1
        try:
            image.seek(frame)
        except (EOFError, SyntaxError, ValueError, TypeError, KeyError):
            raise ImageError(
                "only a thumbnail in this file can be read: develop it in a raw converter, and save it as PNG or TIFF"
            ) from None


def is_aside(tags: Any) -> bool:
    """Whether a TIFF's picture is a smaller copy of another, or a mask."""
    kind = tags.get(SUBFILE, 0)
    return bool(isinstance(kind, int) and kind & 5) or tags.get(OLD_SUBFILE) == 2


def check_tiff(image: Any) -> None:
    """Raise ImageError for kinds of pixels that Pillow reads wrongly, or that have no agreed range."""
    tags = image.tag_v2
    bits, formats, planar = tags.get(BITS, (1,)), tags.get(FORMAT, (UNSIGNED,)), tags.get(PLANAR, 1) == 2
    if FLOAT in formats:
        raise ImageError("floating-point pixels have no agreed range: save it with 8 or 16 bits")
    if SIGNED in formats:
        raise ImageError("signed pixels have no agreed range: save it with unsigned ones, of 8 or 16 bits")
    if max(bits) > 16:
        raise ImageError(f"pixels of {max(bits)} bits have no agreed range: save it with 8 or 16 bits")
    if planar and tags.get(SAMPLES, 1) != 1 and (set(bits) != {8} or image.mode not in ("RGB", "RGBA")):
        raise ImageError("its colours are stored in separate planes: save it with interleaved colours, or as PNG")
    subsampling = tuple(tags.get(SUBSAMPLING, (2, 2)))
    if tags.get(PHOTOMETRIC) == YCBCR and tags.get(COMPRESSION, 1) == 1 and subsampling != (1, 1):
        raise ImageError("its colours have less than full resolution, without JPEG: save it again as PNG")


def tiff_scratch(image: Any) -> int:
    """How many bytes reading a TIFF takes in addition to its pixels: libtiff unpacks a strip at a time."""
    tags = image.tag_v2
    if tags.get(COMPRESSION, 1) == 1:
        return 0
    rows = tags.get(ROWS, image.height)
    rows = min(rows, image.height) if isinstance(rows, int) else image.height
    samples = tags.get(SAMPLES, 1)
    return rows * image.width * max(sum(tags.get(BITS, (1,))), samples if isinstance(samples, int) else 1) // 8
