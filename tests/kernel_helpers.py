"""Helpers for the kernels' tests. The tests run on the CPU, or with MINISRGAN_DEVICE=cuda on a GPU."""

import os
from contextlib import contextmanager

import numpy as np
import pytest

from minisrgan.arrays import to_device, to_numpy
from minisrgan.device import PROBLEMS, channels, cuts, geometry, use_device
from minisrgan.device.launch import signatures
from minisrgan.tensor import dispatch

DEVICE = "cuda" if os.environ.get("MINISRGAN_DEVICE") == "cuda" else "cpu"
PROBLEM = PROBLEMS[DEVICE]()
needs_kernels = pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM))
needs_cpu = pytest.mark.skipif(DEVICE != "cpu", reason="looks at how the CPU does it")
both_reals = pytest.mark.parametrize("dtype", [np.float32, np.float64])
GUARD = 64  # elements before and after an array that nobody may touch


def kernel_of(target):
    """A function of arrays: what an op, or a definition, is by its kernel; NotImplemented where none covers them."""

    def compute(*arrays, **params):
        with use_device(DEVICE):
            return dispatch(target, lambda *arrays, **params: NotImplemented, arrays, params)

    return compute


def band(array):
    """A copy of the array in the middle of a longer one, of NaN (or -1) beyond it: (the copy, the longer one)."""
    beyond = np.nan if array.dtype.kind == "f" else -1
    whole = np.full(array.size + 2 * GUARD, beyond, array.dtype)
    inner = whole[GUARD : GUARD + array.size].reshape(array.shape)
    inner[...] = array
    return inner, whole


@contextmanager
def guarded():
    """Within the block a NumPy array made empty is full of NaN (or -1), and so is what lies around it, to the end."""
    real, made = np.empty, []

    def empty(shape, dtype=np.float64):
        dtype = np.dtype(dtype)
        inner, whole = band(np.full(shape, np.nan if dtype.kind == "f" else -1, dtype))
        made.append((whole, inner.size))
        return inner

    np.empty = empty
    try:
        yield
    finally:
        np.empty = real
    for whole, size in made:
        for guard in (whole[:GUARD], whole[GUARD + size :]):
            assert np.all(guard != guard) if whole.dtype.kind == "f" else np.all(guard == -1), "written out of bounds"


def run(function, *arrays, **params):
    """What a function that launches kernels makes of NumPy arrays; nothing is read or written beyond them."""
    if DEVICE == "cuda":
        out = function(*(to_device(each, DEVICE) for each in arrays), **params)
    else:
        kept = [band(each) for each in arrays]
        with guarded():
            out = function(*(inner for inner, _ in kept), **params)
        for each, (inner, _) in zip(arrays, kept):
            assert np.array_equal(inner, each, equal_nan=each.dtype.kind == "f"), "an input was changed"
    assert out is not NotImplemented
    return tuple(to_numpy(each) for each in out) if isinstance(out, (tuple, list)) else to_numpy(out)


def assert_close(made, wanted, terms=1, size=None):
    """Both agree to the rounding of sums of `terms` terms, relative to the largest number (or `size`)."""
    made, wanted = np.asarray(made), np.asarray(wanted)
    assert made.shape == wanted.shape and made.dtype == wanted.dtype
    tolerance = {4: 1e-6, 8: 1e-14}[wanted.dtype.itemsize] * max(terms, 1) ** 0.5
    size = size or max(np.abs(wanted).max(initial=0), 1)
    assert np.array_equal(np.isnan(made), np.isnan(wanted))
    np.testing.assert_allclose(made, wanted, rtol=0, atol=tolerance * size)


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


@pytest.fixture(params=["its own", "a GPU's"])
def blocks(request, monkeypatch):
    """The CPU's blocks are of one thread each, so a test of these alone would see nothing of barriers and rests."""
    if request.param == "a GPU's":
        for module in channels, cuts:
            monkeypatch.setattr(module, "on_gpu", lambda array: True)
        monkeypatch.setitem(geometry.FILES, "channels.cu", lambda gpu: geometry.channels(True))
        for kernel in signatures("channels.cu").values():
            monkeypatch.setattr(kernel, "ready", {})  # launches of the other blocks
