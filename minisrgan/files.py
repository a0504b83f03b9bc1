"""Writing files so that none is ever half-written, locking a folder for one writer, and the cache folder."""

import atexit
import functools
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from errno import EISDIR, ENOTDIR, EWOULDBLOCK
from pathlib import Path
from typing import IO

from .errors import ConfigError, KernelError

PART = ".minisrgan-"  # the start of a temporary file's name
FORSAKEN = 3600  # seconds; no writer takes that long for one file


def free_name(path: Path | str) -> Path:
    """`path`, or the first of name-2, name-3, ... that does not exist: a file that nobody named is never replaced."""
    path, n = Path(path), 1
    while os.path.lexists(candidate := path if n == 1 else path.with_name(f"{path.stem}-{n}{path.suffix}")):
        n += 1
    return candidate


def write_whole(path: Path | str, data: bytes | memoryview | Iterable[bytes | memoryview]) -> None:
    """Write bytes to `path` so that at any moment the file holds either all of the old content or all of the new.

    `data` may be an iterable of parts. The bytes go to a temporary file in the same folder, which is created if need
    be, with its parents. The temporary file then takes the name `path`; if anything fails, it is removed. On return the
    bytes are on the disk. Raises OSError; the caller knows what kind of file it is and can say so.
    """
    with replacement(path) as temporary:
        with open(temporary, "xb") as file:
            file.writelines([data] if isinstance(data, (bytes, memoryview)) else data)
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut could keep the new name and lose the bytes
        os.replace(temporary, path)
        sync_folder(temporary.parent)  # otherwise it could keep the bytes and lose the new name


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, unless they exist. Raises OSError."""
    upwards = [folder, *folder.parents]
    if file := next((each for each in upwards if each.is_file()), None):
        raise NotADirectoryError(ENOTDIR, "this is a file, where a folder is needed: name another", str(file))
    missing = [each for each in upwards if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, if the system can."""
    with suppress(OSError):  # some file systems, and Windows, cannot sync a folder
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def check_writable(path: Path | str) -> None:
    """Raise OSError if `write_whole` could not write `path`. Call it before the minutes of work, not after them."""
    with replacement(path) as temporary:
        open(temporary, "xb").close()


def check_own(path: Path | str, mark: str) -> None:
    """Like `check_writable`, and raise ConfigError if a file is there that is not ours to renew.

    mark   what our own files of this kind hold near their start
    """
    check_writable(path)
    if os.path.lexists(path) and not (Path(path).is_file() and mark.encode() in start_of(path)):
        raise ConfigError(f"{path} is there already, and minisrgan did not make it: name another file")


def start_of(path: Path | str, size: int = 400) -> bytes:
    """The first bytes of a file. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(size)


@contextmanager
def replacement(path: Path | str) -> Generator[Path, None, None]:
    """The path of a temporary file for the content of `path`; its folder exists. An OSError inside names `path`."""
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


def remove_leftovers(folder: Path, age: float = 0) -> None:
    """Remove a folder's temporary files that nobody has written to for `age` seconds: their writers were killed."""
    for leftover in Path(folder).glob(f"{PART}*.part"):
        with suppress(OSError):  # it is another user's, or gone already
            if time.time() - leftover.stat().st_mtime >= age:
                leftover.unlink()


def lock_file(path: Path) -> IO | None:
    """Lock a file, which is created if need be. The lock lasts until the returned open file is closed.

    The system also unlocks it when the process ends, however it ends. Meanwhile the file's content says which process
    holds the lock. Raises BlockingIOError, with that content as its `strerror`, if another process has locked it.
    """
    import fcntl  # Windows has none; photos can be read there all the same

    file = open(path, "a+", encoding="utf-8", errors="replace")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = "".join(filter(str.isprintable, file.read(200))) or "another process"
        file.close()
        raise BlockingIOError(EWOULDBLOCK, holder, str(path)) from None
    except OSError:  # this file system has no locks: go on without one
        pass
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    file.flush()
    return file


@functools.cache
def private_folder() -> Path:
    """A folder for libraries that this process alone uses. It is removed when the process ends. Raises KernelError."""
    try:
        folder = tempfile.mkdtemp(prefix="minisrgan-")
    except OSError as error:
        raise KernelError(f"no folder for temporary files: {error}; name one with TMPDIR") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def cache_folder() -> Path:
    """Where compiled kernels and fetched weights are kept: $MINISRGAN_CACHE, else minisrgan in the user's cache folder.

    For a user without a home folder, it is this process' `private_folder`.
    """
    if chosen := os.environ.get("MINISRGAN_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minisrgan"
    except RuntimeError:  # no HOME, and no entry of this user in the system's list
        return private_folder()


def make_cache_folder() -> Path:
    """Make the cache folder and return it. Only the user may read a folder that is made here or is the usual one."""
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not os.environ.get("MINISRGAN_CACHE") and folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)  # earlier versions left the permissions to the user's umask
    return folder
