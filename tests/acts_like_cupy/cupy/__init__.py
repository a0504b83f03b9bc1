"""Acts like CuPy 14, on a CPU, as far as minisrgan uses it: ../README.md tells what for.

Everything here has CuPy's name and CuPy's parameters, or some of them. What is not here, CuPy may have.
"""

from types import SimpleNamespace

import numpy as np
from numpy import bool_, float32, float64, int32, int64, uint8  # noqa: F401  CuPy has them as they are

from . import _device, cuda  # noqa: F401
from ._array import by_numpy, memories, ndarray, only_ours, own, store, ufunc, wrap
from ._device import COUNT, copy_from_host, fresh
from .cuda import RawModule, get_default_memory_pool  # noqa: F401

__version__ = "14.0.0, but only a stand-in"

# ---- Of each number by itself ------------------------------------------------------------------------

UFUNCS = (
    "absolute add bitwise_and bitwise_or divide equal exp greater greater_equal invert isfinite isnan less less_equal "
    "log log1p logical_and logical_not maximum minimum multiply negative not_equal power sign sqrt subtract true_divide"
)
globals().update({name: ufunc(name) for name in UFUNCS.split()})
abs = absolute  # noqa: F821

# ---- Made from nothing, or from NumPy's: the only way onto the device --------------------------------


def empty(shape, dtype=float, order="C"):
    return wrap(*fresh(shape, dtype, order))


def full(shape, fill_value, dtype=None, order="C"):
    out = empty(shape, np.asarray(fill_value).dtype if dtype is None else dtype, order)
    out.fill(fill_value)
    return out


def zeros(shape, dtype=float, order="C"):
    return full(shape, 0, dtype, order)


def ones(shape, dtype=float, order="C"):
    return full(shape, 1, dtype, order)


def empty_like(prototype, dtype=None):
    only_ours(prototype)
    return empty(prototype.shape, dtype or prototype.dtype)


def zeros_like(a, dtype=None):
    only_ours(a)
    return zeros(a.shape, dtype or a.dtype)


def ones_like(a, dtype=None):
    only_ours(a)
    return ones(a.shape, dtype or a.dtype)


def arange(start, stop=None, step=1, dtype=None):
    return own(lambda: np.arange(start, stop, step, dtype) if stop is not None else np.arange(start, dtype=dtype))


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0):
    if isinstance(obj, ndarray):
        return obj.copy() if dtype is None else obj.astype(dtype)
    if isinstance(obj, (list, tuple)) and any(isinstance(each, ndarray) for each in obj):
        raise NotImplementedError("CuPy can stack a list of its arrays; the stand-in can't, since nobody needs it")
    obj = np.asarray(obj, dtype)
    out = empty(obj.shape, obj.dtype, "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C")
    copy_from_host(out._a, obj.copy())  # CuPy copies the numbers into pinned memory of its own first
    return out


def asarray(a, dtype=None, order=None, *, blocking=False):
    if isinstance(a, ndarray) and dtype in (None, a.dtype):
        return a
    return array(a, dtype)


def ascontiguousarray(a, dtype=None):
    a = asarray(a, dtype)
    return a if a.flags.c_contiguous else a.copy()


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(order=order) if isinstance(a, ndarray) else np.asarray(a, order=order)


# ---- Made from others --------------------------------------------------------------------------------


def copyto(dst, src, casting="same_kind", where=None):
    only_ours(dst, src)
    dst[...] = src


def where(condition, x=None, y=None):
    only_ours(condition)
    return by_numpy(np.where, condition, x, y)


def outer(a, b):
    only_ours(a, b)
    return by_numpy(np.outer, a, b)


def matmul(x1, x2, /, out=None):
    only_ours(x1, x2)
    COUNT["products"] += 1
    if _device.get_current_stream().is_capturing():  # cupy_backends/cuda/libs/cublas.pyx, setStream
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    if out is None:
        return by_numpy(np.matmul, x1, x2)
    only_ours(out)
    one, other = x1._a, x2._a
    store(out._a, lambda: np.matmul(one, other), *memories([out, x1, x2]))
    return out


def concatenate(tup, axis=0, out=None, *, dtype=None, casting="same_kind"):
    only_ours(*tup)
    parts = [each._a for each in tup]
    return own(lambda: np.concatenate(parts, axis), *tup)


def pad(array, pad_width, mode="constant", **kwargs):
    only_ours(array)
    mine = array._a
    return own(lambda: np.pad(mine, pad_width, mode, **kwargs), array)


def take_along_axis(a, indices, axis):
    only_ours(a, indices)
    return by_numpy(np.take_along_axis, a, indices, axis)


def broadcast_to(array, shape):
    only_ours(array)
    return array._view(np.broadcast_to(array._a, shape))


def sum(a, axis=None, dtype=None, out=None, keepdims=False):
    only_ours(a)
    return a.sum(axis, dtype, out, keepdims)


def mean(a, axis=None, dtype=None, out=None, keepdims=False):
    only_ours(a)
    return a.mean(axis, dtype, out, keepdims)


def array_equal(a1, a2, equal_nan=False):
    only_ours(a1, a2)
    one, other = a1._a, a2._a
    return own(lambda: np.array_equal(one, other, equal_nan), a1, a2)


def _norm(x, ord=None, axis=None, keepdims=False):
    only_ours(x)
    mine = x._a
    return own(lambda: np.linalg.norm(mine, ord, axis, keepdims), x)


def _as_strided(x, shape=None, strides=None):
    only_ours(x)
    return x._view(np.lib.stride_tricks.as_strided(x._a, shape, strides))


linalg = SimpleNamespace(norm=_norm)
lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=_as_strided))
