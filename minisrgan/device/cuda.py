"""Kernels on a GPU: compiled by NVRTC, through CuPy."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import KernelError
from .source import cuda_source, first_errors, flags

if TYPE_CHECKING:
    from .launch import Bind, Kernel


def bind_cuda(kernel: "Kernel", real: str, defines: tuple[tuple[str, int], ...]) -> "Bind":
    """A function (grid, block, shared, frame) that makes a function that runs the kernel on the GPU.

    It goes to the driver as CuPy's RawKernel does, but with arguments that already lie in memory.
    """
    import cupy

    try:
        function = cuda_module(kernel.file, real, defines).get_function(kernel.name)
        handle = function.kernel.ptr
    except cupy.cuda.compiler.CompileException as error:
        raise KernelError(f"NVRTC cannot compile {kernel.file}: {first_errors(str(error))}") from error
    start, current_stream = cupy.cuda.driver.launchKernel, cupy.cuda.get_current_stream

    def bind(grid, block, shared, frame):
        if shared > function.max_dynamic_shared_size_bytes:
            function.max_dynamic_shared_size_bytes = shared
        table, fill, lock = frame.table, frame.fill, frame.lock

        def run(moving):
            try:
                with lock:
                    fill(*moving)
                    start(handle, *grid, *block, shared, current_stream().ptr, table, 0)  # it copies the arguments
            except cupy.cuda.driver.CUDADriverError as error:
                raise KernelError(f"{kernel.name}: grid {grid}, block {block}: {error}") from error

        return run

    return bind


@functools.cache
def cuda_module(file: str | Path, real: str, defines: tuple[tuple[str, int], ...]) -> Any:
    import cupy

    return cupy.RawModule(code=cuda_source(file), options=tuple(cuda_options(real, defines)))


def cuda_options(real: str, defines: Iterable[tuple[str, int]] = ()) -> list[str]:
    return ["-std=c++17", *flags(real, defines)]
