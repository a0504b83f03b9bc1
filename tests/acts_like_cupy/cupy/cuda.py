"""The stand-in's runtime, and RawModule: CUDA text, compiled for a CPU as a GPU would see it."""

import contextlib
import ctypes
import functools
import re
from types import SimpleNamespace

import numpy as np

from . import _nccl as nccl  # noqa: F401
from ._device import (  # noqa: F401
    COUNT,
    DRY,
    MEMORY,
    CUDARuntimeError,
    Event,
    Graph,
    MemoryPool,
    PinnedBytes,
    Stream,
    allocators,
    get_current_stream,
    perform,
    untouched,
    wait,
)  # fmt: skip

STATIC_LIMIT, DYNAMIC_LIMIT = 48 * 1024, 227 * 1024  # bytes of shared memory: without asking, and at most (sm_90)
MOST_THREADS, MOST_BLOCKS, MOST_BLOCKS_ACROSS = 1024, 2**31 - 1, 65535

KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+[^;{]*?\bvoid\s+[^;{]*?(\w+)\s*\(([^()]*)\)\s*{', re.DOTALL)
STRUCT = re.compile(r"\bstruct\s+(\w+)\s*{((?:\s*(?:int|long long)\s[^;{}()]*;)+)\s*}\s*;")  # of integers
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
SCALARS = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned": np.uint32,
    "long long": np.int64,
}

NO_HOST = "#undef CPU\n#undef __AVX512F__\n#undef __AVX__\n"  # a GPU's compiler knows nothing of the CPU's instructions

# CuPy compiles with -ftz=true: in float32 what is smaller than the smallest normal number is 0
FLUSHING = r"""
#ifdef __SSE__
#include <xmmintrin.h>
template <class Entry> static void run_flushing(void **args) {
    _mm_setcsr(_mm_getcsr() | 0x8040);
    Entry::run_thread(args);
}
#define EXPORT_FLUSHING(name) \
    extern "C" __attribute__((visibility("default"))) int launch_##name( \
        const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void **args) { \
        unsigned before = _mm_getcsr(); \
        int failed = cuda_launch(#name, run_flushing<CudaEntry<name>>, cuda_find_shared, grid, block, \
                                 shared_bytes, args); \
        _mm_setcsr(before); \
        return failed; \
    }
#else
#define EXPORT_FLUSHING EXPORT_KERNEL
#endif
"""


class CompileException(Exception):
    pass


class CUDADriverError(RuntimeError):
    pass


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=lambda: 1,
    getDevice=lambda: 0,
    getDeviceProperties=lambda device: {"name": b"none, a stand-in", "major": 9, "minor": 0},
    memGetInfo=lambda: (80 << 30, 80 << 30),
    driverGetVersion=lambda: 13000,
    deviceSynchronize=wait,
)
compiler = SimpleNamespace(CompileException=CompileException)
profiler = SimpleNamespace(start=lambda: None, stop=lambda: None)


def get_default_memory_pool():
    return MemoryPool()


def set_allocator(allocator=None):
    """Here every array has memory of its own anyway."""


@contextlib.contextmanager
def using_allocator(allocator=None):
    allocators.append(allocator)
    try:
        yield
    finally:
        allocators.pop()


def alloc_pinned_memory(size):
    return PinnedBytes(size)


def get_elapsed_time(start_event, end_event):
    return 1000 * (end_event.seconds - start_event.seconds)


class RawModule:
    def __init__(
        self, *, code=None, path=None, options=(), backend="nvrtc", translate_cucomplex=False,
        enable_cooperative_groups=False, name_expressions=None, jitify=False,
    ):  # fmt: skip
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("code is a text, and options are a tuple of texts")
        self.code, self.options = code, options
        self.real = next((option[7:] for option in options if option.startswith("-Dreal=")), "float")
        code = COMMENT.sub("", code)
        self.parameters = {name: listed.split(",") for name, listed in KERNEL.findall(code)}
        self.structs = {name: struct_type(members) for name, members in STRUCT.findall(code)}

    @functools.cached_property
    def compiled(self):
        from minisrgan.device import cpu, source
        from minisrgan.errors import KernelError

        cpu.runtime()
        export, flushing = ("EXPORT_FLUSHING", FLUSHING) if self.real == "float" else ("EXPORT_KERNEL", "")
        exports = "".join(f"{export}({name})\n" for name in self.parameters)
        header = ["-include", str(source.FOLDER / "cpu" / "cuda.h")]
        options = [*self.options, "-fvisibility=hidden", "-fno-strict-aliasing", "-Wno-unknown-pragmas", *header]
        try:
            return cpu.load(f"as-on-a-gpu-{self.real}", f"{NO_HOST}{self.code}{flushing}{exports}", options)
        except KernelError as error:
            raise CompileException(str(error)) from error

    def get_function(self, name):
        if name not in self.parameters:
            raise CUDADriverError("CUDA_ERROR_NOT_FOUND: named symbol not found")
        return RawKernel(self, name, getattr(self.compiled, f"launch_{name}"))


FUNCTIONS = {}  # handle → RawKernel


class RawKernel:
    """It is launched by `driver.launchKernel`, as CuPy launches it itself."""

    def __init__(self, module, name, function):
        self.name, self.function = name, function
        self.max_dynamic_shared_size_bytes = STATIC_LIMIT
        types = SCALARS | module.structs | {"real": SCALARS[module.real]}
        self.types = [np.dtype(np.uint64 if "*" in each else types[type_of(each)]) for each in module.parameters[name]]
        self.pointers = [i for i, each in enumerate(module.parameters[name]) if "*" in each]
        self.kernel = SimpleNamespace(ptr=id(self))
        FUNCTIONS[id(self)] = self


def launch_kernel(
    f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y, block_dim_z, shared_mem_bytes, stream,
    kernel_params, extra
):  # fmt: skip
    """CUDA checks nothing of what a kernel is given; the stand-in checks what would go wrong on a GPU."""
    from minisrgan.device.cpu import runtime as cpu_runtime

    kernel = FUNCTIONS[f]
    grid, block = (grid_dim_x, grid_dim_y, grid_dim_z), (block_dim_x, block_dim_y, block_dim_z)
    across = max(grid[1:]) > MOST_BLOCKS_ACROSS or block[2] > 64 or min(*grid, *block) < 1
    if grid[0] > MOST_BLOCKS or np.prod(block) > MOST_THREADS or across:
        raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
    if shared_mem_bytes > min(kernel.max_dynamic_shared_size_bytes, DYNAMIC_LIMIT):
        raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
    COUNT["launches"] += 1
    if DRY:
        return
    # as the driver does: whoever launches may write the next arguments into the same memory at once
    table = (ctypes.c_void_p * len(kernel.types)).from_address(kernel_params)
    slots = [ctypes.create_string_buffer(ctypes.string_at(at, each.itemsize)) for at, each in zip(table, kernel.types)]
    pointers = (ctypes.c_void_p * len(slots))(*map(ctypes.addressof, slots))
    dims = [(ctypes.c_uint * 3)(*size) for size in (grid, block)]
    given = [MEMORY.get(ctypes.c_uint64.from_buffer(slots[i]).value) for i in kernel.pointers]
    guards = [guard for memory in given if memory for guard in memory.guards]

    def work():
        if kernel.function(*dims, ctypes.c_uint(shared_mem_bytes), pointers):
            raise CUDADriverError(cpu_runtime().kernel_error().decode())
        if slots and not untouched(guards):
            raise MemoryError(f"{kernel.name} wrote beyond an array that it was given")

    perform(work, *filter(None, given))


driver = SimpleNamespace(CUDADriverError=CUDADriverError, launchKernel=launch_kernel)


def struct_type(members):
    """The dtype of a struct of integers and of arrays of them."""
    return np.dtype([
        (name, SCALARS[kind], *([int(length)] if length else []))
        for kind, listed in re.findall(r"(int|long long)\s([^;]*);", members)
        for name, length in re.findall(r"(\w+)(?:\[(\d+)\])?", listed)
    ])  # fmt: skip


def type_of(parameter):
    """`int` of a parameter `const int count`."""
    return " ".join(word for word in parameter.split()[:-1] if word not in ("const", "__grid_constant__"))
