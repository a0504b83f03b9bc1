"""Inputs that no training has: without elements, without axes, of a wrong type. They give the right result or a clear
error, the same on every device."""

import warnings
from fractions import Fraction

import numpy as np
import pytest

from minisrgan import losses
from minisrgan import ops as ad
from minisrgan.device import use_device
from minisrgan.device.cpu import cpu_problem
from minisrgan.errors import MinisrganError, ShapeError
from minisrgan.ops.batch_norm import batch_statistics
from minisrgan.ops.pooling import Pick, Place
from minisrgan.studies.gradcheck import op_cases
from minisrgan.tensor import Tensor, grad

CASES = op_cases(np.random.default_rng(0))
SHAPES = [(), (0,), (1,), (3,), (0, 3), (1, 1, 1, 1), (2, 0, 4, 3), (2, 4, 4, 0), (2, 4, 4, 3), (0, 0, 3, 3)]
DEVICES = ["numpy"] if cpu_problem() else ["numpy", "cpu"]


def x(*shape):
    return Tensor(np.ones(shape), requires_grad=True)


def combinations(shapes):
    """Every shape for one input while the others stay; every shape for all inputs; and each length once as 0."""
    for i in range(len(shapes)):
        for shape in SHAPES:
            yield [*shapes[:i], shape, *shapes[i + 1 :]]
    for shape in SHAPES:
        yield [shape] * len(shapes)
    for length in {length for shape in shapes for length in shape}:
        yield [tuple(0 if each == length else each for each in shape) for shape in shapes]


def attempt(function, arrays):
    """The output and both orders of gradients as arrays, or the error. Any error but the project's own is raised."""
    xs = [Tensor(array, requires_grad=True) for array in arrays]
    try:
        out = function(*xs)
        first = grad(out, xs, Tensor(np.ones(out.shape, out.dtype)), create_graph=True)
        total = sum((each * each).sum() for each in first)
        second = grad(total, xs) if total.requires_grad else []
    except MinisrganError as error:
        return error
    return [each.data for each in (out, *first, *second)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_op_computes_or_refuses_odd_shapes_alike_on_all_devices(case):
    rng = np.random.default_rng(1)
    for shapes in combinations([array.shape for array in case.arrays]):
        arrays = [np.asarray(rng.uniform(0.5, 2, shape)) for shape in shapes]
        made = []
        for device in DEVICES:
            with use_device(device), warnings.catch_warnings(action="error"):
                made.append(attempt(case.function, arrays))
        for other in made[1:]:
            assert isinstance(made[0], Exception) == isinstance(other, Exception), (shapes, made)
            if not isinstance(other, Exception):
                for a, b in zip(made[0], other, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=str(shapes))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f4", "int32", "complex128", "bool"])
def test_only_float32_and_float64_are_computed_with(dtype, device):
    odd = Tensor(np.ones(3, dtype))
    with use_device(device):
        for call in (lambda: odd + odd, lambda: -odd, lambda: odd.sum(), lambda: ad.ReLU(odd), lambda: x(3) * odd):
            with pytest.raises(ShapeError, match=r"\(3,\) .*one floating-point type, float32 or float64"):
                call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: x().sum(axis=-1), r"Sum\(\(\) float64\): axis -1 is out of bounds for an array of 0 axes"),
        (lambda: x(2, 3).sum().sum(axis=0), r"axis 0 is out of bounds"),
        (lambda: x().mean(axis=-1), "axis -1 is out of bounds"),
        (lambda: x(2, 3).sum(axis=2), "axis 2 is out of bounds for an array of 2 axes"),
        (lambda: x(2, 3).mean(axis=(0, -3)), "axis -3 is out of bounds"),
        (lambda: x(2, 3).sum(axis="rows"), r"Sum\(\(2, 3\) float64\): .*not supported between"),
        (lambda: x(2, 3).sum(axis=0.5), r"Sum\(\(2, 3\) float64\): "),
        (lambda: x(0, 3).mean(), r"the mean over all axes of \(0, 3\) is of nothing"),
        (lambda: x(2, 0).mean(axis=1), r"the mean over axis 1 of \(2, 0\) is of nothing"),
        (lambda: x(4, 6).sum_to((3, 8)), r"\(3, 8\) cannot be broadcast to \(4, 6\)"),
        (lambda: x(4).sum_to((1, 4)), r"\(1, 4\) cannot be broadcast to \(4,\)"),
        (lambda: x(3).broadcast_to((2,)), r"BroadcastTo\(\(3,\) float64\)"),
        (lambda: x(3) ** np.array([1.0, 2.0, 3.0]), r"Pow\(\(3,\) float64\): exponent must be one constant number"),
        (lambda: x(3) ** x(3), "exponent must be one constant number, not a Tensor"),
        (lambda: x(3) ** None, "exponent must be one constant number, not a NoneType"),
        (lambda: x(3) ** 2j, "exponent must be one constant number, not a complex"),
        (lambda: x(3).clip(None, 1), "low must be one constant number"),
        (lambda: x(3).clip(0, "1"), "high must be one constant number"),
        (lambda: x(3) * (1 + 2j), "a Tensor holds a NumPy or CuPy array, not a complex"),
        (lambda: x(3) + "1", "a Tensor holds .* not a str"),
        (lambda: x(3) + [1, 2, 3], "a Tensor holds .* not a list"),
        (lambda: x(3) - None, "a Tensor holds .* not a NoneType"),
        (lambda: x(3)[1.0], "a key is of integers"),
        (lambda: x(2, 3).reshape("all"), r"Reshape\(\(2, 3\) float64\)"),
        (lambda: x(2, 3).transpose((0, 0)), r"Transpose\(\(2, 3\) float64\)"),
        (lambda: x(2, 3).transpose(1), r"Transpose\(\(2, 3\) float64\)"),
        (lambda: x(3) @ 2, r"MatMul\(\(3,\) float64"),
        (lambda: ad.Concatenate(x(2), x(2), axis=None), r"Concatenate\(\(2,\) float64"),
        (lambda: ad.Concatenate(x(2), x(2), axis=1), r"Concatenate\(\(2,\) float64"),
        (lambda: ad.Concatenate(), r"Concatenate\(\): the inputs must be Tensors"),
        (lambda: ad.Pad(x(2, 3), widths=((1, 2),)), r"a \(before, after\) for each of 2 axes is wanted, not 1"),
        (lambda: ad.Pad(x(2, 3), widths=1), r"Pad\(\(2, 3\) float64\)"),
        (lambda: ad.PixelShuffle(x(1, 2, 2, 4), r=0), r"PixelShuffle\(\(1, 2, 2, 4\) float64\)"),
        (lambda: ad.MaxPool(x(1, 2, 2, 4), size=0), r"MaxPool\(\(1, 2, 2, 4\) float64\)"),
        (lambda: ad.Conv2d(x(1, 4, 4, 2), x(0, 3, 2, 2)), "a kernel has at least one pixel"),
        (lambda: ad.Conv2dBias(x(1, 4, 4, 2), x(3, 3, 2, 2), x(1)), r"the bias is \(1,\) where the weights"),
        (lambda: ad.Conv2d(x(1, 4, 4, 2), x(3, 3, 2, 2), padding="same"), r"Conv2d\(\(1, 4, 4, 2\) float64"),
        (lambda: batch_statistics(np.ones((0, 3))), r"a batch of shape \(0, 3\) has no mean and no variance"),
        (lambda: losses.PixelMSE(x(0, 4), x(0, 4)), r"PixelMSE\(\(0, 4\) float64, \(0, 4\) float64\): the mean of no"),
        (lambda: losses.DiscriminatorLoss(x(3), x(0)), "DiscriminatorLoss.*: the mean of nothing"),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_what_makes_no_sense_is_said_in_one_line(call, message, device):
    with use_device(device), pytest.raises(ShapeError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", DEVICES)
def test_pooling_writes_nowhere_that_its_images_have_no_square(device):
    """Here the kernel wrote beyond the image: its sizes are those of what comes in."""
    g, chosen = x(2, 4, 4, 3), np.zeros((2, 4, 4, 3), np.int32)
    with use_device(device):
        with pytest.raises(ShapeError, match="is not a number for each 2×2 square"):
            Place(g, chosen=chosen, size=2, shape=(2, 5, 7, 3))
        with pytest.raises(ShapeError, match="is not a number for each 2×2 square"):
            Place(g, chosen=chosen[:, :2], size=2, shape=(2, 8, 8, 3))
        with pytest.raises(ShapeError, match="is not a number for each 2×2 square"):
            Pick(g, chosen=chosen, size=2)


@pytest.mark.parametrize("device", DEVICES)
def test_sums_of_nothing_are_nothing(device):
    with use_device(device):
        out = ad.Conv2dBias(x(2, 5, 5, 0), x(3, 3, 0, 4), x(4), padding=1)
        np.testing.assert_array_equal(out.data, np.ones((2, 5, 5, 4)))
        assert ad.Conv2d(x(0, 5, 5, 2), x(3, 3, 2, 1), padding=1).shape == (0, 5, 5, 1)
        assert x(0, 3).sum().item() == 0 and x(0, 3).mean(axis=1).shape == (0,)
        np.testing.assert_array_equal((x(2, 0) @ x(0, 3)).data, np.zeros((2, 3)))


def test_any_real_number_is_an_operand():
    assert (x(2) * Fraction(1, 4)).data.tolist() == [0.25, 0.25]
