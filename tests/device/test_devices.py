"""Devices: which one is chosen and why, and which implementation runs for which array."""

import numpy as np
import pytest

from minisrgan import arrays
from minisrgan.device import DEVICES, PROBLEMS, choose_device, use_device, uses_kernels
from minisrgan.errors import DeviceError

X = np.ones(3, np.float32)


@pytest.fixture
def problems(monkeypatch):
    """A function that says why devices do not work; None: it does."""
    monkeypatch.delenv("MINISRGAN_DEVICE", raising=False)

    def set_problems(**why):
        for device, problem in why.items():
            monkeypatch.setitem(PROBLEMS, device, lambda problem=problem: problem)

    return set_problems


@pytest.mark.parametrize(
    "cuda, cpu, chosen",
    [
        (None, None, ("cuda", "an NVIDIA GPU answers")),
        ("no GPU", None, ("cpu", "no cuda: no GPU")),
        ("no GPU", "no C++ compiler", ("numpy", "no cuda: no GPU; no cpu: no C++ compiler")),
    ],
)
def test_the_first_device_that_works_and_why_not_a_better_one(problems, cuda, cpu, chosen):
    problems(cuda=cuda, cpu=cpu)
    assert choose_device() == chosen


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_asked_for_is_used_or_refused(problems, monkeypatch, device):
    problems(cuda=None, cpu=None)
    assert choose_device(device) == (device, "asked for by --device")
    monkeypatch.setenv("MINISRGAN_DEVICE", device)
    assert choose_device() == (device, "asked for by MINISRGAN_DEVICE")
    assert choose_device("numpy") == ("numpy", "asked for by --device")
    problems(cuda="it rains", cpu="it rains")
    if device != "numpy":
        with pytest.raises(DeviceError, match=f"'{device}' asked for by MINISRGAN_DEVICE, but it rains"):
            choose_device()


def test_an_unknown_device_is_named(problems):
    with pytest.raises(DeviceError, match="'tpu' from --device: choose one of cuda, cpu, numpy"):
        choose_device("tpu")
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        use_device("tpu")
    assert not uses_kernels(X)


def test_every_device_has_its_problem():
    assert tuple(PROBLEMS) == DEVICES


def test_numpy_arrays_use_kernels_while_the_device_is_cpu():
    assert not uses_kernels(X)
    with use_device("cpu"):
        assert uses_kernels(X)
        with use_device("numpy"):
            assert not uses_kernels(X)
        assert uses_kernels(X)
    assert not uses_kernels(X)


def test_the_device_returns_after_an_error():
    with pytest.raises(ZeroDivisionError), use_device("cpu"):
        raise ZeroDivisionError
    assert not uses_kernels(X)


def test_a_device_without_a_with_statement_stays():
    before = use_device("cpu")
    try:
        assert uses_kernels(X)
    finally:
        before.__exit__()
    assert not uses_kernels(X)


def test_cupy_arrays_always_use_kernels():
    cupy_array = type("ndarray", (), {"__module__": "cupy"})()
    assert uses_kernels(cupy_array)


def test_to_the_cpu_device_copies_nothing():
    assert arrays.to_device(X, "cpu") is X
