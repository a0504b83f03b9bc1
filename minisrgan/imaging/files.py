"""Reading and writing photos. However a photo is stored, `load_photo` reads it as uint8 RGB, upright.

originals.py reads photos as they are: their depth, their own colours, what their files say beside the pixels.
"""

import re
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from ..errors import ImageError, ShapeError
from ..files import write_whole
from . import odd_files
from .about import ORIENTATION, About
from .plugins import load_plugin, plugin_format
from .writing import check_size, encode, format_of

# The formats that are read: Pillow's name, and the suffixes. Pillow's other formats are not opened: an EPS file, for
# one, is a program that Ghostscript would run. TGA comes last, because almost any bytes can pass for TGA.
READ = {
    "PNG": ".png .apng",
    "JPEG": ".jpg .jpeg .jpe .jfif .jif .mpo",
    "WEBP": ".webp",
    "TIFF": ".tif .tiff",
    "BMP": ".bmp",
    "DIB": ".dib",
    "GIF": ".gif",
    "AVIF": ".avif .avifs",
    "HEIF": ".heic .heif .hif",
    "JXL": ".jxl",
    "JPEG2000": ".jp2 .j2k .j2c .jpc .jpf .jpx",
    "PPM": ".ppm .pgm .pbm .pnm",
    "QOI": ".qoi",
    "PSD": ".psd",
    "DDS": ".dds",
    "SGI": ".sgi .rgb .rgba .bw",
    "ICO": ".ico",
    "ICNS": ".icns",
    "PCX": ".pcx",
    "TGA": ".tga",
}
PHOTO_SUFFIXES = tuple(" ".join(READ.values()).split())
REDUCED = re.compile(r"(^|_)LR(_|$)")  # names of folders that hold low-resolution copies of the photos beside them
PROFILED = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's colour space: Pillow's mode for it

MEMORY = 2**30  # the most bytes that reading a photo may take
HELD = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # bytes per pixel in Pillow's memory; 4 in other modes
SCRATCH = {"WEBP": 12, "AVIF": 6, "JPEG2000": 16}  # bytes per pixel that a decoder uses in addition, as measured
BAND = 2**18  # pixels converted at a time
RANGE_KNOWN = ("PNG", "PPM", "JPEG2000", "TIFF")  # formats whose 16-bit values Pillow gives as 0 ... 65535

UPRIGHT = {  # the EXIF orientation: how to turn the photo upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


class Photo(NamedTuple):
    """A photo read from a file, upright.

    rgb      uint8 (H, W, 3)
    alpha    uint8 (H, W), or None if the file has no transparency
    grey     whether the file has one value per pixel; an RGB file with equal channels is not grey
    frames   how many pictures the file holds; this is the first
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    grey: bool
    frames: int


def read_photo(path: Path | str) -> tuple[np.ndarray, np.ndarray | None]:
    """The (rgb, alpha) that `load_photo` reads."""
    photo = load_photo(path)
    return photo.rgb, photo.alpha


def load_photo(path: Path | str) -> Photo:
    """Read a Photo from a file in one of the formats in READ.

    Grey, palette, CMYK, ... become RGB. 16-bit grey becomes round(v / 257); for 16-bit colour, Pillow itself keeps
    the high bytes. A photo with an ICC profile is converted to sRGB. A photo whose EXIF tag says that it is turned is
    turned upright; all other metadata is ignored, damaged or not. If the file has several pictures, the first is read;
    in a TIFF, the first that is not marked as a thumbnail.

    Raises ImageError, with a message of one line, for a file that is missing, empty, not a regular file, cut short,
    damaged or not a picture; for floating-point, signed and 32-bit pixels, which have no agreed range; for the kinds
    of TIFF that Pillow reads wrongly; for a photo that takes more than MEMORY bytes to unpack; and for one with more
    pixels than Pillow considers safe (twice `Image.MAX_IMAGE_PIXELS`, about 179 million).
    """
    with opened(path) as (image, png):
        return _photo(image, png)


@contextmanager
def opened(
    path: Path | str, data: bytes | None = None, plain: bool = True
) -> Generator[tuple[Any, odd_files.PlainPNG | None], None, None]:
    """A photo's file, as (an opened image of Pillow's, its PlainPNG or None). An error within becomes an ImageError.

    data    the file's bytes; `path` is then only its name
    plain   whether Pillow is kept from seeing a PNG's texts and its animation
    """
    path, start = Path(path), b""
    try:
        if data is None:
            check_is_file(path)
        with warnings.catch_warnings(), open(path, "rb") if data is None else BytesIO(data) as file:
            # Pillow warns about odd metadata, on which no pixel depends, and about large photos within the limit.
            warnings.simplefilter("ignore")
            start = file.read(64)
            file.seek(0)
            png = odd_files.plain_png(file) if plain and start.startswith(odd_files.PNG) else None
            Image.init()
            if name := plugin_format(start):
                load_plugin(name)
            with Image.open(png.file if png else file, formats=[name for name in READ if name in Image.OPEN]) as image:
                yield image, png
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path}: there is no such file: check the name") from None
    except PermissionError:
        raise ImageError(f"{path}: you may not read this file: change its permissions") from None
    except UnidentifiedImageError:
        if odd_files.is_tiff(start):
            what = "this kind of TIFF is not supported: save it again with 8 or 16 bits, or as PNG"
        else:
            what = "not a picture of a known format: convert it to PNG or JPEG"
        raise ImageError(f"{path}: {what}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path}: too many pixels to unpack safely ({_reason(error)}): shrink it or cut it in parts"
        ) from None
    except Exception as error:  # a damaged file can make Pillow's decoders raise nearly anything
        raise ImageError(
            f"{path}: the photo cannot be read ({_reason(error)}): copy or download it again, or save it again as PNG"
        ) from None


def check_is_file(path: Path) -> None:
    """Raise ImageError, or OSError, unless this is a file that holds something."""
    if path.is_dir():
        raise ImageError("this is a folder, not a photo: name a file")
    if path.exists() and not path.is_file():
        raise ImageError("this is a pipe or a device: save the photo in a file")
    if path.stat().st_size == 0:
        raise ImageError("the file is empty: copy or download it again")


def _photo(image, png):
    """The Photo in an opened file; `png` is its PlainPNG or None. An ImageError raised here does not name the file."""
    kind = kind_of(image, png)
    check_memory(image, kind.scratch, 3 + image.has_transparency_data)
    if image.format == "TIFF":
        forget_all_but_orientation(image)
    image.load()
    turn: Callable[[np.ndarray], np.ndarray] = UPRIGHT.get(orientation(image) or 0, np.asarray)
    grey = Image.getmodebase(image.mode) == "L" or kind.wide
    rgb, alpha = rgb_and_alpha(image, kind, kind.profile)
    frames = frames_of(image, png)
    image.close()
    upright = np.ascontiguousarray(turn(rgb))
    return Photo(upright, None if alpha is None else np.ascontiguousarray(turn(alpha)), grey, frames)


class Kind(NamedTuple):
    """What the pixels of an opened file are.

    profile    the bytes of their ICC profile, or None
    wide       whether they are grey of more than 8 bits: 0 ... `top`; if `negative`, 0 is white
    scratch    bytes that reading takes in addition to the pixels
    bits       of a PNG's sample; 8 for other formats
    """

    profile: bytes | None
    wide: bool
    top: int
    negative: bool
    scratch: int
    bits: int


def kind_of(image: Any, png: odd_files.PlainPNG | None) -> Kind:
    """The Kind of an opened file, at the picture that is to be read. Raises ImageError for pixels without a range."""
    profile, top, negative, scratch = image.info.get("icc_profile"), 65535, False, 0
    if png:
        profile = png.profile
    elif image.format == "TIFF":
        odd_files.find_full_picture(image)
        odd_files.check_tiff(image)
        profile, scratch = image.tag_v2.get(odd_files.PROFILE), odd_files.tiff_scratch(image)
        if image.mode.startswith("I"):
            top = 2 ** image.tag_v2.get(odd_files.BITS, (16,))[0] - 1
            negative = image.tag_v2.get(odd_files.PHOTOMETRIC) == odd_files.WHITE_IS_ZERO
    if image.mode == "F":
        raise ImageError("floating-point pixels have no agreed range: save it with 8 or 16 bits")
    wide = image.mode.startswith("I")
    if wide and image.format not in RANGE_KNOWN:
        raise ImageError("pixels of more than 8 bits in this format have no known range: save it as PNG or TIFF")
    return Kind(profile, wide, top, negative, scratch, png.bits if png else 8)


def check_memory(image: Any, scratch: int, ours: int) -> None:
    """Raise ImageError if unpacking the photo would take more than MEMORY bytes: Pillow's, the decoder's and ours.

    `ours` is in bytes per pixel; they are allocated after the decoder has freed its memory.
    """
    pixels, decoder = image.width * image.height, SCRATCH.get(image.format, 0)
    if image.info.get("progressive"):
        decoder = 2 * len(image.getbands())  # the coefficients of the whole photo
    needed = pixels * HELD.get(image.mode, 4) + max(pixels * decoder, scratch, pixels * ours)
    if needed > MEMORY:
        raise ImageError(
            f"{image.width} × {image.height} pixels of this kind take {needed / 2**30:.1f} GiB to unpack, and the "
            f"limit is {MEMORY / 2**30:g} GiB: shrink it or cut it in parts"
        )


def forget_all_but_orientation(image: Any) -> None:
    """Drop a TIFF's other tags: Pillow writes them again when it turns the photo, and fails on odd ones."""
    try:
        exif = image.getexif()
        for tag in set(exif) - {ORIENTATION}:
            del exif[tag]
    except Exception:  # a damaged file can raise anything; then it has no orientation either
        pass


def orientation(image: Any) -> int | None:
    """The EXIF orientation, an int, or None. Pillow itself turns a TIFF and then removes the tag."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:
        return None
    return value if isinstance(value, int) else None


def frames_of(image: Any, png: odd_files.PlainPNG | None) -> int:
    """How many pictures the file holds."""
    if png:
        return png.frames
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # the file is damaged after the first picture
        return 1


def rgb_and_alpha(image: Any, kind: Kind, profile: bytes | None) -> tuple[np.ndarray, np.ndarray | None]:
    """A loaded image's colours, uint8 (H, W, 3), and its alpha, uint8 (H, W) or None.

    By the profile, the colours are converted to sRGB; without it they stay as they are. It works band by band, so that
    there is never a second copy of the whole image.
    """
    clear = image.info.get("transparency")
    if image.mode in ("1", "L") and kind.bits < 8 and isinstance(clear, int) and clear < 2**kind.bits:
        image.info["transparency"] = clear * 255 // (2**kind.bits - 1)  # Pillow scales the pixels, but not this
    elif kind.bits == 16 and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)  # as Pillow keeps the pixels' high bytes
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty((image.height, image.width), np.uint8) if image.has_transparency_data else None
    to_srgb, differs, bands = _to_srgb(image, profile), 0, bands_of(image)
    for rows in bands:
        colours, opacity = _part(image, rows, kind)
        if alpha is not None:
            alpha[rows] = opacity
        plain = np.asarray(colours.convert("RGB"))
        rgb[rows] = to_srgb(colours) if to_srgb else plain
        if to_srgb:
            differs = max(differs, np.abs(rgb[rows].astype(np.int16) - plain).max())
    if to_srgb and differs <= 1:  # the profile is sRGB's own, and the difference is only rounding
        for rows in bands:
            rgb[rows] = np.asarray(_part(image, rows, kind)[0].convert("RGB"))
    return rgb, alpha


def bands_of(image: Any) -> list[slice]:
    """The rows of an image, about BAND pixels at a time."""
    rows = max(BAND // image.width, 1)
    return [slice(top, min(top + rows, image.height)) for top in range(0, image.height, rows)]


def _part(image, rows, kind):
    """(rows of a loaded image as an image of at most 8 bits without transparency, their alpha or None)."""
    part = image.crop((0, rows.start, image.width, rows.stop))
    clear = image.info.get("transparency")
    if kind.wide:  # Pillow would clip 16-bit grey at 255, not scale it
        values = np.asarray(part).astype(np.int32).clip(0, kind.top)
        alpha = None if clear is None else np.where(values == clear, 0, 255)
        top = kind.top
        if kind.negative:
            values = top - values
        return Image.fromarray(((values * 510 + top) // (2 * top)).astype(np.uint8)), alpha
    if not image.has_transparency_data:
        return part, None
    if clear is not None:
        part.info["transparency"] = clear
    mode = "L" if Image.getmodebase(image.mode) == "L" else "RGB"
    part = part.convert(mode + "A")
    return part.convert(mode), np.asarray(part.getchannel("A"))


def _to_srgb(image, profile):
    """A function that converts a part of the image to sRGB by its ICC profile; None if the profile cannot be used.

    The rendering intent is relative colorimetric: colours that sRGB can show stay exact. A perceptual intent would dull
    them, to make room for those that sRGB cannot show. Black is mapped to black; otherwise CMYK's would become grey.
    """
    fitting = fitting_profile(image, profile)
    if not fitting:
        return None
    source, mode = fitting
    try:
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, ImportError, OSError, KeyError, ValueError, TypeError):
        return None
    return lambda part: np.asarray(ImageCms.applyTransform(part.convert(mode), transform))


def fitting_profile(image: Any, profile: bytes | None) -> tuple[Any, str] | None:
    """(an ICC profile of Pillow's, the mode of the pixels that it is for); None if this image's pixels are others."""
    if not profile:
        return None
    grey = Image.getmodebase(image.mode) == "L" or image.mode.startswith("I")
    kind = "CMYK" if image.mode == "CMYK" else "L" if grey else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = PROFILED[source.profile.xcolor_space.strip()]
    except (ImageCms.PyCMSError, ImportError, OSError, KeyError, ValueError, TypeError):
        return None
    return (source, mode) if kind == mode or (kind, mode) == ("L", "RGB") else None


def _reason(error):
    """An exception's message on one line, without the temporary file names that an OSError would add."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def check_format(path: Path | str, height: int, width: int, transparent: bool) -> None:
    """Raise ImageError if the path's suffix is no photo format's, or if that format cannot hold this size."""
    check_size(path, format_of(path), (height, width, 3 + transparent))


def write_photo(path: Path | str, rgb: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """Write rgb, uint8 (H, W, 3), and alpha, uint8 (H, W), to `path`, in the format that its suffix names.

    Missing folders are created. If writing fails, an older file stays as it was. PNG, TIFF, WebP, BMP and JPEG XL keep
    the pixels exactly (writing.py: FORMATS). JPEG and BMP hold no transparency, so the photo is laid over white:
    round((alpha rgb + (255 - alpha) 255) / 255).

    Raises ShapeError for other arrays, and ImageError, with a message of one line, for an unknown suffix or a
    file that cannot be written.
    """
    path = Path(path)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ShapeError(f"{path}: a photo is uint8 (H, W, 3), not {rgb.dtype} {rgb.shape}")
    if alpha is not None and (alpha.dtype != np.uint8 or alpha.shape != rgb.shape[:2]):
        raise ShapeError(f"{path}: its alpha is uint8 {rgb.shape[:2]}, not {alpha.dtype} {alpha.shape}")
    form, shape = format_of(path), (*rgb.shape[:2], 3 if alpha is None else 4)
    check_size(path, form, shape)
    rows = max(BAND // rgb.shape[1], 1)
    bands = [slice(top, top + rows) for top in range(0, len(rgb), rows)]
    strips = (rgb[each] if alpha is None else np.dstack([rgb[each], alpha[each]]) for each in bands)
    write_encoded(path, encode(form, shape, rgb.dtype, strips, About()))


def write_encoded(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write the parts of a photo's file. Raises ImageError if they cannot be computed or written."""
    try:
        write_whole(path, parts)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: more pixels on a side than the format allows
        raise ImageError(
            f"{path}: the photo cannot be written ({_reason(error)}): "
            "check the folder, the space left, and that the format can hold this size"
        ) from None


def size_of(path: Path) -> tuple[int, int] | None:
    """(width, height) of the upright photo in a file, as its first bytes say; None if they cannot be read."""
    size = extent_of(path)
    return size and size[:2]


def extent_of(path: Path) -> tuple[int, int, int] | None:
    """(width, height, how many pictures) of a file, without reading the pixels; None if it cannot be told."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.init()
            with Image.open(path, formats=[name for name in READ if name in Image.OPEN]) as image:
                width, height = image.size
                # a PNG's tags may come after its pixels, which would all be read
                if image.format != "PNG" and image.getexif().get(ORIENTATION) in range(5, 9):
                    width, height = height, width
                return width, height, frames_of(image, None)
    except Exception:  # reading the photo will say what is wrong with it
        return None


def find_photos(folder: Path | str) -> list[Path]:
    """The photos in a folder and its subfolders: Paths sorted by name. Raises ImageError like `look_for_photos`."""
    return look_for_photos(folder)[0]


def look_for_photos(folder: Path | str) -> tuple[list[Path], list[Path]]:
    """(photos, others): the files in a folder and its subfolders; a file's suffix says whether it is a photo.

    Both are lists of Paths sorted by name. Published sets keep reduced copies in folders named like LR_x4: the files in
    such a folder all count as others. Hidden files and folders are skipped, and so are links to folders already seen.
    Raises ImageError for a folder that is missing, is not a folder, cannot be listed or has no photo in it.
    """
    folder = Path(folder)
    if folder.is_file():
        raise ImageError(f"{folder}: this is a file: name the folder that it is in")
    photos, others, seen, waiting = [], [], set(), [folder]
    while waiting:
        inside = waiting.pop()
        try:
            about = inside.stat()
            entries = sorted(inside.iterdir())
        except FileNotFoundError:
            raise ImageError(f"{inside}: there is no such folder: check the name") from None
        except OSError as error:
            raise ImageError(f"{inside}: the folder cannot be listed ({_reason(error)})") from None
        if (about.st_dev, about.st_ino) in seen:
            continue
        seen.add((about.st_dev, about.st_ino))
        for path in entries:
            if path.name.startswith("."):  # ._x.jpg is macOS's notes on x.jpg
                continue
            if path.is_dir():
                waiting.append(path)
            else:
                photo = path.suffix.lower() in PHOTO_SUFFIXES and not is_reduced(folder, path)
                (photos if photo else others).append(path)
    if not photos:
        raise ImageError(f"{folder}: no photos in this folder: it needs {', '.join(PHOTO_SUFFIXES)} files")
    return sorted(photos), sorted(others)


def is_reduced(folder: Path | str, path: Path) -> bool:
    """Whether a file within a folder is in a folder of low-resolution copies, by that one's name."""
    return any(REDUCED.search(name) for name in path.relative_to(folder).parts[:-1])
