"""Which processor computes."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path


def processor(device: str) -> str:
    """The name of what computes on that device: the GPU's, or the CPU's and how many of its cores may be used."""
    if device == "cuda":
        import cupy

        return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"{cpu_model()}, {cpu_count()} CPU{'s' * (cpu_count() != 1)}"


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name: from Linux, from macOS, else what Python knows."""
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.+)", cpuinfo.read_text(encoding="utf-8"))):
        return found[1]
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def cpu_count() -> int:
    """How many CPUs this process may use. In a container that is often fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
