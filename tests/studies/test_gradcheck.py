"""The gradient check passes what is sound, fails every fault, and leaves no Op out."""

import numpy as np
import pytest

from minisrgan import check
from minisrgan.cli.main import main
from minisrgan.errors import ConfigError
from minisrgan.studies.gradcheck import (
    Result,
    all_cases,
    all_ops,
    examine,
    find_op,
    gradcheck,
    loss_cases,
    module_cases,
    op_cases,
    planted,
)
from minisrgan.tensor import Op

OTHERS = "device", "ranks"  # their ops are held to the formulas by tests of their own
FORMULAS = {
    op for op in all_ops() if op.__module__.startswith("minisrgan.") and op.__module__.split(".")[1] not in OTHERS
}
OPS = sorted(FORMULAS, key=lambda op: op.__name__)
CASES = op_cases(np.random.default_rng(0))


def cases_of(op):
    return [case for case in CASES if case.name.split()[0] == op.__name__]


def faults():
    """(op, differentiable argument) for each of the package."""
    for op in OPS:
        conditions = op.__name__ in ("WherePositive", "LeakyReLUGrad", "PReLUGrad")  # x, of which only the sign counts
        for argument in range(len(cases_of(op)[0].arrays) - conditions):
            yield pytest.param(op, argument, id=f"{op.__name__} {argument}")


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_every_op_is_documented_differentiable_and_checked(op):
    assert op.__doc__
    assert {"forward", "vjp"} <= vars(op).keys()
    assert cases_of(op)


def test_every_linear_op_is_held_to_the_adjoint_identity():
    linear = {case.name.split()[0] for case in CASES if case.linear}
    assert linear == {op.__name__ for op in OPS if op.linear} | {"blur_pool"}  # which is made of ops
    assert {"Conv2d", "InputGrad", "WeightGrad", "PixelShuffle", "PixelUnshuffle", "MatMul", "Slice", "Pad"} <= linear


@pytest.mark.parametrize("op, argument", faults())
def test_a_fault_of_a_hundredth_in_one_element_is_caught(op, argument):
    with planted(op, argument):
        results = [examine(case, "numpy", np.random.default_rng(1)) for case in cases_of(op)]
    assert not any(result.passed for result in results)
    for result in results:
        assert result.first > 10 * check.FIRST_ORDER_TOLERANCE
        if op.linear:
            assert result.adjoint > 10 * check.ADJOINT_TOLERANCE


def test_a_planted_fault_is_gone_afterwards_even_after_an_error():
    conv = find_op("Conv2d")
    sound = conv.vjp
    with pytest.raises(ZeroDivisionError), planted(conv):
        raise ZeroDivisionError
    assert conv.vjp is sound


@pytest.mark.parametrize("case", module_cases(np.random.default_rng(0)), ids=lambda case: case.name)
def test_a_fault_within_a_module_is_caught(case):
    ops = {"PReLU layer": "PReLU", "LeakyReLU layer": "LeakyReLU", "Dense": "MatMul"}
    op = "Mul" if case.name.endswith("layer, eval") else "BatchNorm" if "BatchNorm" in case.name else "Conv2d"
    op = "SpectralNorm" if "spectral" in case.name.lower() else op
    with planted(find_op(ops.get(case.name, op))):
        assert not examine(case, "numpy", np.random.default_rng(1)).passed


@pytest.mark.parametrize("case", loss_cases(np.random.default_rng(0)), ids=lambda case: case.name)
def test_a_fault_within_a_loss_or_a_penalty_is_caught(case):
    ops = {
        "total_variation": ["PixelCharbonnier", "Slice"],
        "grid_loss": ["PixelMSE", "Sum", "Reshape"],
        "feature_mse": ["PixelMSE", "InputGrad", "LeakyReLU"],
    }
    for op in ops.get(case.name, ["Conv2d", "InputGrad", "WeightGrad", "LeakyReLUGrad", "MatMul", "Pow"]):
        with planted(find_op(op)):
            result = examine(case, "numpy", np.random.default_rng(1))
        assert not result.passed, op


def f_with_gradient(value, slope):
    """A function of one Tensor whose claimed gradient need not be its value's."""

    class Claimed(Op):
        def forward(x):
            return value(x)

        def vjp(g, out, x):
            return lambda: slope(g, x)

    return Claimed


def test_first_order_error_is_relative_to_the_larger():
    twice = f_with_gradient(lambda x: 3 * x, lambda g, x: g * 2)
    error = check.first_order_error(twice, [np.ones((2, 3))], np.random.default_rng(1))
    np.testing.assert_allclose(error, 1 / 3, rtol=1e-6)


def test_a_second_derivative_that_is_wrong_is_caught_where_the_first_is_right():
    cube = f_with_gradient(lambda x: x**3, lambda g, x: g * 3 * x * x.detach())
    x = np.random.default_rng(2).uniform(0.5, 2, (2, 3))
    assert check.first_order_error(cube, [x], np.random.default_rng(1)) < 1e-8
    assert check.second_order_error(cube, [x], np.random.default_rng(1)) > 0.01


@pytest.mark.parametrize("a, b", [(0.0, np.nan), (np.nan, 0.0), (np.nan, np.nan), (1.0, np.nan), (np.inf, np.inf)])
def test_what_is_not_a_number_never_passes(a, b):
    error = check.relative(a, b)
    assert not Result("", "", None, error, 0.0).passed
    assert not Result("", "", None, 0.0, error).passed
    assert not Result("", "", error, 0.0, 0.0).passed


def test_relative_errors():
    assert check.relative(0.0, 0.0) == 0
    assert check.relative(4.0, 5.0) == check.relative(-5.0, -4.0) == 0.2
    assert check.relative(4.0, 5.0, scale=10.0) == 0.1


def test_everything_passes():
    lines = []
    assert gradcheck("numpy", say=lines.append)
    names = [case.name for case in all_cases()]
    assert len(lines) == len(names) + 2
    for line, name in zip(lines[1:], names):
        assert line.startswith(name[:43]) and line.endswith("  pass")
    assert lines[-1].startswith(f"{len(names)} passed, 0 failed")


@pytest.fixture
def on_numpy(monkeypatch):
    monkeypatch.setenv("MINISRGAN_DEVICE", "numpy")


def test_the_command_says_and_returns_what_it_found(on_numpy, capsys):
    assert main(["gradcheck"]) == 0
    assert " 0 failed" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("op", ["Conv2d", "WherePositive"])
def test_the_command_fails_with_a_fault_planted(op, on_numpy, capsys):
    assert main(["gradcheck", "--plant", op]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"planted: a fault of 1 % in one element of the vjp of {op}\n")
    failed = [line.split()[0] for line in out.splitlines() if line.endswith("FAIL")]
    assert op in failed and f" {len(failed)} failed" in out.splitlines()[-1]


def test_an_op_that_there_is_not(on_numpy, capsys):
    assert main(["gradcheck", "--plant", "Convolve"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("minisrgan: there is no op 'Convolve': choose one of Abs, Add, ")
    with pytest.raises(ConfigError):
        find_op("Elementwise")


def test_a_check_leaves_its_arrays_as_they_were():
    case = cases_of(find_op("Mul"))[0]
    before = [array.copy() for array in case.arrays]
    examine(case, "numpy", np.random.default_rng(1))
    for array, copy in zip(case.arrays, before):
        np.testing.assert_array_equal(array, copy)
