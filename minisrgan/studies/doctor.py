"""`minisrgan doctor`: what this machine has, which device is used, and why not the others."""

import os
import platform
import sys

import numpy as np
import PIL

from .. import __version__
from ..device import PROBLEMS, choose_device
from ..device.cpu import problem_of
from ..device.graph import graph_problem
from ..device.precision import precision
from ..errors import DeviceError
from ..files import cache_folder
from .machine import blas, compiler, cpu_count, free_memory, gpu


def print_doctor(device: str | None = None) -> int:
    """Print the report. Returns the exit status: 2 if the device cannot be had, and then the report says why."""
    rows, found = doctor_report(device)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")
    return 0 if found else 2


def doctor_report(device: str | None = None) -> tuple[list[tuple[str, str]], bool]:
    """((name, value) rows that say what there is; whether the device can be had)."""
    try:
        chosen, reason = choose_device(device)
    except DeviceError as error:
        chosen, reason = None, str(error)
    rows = [
        ("minisrgan", __version__),
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("NumPy", f"{np.__version__} with {blas()}"),
        ("Pillow", PIL.__version__),
        ("device", f"{chosen} ({reason})" if chosen else reason),
    ]
    for other, find_problem in PROBLEMS.items():
        if other != chosen:
            rows.append((f"not {other}", find_problem() or "it works too; --device chooses"))
    rows.append(("precision", f"{precision()}, of a GPU's convolutions; --precision chooses"))
    if chosen == "cuda":
        rows.append(("CUDA graphs", graph_problem() or "a training step is one; MINISRGAN_GRAPH=off switches that off"))
    rows += [("GPU", gpu()), ("C++ compiler", compiler()), ("kernel cache", kernel_cache()), ("CPUs", str(cpu_count()))]
    memory = free_memory()
    if memory:
        rows.append(("free memory", memory))
    return rows, chosen is not None


def kernel_cache() -> str:
    """The folder of compiled kernels, and what it holds."""
    folder = cache_folder()
    if not os.access(next(each for each in (folder, *folder.parents) if os.path.exists(each)), os.W_OK):
        return f"{folder}: cannot be written; MINISRGAN_CACHE names another folder"
    if folder.exists() and (problem := problem_of(folder)):
        return f"{folder}: not used, for {problem}; MINISRGAN_CACHE names another folder"
    sizes = [path.stat().st_size for path in folder.glob("*.so")]
    return f"{folder}: {len(sizes)} libraries, {sum(sizes) / 2**20:.1f} MiB"
