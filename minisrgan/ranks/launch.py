"""Was this process started as one of several? Their launcher says so in environment variables."""

import os
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

LAUNCHERS = (  # the variables of a launcher that hold the rank, the size, the local rank and the local size
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  # MPICH and Intel MPI
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    # srun; SLURM_NTASKS would not do, since a batch script, which is one process, has it too
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""),
)
THREADS = ("MINISRGAN_THREADS", "OMP_NUM_THREADS")  # the kernels' on a CPU, and BLAS'


class Place(NamedTuple):
    """Which of `size` ranks this process is, and which of the `local_size` ranks on its machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def place_of(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The process' Place; None if it was started alone."""
    for names in LAUNCHERS:
        try:
            rank, size, local_rank, local_size = (int(environment.get(name) or default) for name, default in
                                                  zip(names, ("-1", "1", "0", "1")))  # fmt: skip
        except ValueError:
            continue
        if 0 <= rank < size and size > 1:
            return Place(rank, size, local_rank, max(local_size, 1))
    return None


def share_machine(place: Place, environment: MutableMapping[str, str] = os.environ) -> None:
    """Give the process its part of the machine: a GPU of its own, and its part of the cores as threads.

    It comes before NumPy and CuPy are imported, which read these variables. What is set already stays. A process that
    its launcher has bound to some cores uses those.
    """
    gpus = [each for each in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    if len(gpus) != 1:
        of_this = gpus[place.local_rank : place.local_rank + 1] if gpus else [str(place.local_rank)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(of_this)
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < cores:
        return
    for name in THREADS:
        environment.setdefault(name, str(max(cores // place.local_size, 1)))
