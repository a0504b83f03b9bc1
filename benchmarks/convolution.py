"""How fast are the NumPy convolutions? The layers of the paper's G and D, in all three directions.

    python benchmarks/convolution.py

GFLOP/s are the median of several runs; a product of large matrices, as fast as BLAS gets here, is the yardstick.
"""

import statistics
import time

import numpy as np

from minisrgan.autodiff import Conv2d, InputGrad, WeightGrad

RUNS = 9
LAYERS = {  # name: (images, weights, stride), the padding keeps the size
    "G head 9×9": ((16, 24, 24, 3), (9, 9, 3, 64), 1),
    "G trunk": ((16, 24, 24, 64), (3, 3, 64, 64), 1),
    "G upsampling": ((16, 48, 48, 64), (3, 3, 64, 256), 1),
    "G tail 9×9": ((16, 96, 96, 64), (9, 9, 64, 3), 1),
    "D first": ((16, 96, 96, 3), (3, 3, 3, 64), 1),
    "D 64/2": ((16, 96, 96, 64), (3, 3, 64, 64), 2),
    "D 256": ((16, 24, 24, 128), (3, 3, 128, 256), 1),
    "D 512/2": ((16, 12, 12, 512), (3, 3, 512, 512), 2),
}


def gflops(work, operations):
    work()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return operations / statistics.median(times) / 1e9


def measure(x, w, stride, rng):
    """GFLOP/s of Conv2d, InputGrad and WeightGrad."""
    kernel, padding = w.shape[:2], w.shape[0] // 2
    g = rng.standard_normal(Conv2d.forward(x, w, stride, padding).shape).astype(x.dtype)
    operations = 2 * g.size * w[..., 0].size
    return (
        gflops(lambda: Conv2d.forward(x, w, stride, padding), operations),
        gflops(lambda: InputGrad.forward(g, w, x.shape[1:3], stride, padding), operations),
        gflops(lambda: WeightGrad.forward(x, g, kernel, stride, padding), operations),
    )


def main():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    matrix = normal(2000, 2000)
    print(f"2000×2000 matrix product: {gflops(lambda: matrix @ matrix, 2 * 2000**3):.0f} GFLOP/s\n")
    print(f"{'layer':14}{'forward':>10}{'InputGrad':>11}{'WeightGrad':>12}")
    for name, (images, weights, stride) in LAYERS.items():
        forward, input_grad, weight_grad = measure(normal(*images), normal(*weights), stride, rng)
        print(f"{name:14}{forward:10.0f}{input_grad:11.0f}{weight_grad:12.0f}")


if __name__ == "__main__":
    main()
