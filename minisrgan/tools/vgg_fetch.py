"""`minisrgan vgg fetch`: torchvision's VGG19, downloaded once and kept as one safetensors file of its convolutions.

    URL ─ download, in parts if the connection breaks ─▶ NAME.part ─ hash ─ read ─ write whole ─▶ vgg19.safetensors

What has arrived stays in NAME.part until the hash is right, so that a later call goes on from there.
"""

import re
import time
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from ..errors import ConfigError, WeightsError
from ..kernels import make_cache_folder
from ..models.array_files import what_to_do
from ..models.vgg_weights import NAMES, fetched, open_vgg, read, save_vgg, sha256
from .progress import progress_bar

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
OFFLINE = "give another --url, or get the file by other means and name it with --from"
TRIES = 5  # in a row that bring nothing new
PAUSE = 1  # seconds between them
TIMEOUT = 30  # seconds in which the server must say something
PIECE = 1 << 20  # bytes at a time
MOST = 1 << 30  # bytes of a file; VGG19's are 575 million


def fetch(url=URL, source=None, family=None, bar=True, say=print):
    """Download `url`, or take the file `source`; keep its convolutions in the cache, and return that path.

    Raises WeightsError where the download fails, which a later call goes on with, and for a file that is not what its
    name says or no VGG, which is removed if it was downloaded.
    """
    if source:
        return convert(Path(source), Path(source).name, family, say)
    path = download(url, bar)
    try:
        return convert(path, file_name(url), family, say)
    finally:
        path.unlink()


def convert(path, name, family, say):
    """Keep the convolutions of the VGG in the file `path`, whose own name is `name`, in the cache."""
    check_hash(path, name)
    config, lazy = open_vgg(path, family)
    kept = fetched(config.blocks)
    save_vgg(kept, config, {each: read(path, each, stored) for each, stored in lazy.items()}, source=name)
    say(f"{kept}: the convolutions of {NAMES[config.blocks]}, family {config.family}")
    return kept


def check_hash(path, name):
    """Raise WeightsError unless the file's SHA-256 begins as the name says, if it is one like vgg19-dcbb9e9d.pth."""
    said, actual = re.search(r"-([0-9a-f]{8,64})\.\w+$", name), sha256(path)
    if said and not actual.startswith(said[1]):
        what = what_to_do(path, "it is damaged or another file: get it again")
        raise WeightsError(f"{name}: its SHA-256 begins with {actual[:8]}, where its name says {said[1]}: {what}")


def file_name(url):
    """What a URL calls the file. Raises ConfigError for what is no URL of a file."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no IPv6 address
        parts = urlsplit("")
    name = PurePosixPath(unquote(parts.path)).name
    if parts.scheme not in ("http", "https") or not parts.netloc or not name:
        raise ConfigError(f"{url!r} is no address of a file, which begins with http:// or https:// and ends in a name")
    return name


def download(url, bar):
    """The file in the cache of all that `url` has. Raises WeightsError; what has arrived until then stays."""
    part = make_cache_folder() / f"{file_name(url)}.part"
    most, failures = 0, 0
    with (
        open(part, "ab") as file,
        progress_bar(desc=file_name(url), unit="B", unit_scale=True, disable=not bar) as progress,
    ):
        while True:
            try:
                receive(url, file, progress)
                return part
            except HTTPError as error:
                raise WeightsError(f"{url}: the server answers {error.code} {error.reason}: {OFFLINE}") from None
            except (OSError, HTTPException) as error:
                failures = 0 if file.tell() > most else failures + 1
                most = max(most, file.tell())
                if failures == TRIES:
                    raise WeightsError(f"{url}: {reason(error)}; call again to go on, or {OFFLINE}") from None
                time.sleep(PAUSE)


def reason(error):
    return getattr(error, "reason", None) or str(error) or type(error).__name__


def receive(url, file, progress):
    """Append to the file what `url` has more, or begin it anew where the server does not send parts.

    Raises what urllib does, and ConnectionError for less than was announced.
    """
    have = file.tell()
    try:
        response = urlopen(Request(url, headers={"Range": f"bytes={have}-"} if have else {}), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:  # there is nothing from there on
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return
        file.seek(file.truncate(0))
        raise ConnectionError("what had arrived was of another file") from None
    with response:
        start, total = extent(response)
        if start not in (0, have):
            raise ConnectionError("the server sends another part than was asked for")
        file.seek(file.truncate(start))
        progress.reset(total)
        progress.update(start)
        while piece := response.read(PIECE):
            file.write(piece)
            progress.update(len(piece))
            if file.tell() > MOST:
                file.truncate(0)
                raise WeightsError(f"{url}: is larger than any VGG; {OFFLINE}")
        if total is not None and file.tell() < total:
            raise ConnectionError(f"the connection broke off after {file.tell():,} of {total:,} bytes")


def extent(response):
    """(where in the file an answer begins, the file's length or None)."""
    if response.status != 206:
        return 0, response.length
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not match:
        raise ConnectionError("the server does not say which part it sends")
    return int(match[1]), None if match[2] == "*" else int(match[2])
