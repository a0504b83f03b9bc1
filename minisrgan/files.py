"""Files that are written whole or not at all, one writer a folder, and the folder of what is kept between runs."""

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

from .errors import KernelError

PART = ".minisrgan-"  # how the name of a temporary file begins
FORSAKEN = 3600  # seconds: nobody writes that long at one


def free_name(path: Path | str) -> Path:
    """`path`, or the first of name-2, name-3, ... that is not there yet: a file that nobody named is never replaced."""
    path, n = Path(path), 1
    while os.path.lexists(candidate := path if n == 1 else path.with_name(f"{path.stem}-{n}{path.suffix}")):
        n += 1
    return candidate


def write_whole(path: Path | str, data: bytes | memoryview | Iterable[bytes | memoryview]) -> None:
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


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, unless they are there. Raises OSError."""
    upwards = [folder, *folder.parents]
    if file := next((each for each in upwards if each.is_file()), None):
        raise NotADirectoryError(ENOTDIR, "this is a file, where a folder is needed: name another", str(file))
    missing = [each for each in upwards if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):  # some file systems, and Windows, sync no folders
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def check_writable(path: Path | str) -> None:
    """Raise OSError if `write_whole` could not write `path`: before the minutes that its content takes, not after."""
    with replacement(path) as temporary:
        open(temporary, "xb").close()


@contextmanager
def replacement(path: Path | str) -> Generator[Path, None, None]:
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


def remove_leftovers(folder: Path, age: float = 0) -> None:
    """Remove the temporary files in a folder, not written to for `age` seconds, of writers that were killed."""
    for leftover in Path(folder).glob(f"{PART}*.part"):
        with suppress(OSError):  # another's, or gone already
            if time.time() - leftover.stat().st_mtime >= age:
                leftover.unlink()


def lock_file(path: Path) -> IO | None:
    """Lock a file, created if need be, for as long as what is returned, an open file, is not closed.

    The system unlocks it when the process ends, however it ends. Meanwhile the file says who holds it. Raises
    BlockingIOError, with that as its `strerror`, where another has locked it.
    """
    import fcntl  # there is none on Windows, where photos can be read all the same

    file = open(path, "a+", encoding="utf-8", errors="replace")
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


@functools.cache
def private_folder() -> Path:
    """For libraries of this process alone. It is removed when the process ends."""
    try:
        folder = tempfile.mkdtemp(prefix="minisrgan-")
    except OSError as error:
        raise KernelError(f"no folder for temporary files: {error}; TMPDIR names one") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def cache_folder() -> Path:
    """Where compiled kernels stay: $MINISRGAN_CACHE, else minisrgan in the user's own cache folder; for a user that
    has no folder, one of this process alone."""
    if chosen := os.environ.get("MINISRGAN_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minisrgan"
    except RuntimeError:  # no HOME, and no entry of this user in the system's list
        return private_folder()


def make_cache_folder() -> Path:
    """The folder, which is there then, and the user's alone if it was made by this or is the usual one."""
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not os.environ.get("MINISRGAN_CACHE") and folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)  # earlier versions left this to the user's umask
    return folder
