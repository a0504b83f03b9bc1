"""The convolution kernels: equal to their NumPy definitions, and within their bounds.

On the CPU, or with MINISRGAN_DEVICE=cuda on a GPU.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_helpers import kernel_of

from minisrgan.arrays import to_device, to_numpy
from minisrgan.device import PROBLEMS, channels, elementwise, pixel_shuffle, use_device
from minisrgan.device import conv as conv_kernels
from minisrgan.device.conv import launch_conv, launch_input_gradient
from minisrgan.device.precision import use_precision
from minisrgan.nn import Conv, PReLU, chain
from minisrgan.ops import Conv2d, Conv2dBias, InputGrad, WeightGrad
from minisrgan.tensor import Tensor, no_grad

DEVICE = "cuda" if os.environ.get("MINISRGAN_DEVICE") == "cuda" else "cpu"
PROBLEM = PROBLEMS[DEVICE]()
pytestmark = pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM))
EPSILON = {np.float32: 2e-7, np.float64: 4e-16}


@pytest.fixture(scope="module", autouse=True)
def without_tensor_cores():
    """test_kernels_conv_mma.py tests those."""
    with use_precision("float32"):
        yield


def kernel(op, *arrays, **params):
    """What the op's kernel makes of NumPy arrays, as one."""
    return to_numpy(kernel_of(op)(*(to_device(array, DEVICE) for array in arrays), **params))


def close(made, wanted, depth):
    """Whether two arrays agree to the rounding of sums of `depth` terms."""
    error = EPSILON[wanted.dtype.type] * 4 * depth**0.5
    return np.abs(made - wanted).max(initial=0) <= error * max(np.abs(wanted).max(initial=0), 1)


@st.composite
def convolutions(draw):
    """(x, w, stride, padding, rng): off every tile boundary, few and many channels, one row, one pixel."""
    kh, kw = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride, padding = (draw(st.tuples(st.integers(low, 3), st.integers(low, 3))) for low in (1, 0))
    height, width = (draw(st.integers(max(k - 2 * p, 1), 25)) for k, p in zip((kh, kw), padding))
    few = draw(st.booleans())  # the kernels for few outputs need stride 1, at most 8 of them, and more inputs
    if few:
        stride, kh, kw = (1, 1), 3, draw(st.sampled_from([3, 5]))
        padding, height, width = draw(st.sampled_from([(1, 1), (0, 2), (3, 1)])), max(height, 3), max(width, 5)
    cin = draw(st.sampled_from([9, 16, 19, 32] if few else [1, 3, 5, 8, 16, 32, 64]))
    cout = draw(st.sampled_from([1, 3] if few else [1, 2, 8, 16, 17, 33, 64, 70]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.standard_normal((draw(st.integers(1, 3)), height, width, cin)).astype(dtype)
    return x, rng.standard_normal((kh, kw, cin, cout)).astype(dtype), stride, padding, rng


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_the_kernels_are_the_definitions(case):
    x, w, stride, padding, rng = case
    y, depth = Conv2d.forward(x, w, stride, padding), w[..., 0].size
    at = {"stride": stride, "padding": padding}
    assert close(kernel(Conv2d, x, w, **at), y, depth)
    bias = rng.standard_normal(w.shape[3]).astype(x.dtype)
    assert close(kernel(Conv2dBias, x, w, bias, **at), y + bias, depth)
    g = rng.standard_normal(y.shape).astype(x.dtype)
    wanted = InputGrad.forward(g, w, x.shape[1:3], **at)
    assert close(kernel(InputGrad, g, w, size=x.shape[1:3], **at), wanted, w[:, :, 0].size)
    wanted = WeightGrad.forward(x, g, w.shape[:2], **at)
    assert close(kernel(WeightGrad, x, g, kernel=w.shape[:2], **at), wanted, g[..., 0].size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size, cin, cout, stride", [(5, 5, 17, (1, 1)), (3, 70, 100, (2, 1)), (9, 16, 3, (1, 1))])
def test_three_directions_are_the_definitions(size, cin, cout, stride, dtype):
    """Of conv.cu, wide and narrow, and of conv_few.cu: more tiles than one each way, and off their boundaries."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((2, 35, 37, cin), (size, size, cin, cout)))
    at = {"stride": stride, "padding": (size // 2, size // 2)}
    y = Conv2d.forward(x, w, **at)
    g = rng.standard_normal(y.shape).astype(dtype)
    assert close(kernel(Conv2d, x, w, **at), y, w[..., 0].size)
    dx, dw = InputGrad.forward(g, w, x.shape[1:3], **at), WeightGrad.forward(x, g, w.shape[:2], **at)
    assert close(kernel(InputGrad, g, w, size=x.shape[1:3], **at), dx, w[:, :, 0].size)
    assert close(kernel(WeightGrad, x, g, kernel=w.shape[:2], **at), dw, g[..., 0].size)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize(
    "image, weights, stride",
    [((2, 24, 25, 64), (3, 3, 64, 64), 1), ((2, 21, 18, 32), (3, 3, 32, 64), 2), ((1, 40, 37, 16), (9, 9, 16, 3), 1)],
)
def test_three_faces_of_one_form(image, weights, stride, dtype, tolerance):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in (image, weights))
    at = {"stride": stride, "padding": weights[0] // 2}
    y = kernel(Conv2d, x, w, **at)
    g = rng.standard_normal(y.shape).astype(dtype)
    by_x = kernel(InputGrad, g, w, size=image[1:3], **at)
    by_w = kernel(WeightGrad, x, g, kernel=weights[:2], **at)
    form = np.vdot(g.astype(float), y)
    size = np.linalg.norm(g) * np.linalg.norm(y)
    assert abs(np.vdot(by_x.astype(float), x) - form) <= tolerance * size
    assert abs(np.vdot(by_w.astype(float), w) - form) <= tolerance * size


def guarded(shape, guard=1024):
    """A NaN-filled array within a larger one, and the larger one's ends."""
    whole = to_device(np.full(int(np.prod(shape)) + 2 * guard, np.nan, np.float32), DEVICE)
    whole[:guard] = whole[-guard:] = 7
    return whole[guard:-guard].reshape(shape), (whole[:guard], whole[-guard:])


@pytest.mark.parametrize("cin, cout, stride", [(8, 40, 1), (16, 17, 2), (9, 3, 1), (3, 70, 3)])
def test_every_output_is_written_and_nothing_else(cin, cout, stride):
    rng = np.random.default_rng(0)
    x = to_device(rng.standard_normal((2, 13, 11, cin)).astype(np.float32), DEVICE)
    w = to_device(rng.standard_normal((3, 3, cin, cout)).astype(np.float32), DEVICE)
    size = tuple(-(-n // stride) for n in x.shape[1:3])
    y, ends = guarded((2, *size, cout))
    launch_conv(x, w, y, (stride, stride), (1, 1))
    dx, dx_ends = guarded(x.shape)
    launch_input_gradient(y, w, dx, (stride, stride), (1, 1))
    assert np.isfinite(to_numpy(y)).all() and np.isfinite(to_numpy(dx)).all()
    assert all((end == 7).all() for end in (*ends, *dx_ends))


def test_pixels_that_meet_no_tap():
    """With a stride beyond the kernel, some pixels of x are in no window: their gradient is 0."""
    g, w = np.ones((1, 3, 2, 5), np.float32), np.ones((1, 1, 3, 5), np.float32)
    made = kernel(InputGrad, g, w, size=(5, 4), stride=2)
    np.testing.assert_array_equal(made, InputGrad.forward(g, w, (5, 4), 2))
    assert not made[:, 1::2].any() and made[:, ::2, ::2].all()


@pytest.mark.parametrize("cout", [32, 3])
def test_an_empty_batch(cout):
    x, w, g = (np.ones(shape, np.float32) for shape in ((0, 8, 8, 16), (3, 3, 16, cout), (0, 8, 8, cout)))
    assert kernel(Conv2d, x, w, padding=1).shape == g.shape
    assert kernel(InputGrad, g, w, size=(8, 8), padding=1).shape == x.shape
    assert not kernel(WeightGrad, x, g, kernel=(3, 3), padding=1).any()


def test_views_that_are_not_contiguous():
    x = np.random.default_rng(0).standard_normal((2, 9, 8, 6))
    w = np.random.default_rng(1).standard_normal((3, 3, 3, 5))
    view = x[:, ::2, :, ::2]
    np.testing.assert_allclose(kernel(Conv2d, view, w, padding=1), Conv2d.forward(view, w, 1, 1), atol=1e-13)


BITS = """
import numpy as np, hashlib
from minisrgan.device import use_device
from minisrgan.ops import Conv2d, InputGrad, WeightGrad
use_device("cpu")
rng = np.random.default_rng(0)
digest = hashlib.sha256()
for channels, out, k, stride in ((64, 64, 3, 1), (32, 64, 3, 2), (32, 3, 9, 1), (3, 70, 5, 1)):
    x, w = (rng.standard_normal(s).astype("f") for s in ((4, 24, 24, channels), (k, k, channels, out)))
    at = {"stride": stride, "padding": k // 2}
    y = Conv2d(x, w, **at)
    for each in (y, InputGrad(y, w, size=(24, 24), **at), WeightGrad(x, y, kernel=(k, k), **at)):
        digest.update(each.data.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.skipif(DEVICE == "cuda", reason="these are the CPU's")
def test_the_same_bits_whoever_runs_first():
    """Whatever the number of threads, the order of the CUDA threads of a block, and what shared memory held before."""
    settings = [
        {"MINISRGAN_THREADS": "1"},
        {"MINISRGAN_THREADS": "5"},
        {"MINISRGAN_ORDER": "1"},
        {"MINISRGAN_ORDER": "2", "MINISRGAN_POISON": "1"},
    ]
    bits = {
        subprocess.run(
            [sys.executable, "-c", BITS], env=os.environ | changed, capture_output=True, text=True, check=True
        ).stdout
        for changed in settings
    }
    assert len(bits) == 1


def test_a_bias_that_is_not_contiguous():
    x, w, b = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32), np.arange(10, dtype=np.float32)[::2]
    assert close(kernel(Conv2dBias, x, w, b, padding=1), Conv2dBias.forward(x, w, b, 1, 1), 18)


def block_case(rng, kernel, cin, cout, stride, shuffle, parts, dtype):
    """(x, modules, residual) for chain: a convolution, and those of the optional `parts`."""
    height, width, channels = 9, 10, cout // shuffle**2
    size = [-(-length // stride) * shuffle for length in (height, width)]
    wrap = lambda *shape: Tensor(to_device(rng.standard_normal(shape).astype(dtype), DEVICE))  # noqa: E731
    conv = Conv(rng, cin, cout, kernel, stride)
    conv.shuffle = shuffle
    modules = [conv, PReLU(channels)] if "slope" in parts else [conv]
    for module in modules:
        for parameter in module.parameters():
            parameter.data = wrap(*parameter.shape).data
    return wrap(2, height, width, cin), modules, wrap(2, *size, channels) if "residual" in parts else None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("parts", [(), ("slope",), ("residual",), ("slope", "residual")])
@pytest.mark.parametrize(
    "kernel, cin, cout, stride, shuffle",
    [(3, 5, 24, 1, 1), (3, 16, 64, 1, 2), (3, 4, 12, 1, 2), (5, 4, 64, 1, 2), (3, 6, 35, 2, 1), (9, 16, 3, 1, 1)],
)
def test_one_pass_is_operation_by_operation(kernel, cin, cout, stride, shuffle, parts, dtype):
    x, modules, residual = block_case(np.random.default_rng(0), kernel, cin, cout, stride, shuffle, parts, dtype)
    with use_device(DEVICE):
        one_by_one = chain(x, *modules, residual=residual)
        with no_grad():
            at_once = chain(x, *modules, residual=residual)
    made, wanted = to_numpy(at_once.data), to_numpy(one_by_one.data)
    assert made.shape == wanted.shape and close(made, wanted, kernel * kernel * cin)


def test_one_pass_is_really_one(monkeypatch):
    x, modules, residual = block_case(np.random.default_rng(0), 3, 16, 64, 1, 2, ("slope", "residual"), np.float32)
    launched = []
    for module in conv_kernels, channels, elementwise, pixel_shuffle:
        launch = module.launch
        monkeypatch.setattr(module, "launch", lambda *a, launch=launch, **k: (launched.append(a[1]), launch(*a, **k)))
    with use_device(DEVICE), no_grad():
        chain(x, *modules, residual=residual)
    assert [name for name in launched if name != "winograd_weights"] in (["winograd_conv2d"], ["conv2d"])


WINOGRAD = [(1, 5, 7, 3, 5, 1), (2, 9, 8, 17, 33, 1), (1, 4, 4, 1, 1, 1), (2, 13, 10, 20, 70, 0), (1, 6, 6, 40, 96, 2)]
WINOGRAD += [(1, 48, 48, 16, 16, 1), (3, 22, 27, 9, 35, 1)]  # more tiles than a block takes at once, and some over


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n, height, width, cin, cout, padding", WINOGRAD)
def test_winograd_is_the_definition_on_any_device(n, height, width, cin, cout, padding, dtype):
    """Also where `winograd_pays` would not choose it."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((n, height, width, cin), (3, 3, cin, cout)))
    y = Conv2d.forward(x, w, 1, padding)
    g = rng.standard_normal(y.shape).astype(dtype)
    there = [to_device(each, DEVICE) for each in (x, w, g)]
    out, dx = (to_device(np.full(each.shape, np.nan, dtype), DEVICE) for each in (y, x))
    forward = conv_kernels.Winograd(there[0], cout, y.shape[1:3], (padding, padding))
    forward.convolve(there[1], out)
    backward = conv_kernels.Winograd(there[2], cin, x.shape[1:3], (2 - padding, 2 - padding))
    backward.convolve(there[1], dx, turned=True)
    assert close(to_numpy(out), y, 9 * cin)
    assert close(to_numpy(dx), InputGrad.forward(g, w, x.shape[1:3], 1, padding), 9 * cout)
    dw = to_numpy(forward.weight_gradient(there[2]))
    assert close(dw, WeightGrad.forward(x, g, (3, 3), 1, padding), y[..., 0].size)


def test_winograd_in_float32_is_off_by_a_millionth():
    """As the kernel's text says, and no more: its points are 0, ±5/8, ±3/2 and infinity."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 24, 24, 64), (3, 3, 64, 64)))
    exact = Conv2d.forward(x.astype(float), w.astype(float), 1, 1)
    out = to_device(np.empty(exact.shape, np.float32), DEVICE)
    forward = conv_kernels.Winograd(to_device(x, DEVICE), 64, (24, 24), (1, 1))
    forward.convolve(to_device(w, DEVICE), out)
    assert np.linalg.norm(to_numpy(out) - exact) < 1e-6 * np.linalg.norm(exact)
