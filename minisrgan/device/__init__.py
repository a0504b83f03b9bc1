"""The devices: which one computes an array, and the kernels, which register themselves with the formulas.

What is computed twice on one device of one machine, in processes set up alike, has the same bits. They depend on

cuda    the kind of GPU, and CuPy's version
cpu     the compiler, and the processor's vectors (AVX-512, AVX or 16 bytes); not on the number of threads
numpy   NumPy's version and its BLAS, which sums a matrix product by kernels that it chooses for the processor and cuts
        it for its threads: OPENBLAS_NUM_THREADS (or OMP_NUM_THREADS) must be the same, and so the number of cores
"""

# these register themselves
from . import (  # noqa: F401
    bicubic,
    blas,
    channels,
    conv,
    elementwise,
    fusion,
    matmul,
    measures,
    optim,
    pixel_shuffle,
    pooling,
    spectral_norm,
)
from .choice import DEVICES, PROBLEMS, choose_device, cuda_problem, use_device, uses_kernels

__all__ = ["DEVICES", "PROBLEMS", "choose_device", "cuda_problem", "use_device", "uses_kernels"]
