"""Writes photos strip by strip: which formats there are, and what each can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ..errors import ImageError
from . import png, tiff
from .about import About
from .plugins import load_plugin
from .transparency import over_white

FRAMES_MEMORY = 2**30  # bytes of an animation's frames, where the encoder wants all of them at once
EXIF_MOST = 65000  # bytes of EXIF or XMP in a JPEG, whose segments have 64 KiB


@dataclass(frozen=True)
class Format:
    """name   as Pillow has it
    options   how Pillow saves it, if no quality is asked for
    lossy     how, with a quality; None if every file of this format keeps the pixels exactly
    quality   from 1 to 100, the one that is used where none is asked for; None: such a file is exact
    deep      whether it holds 16 bits
    alpha     whether it holds transparency; otherwise the photo is laid over white
    grey      whether it holds grey
    frames    whether it holds an animation
    longest   the most pixels on a side
    largest   the most bytes of pixels
    about     the arguments with which Pillow is given what the file says beside its pixels
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    lossy: Mapping[str, Any] | None = None
    quality: int | None = None
    deep: bool = False
    alpha: bool = True
    grey: bool = True
    frames: bool = False
    longest: int | None = None
    largest: int | None = None
    about: tuple[str, ...] = ("icc_profile", "exif", "xmp")


PNG = Format("PNG", deep=True, frames=True)
TIFF = Format("TIFF", deep=True)
JPEG = Format(  # subsampling 0 keeps the colours at full resolution
    "JPEG", lossy={"subsampling": 0}, quality=95, alpha=False, longest=65500,
    about=("icc_profile", "exif", "xmp", "dpi", "comment"),
)  # fmt: skip
WEBP = Format(  # exact keeps the colours of transparent pixels
    "WEBP", {"lossless": True, "exact": True}, lossy={}, grey=False, frames=True, longest=16383
)
AVIF = Format("AVIF", lossy={"subsampling": "4:4:4"}, quality=90, longest=65536)
BMP = Format("BMP", alpha=False, largest=2**32 - 2**16, about=("dpi",))
GIF = Format("GIF", grey=False, frames=True, longest=65535, about=("comment",))
JXL = Format("JXL", {"lossless": True}, lossy={}, about=("exif", "xmp"))
HEIF = Format("HEIF", lossy={"chroma": 444}, quality=90, longest=16384)
FORMATS = {  # by suffix
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": WEBP,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".avif": AVIF,
    ".bmp": BMP,
    ".gif": GIF,
    ".jxl": JXL,
    ".heic": HEIF,
}


def format_of(path: Path | str) -> Format:
    """The format that a path's suffix names. Raises ImageError for a suffix that is no photo format's."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ImageError(f"{path}: {suffix!r} is no photo format's suffix: use one of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def check_size(path: Path | str, form: Format, shape: tuple[int, int, int]) -> None:
    """Raise ImageError if the format cannot hold a photo of this (height, width, channels)."""
    height, width, channels = shape
    if form.longest and max(height, width) > form.longest:
        raise ImageError(
            f"{path}: {width} × {height} pixels are too many for {form.name}, which allows {form.longest} on a side: "
            "use .png or .tif"
        )
    channels -= not form.alpha and channels in (2, 4)
    if form.largest and height * width * channels > form.largest:
        raise ImageError(
            f"{path}: {width} × {height} pixels are too many for {form.name}, which allows 4 GiB: use .png"
        )


def encode(
    form: Format,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    strips: Iterable[np.ndarray],
    about: About,
    quality: int | None = None,
) -> Iterator[bytes | memoryview]:
    """The bytes of a file, part by part.

    shape     (height, width, channels). Channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha
    dtype     uint8, or uint16 for a format that is deep
    strips    the photo from the top, as arrays (rows, width, channels)
    quality   1 to 100, for a format that has it

    Raises ImageError for what the format cannot hold, OSError and ValueError as Pillow does.
    """
    about = about.sized(*shape[:2])
    if form is PNG:
        yield from png.encode_png(shape, dtype, strips, about.png_chunks())
    elif form is TIFF:
        yield from tiff.encode_tiff(shape, dtype, strips, about)
    else:
        if form is not JPEG and about.profile and about.profile[16:20] == b"GRAY":  # with which browsers show no AVIF
            strips, about = in_srgb(strips, about.profile), about._replace(profile=None)
        file, how = BytesIO(), options(form, about, quality)  # which may refuse, before the strips are computed
        gathered(form, shape, strips).save(file, form.name, **how)
        yield file.getbuffer()


def encode_animation(
    form: Format,
    shape: tuple[int, int, int],
    frames: Iterable[Iterable[np.ndarray]],
    durations: list[float],
    plays: int,
    about: About,
    quality: int | None = None,
) -> Iterator[bytes | memoryview]:
    """The bytes of an animation, part by part.

    frames      each frame's strips, uint8. Each frame is a whole picture
    durations   how long each is shown, in milliseconds
    plays       how often it is played; 0 for without end

    Raises ImageError for a format without animations, and for frames that take too much memory at once.
    """
    about, count = about.sized(*shape[:2]), len(durations)
    if form is PNG:
        yield from png.encode_animation(shape, frames, durations, plays, about.png_chunks())
        return
    if not form.frames:
        able = ", ".join(sorted({each.name for each in FORMATS.values() if each.frames}))
        raise ImageError(f"{form.name} holds no animation, and this one has {count} pictures: use one of {able}")
    if (needed := shape[0] * shape[1] * 4 * count) > FRAMES_MEMORY:
        raise ImageError(
            f"{count} pictures of this size take {needed / 2**30:.1f} GiB at once as {form.name}: "
            "use PNG, which is written picture by picture"
        )
    file, how = BytesIO(), options(form, about, quality) | {"duration": [round(each) for each in durations]}
    if form is GIF:  # which counts how often it is played again; disposal 2 clears the picture before
        how |= {"disposal": 2 if shape[2] == 4 else 1, "optimize": False}
        how |= {} if plays == 1 else {"loop": max(plays - 1, 0)}
    else:
        how["loop"] = plays
    first, *others = (gathered(form, shape, strips) for strips in frames)
    first.save(file, form.name, save_all=True, append_images=others, **how)
    yield file.getbuffer()


def in_srgb(strips: Iterable[np.ndarray], profile: bytes) -> Iterator[np.ndarray]:
    """Grey strips, uint8, from the greys of an ICC profile to those of sRGB. A damaged profile changes nothing."""
    levels = np.arange(256, dtype=np.uint8)
    try:
        seen = ImageCms.profileToProfile(
            Image.fromarray(levels[None]),
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        levels = np.asarray(seen)[0, :, 1]
    except (ImageCms.PyCMSError, OSError):
        pass
    for strip in strips:
        yield np.concatenate([levels[strip[..., :1]], strip[..., 1:]], axis=2)


def gathered(form: Format, shape: tuple[int, int, int], strips: Iterable[np.ndarray]) -> Image.Image:
    """The photo as an image of Pillow's, in a mode that the format takes."""
    height, width, channels = shape
    image, top = None, 0
    for strip in strips:
        if channels in (2, 4):
            colours, alpha = strip[..., :-1], strip[..., -1:]
            if not form.alpha:
                strip = over_white(colours, alpha[..., 0])
            elif form is GIF:  # where a pixel is seen, or not
                strip = np.concatenate([colours, np.where(alpha < 128, 0, 255).astype(np.uint8)], axis=2)
        if not form.grey and strip.shape[2] < 3:
            strip = np.concatenate([strip[..., :1]] * 3 + [strip[..., 1:]], axis=2)
        part = Image.fromarray(np.ascontiguousarray(strip[..., 0] if strip.shape[2] == 1 else strip))
        image = image or Image.new(part.mode, (width, height))
        image.paste(part, (0, top))
        top += len(strip)
    assert image is not None
    return image


def options(form: Format, about: About, quality: int | None) -> dict[str, Any]:
    """Pillow's arguments to save a photo in this format."""
    load_plugin(form.name)
    if form is JXL and about.profile and not is_srgb(about.profile):
        raise ImageError("the plugin for JXL writes no colour profile, and this photo has one: use .png or .avif")
    wanted = quality or form.quality
    chosen = dict(form.options) if wanted is None else {**(form.lossy or {}), "quality": wanted}
    said: dict[str, Any] = {
        "icc_profile": about.profile,
        "exif": about.exif_bytes(),
        "xmp": about.xmp,
        "dpi": about.dpi,
        "comment": about.comment,
    }
    if form is JPEG:
        said |= {name: None for name in ("exif", "xmp") if len(said[name] or b"") > EXIF_MOST}
    if said["exif"] and form in (JPEG, HEIF, JXL):
        said["exif"] = b"Exif\0\0" + said["exif"]
    return chosen | {name: said[name] for name in form.about if said[name]}


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile leaves sRGB's colours as they are, but for rounding."""
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 17, dtype=np.uint8)] * 3, indexing="ij"), axis=3).reshape(16, -1, 3)
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        seen = ImageCms.profileToProfile(Image.fromarray(grid), source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError):
        return False
    return bool(np.abs(np.asarray(seen).astype(int) - grid).max() <= 1)
