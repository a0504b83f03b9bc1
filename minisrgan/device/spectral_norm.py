"""The kernels of spectral.cu, on a GPU: a round of power iteration in two launches."""

from ..arrays import Array, on_gpu
from ..ops.spectral_norm import SpectralNorm, as_matrix, power_iteration
from .cuts import GPU_BLOCKS, contiguous, empty, tickets
from .geometry import macros
from .launch import launch
from .register import Computed, register

MOST_BLOCKS = 2 * GPU_BLOCKS
LEAST_ROWS = 64  # of a part


@register(power_iteration, on_gpu)
def iterate(w: Array, v: Array, times: int = 1) -> tuple[Array, Array]:
    w, v, columns = contiguous(w), v.copy(), w.shape[-1]
    rows, threads = w.size // columns, macros("spectral.cu", on_gpu(w))["THREADS"]
    u, across = empty(w, rows), -(-columns // threads)
    rows_per_part = max(LEAST_ROWS, -(-rows * across // MOST_BLOCKS))
    parts = empty(w, (-(-rows // rows_per_part), columns))
    blocks = min(-(-rows * 32 // threads), MOST_BLOCKS)
    for _ in range(times):
        launch("spectral.cu", "refine_u", blocks, None, w, v, u, tickets(w), rows, columns)
        launch("spectral.cu", "refine_v", (len(parts), across), None, w, u, parts, v, tickets(w), rows, columns,
               rows_per_part)  # fmt: skip
    return u, v


@register(SpectralNorm, on_gpu)
def normalised(w: Array, u: Array, v: Array) -> Computed:
    """W/(uᵀWv) without a matrix product of CuPy's: cuBLAS, which CuPy records in no stream."""
    matrix = as_matrix(w)
    return w / (matrix * (u[:, None] * v)).sum() if (len(u), len(v)) == matrix.shape else NotImplemented
