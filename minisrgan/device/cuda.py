"""Kernels on a GPU: compiled by NVRTC, through CuPy."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import KernelError
from .source import DTYPES, cuda_source, first_errors, flags

if TYPE_CHECKING:
    from .launch import Kernel, Parameter, Run


def bind_cuda(kernel: "Kernel", real: str, defines: tuple[tuple[str, int], ...]) -> "Run":
    """A function (grid, block, shared, values) that runs the kernel on the GPU."""
    import cupy

    try:
        function = cuda_module(kernel.file, real, defines).get_function(kernel.name)
    except cupy.cuda.compiler.CompileException as error:
        raise KernelError(f"NVRTC cannot compile {kernel.file}: {first_errors(str(error))}") from error
    types = [argument_type(each, real) for each in kernel.parameters]

    def run(grid, block, shared, values):
        if shared > function.max_dynamic_shared_size_bytes:
            function.max_dynamic_shared_size_bytes = shared
        # CuPy passes NumPy's scalars as they are, but a Python float as a double
        args = tuple([as_type(value) for as_type, value in zip(types, values)])
        try:
            function(grid, block, args, shared_mem=shared)
        except cupy.cuda.driver.CUDADriverError as error:
            raise KernelError(f"{kernel.name}: grid {grid}, block {block}: {error}") from error

    return run


def argument_type(parameter: "Parameter", real: str) -> Callable[[Any], Any]:
    """A function from an argument's value to what CuPy passes by value: a NumPy scalar, or for a struct a NumPy array
    with one element. (https://docs.cupy.dev/en/stable/user_guide/kernel.html#custom-user-types)"""
    if struct := parameter.struct:
        return lambda content: np.frombuffer(content, struct.dtype)
    return np.uint64 if parameter.pointer else DTYPES[real if parameter.type == "real" else parameter.type].type


@functools.cache
def cuda_module(file: str | Path, real: str, defines: tuple[tuple[str, int], ...]) -> Any:
    import cupy

    return cupy.RawModule(code=cuda_source(file), options=tuple(cuda_options(real, defines)))


def cuda_options(real: str, defines: Iterable[tuple[str, int]] = ()) -> list[str]:
    return ["-std=c++17", *flags(real, defines)]
