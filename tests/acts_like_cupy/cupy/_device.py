"""The stand-in's device: its memory, its streams, and what a stream has recorded.

All work goes through `perform`, and is done at once, in order. Only a copy from the host that the host need not wait
for, and a graph, begin late: when the host waits, or when an array is made whose numbers need them. Until then all
other work waits too. So whoever fills a buffer again too early is found out. And while a stream is capturing, work is
only recorded: no number changes. What the host could not do then raises CUDA's errors.
"""

import math
import os
import time
import weakref
from collections import Counter

import numpy as np

COUNT = Counter()  # "launches", "synchronisations", "to device", "to host", "elementwise", "products", "graphs"
ALIGNMENT, GUARD = 512, 512  # bytes: where CuPy's allocations start; what nobody may touch before and after them
UNTOUCHED = 0xA5
DRY = bool(os.environ.get("FAKE_CUPY_DRY"))  # then no kernel runs, and memory holds anything


class CUDARuntimeError(RuntimeError):
    pass


# ---- Memory ----------------------------------------------------------------------------------------------


class Memory:
    """What cudaMalloc returns: bytes between guards."""

    def __init__(self, size):
        raw = np.empty(size + ALIGNMENT + 2 * GUARD, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT + GUARD
        self.memory, self.bytes, self.guards = self, raw[start : start + size], (raw[:start], raw[start + size :])
        for guard in self.guards:
            guard[:] = UNTOUCHED


def untouched(guards):
    return all((guard == UNTOUCHED).all() for guard in guards)


class Chunk:
    """A part of a Memory, and the parts beside it."""

    def __init__(self, memory, start, size, before=None, after=None):
        self.memory, self.start, self.size, self.before, self.after, self.free = (
            memory,
            start,
            size,
            before,
            after,
            False,
        )

    @property
    def bytes(self):
        return self.memory.bytes[self.start : self.start + self.size]


class MemoryPool:
    """As CuPy's: it takes the smallest free chunk that is large enough, splits it, and joins it again when it's freed.

    There is one for each stream in CuPy; nobody here allocates from one pool on two streams.
    """

    def __init__(self, allocator=None):
        self.chunks = []

    def malloc(self, size):
        if size == 0:
            return Pointer(Memory(0))
        size = -(-size // ALIGNMENT) * ALIGNMENT
        fitting = [each for each in self.chunks if each.free and each.size >= size]
        if fitting:
            chunk = min(fitting, key=lambda each: each.size)
            if chunk.size > size:
                rest = Chunk(chunk.memory, chunk.start + size, chunk.size - size, chunk, chunk.after)
                rest.free = True
                if chunk.after:
                    chunk.after.before = rest
                chunk.after, chunk.size = rest, size
                self.chunks.append(rest)
            chunk.free = False
        else:
            chunk = Chunk(Memory(size), 0, size)
            self.chunks.append(chunk)
        return Pointer(chunk, weakref.ref(self))

    def give_back(self, chunk):
        chunk.free = True
        for one, other in ((chunk, chunk.after), (chunk.before, chunk)):
            if one and other and one.free and other.free:
                one.size, one.after = one.size + other.size, other.after
                if other.after:
                    other.after.before = one
                self.chunks.remove(other)

    def free_all_blocks(self, stream=None):
        gone = [each for each in self.chunks if each.free and not each.before and not each.after]
        self.chunks = [each for each in self.chunks if each not in gone]

    def total_bytes(self):
        return sum(each.size for each in self.chunks)

    def used_bytes(self):
        return sum(each.size for each in self.chunks if not each.free)


class Pointer:
    """What an allocator returns. When nobody needs it any more, the memory goes back."""

    def __init__(self, chunk, pool=lambda: None):
        self.chunk, self.memory, self.pool = chunk, chunk.memory, pool

    def __del__(self):
        if pool := self.pool():
            pool.give_back(self.chunk)


MEMORY = weakref.WeakValueDictionary()  # address that a kernel may be given → the Memory that it is in
allocators = [lambda size: Pointer(Memory(size))]  # by default no array gets the memory of another: overruns are found


def fresh(shape, dtype, order="C"):
    """(a NumPy array in memory of its own that is full of NaN or -1, what keeps that memory)."""
    dtype, shape = np.dtype(dtype), (shape,) if np.isscalar(shape) else tuple(map(int, shape))
    if dtype.kind not in "fiub" or not dtype.isnative:
        raise TypeError(f"Unsupported type {dtype}")
    pointer = allocators[-1](math.prod(shape) * dtype.itemsize)
    array = pointer.chunk.bytes[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape, order=order)
    if not DRY:
        content = pointer.chunk.bytes.view(dtype) if dtype.kind == "f" else pointer.chunk.bytes
        nothing = {"f": np.nan, "b": 1}.get(dtype.kind, 255)
        perform(lambda: content.fill(nothing), pointer.memory)
    return array, pointer


# ---- Streams ---------------------------------------------------------------------------------------------


class Graph:
    """What a stream has recorded."""

    def __init__(self, work):
        self.work = work  # (function, weak references to the memory that it touches)

    def launch(self, stream=None):
        refuse_while_capturing()
        COUNT["graphs"] += 1
        kept = [each() for _, memories in self.work for each in memories]  # what is freed from now on is so afterwards
        if None in kept:
            raise CUDARuntimeError("cudaErrorIllegalAddress: a graph touches memory that was freed")

        def run():
            for function, _ in self.work:
                function()
            kept.clear()

        LATE.append(run)


LATE = []  # what has not begun yet, in order
CURRENT = []  # the streams of `with stream:`, the innermost last


class Stream:
    null = None

    def __init__(self, null=False, non_blocking=False, ptds=False):
        self.ptr, self.non_blocking, self.recorded, self.broken = 0 if null else id(self), non_blocking, None, False

    def __enter__(self):
        CURRENT.append(self)
        return self

    def __exit__(self, *error):
        CURRENT.pop()

    def synchronize(self):
        wait()

    def record(self, event=None):
        return (event or Event()).record(self)

    def is_capturing(self):
        return self.recorded is not None

    def begin_capture(self, mode=None):
        if not self.ptr:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.recorded, self.broken = [], False

    def end_capture(self):
        work, self.recorded = self.recorded, None
        if work is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        if self.broken:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"
            )
        return Graph(work)


Stream.null = Stream(null=True)


def get_current_stream(device_id=-1):
    return CURRENT[-1] if CURRENT else Stream.null


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.last = self.seconds = None

    def record(self, stream=None):
        refuse_while_capturing()
        self.last = LATE[-1] if LATE else None
        self.seconds = time.perf_counter()
        return self

    def synchronize(self):
        refuse_while_capturing()
        COUNT["event waits"] += 1
        while self.last in LATE:
            LATE.pop(0)()


def perform(function, *memories):
    """Do work on the device, or record it. `memories` are what it touches."""
    stream = get_current_stream()
    if stream.is_capturing():
        stream.recorded.append((function, [weakref.ref(each) for each in memories]))
    elif LATE:
        LATE.append(function)
    else:
        function()


def finish():
    while LATE:
        LATE.pop(0)()


def wait():
    """The host waits for the device."""
    refuse_while_capturing()
    COUNT["synchronisations"] += 1
    finish()


def refuse_while_capturing():
    stream = get_current_stream()
    if stream.is_capturing():
        stream.broken = True
        raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing")


def capturing():
    return get_current_stream().is_capturing()


def copy_from_host(array, host):
    """Copy numbers of the host's into an array. From pinned memory they may be read much later."""
    refuse_while_capturing()  # CUDA would record it, and at each replay copy whatever lies there by then
    COUNT["to device"] += 1
    if is_pinned(host):
        LATE.append(lambda: np.copyto(array, host))
    else:
        perform(lambda: np.copyto(array, host))


class PinnedBytes(bytearray):
    """Memory of the host's that the device reads by itself."""


def is_pinned(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(getattr(array, "obj", array), PinnedBytes)
