"""The ranks' messages between GPUs, by NCCL through CuPy. They are queued on the stream that computes: nobody waits.

It has not been run on GPUs yet, only against a stand-in for CuPy. A rank that dies is noticed by mpiexec, and not here.
"""

from typing import TYPE_CHECKING

from ..arrays import Array, array_module

if TYPE_CHECKING:
    from .communicator import Communicator


class Nccl:
    """The same ranks as those of `ranks`, each with its current GPU."""

    def __init__(self, ranks: "Communicator") -> None:
        from cupy.cuda import nccl

        self.nccl, self.size = nccl, ranks.size
        key = nccl.get_unique_id()  # bytes, or a tuple in older versions of CuPy
        first = ranks.from_first(lambda: list(key))
        self.ranks = nccl.NcclCommunicator(ranks.size, type(key)(first), ranks.rank)

    def gather(self, array: Array) -> Array:
        xp, array = array_module(array), array_module(array).ascontiguousarray(array)
        out = xp.empty((self.size, *array.shape), array.dtype)
        stream = xp.cuda.get_current_stream().ptr
        self.ranks.allGather(array.data.ptr, out.data.ptr, array.nbytes, self.nccl.NCCL_UINT8, stream)
        return out

    def exchange(self, array: Array) -> Array:
        xp, array = array_module(array), array_module(array).ascontiguousarray(array)
        out, stream = xp.empty_like(array), xp.cuda.get_current_stream().ptr
        self.nccl.groupStart()  # all at once, or each would wait for the other to receive
        for rank in range(self.size):
            size = array[rank].nbytes
            self.ranks.send(array[rank].data.ptr, size, self.nccl.NCCL_UINT8, rank, stream)
            self.ranks.recv(out[rank].data.ptr, size, self.nccl.NCCL_UINT8, rank, stream)
        self.nccl.groupEnd()
        return out
