"""Compile every kernel for the GPU that is here, in several processes: `python -m minisrgan.studies.compiling`.

CuPy keeps what NVRTC makes in a cache on the disk. So what runs afterwards does not wait for the compiler, and neither
does a test's time limit or a measurement. File names as arguments choose some files of kernels.
"""

import multiprocessing
import sys
import time
from collections.abc import Sequence
from typing import TypeAlias

from ..device.cuda import cuda_module
from ..device.geometry import macros
from ..device.source import kernel_files, kernel_names
from . import Say
from .resources import variants

Job: TypeAlias = tuple[str, str, tuple[tuple[str, int], ...]]  # file, what `real` is, the macros

PROCESSES = 8


def jobs(files: Sequence[str]) -> list[Job]:
    """Every way in which the files are compiled for a GPU."""
    return [
        (file, real, tuple(sorted(macros(file, True, **dict(choice)).items())))
        for file in files
        for choice in variants(file)
        for real in ("float", "double")
    ]


def compile_one(job: Job) -> float:
    """Compile it, and return the seconds that this took."""
    start = time.perf_counter()
    cuda_module(*job).get_function(kernel_names(job[0])[0])
    return time.perf_counter() - start


def compile_all(files: Sequence[str] = (), say: Say = print) -> None:
    """Compile the files, by default all of them. Raises KernelError or CuPy's error for one that does not compile."""
    todo = jobs(files or kernel_files())
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(min(PROCESSES, len(todo))) as pool:
        took = pool.map(compile_one, todo, chunksize=1)
    for (file, real, defines), seconds in zip(todo, took):
        say(f"{seconds:7.2f} s  {file} {real} {' '.join(f'{name}={value}' for name, value in defines)}")
    say(f"{len(todo)} ways of {len({file for file, _, _ in todo})} files in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    compile_all(sys.argv[1:])
