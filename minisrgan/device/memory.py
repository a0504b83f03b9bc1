"""How much memory this process has taken."""

import re
import sys
from pathlib import Path

from .graph import graphs


def most_memory(device: str) -> int:
    """The most bytes of memory that this process has had: on a GPU the size of CuPy's pool, which gives nothing back by
    itself, and of the graphs' arenas; on a CPU what was resident at a time."""
    if device == "cuda":
        import cupy

        return cupy.get_default_memory_pool().total_bytes() + sum(graph.arena for graph in graphs)
    return high_water_mark()


def high_water_mark(status: Path = Path("/proc/self/status")) -> int:
    """The most bytes of memory that this process has had resident at a time."""
    # not `ru_maxrss`: on Linux that starts from what the process had that started this one
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))):
        return int(found[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
