"""Photos for the tests: their bytes, and colour profiles."""

import struct

import numpy as np

from minisrgan.imaging.about import About
from minisrgan.imaging.writing import FORMATS, encode


def encoded(suffix, photo, about=About(), rows=3, **options):  # noqa: B008, an About never changes
    """The bytes of a photo, written in strips of some rows."""
    strips = (photo[top : top + rows] for top in range(0, len(photo), rows))
    return b"".join(encode(FORMATS[suffix], photo.shape, photo.dtype, strips, about, **options))


def icc_profile(primaries, gamma=2.2, space=b"RGB "):
    """A minimal ICC profile: a display of these colorants (XYZ under D50, one row each) and one gamma."""

    def number(value):
        return struct.pack(">i", round(value * 65536))

    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0"
    tags = {b"wtpt": b"XYZ \0\0\0\0" + b"".join(map(number, (0.9642, 1, 0.8249)))}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for name, xyz in zip("rgb", primaries, strict=True):
            tags[f"{name}XYZ".encode()] = b"XYZ \0\0\0\0" + b"".join(map(number, xyz))
            tags[f"{name}TRC".encode()] = curve
    table, data, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    head = b"\0\0\0\0" + struct.pack(">I", 0x02400000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    head += b"".join(map(number, (0.9642, 1, 0.8249))) + bytes(48)
    return struct.pack(">I", 4 + len(head) + len(table) + len(data)) + head + table + data


P3 = np.array([[0.51512, 0.2412, -0.00105], [0.29198, 0.69225, 0.04189], [0.1571, 0.06657, 0.78407]])  # under D50
