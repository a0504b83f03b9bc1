"""PNG, written band by band. Pillow would first copy the whole photo, to four bytes a pixel.

PNG (Third Edition), W3C 2025: section 7 has the filters, 12.7 how to choose among them.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

BAND = 1 << 22  # bytes of pixels at a time
LEVEL = 6  # of zlib, 1 to 9: what Pillow has too


def encode_png(rgb: np.ndarray, alpha: np.ndarray | None = None) -> Iterator[bytes]:
    """The bytes of a PNG file, part by part, of uint8 (H, W, 3) and of uint8 (H, W) or None for an opaque photo."""
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
        yield chunk(b"IDAT", packer.compress(filtered(above)))
    yield chunk(b"IDAT", packer.flush())
    yield chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def filtered(pixels: np.ndarray) -> bytes:
    """Rows of (n + 1, W, C) pixels but for the first, as PNG has them: each less what its neighbours predict.

    Of four predictions a row takes the one that leaves the least, the sum of what it leaves being that of signed bytes.
    """
    x, b = pixels[1:], pixels[:-1]  # a pixel, the one above it, a to its left, c to the left of b
    a, c = (np.pad(each[:, :-1], ((0, 0), (1, 0), (0, 0))) for each in (x, b))
    mean = (a & b) + ((a ^ b) >> 1)  # ⌊(a + b)/2⌋ without a ninth bit
    rests = np.stack([x - a, x - b, x - mean, x - paeth(a, b, c)])
    sizes = np.minimum(rests, -rests).sum(axis=(2, 3), dtype=np.int64)
    best = sizes.argmin(axis=0)
    rest = rests[best, np.arange(len(x))].reshape(len(x), -1)
    return np.hstack([(best + 1).astype(np.uint8)[:, None], rest]).tobytes()


def paeth(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Of a, b and c the one that a + b - c is nearest to."""
    to_a, to_b = b.astype(np.int16) - c, a.astype(np.int16) - c
    to_a, to_b, to_c = abs(to_a), abs(to_b), abs(to_a + to_b)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
