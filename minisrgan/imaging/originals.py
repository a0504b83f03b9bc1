"""Reads photos as they are: with 8 or 16 bits, grey or in colour, in their own colours, and what their files say.

The pixels keep the values that the file has, and the file's ICC profile goes on with them. Converted to sRGB, colours
that it cannot show would be lost. Inks (CMYK) and the like become sRGB all the same: their profile does not fit RGB.

Pillow keeps the high bytes of 16-bit colours. The low bytes come from reading the file a second time, with Pillow told
that the bytes lie the other way round.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .about import About, read_about
from .files import (
    UPRIGHT,
    Kind,
    bands_of,
    check_memory,
    fitting_profile,
    forget_all_but_orientation,
    frames_of,
    kind_of,
    opened,
    orientation,
    rgb_and_alpha,
)

ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # formats whose pictures follow each other in time
OTHER_COLOURS = ("CMYK", "YCbCr", "LAB", "HSV")  # modes that become sRGB
# orders of a number's bytes: Big or Little end first, or as in this machine (Native); and each the other way round
SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


class Original(NamedTuple):
    """A photo as its file has it, upright.

    pixels   uint8 or uint16, (H, W, 1) if it is grey and (H, W, 3) in colour
    alpha    (H, W, 1) of the same kind, or None
    about    what the file says beside the pixels
    frames   how many pictures the file holds; this is the first
    moving   whether they are an animation
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    about: About
    frames: int
    moving: bool


class Animation(NamedTuple):
    """shape    (height, width, channels) of each picture; 4 channels if one of them has transparency, else 3
    durations   how long each is shown, in milliseconds
    plays       how often all are shown; 0 for without end
    about       what the file says beside the pixels
    """

    shape: tuple[int, int, int]
    durations: list[float]
    plays: int
    about: About


def load_original(path: Path | str, data: bytes | None = None) -> Original:
    """Read an Original from a file, or from its bytes; `path` is then only its name. Raises ImageError as `load_photo`.

    16 bits of PNG and TIFF are kept; grey of 9 to 15 bits is scaled to 16. Other formats' colours come with 8 bits.
    """
    with opened(path, data) as (image, png):
        kind, chunks = kind_of(image, png), png.chunks if png else []
        deep = rawmode(image) if kind.bits == 16 or image.format == "TIFF" else None
        channels = len(image.getbands()) if deep else 1
        check_memory(image, kind.scratch, 2 * channels if deep or kind.wide else 3 + image.has_transparency_data)
        profile = kind.profile if fitting_profile(image, kind.profile) else None
        if image.format == "TIFF":  # whose tags Pillow removes
            about, turned = read_about(image, profile, chunks), orientation(image)
            forget_all_but_orientation(image)
            image.load()
        else:  # a PNG may say it after its pixels: Pillow would load them, and what is wrong with them be lost
            image.load()
            about, turned = read_about(image, profile, chunks), orientation(image)
        if image.mode in OTHER_COLOURS:
            about = about._replace(profile=None, chunks=())
        frames, moving, clear = frames_of(image, png), image.format in ANIMATED, image.info.get("transparency")
        turn = np.asarray if image.format == "TIFF" else UPRIGHT.get(turned or 0, np.asarray)
        found = None if deep else plain_pixels(image, kind)
    del image, png  # they may hold as much as the photo does
    pixels, alpha = found or deep_colours(path, data, deep or "", clear)
    pixels = np.ascontiguousarray(turn(pixels))
    if alpha is not None:
        alpha = np.ascontiguousarray(turn(alpha))[..., None]
    return Original(pixels, alpha, about.upright(turned), frames, moving and frames > 1)


def plain_pixels(image: Any, kind: Kind) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels, alpha) of a loaded image that Pillow has read whole."""
    if kind.wide:
        return deep_grey(image, kind)
    grey, other = Image.getmodebase(image.mode) == "L", image.mode in OTHER_COLOURS
    pixels, alpha = rgb_and_alpha(image, kind, kind.profile if other else None)
    return np.ascontiguousarray(pixels[..., :1]) if grey else pixels, alpha


def rawmode(image: Any) -> str | None:
    """How the 16-bit colours of an opened image lie in its file, as Pillow calls it; None if it has no such colours."""
    raws = {each.args if isinstance(each.args, str) else each.args[0] for each in image.tile}
    raw = raws.pop() if len(raws) == 1 else ""
    name, _, order = raw.partition(";16")
    return raw if name in ("RGB", "RGBA", "RGBX", "RGBa", "LA") and order in SWAPPED else None


def deep_grey(image: Any, kind: Kind) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels, alpha) of a loaded image of wide grey."""
    pixels, clear = np.empty((image.height, image.width, 1), np.uint16), image.info.get("transparency")
    alpha = None if clear is None else np.empty(pixels.shape[:2], np.uint16)
    for rows in bands_of(image):
        values = np.asarray(image.crop((0, rows.start, image.width, rows.stop))).astype(np.int64).clip(0, kind.top)
        if alpha is not None:
            alpha[rows] = np.where(values == clear, 0, 65535)
        if kind.negative:
            values = kind.top - values
        pixels[rows, :, 0] = (values * 2 * 65535 + kind.top) // (2 * kind.top)
    return pixels, alpha


def deep_colours(path: Path | str, data: bytes | None, raw: str, clear: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels, alpha) of a file whose 16-bit colours lie as `raw` says; the colour `clear`, if any, is transparent."""
    if raw.startswith("LA"):  # four bytes to a pixel, as RGBA has with 8 bits
        four = with_bytes(path, data, "RGBA")
        return four[..., :1] << 8 | four[..., 1:2], four[..., 2] << 8 | four[..., 3]
    name, order = raw[:-1].replace("a", "A"), raw[-1]
    deep = with_bytes(path, data, name + order)
    deep <<= 8
    with_bytes(path, data, name + SWAPPED[order], deep)
    if raw.startswith("RGBa"):  # the colours are multiplied by alpha
        for row in deep:
            alpha = np.maximum(row[:, 3:].astype(np.uint32), 1)
            row[:, :3] = np.minimum((row[:, :3] * np.uint32(65535) + alpha // 2) // alpha, 65535)
    if deep.shape[2] == 4:
        return deep[..., :3], deep[..., 3]
    if clear is None:
        return deep, None
    return deep, np.where((deep == np.array(clear, np.uint16)).all(axis=2), 0, 65535).astype(np.uint16)


def with_bytes(path: Path | str, data: bytes | None, raw: str, levels: np.ndarray | None = None) -> np.ndarray:
    """`levels`, uint16 (H, W, C), or zeros, to which a file's bytes are added where Pillow takes its pixels to lie as
    `raw` says."""
    with opened(path, data) as (image, png):
        kind_of(image, png)
        if image.format == "TIFF":
            forget_all_but_orientation(image)
        image.tile = [
            each._replace(args=raw if isinstance(each.args, str) else (raw, *each.args[1:])) for each in image.tile
        ]
        image.load()
        if levels is None:
            levels = np.zeros((image.height, image.width, len(image.getbands())), np.uint16)
        for rows in bands_of(image):
            levels[rows] += np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
    return levels


def survey(path: Path | str, data: bytes | None = None) -> Animation:
    """The Animation in a file, without its pictures. Raises ImageError as `load_photo`."""
    durations, clear, height, width = [], False, 0, 0
    with opened(path, data, plain=False) as (image, _):
        check_memory(image, 0, 8)
        image.load()
        profile, turned = image.info.get("icc_profile"), orientation(image)
        fitting = fitting_profile(image, profile)  # a grey one does not fit the pictures, which are RGBA
        about = read_about(image, profile if fitting and fitting[1] == "RGB" else None, []).upright(turned)
        for frame in moved(image):
            durations.append(max(float(image.info.get("duration") or 0), 0))
            clear = clear or (image.has_transparency_data and frame[..., 3].min() < 255)
            height, width = frame.shape[:2]
        plays = image.info.get("loop")
    if image.format == "GIF":  # it counts how often they are shown again
        plays = 1 if plays is None else plays + 1 if plays else 0
    return Animation((height, width, 4 if clear else 3), durations, plays or 0, about)


def pictures(path: Path | str, data: bytes | None, animation: Animation) -> Iterator[np.ndarray]:
    """An animation's pictures, uint8 (H, W, 4), each whole and upright."""
    with opened(path, data, plain=False) as (image, _):
        check_memory(image, 0, 8)
        image.load()
        yield from moved(image)


def moved(image: Any) -> Iterator[np.ndarray]:
    """The pictures of an opened animation whose first is loaded."""
    turn = UPRIGHT.get(orientation(image) or 0, np.asarray)
    first = 1 if image.info.get("default_image") else 0  # which is shown where animations are not
    for number in range(first, image.n_frames):
        image.seek(number)
        image.load()
        yield np.ascontiguousarray(turn(np.asarray(image.convert("RGBA"))))
