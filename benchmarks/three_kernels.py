"""Three launches for a profiler such as ncu to look into: a convolution, a sum for each channel, and Adam.

    ncu --set full --profile-from-start off python benchmarks/three_kernels.py

Each has been launched before, so that nothing is compiled while the profiler looks. With QUICK in the environment, all
is small.
"""

import os

import cupy
import numpy as np

import minisrgan.device  # noqa: F401  its kernels register themselves
from minisrgan.nn import Parameter
from minisrgan.ops import Conv2d
from minisrgan.ops.batch_norm import batch_statistics
from minisrgan.optim import Adam
from minisrgan.tensor import Tensor

rng = np.random.default_rng(0)


def normal(*shape):
    return cupy.asarray(rng.standard_normal(shape, np.float32))


n, dense = (1, 8) if os.environ.get("QUICK") else (16, 1024)
images, weight = Tensor(normal(n, 24, 24, 4 * n)), Tensor(normal(3, 3, 4 * n, 4 * n))  # of G's trunk
maps = normal(n, 96, 96, 4 * n)  # of D's first layers
parameter, gradient = Parameter(normal(18432, dense)), Tensor(normal(18432, dense))  # of D's dense layer
adam = Adam({"weight": parameter})


def three():
    Conv2d(images, weight, stride=1, padding=1)
    batch_statistics(maps)
    adam.step([gradient], 1e-4)
    cupy.cuda.runtime.deviceSynchronize()


three()
cupy.cuda.profiler.start()
three()
cupy.cuda.profiler.stop()
