"""Writes PNG files band by band. Pillow would first copy the whole photo, at four bytes per pixel.

Source: PNG (Third Edition), W3C 2025; section 7 defines the filters, and 12.7 says how to choose among them.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

BAND = 1 << 22  # bytes of pixels at a time
LEVEL = 6  # zlib's compression level, 1 to 9; Pillow's default too


def encode_png(rgb: np.ndarray, alpha: np.ndarray | None = None) -> Iterator[bytes]:
    """The bytes of a PNG file, part by part. `rgb` is uint8 (H, W, 3); `alpha` is uint8 (H, W), or None if opaque."""
    height, width = rgb.shape[:2]
    channels = 3 if alpha is None else 4
    yield b"\x89PNG\r\n\x1a\n"
    yield chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2 if alpha is None else 6, 0, 0, 0))
    packer, above = zlib.compressobj(LEVEL, strategy=zlib.Z_FILTERED), np.zeros((1, width, channels), np.uint8)
    rows = max(BAND // above.size, 1)
    for top in range(0, height, rows):
        here = slice(top, top + rows)
        pixels = rgb[here] if alpha is None else np.dstack([rgb[here], alpha[here]])
        above = np.concatenate([above[-1:], pixels])
        yield chunk(b"IDAT", packer.compress(filter_rows(above)))
    yield chunk(b"IDAT", packer.flush())
    yield chunk(b"IEND", b"")


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
