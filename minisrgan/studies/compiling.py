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
from ..device.geometry import FLOAT_ONLY, macros
from ..device.source import first_errors, kernel_files, kernel_names
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
        for real in (("float",) if file in FLOAT_ONLY else ("float", "double"))
    ]


def compile_one(job: Job) -> tuple[float, str]:
    """Compile it: (the seconds that this took, why it failed)."""
    start, problem = time.perf_counter(), ""
    try:
        cuda_module(*job).get_function(kernel_names(job[0])[0])
    except Exception as error:  # of CuPy, of the driver
        problem = f": {type(error).__name__}: {first_errors(str(error))}"
    return time.perf_counter() - start, problem


def compile_all(files: Sequence[str] = (), say: Say = print) -> int:
    """Compile the files, by default all of them. Returns the exit status: 1 if something does not compile."""
    todo = jobs(files or kernel_files())
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(min(PROCESSES, len(todo))) as pool:
        made = pool.map(compile_one, todo, chunksize=1)
    for (file, real, defines), (seconds, problem) in zip(todo, made):
        choice = " ".join(f"{name}={value}" for name, value in defines)
        say(f"{seconds:7.2f} s  {file} {real} {choice}{problem}")
    failed = sum(bool(problem) for _, problem in made)
    chosen = {file for file, _, _ in todo}
    say(f"{len(todo)} ways of {len(chosen)} files in {time.perf_counter() - start:.1f} s, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(compile_all(sys.argv[1:]))
