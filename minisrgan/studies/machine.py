"""What this machine has: for `doctor` to say, and for a benchmark's results to name."""

import datetime
import os
import platform
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np

from .. import __version__
from ..device import cuda_problem
from ..device.cpu import find_compiler, runtime
from ..device.processor import cpu_count, cpu_model
from ..errors import KernelError
from ..nvidia import cupy_extra, nvidia_gpu


def describe_machine(device: str) -> dict:
    """What a benchmark on that device ran on, for its results."""
    threads = runtime().kernel_threads() if device == "cpu" else int(re.findall(r"threads: (\d+)", blas())[0])
    about = {
        "processor": gpu().partition(",")[0] if device == "cuda" else cpu_model(),
        "cpu": cpu_model(),
        "cpus": cpu_count(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": f"{np.__version__} with {blas()}",
        "minisrgan": __version__,
        "commit": commit(),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "load_average": os.getloadavg()[0],  # before the measurement: what else runs makes its figures noise
    }
    if device == "cpu":
        about["compiler"] = compiler()
    if device == "cuda":
        about["gpu"] = gpu()
    return about


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> str | None:
    """Free and total memory, as Linux reports them; None on other systems."""
    if not meminfo.exists():
        return None
    lines = (line.partition(":") for line in meminfo.read_text(encoding="utf-8").splitlines())
    kib = {name: int(rest.split()[0]) for name, _, rest in lines}
    return f"{gib(1024 * kib['MemAvailable'])} of {gib(1024 * kib['MemTotal'])}"


def blas() -> str:
    """The library that computes NumPy's matrix products, and how many threads it may use."""
    library = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable):
            threads = f"{os.environ[variable]} by {variable}"
            break
    else:
        threads = str(cpu_count())
    return f"{library['name']} {library.get('version', '')}, threads: {threads}"


def compiler() -> str:
    """The C++ compiler that compiles the kernels, and its version."""
    try:
        found = find_compiler()
    except KernelError as error:
        return f"none: {error}"
    if not found:
        return "none: not needed; with g++ or clang++ the CUDA kernels would run on the CPU"
    version = re.search(r'#define __VERSION__ "(.*)"', found.identity)
    return f"{shlex.join(found.command)}: version {version[1] if version else 'unknown'}"


def gpu() -> str:
    """The GPU as CuPy describes it; without CuPy, as its driver does."""
    if cuda_problem() is None:
        import cupy

        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        free, total = cupy.cuda.runtime.memGetInfo()
        cuda = cuda_version(cupy.cuda.runtime.driverGetVersion())
        return f"{name}, {gib(free)} of {gib(total)} free, driver for CUDA {cuda}, CuPy {cupy.__version__}"
    found = nvidia_gpu()
    if not found:
        return "none: no NVIDIA driver (libcuda.so.1) finds one"
    driver, (major, minor) = found
    advice = "`make setup` brings CuPy for it" if cupy_extra(*found) else "its driver is too old for CuPy"
    return f"compute capability {major}.{minor}, driver for CUDA {cuda_version(driver)}; {advice}"


def cuda_version(number: int) -> str:
    """12040 as 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


def gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def commit() -> str | None:
    """The commit of the code that runs, with "-dirty" if it was changed since. None if it is not in its repository."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # an installed copy may lie below somebody else's repository, which does not track it
        git("ls-files", "--error-unmatch", "../__init__.py")
        return git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None
