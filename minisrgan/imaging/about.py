"""What a photo's file says beside its pixels: colour profile, EXIF, XMP, resolution, comment, PNG's chunks.

It goes on to the enlarged photo, which is upright and of another size: what says otherwise is put right, and small
copies of the photo are left out.
"""

from __future__ import annotations

import math
import re
import warnings
import zlib
from struct import pack, unpack
from typing import Any, NamedTuple

from PIL import ExifTags, Image

ORIENTATION = 0x0112
KEPT = {  # of EXIF's first directory, what is about the photo; the others are about how a file lays out its pixels
    *(0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x02BC, 0x4746, 0x4749, 0x8298, 0x83BB, 0xC4A5),
    *range(0x9C9B, 0x9CA0),  # Windows' title, comment, author, keywords, subject
}
WIDTH, HEIGHT, INTEROP = 0xA002, 0xA003, 0xA005  # of EXIF's own directory
RESOLUTION = (0x011A, 0x011B)  # across, down
UNIT, INCH = 0x0128, 2
COLOUR_CHUNKS = {b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"mDCV": 24, b"cLLI": 8}  # PNG's: their lengths
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"tIME")
METRE = 0.0254  # metres in an inch

TURNED = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)\d""")
WIDTHS = re.compile(rb"""((?:tiff:ImageWidth|exif:PixelXDimension)\s*(?:=\s*["']|>)\s*)\d+""")
HEIGHTS = re.compile(rb"""((?:tiff:ImageLength|exif:PixelYDimension)\s*(?:=\s*["']|>)\s*)\d+""")
THUMBNAILS = re.compile(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", re.DOTALL)


class Text(str):
    """A text of EXIF, each byte a character. Pillow, which reads it so, would write what is not ASCII as "?"."""

    def encode(self, encoding: str = "latin-1", errors: str = "strict") -> bytes:
        return super().encode("latin-1")


class About(NamedTuple):
    """profile   the bytes of the ICC profile that the pixels are in, or None
    exif         an Image.Exif of what is kept, or None
    xmp          its bytes, or None
    dpi          dots per inch (across, down), or None
    comment      a JPEG's or a GIF's, or None
    chunks       (kind, data) of PNG's chunks of colours and of texts, as they are
    """

    profile: bytes | None = None
    exif: Image.Exif | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    comment: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()

    def upright(self, orientation: int | None) -> About:
        """The same of the photo that is turned upright: from 5 on, an orientation lays it on its side."""
        dpi = self.dpi[::-1] if self.dpi and orientation in range(5, 9) else self.dpi
        return self._replace(dpi=dpi, xmp=self.xmp and TURNED.sub(rb"\g<1>1", self.xmp))

    def sized(self, height: int, width: int) -> About:
        """The same of the photo at this size."""
        exif, xmp = self.exif, self.xmp
        if exif is not None and ExifTags.IFD.Exif in exif:
            sizes = {WIDTH: width, HEIGHT: height}
            exif = copy_of(exif)
            exif[ExifTags.IFD.Exif] = {tag: sizes.get(tag, value) for tag, value in exif[ExifTags.IFD.Exif].items()}
        if xmp:
            xmp = HEIGHTS.sub(rb"\g<1>%d" % height, WIDTHS.sub(rb"\g<1>%d" % width, xmp))
        return self._replace(exif=exif, xmp=xmp)

    def exif_bytes(self) -> bytes:
        """The EXIF with its resolution, as a small TIFF; b"" if there is none."""
        if self.exif is None:
            return b""
        exif = copy_of(self.exif)
        if self.dpi:
            exif.update(zip((*RESOLUTION, UNIT), (*self.dpi, INCH)))
        return exif.tobytes().removeprefix(b"Exif\0\0")

    def png_chunks(self) -> list[tuple[bytes, bytes]]:
        """The chunks of a PNG that say all this; they stand before the pixels."""
        chunks = [each for each in self.chunks if each[0] in TEXT_CHUNKS or not self.profile]
        if self.profile:
            chunks.insert(0, (b"iCCP", b"ICC Profile\0\0" + zlib.compress(self.profile)))
        if self.dpi:
            chunks.append((b"pHYs", pack(">2IB", *(round(each / METRE) for each in self.dpi), 1)))
        if exif := self.exif_bytes():
            chunks.append((b"eXIf", exif))
        if self.xmp:
            chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + self.xmp))
        if self.comment:
            chunks.append(comment_chunk(self.comment.replace(b"\0", b"")))
        return chunks


def comment_chunk(comment: bytes) -> tuple[bytes, bytes]:
    """A JPEG's comment, in no known encoding, as a chunk of PNG: UTF-8 if it can be that, else Latin-1."""
    try:
        comment.decode("utf-8")
    except UnicodeDecodeError:
        return b"tEXt", b"Comment\0" + comment
    return b"iTXt", b"Comment\0\0\0\0\0" + comment


def read_about(image: Any, profile: bytes | None, chunks: list[tuple[bytes, bytes]]) -> About:
    """The About of an opened image, as its file says it; `chunks` are those of a PNG."""
    info = image.info
    xmp = image.tag_v2.get(700) if image.format == "TIFF" else info.get("xmp")
    dpi = info.get("dpi")
    for kind, data in chunks:
        if kind == b"pHYs" and len(data) == 9 and data[8] == 1:
            dpi = tuple(each * METRE for each in unpack(">2I", data[:8]))
    comment = info.get("comment") if image.format in ("JPEG", "MPO", "GIF") else None
    return About(
        profile,
        kept_exif(image),
        THUMBNAILS.sub(b"", xmp) if isinstance(xmp, bytes) and xmp else None,
        (float(dpi[0]), float(dpi[1])) if is_resolution(dpi) else None,
        comment if isinstance(comment, bytes) and comment else None,
        tuple(each for each in chunks if each[0] != b"pHYs"),
    )


def is_resolution(dpi: Any) -> bool:
    """Whether this is a pair of numbers that every format can hold."""
    try:
        return len(dpi) == 2 and all(math.isfinite(float(each)) and 1 <= float(each) < 65536 for each in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return False


def kept_exif(image: Any) -> Image.Exif | None:
    """What is kept of an image's EXIF, upright; None if nothing. Entries that cannot be written again are left out."""
    kept = Image.Exif()
    try:
        exif = image.getexif()
        for tag in KEPT & {*exif}:
            if can_be_written({tag: (value := as_bytes_are(exif[tag]))}):
                kept[tag] = value
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            entries = as_bytes_are(dict(exif.get_ifd(directory)))
            if directory == ExifTags.IFD.Exif and INTEROP in entries:
                entries[INTEROP] = as_bytes_are(dict(exif.get_ifd(ExifTags.IFD.Interop)))
            entries = {tag: value for tag, value in entries.items() if can_be_written({directory: {tag: value}})}
            if entries:
                kept[directory] = entries
        if not len(kept):
            return None
        if ORIENTATION in exif:
            kept[ORIENTATION] = 1
    except Exception:  # of a damaged EXIF, Pillow's parser can raise nearly anything
        return kept if len(kept) else None
    return kept


def as_bytes_are(value: Any) -> Any:
    """An entry of EXIF, or a directory, whose texts keep their bytes."""
    if isinstance(value, dict):
        return {tag: as_bytes_are(each) for tag, each in value.items()}
    return Text(value) if isinstance(value, str) else value


def can_be_written(entries: dict) -> bool:
    exif = Image.Exif()
    exif.update(entries)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow writes some odd values all the same, and warns
            exif.tobytes()
    except Exception:  # values of odd types fail in many ways
        return False
    return True


def copy_of(exif: Image.Exif) -> Image.Exif:
    copy = Image.Exif()
    copy.update(exif)
    return copy
