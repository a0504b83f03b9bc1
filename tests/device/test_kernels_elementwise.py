"""The kernels of elementwise, channels, pixel_shuffle, pooling, adam and ema.cu against their definitions."""

import numpy as np
import pytest
from kernel_helpers import (
    DEVICE,
    assert_close,
    band,
    blocks,  # noqa: F401  a fixture
    both_reals,
    kernel_of,
    needs_cpu,
    needs_kernels,
    normal,
    run,
)

from minisrgan import ops as ad
from minisrgan.arrays import to_device, to_numpy
from minisrgan.device import use_device
from minisrgan.losses import PixelMSE, PixelMSEGrad
from minisrgan.nn import Module, Parameter
from minisrgan.ops.elementwise import Add, LeakyReLUGrad, Mul, PReLUGrad, SlopeGrad
from minisrgan.ops.pooling import Pick, Place, argmax_in_squares
from minisrgan.ops.reduce import SumTo
from minisrgan.optim import Adam, move_average
from minisrgan.tensor import Tensor

pytestmark = [needs_kernels, pytest.mark.usefixtures("blocks")]

# one pixel, one channel, rows abreast and a rest of them, more channels than a block has columns, many parts
SHAPES = [(1, 1, 1, 1), (2, 5, 7, 3), (1, 3, 5, 1), (3, 9, 11, 16), (2, 7, 5, 64), (1, 2, 3, 65), (2, 3, 300),
          (5, 1024), (2, 50, 61, 64), (1, 130, 131, 3)]  # fmt: skip
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def same(op, *arrays, terms=1, **params):
    assert_close(run(kernel_of(op), *arrays, **params), op.forward(*arrays, **params), terms)


@both_reals
@every_shape
def test_elementwise(shape, dtype):
    x, y, z = (normal(*shape, dtype=dtype, seed=i) for i in range(3))
    x.reshape(-1)[::7] = 0  # where rectifiers change sides
    same(Add, x, y)
    same(ad.WherePositive, x, y, z)
    same(ad.ReLU, x)
    same(ad.LeakyReLU, x, slope=0.2)
    same(LeakyReLUGrad, y, x, slope=0.2)
    same(ad.Sigmoid, 9 * x)
    same(ad.Softplus, 9 * x)
    assert_close(run(lambda x: kernel_of(Mul)(x, dtype(1.7)), x), x * dtype(1.7))


@both_reals
@every_shape
def test_a_number_for_each_channel(shape, dtype):
    x, g, a = normal(*shape, dtype=dtype), normal(*shape, dtype=dtype, seed=1), normal(shape[-1], dtype=dtype)
    x.reshape(-1)[::7] = 0
    rows = x.size // shape[-1]
    for op in (Add, Mul, ad.PReLU):
        same(op, x, a)
    same(PReLUGrad, g, x, a)
    same(SumTo, x, terms=rows, shape=shape[-1:])
    same(SlopeGrad, g, x, terms=rows, shape=shape[-1:])


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-13)])
@every_shape
def test_what_is_linear_has_its_adjoint(shape, dtype, tolerance):
    def inner(a, b):
        return float((a.astype(np.float64) * b).sum())

    x, g, v = (normal(*shape, dtype=dtype, seed=i) for i in range(3))
    a, w = (normal(shape[-1], dtype=dtype, seed=i) for i in (3, 4))
    size = np.linalg.norm(g) * (np.linalg.norm(v) + np.linalg.norm(x)) * (1 + np.linalg.norm(a) + np.linalg.norm(w))
    dx = run(kernel_of(PReLUGrad), g, x, a)
    assert abs(inner(v, dx) - inner(run(kernel_of(PReLUGrad), v, x, a), g)) < tolerance * size  # its own adjoint
    summed = run(kernel_of(SumTo), g, shape=shape[-1:])
    assert abs(inner(w, summed) - inner(w, g)) < tolerance * size  # of repeating w for all rows
    slope = run(kernel_of(SlopeGrad), g, x, shape=shape[-1:])
    assert abs(inner(w, slope) - inner(run(kernel_of(Mul), np.minimum(x, 0), w), g)) < tolerance * size


@both_reals
@every_shape
def test_pixel_mse(shape, dtype):
    sr, hr = normal(*shape, dtype=dtype), normal(*shape, dtype=dtype, seed=1)
    same(PixelMSE, sr, hr, terms=sr.size)
    same(PixelMSEGrad, sr, hr, np.array(0.7, dtype))


@both_reals
def test_infinity_and_nan_are_as_in_the_definitions(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e4, -1e4, 100, -100], dtype)
    flushed = np.finfo(dtype).tiny if DEVICE == "cuda" and dtype is np.float32 else 0  # CuPy compiles with -ftz=true
    for op, params in [(ad.ReLU, {}), (ad.LeakyReLU, {"slope": 0.2}), (ad.Sigmoid, {}), (ad.Softplus, {})]:
        tolerance = {"rtol": 1e-6 if dtype is np.float32 else 1e-14, "atol": flushed}
        np.testing.assert_allclose(run(kernel_of(op), x, **params), op.forward(x, **params), **tolerance)


@both_reals
@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize("n, h, w, c", [(1, 1, 1, 1), (2, 3, 5, 3), (1, 7, 4, 64), (3, 40, 30, 5)])
def test_pixel_shuffle_is_moved_exactly_and_undone(n, h, w, c, r, dtype):
    x = normal(n, h, w, r * r * c, dtype=dtype)
    y = run(kernel_of(ad.PixelShuffle), x, r=r)
    assert np.array_equal(y, ad.PixelShuffle.forward(x, r))
    assert np.array_equal(run(kernel_of(ad.PixelUnshuffle), y, r=r), x)
    g = normal(*y.shape, dtype=dtype, seed=1)
    back = run(kernel_of(ad.PixelUnshuffle), g, r=r)
    assert np.vdot(g, y) == pytest.approx(np.vdot(back, x), rel=1e-5 if dtype is np.float32 else 1e-13, abs=1e-3)


@both_reals
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 3, 3, 1), (2, 7, 9, 5), (1, 24, 25, 64), (3, 40, 33, 3)], ids=str)
def test_max_pooling(shape, size, dtype):
    x = normal(*shape, dtype=dtype).round(1)  # with equals
    x.reshape(-1)[::41] = np.nan
    assert np.array_equal(run(kernel_of(ad.MaxPool), x, size=size), ad.MaxPool.forward(x, size), equal_nan=True)
    with use_device(DEVICE):
        chosen = run(argmax_in_squares, x, size=size)
    with use_device("numpy"):
        wanted = argmax_in_squares(x, size)
    assert np.array_equal(chosen, wanted)
    assert np.array_equal(run(kernel_of(Pick), x, chosen, size=size), Pick.forward(x, chosen, size), equal_nan=True)
    g = normal(*chosen.shape, dtype=dtype, seed=1)
    placed = run(kernel_of(Place), g, chosen, size=size, shape=x.shape)
    assert np.array_equal(placed, Place.forward(g, chosen, size, x.shape))


@both_reals
def test_adam(dtype):
    def train(device):
        with use_device(device):
            parameters = {
                name: Tensor(to_device(band(normal(*shape, dtype=dtype))[0], device)) for name, shape in shapes
            }
            adam = Adam(parameters)
            for step in range(5):
                gradients = [Tensor(to_device(normal(*shape, dtype=dtype, seed=step), device)) for _, shape in shapes]
                adam.step(gradients, 1e-2)
        return [to_numpy(p.data) for p in parameters.values()] + list(adam.state().values())

    shapes = [("w", (3, 3, 5, 7)), ("long", (70001,)), ("one", (1,)), ("none", (0, 3))]
    for made, wanted in zip(train(DEVICE), train("numpy")):
        assert_close(made, wanted)


@both_reals
def test_the_average_of_weights(dtype):
    def average(device):
        old, new = (Pair(dtype, seed).to(device) for seed in (0, 1))
        with use_device(device):
            move_average(old, new, decay=0.9)
        return old.state()

    made, wanted = average(DEVICE), average("numpy")
    for name, array in wanted.items():
        assert_close(made[name], array)
        old, new = (Pair(dtype, seed).state()[name] for seed in (0, 1))
        assert_close(array, 0.9 * old + 0.1 * new)


class Pair(Module):
    """A long array and a single number; one of the two is a parameter."""

    buffers = ("one",)

    def __init__(self, dtype, seed):
        self.long = Parameter(normal(70001, dtype=dtype, seed=seed))
        self.one = normal(1, dtype=dtype, seed=seed + 7)


@needs_cpu
def test_the_average_writes_nothing_beyond_its_array():
    (inner, whole), n = band(np.zeros(70001, np.float32)), 64
    old, new = Pair(np.float32, 0), Pair(np.float32, 1)
    old.long.data = inner
    with use_device("cpu"):
        move_average(old, new, decay=0.5)
    assert np.isnan(whole[:n]).all() and np.isnan(whole[-n:]).all()
    assert_close(inner, new.long.data / 2)


@needs_cpu
def test_adam_writes_nothing_beyond_a_parameter():
    (inner, whole), n = band(np.zeros(70001, np.float32)), 64
    with use_device("cpu"):
        Adam({"w": Tensor(inner)}).step([Tensor(np.ones_like(inner))], 0.1)
    assert np.isnan(whole[:n]).all() and np.isnan(whole[-n:]).all() and np.isfinite(inner).all()


@needs_cpu
def test_what_a_kernel_does_not_cover_goes_to_the_definition():
    x, row, none = normal(3, 4), normal(3, 1), np.zeros((0, 5, 5, 3), np.float32)
    with use_device("cpu"):
        assert np.array_equal(Add(x, row).data, x + row)
        assert np.array_equal(Mul(x, x).data, x * x)
        assert np.array_equal(ad.PReLU(x, row).data, np.where(x > 0, x, row * x))
        assert np.array_equal(ad.WherePositive(x, 0, x).data, np.where(x > 0, 0, x))
        for op, params in [
            (ad.ReLU, {}),
            (ad.LeakyReLU, {"slope": 0.2}),
            (ad.Sigmoid, {}),
            (ad.PixelShuffle, {"r": 1}),
        ]:
            assert op(none, **params).shape == none.shape
        assert np.array_equal(SumTo(none, shape=(3,)).data, np.zeros(3))
        assert ad.PReLU(none, normal(3)).shape == none.shape
        assert ad.PixelShuffle(normal(1, 2, 2, 0), r=2).shape == (1, 4, 4, 0)


@needs_cpu
def test_views_are_as_good_as_arrays():
    x, a = normal(4, 6, 5, 8), normal(16)
    with use_device("cpu"):
        for view in (x[:, ::2], x.transpose(0, 2, 1, 3), x[1:, 1:, 1:], np.broadcast_to(x[:1], x.shape)):
            assert np.array_equal(Add(view, view).data, view + view)
            assert np.array_equal(ad.LeakyReLU(view, slope=0.2).data, np.where(view > 0, view, np.float32(0.2) * view))
            assert np.array_equal(ad.PReLU(view, a[1::2]).data, np.where(view > 0, view, a[1::2] * view))
            assert_close(SumTo(view, shape=(8,)).data, view.reshape(-1, 8).sum(0), 100)
        odd = normal(1001)[1:]  # starts where no vector of 16 bytes does
        assert np.array_equal(Add(odd, odd).data, odd + odd)
