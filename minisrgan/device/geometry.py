"""How launches are cut up: the one owner of the numbers that Python and a kernel must agree on.

    macros("conv.cu", False, WIDE=2)     {"WIDE": 2, "THREADS": 32}, on a CPU

A kernel file is compiled with these macros. It has no defaults for them, and asserts what it assumes about them.
Numbers that only the kernel needs stay in its file: how many rows of sums fit into registers, how deep a slab is.

THREADS is the number of threads of a block for kernels that are launched with block=None.
"""

from pathlib import Path

from ..errors import KernelError


def macros(file: str | Path, gpu: bool, **choice: int) -> dict[str, int]:
    """All macros of a kernel file, on a GPU or on a CPU.

    choice    the macros that the caller chooses: the parameters of the file's function below, by name

    Raises KernelError for a choice that the file does not have, or that is missing.
    """
    try:
        return FILES[file](gpu, **choice) if file in FILES else choice
    except TypeError as error:
        raise KernelError(f"{file} is not compiled like this: {error}") from error


def adam(gpu: bool) -> dict[str, int]:
    """PIECE: how many elements of an array a block takes at once."""
    return {"THREADS": 256, "PIECE": 4096} if gpu else {"THREADS": 1, "PIECE": 16384}


def ema(gpu: bool) -> dict[str, int]:
    return adam(gpu)


def measures(gpu: bool) -> dict[str, int]:
    """IMAGE_THREADS: of a block for images; a multiple of their channels."""
    return adam(gpu) | {"IMAGE_THREADS": 192 if gpu else 12}


def channels(gpu: bool) -> dict[str, int]:
    """COLUMNS: of one thread. On a GPU 16 bytes of float32, on a CPU as many as fit into a few vector registers."""
    return {"THREADS": 256, "COLUMNS": 4} if gpu else {"THREADS": 1, "COLUMNS": 64}


def conv(gpu: bool, WIDE: int) -> dict[str, int]:
    """WIDE: columns of threads, 1, 2 or 4. (A GPU has 4 or 8.) A wide tile of a block is a low one."""
    return {"WIDE": WIDE, "THREADS": 128 if gpu else 32}


def conv_few(gpu: bool, FEW: int, KH: int, KW: int) -> dict[str, int]:
    """FEW output channels, weights of KH × KW. With fewer outputs a thread's registers hold more rows of pixels."""
    rows = 4 if FEW <= 3 else 2 if FEW <= 6 else 1
    return {"FEW": FEW, "KH": KH, "KW": KW, "ROWS_P": rows, "THREADS": 128 if gpu else 32 // rows}


def conv_mma(gpu: bool, PRECISION: int, TILE_N: int) -> dict[str, int]:
    """PRECISION of the factors: 1 TF32, 3 two TF32 numbers each, 16 bf16. TILE_N: outputs of a block, 32, 64 or 128.
    Blocks and slabs are a GPU's on a CPU too: there this kernel is only tested."""
    return {"PRECISION": PRECISION, "TILE_N": TILE_N, "TILE_M": 128, "THREADS": 128, "SLAB": 16, "STAGES": 4}


def matmul(gpu: bool, SKINNY: int = 0, NARROW: int = 0) -> dict[str, int]:
    """THREADS_N: columns of threads. On a CPU a skinny product has one row of threads, a narrow one one column."""
    if SKINNY:
        threads, columns = (64, 32) if gpu else (32, 32)
    elif NARROW:
        threads, columns = (64, 4) if gpu else (4, 1)
    else:
        threads, columns = (64, 8) if gpu else (16, 2)
    return {"SKINNY": SKINNY, "NARROW": NARROW, "THREADS": threads, "THREADS_N": columns}


def pooling(gpu: bool, SIZE: int) -> dict[str, int]:
    """SIZE: of a square's side. The compiler must know it, to unroll a square and to make vectors of channels."""
    return {"SIZE": SIZE}


def spectral(gpu: bool) -> dict[str, int]:
    return {"THREADS": 256 if gpu else 32}


def winograd(gpu: bool) -> dict[str, int]:
    """CHUNK: how many tiles a block transforms and multiplies at once. They stay in its second-level cache. Input
    channels are rounded up to a multiple of UNIT_C, output channels to a multiple of UNIT_O."""
    return {"CHUNK": 36, "UNIT_C": 16, "UNIT_O": 32}


OWNERS = adam, channels, conv, conv_few, conv_mma, ema, matmul, measures, pooling, spectral, winograd
FILES = {f"{owner.__name__}.cu": owner for owner in OWNERS}
FLOAT_ONLY = {"conv_mma.cu"}  # files whose kernels are not for float64
