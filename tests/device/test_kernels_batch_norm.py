"""The batch norm kernels of channels.cu against their definition."""

import numpy as np
import pytest
from kernel_helpers import (
    assert_close,
    blocks,  # noqa: F401  a fixture
    both_reals,
    kernel_of,
    needs_kernels,
    normal,
    run,
)

from minisrgan.device import use_device
from minisrgan.ops import BatchNorm
from minisrgan.ops.batch_norm import batch_norm_gradients, batch_statistics

pytestmark = [needs_kernels, pytest.mark.usefixtures("blocks")]

SHAPES = [
    (2, 1),
    (2, 5, 7, 3),
    (3, 9, 11, 16),
    (2, 7, 5, 64),
    (1, 5, 3, 65),
    (4, 3, 300),
    (2, 50, 61, 64),
    (1, 130, 131, 3),
]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def on(device, function, *args):
    with use_device(device):
        return function(*args)


def statistics(x):
    return run(lambda x: on("cpu", batch_statistics, x), x)


@both_reals
@every_shape
def test_statistics(shape, dtype):
    x = normal(*shape, dtype=dtype) * 3 + 5
    rows = x.reshape(-1, shape[-1]).astype(np.float64)
    mean, var = statistics(x)
    assert_close(mean, rows.mean(0).astype(dtype), terms=8)
    assert_close(var, rows.var(0).astype(dtype), terms=8)


@pytest.mark.parametrize("shape", [(2, 7, 5, 64), (3, 111, 97, 5), (16, 24, 24, 64)], ids=str)
def test_a_large_mean_leaves_the_variance_its_digits(shape):
    """Σx² - μ² would be off by 100 % at a mean of 10⁴ in float32."""
    x = normal(*shape) + np.float32(1e4)
    rows = x.reshape(-1, shape[-1]).astype(np.float64)
    mean, var = statistics(x)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-7)
    np.testing.assert_allclose(var, rows.var(0), rtol=2e-6)
    y = run(lambda x, *rest: kernel_of(BatchNorm)(x, *rest[:2], statistics=rest[2:], eps=1e-5),
            x, np.ones_like(mean), np.zeros_like(mean), mean, var)  # fmt: skip
    wanted = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
    np.testing.assert_allclose(y.reshape(wanted.shape), wanted, atol=5e-3)  # x itself is only good to 10⁻³


def test_statistics_of_parts_that_differ():
    """Chan's correction: parts with means of their own, among them a short last one."""
    x = np.repeat(np.arange(5, dtype=np.float32), 1000)[:4567, None] * np.ones(64, np.float32)
    mean, var = statistics(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(var, x.astype(np.float64).var(0), rtol=1e-6)


def test_a_constant_has_no_variance():
    mean, var = statistics(np.full((50, 60, 7), 0.5, np.float32))
    assert np.array_equal(mean, np.full(7, 0.5, np.float32)) and not var.any()


@both_reals
@every_shape
def test_forward_and_backward(shape, dtype):
    x, g = normal(*shape, dtype=dtype) + 2, normal(*shape, dtype=dtype, seed=1)
    gamma, beta = (normal(shape[-1], dtype=dtype, seed=i) for i in (2, 3))
    mean, var = on("numpy", batch_statistics, x)
    rows = x.size // shape[-1]
    made = run(
        lambda x, *rest: kernel_of(BatchNorm)(x, *rest[:2], statistics=rest[2:], eps=1e-5), x, gamma, beta, mean, var
    )
    assert_close(made, BatchNorm.forward(x, gamma, beta, (mean, var), 1e-5), terms=16)

    def backward(g, x, gamma, mean, var):
        return batch_norm_gradients(g, x, gamma, (mean, var), 1e-5)

    made = run(lambda *arrays: on("cpu", backward, *arrays), g, x, gamma, mean, var)
    for one, wanted in zip(made, on("numpy", backward, g, x, gamma, mean, var), strict=True):
        assert_close(one, wanted, terms=16 * rows)
