"""The same bits, however many threads the CPU has, in whichever order a block's threads take their turns, and
whatever is in shared memory at first."""

import os
import subprocess
import sys

import pytest
from kernel_helpers import needs_cpu, needs_kernels

pytestmark = [needs_kernels, needs_cpu]

PROGRAM = """
import hashlib
import sys
import numpy as np
from minisrgan import ops as ad
from minisrgan.tensor import dispatch
from minisrgan.device import channels, cuts, geometry, use_device
from minisrgan.ops.batch_norm import batch_norm_gradients, batch_statistics
from minisrgan.ops.elementwise import PReLUGrad, SlopeGrad
from minisrgan.ops.reduce import SumTo
from minisrgan.losses import PixelMSE

if sys.argv[1] == "a GPU's":
    channels.on_gpu = cuts.on_gpu = lambda array: True
    geometry.FILES["channels.cu"] = lambda gpu: geometry.channels(True)


def run(op, *inputs):
    # by its kernel: an error where none covers the inputs
    return dispatch(op, None, inputs, {})


rng = np.random.default_rng(0)
made = []
with use_device("cpu"):
    for shape in (2, 97, 61, 64), (3, 111, 50, 3), (7, 900):
        for dtype in np.float32, np.float64:
            x, g = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
            a = rng.standard_normal(shape[-1]).astype(dtype)
            moments = batch_statistics(x)
            made += [
                *moments,
                *batch_norm_gradients(g, x, a, moments, 1e-5),
                run(ad.BatchNorm, x, a, a, moments, 1e-5),
                run(ad.PReLU, x, a),
                run(PReLUGrad, g, x, a),
                run(SlopeGrad, g, x, shape[-1:]),
                run(SumTo, x, shape[-1:]),
                run(PixelMSE, x, g),
                run(ad.Sigmoid, x),
            ]
            if len(shape) == 4 and shape[-1] == 64:
                made += [run(ad.PixelShuffle, x, 2), run(ad.MaxPool, x)]
    for dtype in np.float32, np.float64:
        for m, k, n in (16, 3000, 200), (200, 600, 130), (300, 700, 5):
            x, y = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n)))
            made += [run(ad.MatMul, x, y), run(ad.MatMul, y.T, x.T)]
assert all(np.isfinite(each).all() for each in made)
print(hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in made)).hexdigest())
"""


def digest(blocks, **environment):
    command = [sys.executable, "-c", PROGRAM, blocks]
    ran = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module", params=["its own", "a GPU's"])
def usual(request):
    """(what blocks, what they make) on one thread."""
    return request.param, digest(request.param, MINISRGAN_THREADS="1")


@pytest.mark.parametrize("threads", ["2", "3", "7"])
def test_on_any_number_of_threads(usual, threads):
    blocks, wanted = usual
    assert digest(blocks, MINISRGAN_THREADS=threads) == wanted


@pytest.mark.parametrize("order", ["1", "2"])
def test_in_any_order_and_with_nothing_in_shared_memory(usual, order):
    blocks, wanted = usual
    assert digest(blocks, MINISRGAN_ORDER=order, MINISRGAN_POISON="1") == wanted
