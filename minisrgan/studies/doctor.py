"""`minisrgan doctor`: what this machine has, which device is used, and why not the others."""

import os
import platform
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import PIL

from .. import __version__
from ..device import PROBLEMS, choose_device, cuda_problem
from ..device.cpu import find_compiler, problem_of
from ..errors import DeviceError, KernelError
from ..files import cache_folder
from ..nvidia import cupy_extra, nvidia_gpu


def print_doctor(device=None):
    """Print the report; the exit status: 2 for a device that cannot be had, which the report says."""
    rows, found = doctor_report(device)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")
    return 0 if found else 2


def doctor_report(device=None):
    """(what there is, as (name, value) rows; whether the device can be had)."""
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
    rows += [("GPU", gpu()), ("C++ compiler", compiler()), ("kernel cache", kernel_cache()), ("CPUs", str(cpu_count()))]
    memory = free_memory()
    if memory:
        rows.append(("free memory", memory))
    return rows, chosen is not None


def blas():
    """The library behind NumPy's matrix product, and the threads it may use."""
    library = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable):
            threads = f"{os.environ[variable]} by {variable}"
            break
    else:
        threads = str(cpu_count())
    return f"{library['name']} {library.get('version', '')}, threads: {threads}"


def gpu():
    """The GPU as CuPy sees it, else as its driver does."""
    if cuda_problem() is None:
        import cupy

        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        free, total = cupy.cuda.runtime.memGetInfo()
        driver = cuda_version(cupy.cuda.runtime.driverGetVersion())
        return f"{name}, {gib(free)} of {gib(total)} free, driver for CUDA {driver}, CuPy {cupy.__version__}"
    found = nvidia_gpu()
    if not found:
        return "none: no NVIDIA driver (libcuda.so.1) finds one"
    driver, (major, minor) = found
    advice = "`make setup` brings CuPy for it" if cupy_extra(*found) else "its driver is too old for CuPy"
    return f"compute capability {major}.{minor}, driver for CUDA {cuda_version(driver)}; {advice}"


def compiler():
    """The C++ compiler that the kernels are compiled by, and its version."""
    try:
        found = find_compiler()
    except KernelError as error:
        return f"none: {error}"
    if not found:
        return "none: not needed; g++ or clang++ would run the CUDA kernels on the CPU"
    version = re.search(r'#define __VERSION__ "(.*)"', found.identity)
    return f"{shlex.join(found.command)}: version {version[1] if version else 'unknown'}"


def kernel_cache():
    """The folder of compiled kernels, and what it holds."""
    folder = cache_folder()
    if not os.access(next(each for each in (folder, *folder.parents) if os.path.exists(each)), os.W_OK):
        return f"{folder}: cannot be written; MINISRGAN_CACHE names another folder"
    if folder.exists() and (problem := problem_of(folder)):
        return f"{folder}: not used, for {problem}; MINISRGAN_CACHE names another folder"
    sizes = [path.stat().st_size for path in folder.glob("*.so")]
    return f"{folder}: {len(sizes)} libraries, {sum(sizes) / 2**20:.1f} MiB"


def cpu_count():
    """The CPUs this process may use: in a container often fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def free_memory(meminfo=Path("/proc/meminfo")):
    """Free and total memory as Linux tells it; None elsewhere."""
    if not meminfo.exists():
        return None
    lines = (line.partition(":") for line in meminfo.read_text(encoding="utf-8").splitlines())
    kib = {name: int(rest.split()[0]) for name, _, rest in lines}
    return f"{gib(1024 * kib['MemAvailable'])} of {gib(1024 * kib['MemTotal'])}"


def cuda_version(number):
    """12040 as 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


def gib(size):
    return f"{size / 2**30:.1f} GiB"
