"""`minisrgan vgg fetch`: torchvision's VGG19, downloaded once and kept as one safetensors file of its convolutions.

    URL ─ download, in parts if the connection breaks ─▶ NAME.part ─ hash ─ read ─ write whole ─▶ vgg19.safetensors

What has arrived stays in NAME.part until the hash is right, so that a later call goes on from there: if the server
says that the file is still the same, by its ETag in NAME.part.etag, or if the name has a hash to find out by.
"""

import os
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from http.client import HTTPException, InvalidURL
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..errors import ConfigError, WeightsError
from ..files import make_cache_folder
from ..progress import progress_bar
from .array_files import check_regular, what_to_do
from .vgg import NAMES, fetched, open_vgg, read, save_vgg, sha256

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
OFFLINE = "give another --url, or get the file by other means and name it with --from"
TRIES = 5  # in a row that bring nothing new
PAUSE = 1  # seconds between them
TIMEOUT = 30  # seconds in which the server must say something
PIECE = 1 << 20  # bytes at a time
MOST = 1 << 30  # bytes of a file; VGG19's are 575 million
STRONG = re.compile(r'"[!#-~]{1,200}"')  # an ETag that promises the same bytes, which one with W/ before it does not
HASHED = re.compile(r"-([0-9a-f]{8,64})\.\w+$")  # a name that tells how the file's SHA-256 begins
SHA256 = {"vgg19-dcbb9e9d.pth": "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"}  # all of it


def fetch(
    url: str = URL,
    source: Path | str | None = None,
    family: str | None = None,
    bar: bool = True,
    say: Callable[[str], object] = print,
) -> Path:
    """Download `url`, or take the file `source`; keep its convolutions in the cache, and return that path.

    Raises WeightsError where the download fails, which a later call goes on with, and for a file that is not what its
    name says or no VGG, which is removed if it was downloaded.
    """
    if source:
        return convert(Path(source), Path(source).name, family, say)
    with downloaded(url, bar) as path:
        return convert(path, file_name(url), family, say)


def convert(path: Path, name: str, family: str | None, say: Callable[[str], object]) -> Path:
    """Keep the convolutions of the VGG in the file `path`, whose own name is `name`, in the cache."""
    check_hash(path, name)
    config, lazy = open_vgg(path, family)
    kept = fetched(config.blocks)
    save_vgg(kept, config, {each: read(path, each, stored) for each, stored in lazy.items()}, source=name)
    say(f"{kept}: the convolutions of {NAMES[config.blocks]}, family {config.family}")
    return kept


def check_hash(path: Path, name: str) -> None:
    """Raise WeightsError unless the file's SHA-256 begins as the name says, if it is one like vgg19-dcbb9e9d.pth."""
    check_regular(path, OFFLINE)
    said, actual = HASHED.search(name), sha256(path)
    if said and not actual.startswith(SHA256.get(name, said[1])):
        what = what_to_do(path, "it is damaged or another file: get it again")
        raise WeightsError(f"{name}: its SHA-256 begins with {actual[:8]}, where its name says {said[1]}: {what}")


def file_name(url: str) -> str:
    """What a URL calls the file. Raises ConfigError for what is no URL of a file."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except (ValueError, AttributeError):  # brackets that hold no IPv6 address, a port that is no number, no host
        parts, host = urlsplit(""), b""
    name = PurePosixPath(unquote(parts.path)).name
    plain = url.isascii() and url.isprintable() and " " not in url and name.isprintable() and len(name.encode()) < 200
    if parts.scheme not in ("http", "https") or not host or name in ("", "..") or not plain:
        raise ConfigError(f"{url!r} is no address of a file, which begins with http:// or https:// and ends in a name")
    return name


@contextmanager
def downloaded(url: str, bar: bool) -> Generator[Path, None, None]:
    """The file in the cache of all that `url` has, removed at the end. Raises WeightsError; what has arrived until
    then stays."""
    name = file_name(url)
    part = make_cache_folder() / f"{name}.part"
    tag, most, failures = Path(f"{part}.etag"), 0, 0
    with locked(part, url) as file:
        with progress_bar(desc=name, unit="B", unit_scale=True, disable=not bar) as progress:
            while True:
                try:
                    receive(url, file, tag, progress)
                    break
                except HTTPError as error:
                    why = plain(f"{error.code} {error.reason}")
                    raise WeightsError(f"{url}: the server answers {why}: {OFFLINE}") from None
                except (InvalidURL, ValueError) as error:
                    raise WeightsError(f"{url}: cannot be asked for ({plain(error)}): {OFFLINE}") from None
                except (OSError, HTTPException) as error:
                    if getattr(error, "errno", None) in (ENOSPC, EDQUOT):
                        raise WeightsError(
                            f"{part}: {getattr(error, 'strerror', error)}: make room and call again to go on"
                        ) from None
                    failures = 0 if file.tell() > most else failures + 1
                    most = max(most, file.tell())
                    if failures == TRIES:
                        raise WeightsError(f"{url}: {reason(error)}; call again to go on, or {OFFLINE}") from None
                    time.sleep(PAUSE)
        try:
            yield part
        finally:
            part.unlink()
            tag.unlink(missing_ok=True)


@contextmanager
def locked(part: Path, url: str) -> Generator[Any, None, None]:
    """The file to append to, which no other process has. Raises WeightsError where one has it."""
    import fcntl  # there is none on Windows, where files can be named with --from

    while True:
        with open(part, "ab", buffering=0) as file:  # as much as possible is there when the disk is full
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WeightsError(f"{url}: another process is downloading it: let it end, or stop it") from None
            except OSError:  # this file system has no locks: then as well as can be, without
                pass
            if part.exists() and part.stat().st_ino == os.fstat(file.fileno()).st_ino:  # else it was removed meanwhile
                yield file
                return


def reason(error: Exception) -> str:
    return plain(getattr(error, "reason", None) or str(error) or type(error).__name__)


def plain(text: object) -> str:
    """What somebody else said, without what would move a terminal's cursor, and not too much of it."""
    return "".join(each if each.isprintable() else " " for each in str(text)[:200])


class SafeRedirects(HTTPRedirectHandler):
    """Goes where the server sends it, but not from an encrypted connection to one that anyone may listen to."""

    def redirect_request(  # its parameters have short names in urllib
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if not newurl.startswith("https://" if req.full_url.startswith("https://") else ("http://", "https://")):
            raise WeightsError(f"{req.full_url}: sends on to {plain(newurl)}, which is not safe: {OFFLINE}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def receive(url: str, file: BinaryIO, tag: Path, progress: Any) -> None:
    """Append to the file what `url` has more, or begin it anew where the server does not send parts, or not of the
    same file: `tag` has the ETag of what is there.

    Raises what urllib does, and ConnectionError for less than was announced.
    """
    known = tag.read_text(encoding="utf-8", errors="replace") if tag.is_file() else None
    if file.tell() and not known and not HASHED.search(file_name(url)):
        file.seek(file.truncate(0))  # of which nobody knows of what file it is
    have = file.tell()
    headers = {"Range": f"bytes={have}-"} | ({"If-Range": known} if known else {}) if have else {}
    try:
        response = build_opener(SafeRedirects).open(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:  # there is nothing from there on
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}" and known in (
            None,
            error.headers.get("ETag", known),
        ):
            return
        file.seek(file.truncate(0))
        raise ConnectionError("what had arrived was of another file") from None
    with response:
        start, total = extent(response)
        if start not in (0, have):
            raise ConnectionError("the server sends another part than was asked for")
        new = response.headers.get("ETag")
        if start and known and new != known:
            file.seek(file.truncate(0))
            raise ConnectionError("what had arrived was of another file")
        file.seek(file.truncate(start))
        if not start:
            tag.unlink(missing_ok=True)
            if new and STRONG.fullmatch(new):
                tag.write_text(new, encoding="utf-8")
        progress.reset(total)
        progress.update(start)
        while piece := response.read(PIECE):
            if file.tell() + len(piece) > MOST:
                file.seek(file.truncate(0))
                raise WeightsError(f"{url}: is larger than any VGG; {OFFLINE}")
            write_all(file, piece)
            progress.update(len(piece))
        if total is not None and file.tell() < total:
            raise ConnectionError(f"the connection broke off after {file.tell():,} of {total:,} bytes")


def write_all(file: BinaryIO, piece: bytes) -> None:
    """Write to a file without a buffer, which takes what there is room for."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def extent(response: Any) -> Any:
    """(where in the file an answer begins, the file's length or None)."""
    if response.status != 206:
        return 0, response.length
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not match:
        raise ConnectionError("the server does not say which part it sends")
    return int(match[1]), None if match[2] == "*" else int(match[2])
