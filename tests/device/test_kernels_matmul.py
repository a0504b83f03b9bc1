"""The matrix product of matmul.cu against NumPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_helpers import assert_close, both_reals, kernel_of, needs_cpu, needs_kernels, normal, run

from minisrgan.device import use_device
from minisrgan.ops import MatMul
from minisrgan.tensor import Tensor

pytestmark = needs_kernels

# around the tiles' sides, and the 16 rows or columns up to which a factor has tiles of its own
SIDES = [1, 2, 7, 15, 16, 17, 33, 48, 63, 64, 65, 96, 97, 130]
DEPTHS = [1, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257, 600]


def product(x, y):
    return run(kernel_of(MatMul), x, y)


@settings(max_examples=200, deadline=None)
@given(
    *(st.sampled_from(each) for each in (SIDES, SIDES, DEPTHS)),
    *(st.booleans() for _ in range(2)),
    st.sampled_from([np.float32, np.float64]),
)
def test_any_shape_transposed_or_not(m, n, k, turn_x, turn_y, dtype):
    x, y = normal(m, k, dtype=dtype), normal(k, n, dtype=dtype, seed=1)
    wanted = x.astype(np.float64) @ y.astype(np.float64)
    # `run` copies its arguments, so the transposing is done behind it
    made = run(lambda x, y: kernel_of(MatMul)(x.T if turn_x else x, y.T if turn_y else y),
               x.T.copy() if turn_x else x, y.T.copy() if turn_y else y)  # fmt: skip
    assert_close(made, wanted.astype(dtype), terms=k)


@both_reals
@pytest.mark.parametrize("m, k, n", [(16, 5000, 100), (2, 9000, 3), (100, 3000, 7), (64, 1024, 64)])
def test_a_split_depth(m, k, n, dtype):
    x, y = normal(m, k, dtype=dtype), normal(k, n, dtype=dtype, seed=1)
    wanted = (x.astype(np.float64) @ y.astype(np.float64)).astype(dtype)
    assert_close(product(x, y), wanted, terms=k)
    assert_close(run(lambda x, y: kernel_of(MatMul)(x, y.T), x, y.T.copy()), wanted, terms=k)


@both_reals
@pytest.mark.parametrize("m, k, n, batch", [(8, 2, 3, 1), (64, 16, 48, 5), (100, 25, 75, 3), (17, 300, 130, 2)])
def test_a_matrix_times_a_batch(m, k, n, batch, dtype):
    x, y = normal(m, k, dtype=dtype), normal(batch, k, n, dtype=dtype, seed=1)
    assert_close(product(x, y), x @ y, terms=k)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("m, k, n", [(16, 4608, 100), (33, 65, 130), (130, 70, 9)])
def test_the_two_gradients_are_adjoints(m, k, n, dtype, tolerance):
    x, y, g = normal(m, k, dtype=dtype), normal(k, n, dtype=dtype, seed=1), normal(m, n, dtype=dtype, seed=2)
    out = product(x, y)
    dx = run(lambda g, y: kernel_of(MatMul)(g, y.T), g, y)
    dy = run(lambda x, g: kernel_of(MatMul)(x.T, g), x, g)
    inner = lambda a, b: float((a.astype(np.float64) * b).sum())  # noqa: E731
    size = np.linalg.norm(g) * np.linalg.norm(out)
    assert abs(inner(g, out) - inner(dx, x)) < tolerance * size
    assert abs(inner(g, out) - inner(dy, y)) < tolerance * size


@needs_cpu
def test_odd_cases_go_the_other_way():
    x, batch = normal(3, 4), normal(2, 3, 4)
    with use_device("cpu"):
        assert np.array_equal(MatMul(batch, x.T).data, batch @ x.T)
        assert np.array_equal(MatMul(np.zeros((0, 3), np.float32), x).data, np.zeros((0, 4)))
        assert np.array_equal(MatMul(np.zeros((3, 0), np.float32), np.zeros((0, 4), np.float32)).data, np.zeros((3, 4)))
        # neither its rows nor its columns one after another; a first number where no vector of 16 bytes starts
        wide = normal(9, 40)
        assert_close(MatMul(wide[::2, ::3], normal(14, 5)).data, wide[::2, ::3] @ normal(14, 5), 14)
        assert_close(MatMul(wide[:, 1:], normal(39, 5)).data, wide[:, 1:] @ normal(39, 5), 39)


@needs_cpu
def test_a_wrong_shape_is_said_as_ever():
    from minisrgan.errors import ShapeError

    with use_device("cpu"), pytest.raises(ShapeError, match=r"MatMul\(\(3, 4\) float32, \(3, 4\) float32\)"):
        MatMul(Tensor(normal(3, 4)), Tensor(normal(3, 4)))
