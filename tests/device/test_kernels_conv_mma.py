"""The convolutions of tensor cores: equal to their NumPy definitions, and chosen where they should be.

On the CPU, where the instructions are emulated, or with MINISRGAN_DEVICE=cuda on a GPU. Factors that TF32 or bf16 can
hold are multiplied exactly, so with such factors the results are as exact as float32 sums are.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_helpers import DEVICE, guarded, needs_cpu, needs_kernels

from minisrgan.arrays import to_device, to_numpy
from minisrgan.device import channels, conv_mma, conv_rows
from minisrgan.device import conv as conv_kernels
from minisrgan.device.convolution import PLAIN, Epilogue, geometry
from minisrgan.device.cuts import tickets
from minisrgan.device.precision import PRECISIONS, has_tensor_cores, precision, use_precision
from minisrgan.errors import DeviceError, KernelError
from minisrgan.ops import Conv2d, InputGrad, PixelShuffle, WeightGrad

pytestmark = [
    needs_kernels,
    pytest.mark.skipif(DEVICE == "cuda" and not has_tensor_cores(), reason="this GPU has no tensor cores for float32"),
]
TF32, TWICE, BF16 = 1, 3, 16
KEPT = {TF32: 10, TWICE: 21, BF16: 7}  # bits of a factor after the point


def rounded(array, bits):
    """The array in float32, with so many bits of each number after its point."""
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1).astype(np.float32)


def close(made, wanted, depth):
    error = 2e-7 * 4 * depth**0.5
    return np.abs(to_numpy(made) - wanted).max(initial=0) <= error * max(np.abs(wanted).max(initial=0), 1)


def three_directions(matrices, x, w, stride, padding, multiply, rng):
    """[(made, wanted, depth)] of the convolution, its input gradient and its weights' and bias's gradients."""
    exact = [each.astype(float) for each in (x, w)]
    y = Conv2d.forward(*exact, stride, padding)
    g = rounded(rng.standard_normal(y.shape), KEPT[multiply])
    there = [to_device(each, DEVICE) for each in (x, w, g)]
    sizes = geometry(x, w.shape, y.shape[1:3], stride, padding)
    out, dx = (to_device(np.full(each.shape, np.nan, np.float32), DEVICE) for each in (y, x))
    matrices.convolve(there[0], there[1], out, sizes, PLAIN, multiply)
    matrices.input_gradient(there[2], there[1], dx, sizes, multiply)
    dw, db = matrices.weight_gradient(there[0], there[2], sizes, multiply)
    wanted_dx = InputGrad.forward(g.astype(float), exact[1], x.shape[1:3], stride, padding)
    wanted_dw = WeightGrad.forward(exact[0], g.astype(float), w.shape[:2], stride, padding)
    return [
        (out, y, w[..., 0].size),
        (dx, wanted_dx, w[:, :, 0].size),
        (dw, wanted_dw, g[..., 0].size),
        *([] if db is None else [(db, g.astype(float).sum((0, 1, 2)), g[..., 0].size)]),
    ]


@st.composite
def convolutions(draw):
    """(x, w, stride, padding, PRECISION, rng): off every tile's boundary, and fewer taps than the stride."""
    kh, kw = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stride, padding = (draw(st.tuples(st.integers(low, 3), st.integers(low, 3))) for low in (1, 0))
    height, width = (draw(st.integers(max(k - 2 * p, 1), 13)) for k, p in zip((kh, kw), padding))
    cin, cout = draw(st.sampled_from([4, 8, 20, 64])), draw(st.sampled_from([4, 12, 36, 68, 132]))
    rng, multiply = np.random.default_rng(draw(st.integers(0, 99))), draw(st.sampled_from([TF32, TWICE, BF16]))
    x = rounded(rng.standard_normal((draw(st.integers(1, 2)), height, width, cin)), KEPT[multiply])
    return x, rounded(rng.standard_normal((kh, kw, cin, cout)), KEPT[multiply]), stride, padding, multiply, rng


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_tensor_cores_compute_the_definitions(case):
    *case, multiply, rng = case
    for made, wanted, depth in three_directions(conv_mma, *case, multiply, rng):
        assert close(made, wanted, depth)


@pytest.mark.parametrize("multiply", [TF32, TWICE, BF16])
@pytest.mark.parametrize(
    "image, weights, stride",
    [
        ((2, 21, 23, 16), (3, 3, 16, 40), 1),  # several tiles of pixels, and parts
        ((1, 9, 8, 64), (3, 3, 64, 140), 2),  # several tiles of outputs, and a part with fewer slabs than the others
    ],
)
def test_many_tiles_and_parts(image, weights, stride, multiply):
    rng = np.random.default_rng(0)
    x, w = (rounded(rng.standard_normal(shape), KEPT[multiply]) for shape in (image, weights))
    for made, wanted, depth in three_directions(conv_mma, x, w, (stride, stride), (1, 1), multiply, rng):
        assert close(made, wanted, depth)


@pytest.mark.parametrize("cin, cout, kernel", [(3, 16, 3), (3, 64, 9), (64, 3, 9), (8, 3, 3), (5, 4, 2), (12, 1, 3)])
def test_few_channels_by_rows_of_taps(cin, cout, kernel):
    rng = np.random.default_rng(0)
    x, w = (rounded(rng.standard_normal(s), 10) for s in ((2, 11, 13, cin), (kernel, kernel, cin, cout)))
    assert conv_rows.suits(geometry(x, w.shape, (11, 13), (1, 1), (0, 0)))
    for made, wanted, depth in three_directions(conv_rows, x, w, (1, 1), (kernel // 2,) * 2, TF32, rng):
        assert close(made, wanted, depth)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("shuffle", [1, 2])
def test_the_epilogue(parts, shuffle, monkeypatch):
    """Of a tile that a block has by itself, and of one whose parts the last block adds up."""
    monkeypatch.setattr(conv_mma.Cut, "most_parts", lambda *_: parts)
    rng = np.random.default_rng(0)
    x, w = (rounded(rng.standard_normal(shape), 10) for shape in ((2, 7, 9, 8), (3, 3, 8, 48)))
    channels = 48 // shuffle**2
    bias, slope = (rng.standard_normal(length).astype(np.float32) for length in (48, channels))
    residual = rng.standard_normal((2, 7 * shuffle, 9 * shuffle, channels)).astype(np.float32)
    y = PixelShuffle.forward(Conv2d.forward(x.astype(float), w.astype(float), 1, 1) + bias, shuffle)
    wanted = np.where(y > 0, y, slope * y) + residual
    ends = [to_device(each, DEVICE) for each in (bias, slope, residual)]
    x, w = (to_device(each, DEVICE) for each in (x, w))
    out = to_device(np.full(wanted.shape, np.nan, np.float32), DEVICE)
    sizes = geometry(x, w.shape, (7, 9), (1, 1), (1, 1))
    conv_mma.convolve(x, w, out, sizes, Epilogue(*ends, shuffle=shuffle), TF32)
    assert close(out, wanted, 72)


def test_the_moments_of_a_convolution():
    """Of more tiles than one, the last of which is not full; with a mean that is large beside the deviation."""
    rng = np.random.default_rng(0)
    x, w = (rounded(rng.standard_normal(shape), 10) for shape in ((2, 13, 17, 4), (3, 3, 4, 36)))
    bias = rng.uniform(200, 300, 36).astype(np.float32)
    y = Conv2d.forward(x.astype(float), w.astype(float), 1, 1) + bias
    there = [to_device(each, DEVICE) for each in (x, w, bias)]
    out = to_device(np.empty(y.shape, np.float32), DEVICE)
    sizes = geometry(x, w.shape, (13, 17), (1, 1), (1, 1))
    with conv_mma.moments_wanted() as found:
        conv_mma.convolve(there[0], there[1], out, sizes, Epilogue(there[2]), TF32)
    averages = [to_device(np.full(36, value, np.float32), DEVICE) for value in (1, 2)]
    mean, var = channels.merged_moments(out, found[id(out)], (*averages, 0.1))
    count = y[..., 0].size
    np.testing.assert_allclose(to_numpy(mean), y.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(to_numpy(var), y.var((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(to_numpy(averages[0]), 0.9 + 0.1 * y.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(to_numpy(averages[1]), 1.8 + 0.1 * y.var((0, 1, 2), ddof=1), rtol=1e-5)
    assert count > 3 * 128


@needs_cpu
@pytest.mark.parametrize("cin, cout, stride, padding", [(8, 36, 1, 1), (4, 68, 2, 0), (3, 12, 1, 1), (8, 3, 1, 0)])
def test_every_output_is_written_and_nothing_else(cin, cout, stride, padding):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 13, 11, cin), (3, 3, cin, cout)))
    size = tuple((length + 2 * padding - 3) // stride + 1 for length in (13, 11))
    sizes = geometry(x, w.shape, size, (stride, stride), (padding, padding))
    matrices = conv_rows if cin % 4 or cout % 4 else conv_mma
    with guarded():
        y, dx = np.empty((2, *size, cout), np.float32), np.empty(x.shape, np.float32)
        matrices.convolve(x, w, y, sizes, PLAIN, TF32)
        matrices.input_gradient(y, w, dx, sizes, TF32)
        dw, db = matrices.weight_gradient(x, y, sizes, TF32)
    assert all(np.isfinite(each).all() for each in (y, dx, dw, db) if each is not None)


@pytest.mark.parametrize("name, least, most", [("tf32", 1e-4, 6e-4), ("3xtf32", 1e-8, 5e-7), ("bf16", 1e-3, 5e-3)])
def test_how_exact_each_precision_is(name, least, most):
    """For factors of any kind: the relative error, in the norm. Half a bit lost of each factor, or nearly none."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 9, 9, 64), (3, 3, 64, 64)))
    exact = Conv2d.forward(x.astype(float), w.astype(float), 1, 1)
    there = [to_device(each, DEVICE) for each in (x, w)]
    out = to_device(np.empty(exact.shape, np.float32), DEVICE)
    conv_mma.convolve(*there, out, geometry(x, w.shape, (9, 9), (1, 1), (1, 1)), PLAIN, PRECISIONS[name])
    assert least < np.linalg.norm(to_numpy(out) - exact) / np.linalg.norm(exact) < most


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("multiply", [TF32, TWICE, BF16])
def test_what_is_not_finite_stays_so(multiply, bad):
    """Or else nobody would notice that a training has exploded. NaN with all its bits set, as a GPU makes it, too."""
    x, w = np.ones((1, 4, 4, 4), np.float32), np.ones((1, 1, 4, 4), np.float32)
    x.view(np.uint32)[0, 2, 1, 3] = 0x7FFFFFFF if np.isnan(bad) else np.float32(bad).view(np.uint32)
    there = [to_device(each, DEVICE) for each in (x, w)]
    out = to_device(np.empty((1, 4, 4, 4), np.float32), DEVICE)
    conv_mma.convolve(*there, out, geometry(x, w.shape, (4, 4), (1, 1), (0, 0)), PLAIN, multiply)
    finite = np.isfinite(to_numpy(out))
    assert not finite[0, 2, 1].any() and finite.sum() == 60


def launched(monkeypatch, x, w, stride=1):
    """The files whose kernels compute the three directions where the arrays' GPU has tensor cores."""
    files = []
    for module in (conv_kernels, conv_mma, conv_rows):
        monkeypatch.setattr(module, "launch", lambda file, *_, **__: files.append(file))
    y = np.empty((1, *(-(-length // stride) for length in x.shape[1:3]), w.shape[3]), x.dtype)
    pad = (w.shape[0] // 2,) * 2
    conv_kernels.launch_conv(x, w, y, (stride, stride), pad)
    conv_kernels.launch_input_gradient(y, w, np.empty_like(x), (stride, stride), pad)
    conv_kernels.launch_weight_gradient(x, y, w.shape[:2], (stride, stride), pad)
    return set(files)


@pytest.mark.parametrize(
    "name, cin, cout, kernel, stride, dtype, files",
    [
        ("tf32", 64, 64, 3, 2, "f4", {"conv_mma.cu"}),
        ("tf32", 3, 64, 9, 1, "f4", {"conv_mma.cu", "conv_rows.cu"}),
        ("tf32", 64, 3, 9, 1, "f4", {"conv_mma.cu", "conv_rows.cu"}),
        ("tf32", 3, 64, 3, 2, "f4", {"conv.cu"}),
        ("tf32", 5, 7, 5, 1, "f4", {"conv.cu"}),
        ("float32", 64, 64, 5, 1, "f4", {"conv.cu"}),
        ("tf32", 64, 64, 5, 1, "f8", {"conv.cu"}),
    ],
)
def test_what_computes_which_convolution(name, cin, cout, kernel, stride, dtype, files, monkeypatch):
    monkeypatch.setattr("minisrgan.device.precision.on_gpu", lambda _: True)
    monkeypatch.setattr("minisrgan.device.precision.has_tensor_cores", lambda: True)
    monkeypatch.setattr(conv_mma, "sum_parts", lambda parts: parts[0])
    monkeypatch.setattr(conv_kernels, "sum_parts", lambda parts: parts[0])
    x, w = np.ones((1, 8, 8, cin), dtype), np.ones((kernel, kernel, cin, cout), dtype)
    with use_precision(name):
        assert launched(monkeypatch, x, w, stride) == files


def test_the_precision_is_chosen_by_name(monkeypatch):
    assert precision() == "tf32"
    monkeypatch.setenv("MINISRGAN_PRECISION", "bf16")
    assert precision() == "bf16"
    with use_precision("float32"):
        assert precision() == "float32"
    assert precision() == "bf16"
    monkeypatch.setenv("MINISRGAN_PRECISION", "fp8")
    with pytest.raises(DeviceError, match="MINISRGAN_PRECISION: choose one of tf32, 3xtf32, bf16, float32"):
        precision()
    with pytest.raises(DeviceError, match="'half'"):
        use_precision("half")


def test_a_launch_that_is_cut_up_in_another_way_is_refused():
    if DEVICE == "cuda":
        pytest.skip("a trap ends the GPU's work for the whole process")
    x, w, y = np.ones((1, 4, 4, 8), np.float32), np.ones((3, 3, 8, 4), np.float32), np.ones((1, 4, 4, 4), np.float32)
    sizes, cut = geometry(x, w.shape, (4, 4), (1, 1), (1, 1)), conv_mma.Cut.of(4, TF32)
    for blocks, tiles, said in ((2, 1, "gridDim"), (2, 2, "tiles == ")):
        with pytest.raises(KernelError, match=said):
            conv_mma.launch("conv_mma.cu", "conv2d_mma", blocks, None, x, w, None, None, None, y, None, None, None,
                            tickets(x), sizes, 1, tiles, 1, shared=cut.shared(128, 40), **cut.choice)  # fmt: skip
