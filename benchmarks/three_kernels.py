"""Three launches for a profiler such as ncu to look into: a convolution, a sum for each channel, and Adam.

    ncu --set full --profile-from-start off python benchmarks/three_kernels.py

Each has been launched before, so that nothing is compiled while the profiler looks.
"""

import cupy
import numpy as np

from minisrgan.nn import Parameter
from minisrgan.ops import Conv2d
from minisrgan.ops.batch_norm import batch_statistics
from minisrgan.optim import Adam
from minisrgan.tensor import Tensor

rng = np.random.default_rng(0)


def normal(*shape):
    return cupy.asarray(rng.standard_normal(shape, np.float32))


images, weight = Tensor(normal(16, 24, 24, 64)), Tensor(normal(3, 3, 64, 64))  # of G's trunk in the paper's step
maps = normal(16, 96, 96, 64)  # of D's first layers
parameter, gradient = Parameter(normal(18432, 1024)), Tensor(normal(18432, 1024))  # of D's dense layer
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
