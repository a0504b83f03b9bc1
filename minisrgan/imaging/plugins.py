"""Pillow's plugins for formats that Pillow itself lacks: JPEG XL and HEIC. Both are optional."""

import re

from ..errors import ImageError

PLUGINS = {"JXL": "pillow-jxl-plugin", "HEIF": "pillow-heif"}  # Pillow's name of a format: the package that knows it

HEIC = re.compile(b"he(ic|ix|im|is|vc|vx|vm|vs)")  # the brands of HEIC; AVIF, of the same container, has others


def load_plugin(name: str) -> None:
    """Make Pillow read and write a format. Raises ImageError if it needs a plugin that is not installed."""
    try:
        if name == "JXL":
            import pillow_jxl  # noqa: F401, which registers itself
        elif name == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
    except ImportError:
        raise ImageError(f"{name} needs a plugin: pip install {PLUGINS[name]}") from None


def plugin_format(start: bytes) -> str | None:
    """The format of PLUGINS that a file has whose first 64 bytes these are, or None."""
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JXL"
    brands = start[8:]
    return "HEIF" if start[4:8] == b"ftyp" and b"avif" not in brands and HEIC.search(brands) else None
