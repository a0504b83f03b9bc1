"""`minisrgan vgg fetch`: downloads torchvision's VGG19 once, and keeps its convolutions in one safetensors file.

    URL ─ download, in parts if the connection breaks ─▶ NAME.part ─ hash ─ read ─ write whole ─▶ vgg19.safetensors

The bytes that have arrived stay in NAME.part until the hash is right, so that a later call can go on from there. It
does so in two cases: the server's ETag, which is kept in NAME.part.etag, says that the file is still the same; or the
file's name has a hash to check the result against.
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
from .array_files import advice_for, check_regular
from .vgg import NAMES, fetched, open_vgg, read, save_vgg, sha256

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
OFFLINE = "give another --url, or get the file by other means and name it with --from"
TRIES = 5  # attempts in a row that bring nothing new
PAUSE = 1  # seconds between attempts
TIMEOUT = 30  # seconds within which the server must send something
PIECE = 1 << 20  # bytes at a time
MOST = 1 << 30  # the most bytes of a file; VGG19 has 575 million
STRONG = re.compile(r'"[!#-~]{1,200}"')  # a strong ETag promises the same bytes; a weak one, W/"…", does not
HASHED = re.compile(r"-([0-9a-f]{8,64})\.\w+$")  # a file name that has the first digits of the file's SHA-256
SHA256 = {"vgg19-dcbb9e9d.pth": "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"}  # in full


def fetch(
    url: str = URL,
    source: Path | str | None = None,
    family: str | None = None,
    bar: bool = True,
    say: Callable[[str], object] = print,
) -> Path:
    """Download `url`, or take the file `source`; keep its convolutions in the cache, and return that file's path.

    Raises WeightsError if the download fails; a later call goes on with it. Raises WeightsError too for a file that is
    not what its name says, or not a VGG; such a download is removed.
    """
    if source:
        return convert(Path(source), Path(source).name, family, say)
    with downloaded(url, bar) as path:
        return convert(path, file_name(url), family, say)


def convert(path: Path, name: str, family: str | None, say: Callable[[str], object]) -> Path:
    """Keep the convolutions of the VGG in the file `path` in the cache. `name` is the file's original name."""
    check_hash(path, name)
    config, lazy = open_vgg(path, family)
    kept = fetched(config.blocks)
    save_vgg(kept, config, {each: read(path, each, stored) for each, stored in lazy.items()}, source=name)
    say(f"{kept}: the convolutions of {NAMES[config.blocks]}, family {config.family}")
    return kept


def check_hash(path: Path, name: str) -> None:
    """Raise WeightsError if the name has the start of a SHA-256, like vgg19-dcbb9e9d.pth, and the file has another."""
    check_regular(path, OFFLINE)
    named, actual = HASHED.search(name), sha256(path)
    if named and not actual.startswith(SHA256.get(name, named[1])):
        advice = advice_for(path, "it is damaged or another file: get it again")
        raise WeightsError(f"{name}: its SHA-256 begins with {actual[:8]}, but its name says {named[1]}: {advice}")


def file_name(url: str) -> str:
    """The name of the file at a URL. Raises ConfigError if the text is not the URL of a file."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except (ValueError, AttributeError):  # brackets without an IPv6 address, a port that is not a number, no host
        parts, host = urlsplit(""), b""
    name = PurePosixPath(unquote(parts.path)).name
    sound = url.isascii() and url.isprintable() and " " not in url and name.isprintable() and len(name.encode()) < 200
    if parts.scheme not in ("http", "https") or not host or name in ("", "..") or not sound:
        raise ConfigError(f"{url!r} is not the address of a file: http:// or https:// at its start, a name at its end")
    return name


@contextmanager
def downloaded(url: str, bar: bool) -> Generator[Path, None, None]:
    """Download `url` into a file in the cache, which is removed when the context ends.

    Raises WeightsError if the download fails; the bytes that have arrived by then stay.
    """
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
                    why = printable(f"{error.code} {error.reason}")
                    raise WeightsError(f"{url}: the server answers {why}: {OFFLINE}") from None
                except (InvalidURL, ValueError) as error:
                    raise WeightsError(f"{url}: cannot be requested ({printable(error)}): {OFFLINE}") from None
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
    """The file to append to, locked. Raises WeightsError if another process has locked it."""
    import fcntl  # Windows has none; there, files can be named with --from

    while True:
        with open(part, "ab", buffering=0) as file:  # unbuffered: as much as fits is written before the disk is full
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WeightsError(f"{url}: another process is downloading it: let it end, or stop it") from None
            except OSError:  # this file system has no locks: go on without one
                pass
            if part.exists() and part.stat().st_ino == os.fstat(file.fileno()).st_ino:  # else it was removed meanwhile
                yield file
                return


def reason(error: Exception) -> str:
    return printable(getattr(error, "reason", None) or str(error) or type(error).__name__)


def printable(text: object) -> str:
    """Text from elsewhere, made safe to print: at most 200 characters, and none that moves a terminal's cursor."""
    return "".join(each if each.isprintable() else " " for each in str(text)[:200])


class SafeRedirects(HTTPRedirectHandler):
    """Follows redirects, but not from an encrypted connection to an unencrypted one."""

    def redirect_request(  # the parameters' short names are urllib's
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if not newurl.startswith("https://" if req.full_url.startswith("https://") else ("http://", "https://")):
            raise WeightsError(f"{req.full_url}: redirects to {printable(newurl)}, which is not safe: {OFFLINE}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def receive(url: str, file: BinaryIO, tag: Path, progress: Any) -> None:
    """Append the rest of `url` to the file. Start over if the server sends no parts, or if its file has changed.

    The file `tag` holds the ETag of the file that the bytes so far belong to. Raises urllib's exceptions, and
    ConnectionError if less arrives than was announced.
    """
    old_tag = tag.read_text(encoding="utf-8", errors="replace") if tag.is_file() else None
    if file.tell() and not old_tag and not HASHED.search(file_name(url)):
        file.seek(file.truncate(0))  # nothing tells which file these bytes belong to
    have = file.tell()
    headers = {"Range": f"bytes={have}-"} | ({"If-Range": old_tag} if old_tag else {}) if have else {}
    try:
        response = build_opener(SafeRedirects).open(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:  # 416: the file has no bytes from there on
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}" and old_tag in (
            None,
            error.headers.get("ETag", old_tag),
        ):
            return
        file.seek(file.truncate(0))
        raise ConnectionError("the bytes that had arrived belong to another file") from None
    with response:
        start, total = extent(response)
        if start not in (0, have):
            raise ConnectionError("the server sends another part than was requested")
        new_tag = response.headers.get("ETag")
        if start and old_tag and new_tag != old_tag:
            file.seek(file.truncate(0))
            raise ConnectionError("the bytes that had arrived belong to another file")
        file.seek(file.truncate(start))
        if not start:
            tag.unlink(missing_ok=True)
            if new_tag and STRONG.fullmatch(new_tag):
                tag.write_text(new_tag, encoding="utf-8")
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
    """Write all of a piece to an unbuffered file, whose `write` may take only a part of it."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def extent(response: Any) -> Any:
    """(the offset in the file at which a response begins, the file's length or None)."""
    if response.status != 206:
        return 0, response.length
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not match:
        raise ConnectionError("the server does not say which part it sends")
    return int(match[1]), None if match[2] == "*" else int(match[2])
