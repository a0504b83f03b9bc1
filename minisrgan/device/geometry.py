"""How launches are cut up: the numbers that Python and a kernel must agree on, and this is their one owner.

    macros("conv.cu", False, WIDE=2)     {"WIDE": 2, "THREADS": 32}, on a CPU

A file of kernels is compiled with these macros, has no defaults for them, and asserts what it assumes of them. What a
kernel has for itself (the rows of sums that fit its registers, the depth of a slab) is its own and stays there.

THREADS is how many threads a block has of the kernels that are launched with block=None.
"""

from ..errors import KernelError


def macros(file, gpu, **choice):
    """All macros of a file, on a GPU or on a CPU, for what the caller chooses of them: its parameters here, by name.

    Raises KernelError for a choice that the file does not have, or that is missing.
    """
    try:
        return FILES[file](gpu, **choice) if file in FILES else choice
    except TypeError as error:
        raise KernelError(f"{file} is not compiled like this: {error}") from error


def adam(gpu):
    return {"THREADS": 256 if gpu else 1}


def channels(gpu):
    """COLUMNS of a thread. On a CPU one thread has as many as a few vector registers hold."""
    return {"THREADS": 256, "COLUMNS": 1} if gpu else {"THREADS": 1, "COLUMNS": 64}


def conv(gpu, WIDE):
    """WIDE: columns of threads, 1, 2 or 4, and on a GPU 4 or 8. The wider a block's tile, the lower."""
    return {"WIDE": WIDE, "THREADS": 128 if gpu else 32}


def conv_few(gpu, FEW, KH, KW):
    """For FEW outputs and a kernel of KH × KW: the fewer outputs, the more rows of pixels fit a thread's registers."""
    rows = 4 if FEW <= 3 else 2 if FEW <= 6 else 1
    return {"FEW": FEW, "KH": KH, "KW": KW, "ROWS_P": rows, "THREADS": (128 if gpu else 32) // rows}


def matmul(gpu, SKINNY=0, NARROW=0):
    """THREADS_N columns of threads. On a CPU a skinny product has one row of them, a narrow one one column."""
    if SKINNY:
        threads, columns = (64, 32) if gpu else (32, 32)
    elif NARROW:
        threads, columns = (64, 4) if gpu else (4, 1)
    else:
        threads, columns = (64, 8) if gpu else (16, 2)
    return {"SKINNY": SKINNY, "NARROW": NARROW, "THREADS": threads, "THREADS_N": columns}


def pooling(gpu, SIZE):
    """SIZE: known to the compiler, so that it can unroll a square and make vectors of channels."""
    return {"SIZE": SIZE}


def winograd(gpu):
    """CHUNK: tiles that a block transforms and multiplies at once, which stay in its second-level cache. Input channels
    are rounded up to a multiple of UNIT_C, output channels to one of UNIT_O."""
    return {"CHUNK": 36, "UNIT_C": 16, "UNIT_O": 32}


OWNERS = adam, channels, conv, conv_few, matmul, pooling, winograd
FILES = {f"{owner.__name__}.cu": owner for owner in OWNERS}
