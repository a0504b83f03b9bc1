"""Photos in and out of files. Whatever a photo is stored as, it comes in as uint8 RGB, upright."""

import os
import socket
import time
import uuid
import warnings
from contextlib import contextmanager, suppress
from errno import EISDIR, ENOTDIR, EWOULDBLOCK
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..errors import ImageError, ShapeError
from .png import encode_png

JPEG = ("JPEG", {"quality": 95, "subsampling": 0})  # 0 keeps the colours at full resolution
TIFF = ("TIFF", {})
FORMATS = {  # suffix: Pillow's name of the format, and how to save it
    ".png": ("PNG", {}),
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": ("WEBP", {"lossless": True, "exact": True}),  # exact keeps the colours of transparent pixels
    ".tif": TIFF,
    ".tiff": TIFF,
    ".bmp": ("BMP", {}),
}
OPAQUE = ("JPEG", "BMP")  # formats written without transparency
PHOTO_SUFFIXES = (*FORMATS, ".gif")
PART = ".minisrgan-"  # how the name of a temporary file begins
FORSAKEN = 3600  # seconds: nobody writes that long at one
PROFILED = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's colour space: Pillow's mode of it


def read_photo(path):
    """The photo in a file as (rgb, alpha): uint8 (H, W, 3), and uint8 (H, W) or None without any alpha.

    Any format and kind of pixels that Pillow reads: grey, palette, CMYK, ... are converted to RGB; 16-bit
    grey (and 32-bit integers, taken as 16-bit) to round(v / 257); of 16-bit colour Pillow itself keeps the
    high bytes. A photo with an ICC profile is converted to sRGB. One turned by its EXIF tag is turned
    upright. Of an animation it is the first frame.

    Raises ImageError, in one line, for a file that is missing, empty, cut short of pixels, damaged, no
    picture, one of floating-point numbers (which have no agreed range), or of more pixels than Pillow
    thinks safe to unpack (twice `Image.MAX_IMAGE_PIXELS`, about 179 million).
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ImageError(f"{path}: this is a folder, not a photo: name a file")
        if path.stat().st_size == 0:
            raise ImageError(f"{path}: the file is empty: copy or download it again")
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, which no pixel depends on, and of large photos within the limit.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return _rgb_and_alpha(ImageOps.exif_transpose(image), path)
    except ImageError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path}: there is no such file: check the name") from None
    except PermissionError:
        raise ImageError(f"{path}: you may not read this file: change its permissions") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not a picture of a known format: convert it to PNG or JPEG") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: too many pixels to unpack safely: shrink it or cut it in parts") from None
    except Exception as error:  # a damaged file can make Pillow's decoders raise nearly anything
        raise ImageError(
            f"{path}: the photo cannot be read ({_reason(error)}): copy or download it again, or save it anew as PNG"
        ) from None


def _rgb_and_alpha(image, path):
    profile = image.info.get("icc_profile")
    if image.mode == "F":
        raise ImageError(f"{path}: floating-point pixels have no agreed range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # Pillow would clip 16-bit grey at 255, not scale it
        values = np.asarray(image)
        grey = Image.fromarray(np.floor(values / 257 + 0.5).clip(0, 255).astype(np.uint8))
        alpha = None
        if image.has_transparency_data:
            alpha = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
        return _srgb(grey, profile), alpha
    alpha = None
    if image.has_transparency_data:
        mode = "L" if Image.getmodebase(image.mode) == "L" else "RGB"
        image = image.convert(mode + "A")
        alpha = np.array(image.getchannel("A"))
        image = image.convert(mode)
    return _srgb(image, profile), alpha


def _srgb(image, profile):
    """The image's colours in sRGB by its ICC profile; where there is none to use, as they are.

    By relative colorimetry: what sRGB can show stays exact, where a perceptual rendering would dull it to make
    room for what it cannot. Black goes to black, or that of CMYK would come out grey.
    """
    plain = np.array(image.convert("RGB"))
    if not profile:
        return plain
    grey = Image.getmodebase(image.mode) == "L"
    kind = "CMYK" if image.mode == "CMYK" else "L" if grey else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = PROFILED[source.profile.xcolor_space.strip()]
        if kind != mode and (kind, mode) != ("L", "RGB"):
            return plain  # the profile is of another kind of pixels
        converted = np.array(
            ImageCms.profileToProfile(
                image.convert(mode),
                source,
                ImageCms.createProfile("sRGB"),
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                "RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        )
    except (ImageCms.PyCMSError, ImportError, OSError, KeyError, ValueError, TypeError):
        return plain
    rounding = np.abs(converted.astype(np.int16) - plain).max() <= 1  # the profile is that of sRGB
    return plain if rounding else converted


def _reason(error):
    """What an exception says, on one line, without the temporary names that an OSError would add."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def write_photo(path, rgb, alpha=None):
    """Write rgb, uint8 (H, W, 3), and alpha, uint8 (H, W), to `path`, in the format of its suffix.

    The file is written whole or not at all, with the folders it needs. Every format but JPEG keeps the
    pixels exactly. JPEG has quality 95 and full colour resolution. JPEG and BMP hold no transparency: the
    photo is laid over white, round((alpha rgb + (255 - alpha) 255) / 255).

    Raises ShapeError for other arrays, and ImageError, in one line, for a suffix that is not known or a
    file that cannot be written.
    """
    path = Path(path)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ShapeError(f"{path}: a photo is uint8 (H, W, 3), not {rgb.dtype} {rgb.shape}")
    if alpha is not None and (alpha.dtype != np.uint8 or alpha.shape != rgb.shape[:2]):
        raise ShapeError(f"{path}: its alpha is uint8 {rgb.shape[:2]}, not {alpha.dtype} {alpha.shape}")
    if path.suffix.lower() not in FORMATS:
        raise ImageError(f"{path}: no photo format ends in {path.suffix!r}: use one of {', '.join(FORMATS)}")
    name, options = FORMATS[path.suffix.lower()]
    if alpha is None or name == "PNG":
        pixels = rgb
    elif name in OPAQUE:
        opacity = alpha[..., None].astype(np.uint16)
        pixels = ((opacity * rgb + (255 - opacity) * 255 + 127) // 255).astype(np.uint8)
    else:
        pixels = np.dstack([rgb, alpha])
    try:
        if name == "PNG":
            write_whole(path, encode_png(rgb, alpha))
        else:
            encoded = BytesIO()
            Image.fromarray(pixels).save(encoded, name, **options)
            write_whole(path, encoded.getbuffer())
    except (OSError, ValueError) as error:  # ValueError: more pixels on a side than the format can hold
        raise ImageError(
            f"{path}: the photo cannot be written ({_reason(error)}): "
            "check the folder, the space left, and that the format can hold this size"
        ) from None


def write_whole(path, data):
    """Write bytes to `path` so that at any moment it holds all of the old content or all of the new.

    They may come part by part, as an iterable. They go to a temporary file in the same folder, created with its
    parents, which then takes the name; if anything fails, it is removed. On return they are on the disk. Raises
    OSError: the caller knows what kind of file it is, and says so.
    """
    with replacement(path) as temporary:
        with open(temporary, "xb") as file:
            file.writelines([data] if isinstance(data, (bytes, memoryview)) else data)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could keep the new name and lose the bytes
        os.replace(temporary, path)
        sync_folder(temporary.parent)  # or it could keep the bytes and lose the new name


def make_folder(folder):
    """Make a folder, and its parents, unless they are there. Raises OSError."""
    upwards = [folder, *folder.parents]
    if file := next((each for each in upwards if each.is_file()), None):
        raise NotADirectoryError(ENOTDIR, "this is a file, where a folder is needed: name another", str(file))
    missing = [each for each in upwards if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(folder):
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):  # some file systems, and Windows, sync no folders
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def check_writable(path):
    """Raise OSError if `write_whole` could not write `path`: before the minutes that its content takes, not after."""
    with replacement(path) as temporary:
        open(temporary, "xb").close()


@contextmanager
def replacement(path):
    """The temporary file that is to become `path`, in a folder that is there. An OSError then names `path` itself."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(EISDIR, "this is a folder: name a file in it", str(path))
    make_folder(path.parent)
    remove_leftovers(path.parent, FORSAKEN)
    temporary = path.with_name(f"{PART}{uuid.uuid4().hex}.part")
    try:
        yield temporary
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder, age=0):
    """Remove the temporary files in a folder, not written to for `age` seconds, of writers that were killed."""
    for leftover in Path(folder).glob(f"{PART}*.part"):
        with suppress(OSError):  # another's, or gone already
            if time.time() - leftover.stat().st_mtime >= age:
                leftover.unlink()


def lock_file(path):
    """Lock a file, created if need be, for as long as what is returned, an open file, is not closed.

    The system unlocks it when the process ends, however it ends. Meanwhile the file says who holds it. Raises
    BlockingIOError, with that as its `strerror`, where another has locked it.
    """
    import fcntl  # there is none on Windows, where photos can be read all the same

    file = open(path, "a+", errors="replace")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = "".join(filter(str.isprintable, file.read(200))) or "another process"
        file.close()
        raise BlockingIOError(EWOULDBLOCK, holder, str(path)) from None
    except OSError:  # this file system has no locks: then as well as can be, without
        pass
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    file.flush()
    return file


def find_photos(folder):
    """The photos directly in a folder, by suffix, as Paths sorted by name; hidden files are left out.

    Raises ImageError for a folder that is missing, is no folder, cannot be listed or has no photo in it.
    """
    folder = Path(folder)
    try:
        files = [path for path in folder.iterdir() if path.is_file()]
    except FileNotFoundError:
        raise ImageError(f"{folder}: there is no such folder: check the name") from None
    except NotADirectoryError:
        raise ImageError(f"{folder}: this is a file: name the folder that it is in") from None
    except OSError as error:
        raise ImageError(f"{folder}: the folder cannot be listed ({_reason(error)})") from None
    visible = (path for path in files if not path.name.startswith("."))  # ._x.jpg is macOS's notes on x.jpg
    photos = sorted(path for path in visible if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise ImageError(f"{folder}: no photos in this folder: it needs {', '.join(PHOTO_SUFFIXES)} files")
    return photos
