"""Writes PNG files strip by strip. Pillow would first copy the whole photo, at four bytes per pixel.

Source: PNG (Third Edition), W3C 2025; section 7 defines the filters, and 12.7 says how to choose among them; 4.9 and
11.3.5 define animations.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

BAND = 1 << 22  # bytes of pixels at a time
LEVEL = 6  # zlib's compression level, 1 to 9; Pillow's default too
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: grey, grey and alpha, RGB, RGB and alpha


def encode_png(
    shape: tuple[int, int, int],
    dtype: np.dtype,
    strips: Iterable[np.ndarray],
    chunks: Sequence[tuple[bytes, bytes]] = (),
) -> Iterator[bytes]:
    """The bytes of a PNG file, part by part.

    shape    (height, width, channels) of the photo. Channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha
    dtype    uint8 or uint16
    strips   the photo from the top, as arrays (rows, width, channels)
    chunks   (kind, data) of what else the file says, to stand before the pixels
    """
    yield from head(shape, dtype)
    for kind, data in chunks:
        yield chunk(kind, data)
    for part in packed(shape, strips):
        yield chunk(b"IDAT", part)
    yield chunk(b"IEND", b"")


def encode_animation(
    shape: tuple[int, int, int],
    frames: Iterable[Iterable[np.ndarray]],
    durations: Sequence[float],
    plays: int,
    chunks: Sequence[tuple[bytes, bytes]] = (),
) -> Iterator[bytes]:
    """The bytes of an animated PNG of 8 bits, part by part.

    frames      the strips of each. Each frame is a whole picture, which replaces the one before
    durations   how long each is shown, in milliseconds
    plays       how often all are shown; 0 for without end
    """
    height, width, _ = shape
    yield from head(shape, np.dtype(np.uint8))
    yield chunk(b"acTL", struct.pack(">2I", len(durations), plays))
    for kind, data in chunks:
        yield chunk(kind, data)
    order = 0  # of the chunks of frames
    for number, (strips, milliseconds) in enumerate(zip(frames, durations)):
        delay = min(round(milliseconds), 65535)
        yield chunk(b"fcTL", struct.pack(">5I2H2B", order, width, height, 0, 0, delay, 1000, 0, 0))
        order += 1
        for part in packed(shape, strips):
            if number == 0:
                yield chunk(b"IDAT", part)
            else:
                yield chunk(b"fdAT", struct.pack(">I", order) + part)
                order += 1
    yield chunk(b"IEND", b"")


def head(shape: tuple[int, int, int], dtype: np.dtype) -> Iterator[bytes]:
    height, width, channels = shape
    yield b"\x89PNG\r\n\x1a\n"
    yield chunk(b"IHDR", struct.pack(">2I5B", width, height, 8 * dtype.itemsize, COLOUR_TYPES[channels], 0, 0, 0))


def packed(shape: tuple[int, int, int], strips: Iterable[np.ndarray]) -> Iterator[bytes]:
    """The filtered and compressed pixels, part by part."""
    packer, above = zlib.compressobj(LEVEL, strategy=zlib.Z_FILTERED), None
    for strip in strips:
        pixels = as_bytes(strip)
        if above is None:
            above = np.zeros_like(pixels[:1])
        rows = max(BAND // above.size, 1)
        for top in range(0, len(pixels), rows):
            band = np.concatenate([above, pixels[top : top + rows]])
            above = band[-1:]
            if part := packer.compress(filter_rows(band)):
                yield part
    yield packer.flush()


def as_bytes(strip: np.ndarray) -> np.ndarray:
    """A strip's pixels as PNG stores them, uint8 (rows, width, bytes of a pixel): 16 bits with the high byte first."""
    rows, width, channels = strip.shape
    stored = np.ascontiguousarray(strip, strip.dtype.newbyteorder(">"))
    return stored.view(np.uint8).reshape(rows, width, channels * strip.itemsize)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def filter_rows(pixels: np.ndarray) -> bytes:
    """PNG's filtered bytes of all rows but the first of (n + 1, W, C) pixels: each pixel less its prediction.

    Four filters predict a pixel from its neighbours. Each row takes the filter whose differences, as signed bytes, have
    the smallest sum of absolute values.
    """
    x, b = pixels[1:], pixels[:-1]  # b is the pixel above x; further down, a is left of x, and c is left of b
    a, c = (np.pad(each[:, :-1], ((0, 0), (1, 0), (0, 0))) for each in (x, b))
    mean = (a & b) + ((a ^ b) >> 1)  # ⌊(a + b)/2⌋ without a ninth bit
    rests = np.stack([x - a, x - b, x - mean, x - paeth(a, b, c)])
    sizes = np.minimum(rests, -rests).sum(axis=(2, 3), dtype=np.int64)
    best = sizes.argmin(axis=0)
    rest = rests[best, np.arange(len(x))].reshape(len(x), -1)
    return np.hstack([(best + 1).astype(np.uint8)[:, None], rest]).tobytes()


def paeth(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Whichever of a, b and c is nearest to a + b - c."""
    to_a, to_b = b.astype(np.int16) - c, a.astype(np.int16) - c
    to_a, to_b, to_c = abs(to_a), abs(to_b), abs(to_a + to_b)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
