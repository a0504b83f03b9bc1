"""Kernels on a CPU: compiled by the system's C++ compiler, kept in a cache, run by kernels/cpu/runtime.cpp."""

import ctypes
import functools
import hashlib
import importlib.util
import logging
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from errno import EACCES
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .. import files
from ..errors import KernelError
from . import source
from .source import cuda_source, first_errors, flags, kernel_names, numbered

if TYPE_CHECKING:
    from .launch import Bind, Kernel

FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", "-pthread"]
FLAGS += ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]  # a GPU works like this anyway
if sys.platform == "darwin":
    FLAGS += ["-undefined", "dynamic_lookup"]  # the runtime is found when a library is loaded, as on Linux
NATIVE = (["-march=native"], ["-mcpu=native"], [])  # the first that the compiler knows
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
NO_COMPILER = "no C++ compiler: install g++ for speed (Debian: sudo apt install g++, macOS: xcode-select --install)"


def cpu_problem() -> str | None:
    """Why the kernels cannot run on the CPU, in a few words; None if they can."""
    try:
        runtime()
    except KernelError as error:
        return " ".join(str(error).split())
    return None


def bind_cpu(kernel: "Kernel", real: str, defines: tuple[tuple[str, int], ...]) -> "Bind":
    """A function (grid, block, shared, frame) that makes a function that runs the kernel on the CPU."""
    function = getattr(cpu_library(kernel.file, real, defines), f"launch_{kernel.name}")
    function.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p
    kernel_error = runtime().kernel_error

    def bind(grid, block, shared, frame):
        sizes, table, fill, lock = frame.sizes, frame.table, frame.fill, frame.lock

        def run(moving):
            with lock:
                fill(*moving)
                if function(sizes, sizes + 12, shared, table):
                    raise KernelError(kernel_error().decode())

        return run

    return bind


@functools.cache
def cpu_library(file: str | Path, real: str, defines: tuple[tuple[str, int], ...]) -> ctypes.CDLL:
    runtime()
    exports = "".join(f"EXPORT_KERNEL({name})\n" for name in kernel_names(file))
    options = [*flags(real, defines), "-fvisibility=hidden", "-include", str(source.FOLDER / "cpu" / "cuda.h")]
    return load(f"{Path(file).stem}-{real}", cuda_source(file) + exports, options)


@functools.cache
def runtime() -> ctypes.CDLL:
    """kernels/cpu/runtime.cpp, loaded once in a process: all kernels share its threads."""
    library = load("runtime", numbered("cpu/runtime.cpp"), [f"-I{source.FOLDER / 'cpu'}"], ctypes.RTLD_GLOBAL)
    library.kernel_error.restype = ctypes.c_char_p
    keep_freed_memory()
    return library


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed arrays for the next ones, as CuPy's pool does on a GPU.

    Otherwise it gives large arrays back to the system at once. Then the next array of the same size costs a page fault
    for every 4 KB, which takes as long as an element-wise kernel.
    """
    if hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def load(stem: str, text: str, options: list[str], mode: int = ctypes.DEFAULT_MODE) -> ctypes.CDLL:
    path = compiled(stem, text, options)
    try:
        return ctypes.CDLL(str(path), mode=mode)
    except OSError as error:
        raise KernelError(f"{error}; MINISRGAN_CACHE names another folder for compiled kernels") from error


class Compiler(NamedTuple):
    command: list[str]
    identity: str  # what else its output depends on: its version, and the instructions of this CPU


@functools.cache
def find_compiler() -> Compiler | None:
    """The first C++ compiler that works: $CXX, g++, clang++, c++, or the clang in the package ziglang. None: none.

    Raises KernelError if $CXX is no command.
    """
    commands = [words_of("CXX"), ["g++"], ["clang++"], ["c++"]]
    if importlib.util.find_spec("ziglang"):
        commands.append([sys.executable, "-m", "ziglang", "c++"])
    for command in commands:
        if not command or not shutil.which(command[0]):
            continue
        for native in NATIVE:
            # the predefined macros name the compiler's version, and each extension of this CPU
            question = [*command, *native, "-dM", "-E", "-x", "c++", os.devnull]
            try:
                answer = subprocess.run(question, capture_output=True, text=True, errors="replace", timeout=60)
            except (OSError, subprocess.TimeoutExpired):
                break
            if answer.returncode == 0 and "__cplusplus" in answer.stdout:
                return Compiler([*command, *native], answer.stdout)
    return None


def words_of(variable: str) -> list[str]:
    """The words of a command in an environment variable."""
    try:
        return shlex.split(os.environ.get(variable, ""))
    except ValueError as error:
        raise KernelError(f"${variable} is no command: {error} in it") from None


def compiled(stem: str, text: str, options: list[str]) -> Path:
    """The path of the library that the compiler makes of a C++ text. It is taken from the cache if it is there.

    A library's name has two hashes: one of everything that it is made from, one of its content. So an edited header
    makes another library, and a damaged library is not loaded. A library that another user could have written is not
    loaded either: whatever in the cache is not as it should be is ignored. $MINISRGAN_CXXFLAGS may have more flags,
    such as "-O0 -g" for a debugger. Raises KernelError.
    """
    compiler = find_compiler()
    if compiler is None:
        raise KernelError(NO_COMPILER)
    command = [*compiler.command, *FLAGS, *words_of("MINISRGAN_CXXFLAGS"), *options]
    headers = [path.read_text(encoding="utf-8") for path in sorted((source.FOLDER / "cpu").glob("*.h"))]
    key = digest("\0".join([*command, compiler.identity, *headers, text]).encode(errors="surrogateescape"))
    if kept := find_kept(files.cache_folder(), f"{stem}-{key}-"):
        return kept
    try:
        with tempfile.TemporaryDirectory(prefix="minisrgan-") as folder:
            written, made = Path(folder, f"{stem}.cpp"), Path(folder, f"{stem}.so")
            written.write_text(text, encoding="utf-8")
            command += ["-x", "c++", str(written), "-o", str(made)]
            ran = subprocess.run(command, capture_output=True, text=True, errors="replace")
            if ran.returncode or not made.is_file():
                problem = first_errors(ran.stderr) or f"it says nothing, and ends with {ran.returncode}"
                raise KernelError(f"{compiler.command[0]} cannot compile {stem}: {problem}")
            return keep(made, f"{stem}-{key}-{digest(made.read_bytes())}.so")
    except OSError as error:
        raise KernelError(f"cannot compile {stem}: {error}; TMPDIR names another folder for temporary files") from error


def find_kept(folder: Path, start: str) -> Path | None:
    """The library in the cache whose name begins with `start`. None: there is none that can be trusted."""
    with suppress(OSError):  # then there is none
        if problem_of(folder):
            return None
        for path in sorted(each for each in folder.iterdir() if each.name.startswith(start) and each.suffix == ".so"):
            with suppress(OSError):
                if ours(path.lstat(), stat.S_ISREG) and path.stem.endswith(digest(path.read_bytes())):
                    return path
    return None


def ours(about: os.stat_result, kind: Callable[[int], bool]) -> bool:
    """Whether `about`, from os.stat, is a file of that kind that belongs to this user and that no other may write."""
    return kind(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def problem_of(folder: Path) -> str | None:
    """Why libraries in a folder cannot be trusted, in a few words; None if they can. Raises OSError."""
    return None if ours(folder.stat(), stat.S_ISDIR) else "it is another user's, or others may write there"


def keep(made: Path, name: str) -> Path:
    """Put a new library into the cache, whole or not at all. If that fails, it is kept for this process alone."""
    folder = files.cache_folder()
    try:
        files.make_cache_folder()
        if problem := problem_of(folder):
            raise PermissionError(EACCES, problem)
        handle, part = tempfile.mkstemp(dir=folder, prefix=name)
        try:
            os.close(handle)
            shutil.copyfile(made, part)
            os.replace(part, folder / name)
        except OSError:
            os.unlink(part)
            raise
        return folder / name
    except OSError as error:
        problem = error.strerror or error
        warn_once(f"compiled kernels are not kept: {folder}: {problem}; MINISRGAN_CACHE names another folder")
        return made.rename(files.private_folder() / name)


warn_once = functools.cache(logging.getLogger(__name__).warning)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
