"""The ranks' messages by MPI, which mpiexec starts. Arrays on GPUs go by NCCL instead (nccl.py).

A wait is a question asked again and again, never a blocking call: so a rank that waits answers to signals, leaves its
core to others after a while, and gives up in the end. mpiexec itself ends all ranks if one is killed.
"""

import math
import os
import time
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Array, on_gpu
from ..errors import ConfigError, RanksError
from .communicator import Communicator
from .launch import Place
from .nccl import Nccl

PATIENCE = 1800.0  # seconds for an answer; rank 0 may measure photos, draw and save meanwhile
# A rank that waits asks without a pause for so many seconds; then it lets others use its core between two questions;
# and then it sleeps for so long between them. A step's messages mostly come in the first of these times.
AWAKE, DROWSY, PAUSE = 0.002, 0.02, 5e-4
INSTALL = "pip install mpi4py mpich (it brings an mpiexec that fits)"


class Mpi(Communicator):
    """All processes that mpiexec has started. Raises ConfigError if they cannot talk to each other."""

    def __init__(self, place: Place) -> None:
        os.environ.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")  # MPICH's; we say in a line why we stop
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be used ({error})"
            raise ConfigError(f"started as {place.size} ranks, but mpi4py {why}: {INSTALL}") from None
        self.world: Any = MPI.COMM_WORLD
        if self.world.size != place.size:
            raise ConfigError(
                f"started as {place.size} ranks, but mpi4py sees {self.world.size}: its MPI is not the launcher's; "
                + INSTALL
            )
        self.rank, self.size = self.world.rank, self.world.size
        self.crowded = place.local_size > (os.cpu_count() or 1)
        self.ending = self.world.Dup()  # for `meet`, which must not be taken for another message

    def gather(self, array: Array) -> Array:
        if on_gpu(array):
            return self.nccl.gather(array)
        out = np.empty((self.size, *array.shape), array.dtype)
        self.wait(self.world.Iallgather(np.ascontiguousarray(array), out))
        return out

    def exchange(self, array: Array) -> Array:
        if on_gpu(array):
            return self.nccl.exchange(array)
        out = np.empty_like(array)
        self.wait(self.world.Ialltoall(np.ascontiguousarray(array), out))
        return out

    def broadcast(self, data: bytes) -> bytes:
        size = np.array([len(data)])
        self.wait(self.world.Ibcast(size))
        buffer = np.frombuffer(data, np.uint8).copy() if not self.rank else np.empty(int(size[0]), np.uint8)
        self.wait(self.world.Ibcast(buffer))
        return buffer.tobytes()

    @cached_property
    def nccl(self) -> Nccl:
        return Nccl(self)

    def wait(self, request: Any) -> None:
        if not arrives(request, math.inf if self.patient else PATIENCE, self.crowded):
            raise RanksError(f"no answer from the others in {PATIENCE / 60:g} minutes: one of them is stuck")

    def meet(self, seconds: float = PATIENCE) -> bool:
        """Wait at the end until all ranks have come to it; for so many seconds, and then return False."""
        return arrives(self.ending.Ibarrier(), seconds)

    def abort(self, status: int) -> None:
        """End all ranks at once."""
        self.world.Abort(status)


def arrives(request: Any, seconds: float, crowded: bool = True) -> bool:
    """Whether a message arrives within so many seconds. `crowded`: others of us may need this core meanwhile."""
    began = time.monotonic()
    while not request.Test():
        waited = time.monotonic() - began
        if waited > seconds:
            return False
        if waited > DROWSY:
            time.sleep(PAUSE)
        elif (crowded or waited > AWAKE) and hasattr(os, "sched_yield"):
            os.sched_yield()
    return True
