"""Adam, by its definition and by its kernel, compared with the paper's algorithm, one number at a time."""

from math import sqrt

import numpy as np
import pytest
from kernel_helpers import DEVICE, needs_kernels

from minisrgan.arrays import to_device, to_numpy
from minisrgan.device import use_device
from minisrgan.errors import KernelError, ShapeError
from minisrgan.nn import Parameter
from minisrgan.optim import SCHEDULES, Adam
from minisrgan.tensor import Tensor

RATES = [1e-2, 3e-3, 1e-1]


@pytest.fixture(params=["numpy", pytest.param(DEVICE, marks=needs_kernels)], autouse=True)
def device(request):
    with use_device(request.param):
        yield request.param


def here(array):
    """The array on the device of this test."""
    return to_device(array, use_device.active)


def parameters(dtype=np.float64):
    rng = np.random.default_rng(1)
    arrays = {"w": rng.standard_normal((2, 3)).astype(dtype), "b": np.ones(1, dtype)}
    return {name: Parameter(here(array)) for name, array in arrays.items()}


def gradients(step, dtype=np.float64):
    rng = np.random.default_rng([2, step])
    sizes = ((2, 3), -4), (1, 3)
    return [Tensor(here((rng.standard_normal(shape) * 10.0**scale).astype(dtype))) for shape, scale in sizes]


def algorithm_1(theta, gs, rates, beta1, beta2, eps):
    """Kingma and Ba 2015, for one number."""
    m = v = 0.0
    for t, (g, alpha) in enumerate(zip(gs, rates), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        theta -= alpha * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)
    return theta


@pytest.mark.parametrize("options", [{}, {"beta1": 0.5, "beta2": 0.99, "eps": 1e-3}])
def test_three_steps_are_the_papers(options):
    moved, start = parameters(), parameters()
    adam = Adam(moved, **options)
    for step, rate in enumerate(RATES):
        adam.step(gradients(step), rate)
    settings = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8} | options
    for i, name in enumerate(moved):
        for index, theta in np.ndenumerate(to_numpy(start[name].data)):
            gs = [float(gradients(step)[i].data[index]) for step in range(3)]
            wanted = algorithm_1(theta, gs, RATES, **settings)
            np.testing.assert_allclose(float(moved[name].data[index]), wanted, rtol=1e-13)


def test_the_first_step_is_the_rate_against_the_sign_whatever_the_size_of_the_gradient():
    moved, start = parameters(), parameters()
    Adam(moved).step(gradients(0), 1e-2)
    for name, g in zip(moved, gradients(0)):
        difference = to_numpy(moved[name].data - start[name].data)
        np.testing.assert_allclose(difference, -1e-2 * np.sign(to_numpy(g.data)), rtol=1e-2)


def test_the_parameters_move_in_place_and_stay_float32():
    moved = parameters(np.float32)
    arrays = [parameter.data for parameter in moved.values()]
    adam = Adam(moved)
    adam.step(gradients(0, np.float32), 1e-3)
    for parameter, array in zip(moved.values(), arrays):
        assert parameter.data is array and array.dtype == np.float32
    assert {array.dtype for array in adam.state().values()} == {np.dtype(np.float32)}


def test_a_missing_gradient_is_not_passed_over():
    with pytest.raises(ValueError):
        Adam(parameters()).step(gradients(0)[:1], 1e-3)


def test_a_state_taken_over_goes_on_bit_for_bit():
    one, other = parameters(), parameters()
    adam = Adam(one)
    for step in range(3):
        adam.step(gradients(step), 1e-2)
    again = Adam(other)
    again.load_state(adam.state())
    again.t = adam.t
    for name in one:
        other[name].data[...] = one[name].data
    for step in range(3, 5):
        adam.step(gradients(step), 1e-2)
        again.step(gradients(step), 1e-2)
    for name in one:
        np.testing.assert_array_equal(to_numpy(one[name].data), to_numpy(other[name].data))
    for name, array in adam.state().items():
        np.testing.assert_array_equal(again.state()[name], array)


def test_a_state_has_both_moments_of_every_parameter():
    adam = Adam(parameters())
    adam.step(gradients(0), 1e-2)
    state = adam.state()
    assert sorted(state) == ["m.b", "m.w", "v.b", "v.w"]
    g = to_numpy(gradients(0)[0].data)
    np.testing.assert_allclose(state["m.w"], 0.1 * g, rtol=1e-13)
    np.testing.assert_allclose(state["v.w"], 0.001 * g**2, rtol=1e-12)


@pytest.mark.parametrize(
    "schedule, factors",
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("drop", [1, 1, 0.1, 0.1, 0.1]),
        ("cosine", [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0]),  # cos 45° = √½
    ],
)
def test_a_schedule_at_the_quarters(schedule, factors):
    assert [SCHEDULES[schedule](i / 4) for i in range(5)] == pytest.approx(factors, rel=1e-12, abs=1e-12)


def test_a_gradient_that_does_not_fit_moves_nothing():
    moved, start = parameters(), parameters()
    adam = Adam(moved)
    for wrong in (np.ones(2), np.ones(1, np.float32)):
        with pytest.raises(ShapeError, match="gradient of b"):
            adam.step([gradients(0)[0], Tensor(here(wrong))], 1e-2)
    assert adam.t == 0
    for name in moved:
        np.testing.assert_array_equal(to_numpy(moved[name].data), to_numpy(start[name].data))


@needs_kernels
def test_a_parameter_that_is_not_contiguous_is_refused_by_the_kernel():
    with use_device(DEVICE), pytest.raises(KernelError, match="not contiguous"):
        adam = Adam({"w": Tensor(here(np.ones((4, 6))).T)})
        adam.step([Tensor(here(np.ones((6, 4))))], 1e-2)
