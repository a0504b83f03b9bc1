"""The stand-in's arrays."""

import functools
import sys
from types import SimpleNamespace

import numpy as np

from ._device import COUNT, LATE, MEMORY, capturing, copy_from_host, finish, fresh, perform, wait

TINY = np.finfo(np.float32).tiny


def wrap(array, memory, base=None):
    out = object.__new__(ndarray)
    out._a, out._memory, out.base = array, memory, base
    return out


def own(compute, *sources):
    """What `compute()` makes of `sources`, in memory of the device: of a single number, an array without axes.

    Only the sources' numbers may be in `compute`, not the arrays themselves, whose memory may be free by then.
    """
    if not capturing():
        finish()
    with np.errstate(all="ignore"):
        value = np.asarray(compute())
    fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    array, memory = fresh(value.shape, value.dtype, "F" if fortran else "C")
    store(array, (lambda: value) if not capturing() else compute, memory, *memories(sources))
    return wrap(array, memory)


def store(array, compute, *touched):
    """Write what `compute()` makes into the array, denormals as 0."""

    def work():
        with np.errstate(all="ignore"):
            np.copyto(array, compute(), casting="same_kind")
            if array.dtype == np.float32:
                array[np.abs(array) < TINY] = 0

    perform(work, *(each.memory for each in touched))


def memories(sources):
    return [each._memory for each in sources if isinstance(each, ndarray)]


def only_ours(*arrays):
    """CuPy's functions take no NumPy array for one of its own."""
    for each in arrays:
        if not isinstance(each, ndarray):
            raise TypeError(f"Unsupported type {type(each)}")


def operand(x):
    """One of our arrays, or a number, for NumPy to compute with. Raises TypeError for anything else."""
    if isinstance(x, ndarray):
        return x._a
    if isinstance(x, (bool, int, float, complex, np.generic)):
        return x
    raise TypeError(f"Unsupported type {type(x)}")


def by_numpy(function, *args, **named):
    COUNT["elementwise"] += 1
    operands = [operand(each) for each in args]
    return own(lambda: function(*operands, **named), *args)


def ufunc(name):
    """NumPy's function of that name, for arrays of ours and numbers."""
    function = getattr(np, name)

    def call(*args, out=None, dtype=None):
        named = {} if dtype is None else {"dtype": dtype}
        if out is None:
            return by_numpy(function, *args, **named)
        only_ours(out)
        COUNT["elementwise"] += 1
        operands = [operand(each) for each in args]
        store(out._a, lambda: function(*operands, **named), *memories([out, *args]))
        return out

    call.__name__ = name
    return call


class Flags:
    def __init__(self, array):
        flags = array._a.flags
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, array.base is None


class ndarray:
    """An array on the device. NumPy sees it only through `get`, and whatever waits for the device counts as that."""

    __slots__ = ("_a", "_memory", "base", "__weakref__")
    __hash__ = None
    __array_priority__ = 100
    __cuda_array_interface__ = property(lambda self: {"shape": self.shape, "version": 3})

    def __init__(self, shape, dtype=float, order="C"):
        self._a, self._memory = fresh(shape, dtype, order)
        self.base = None

    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    strides = property(lambda self: self._a.strides)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    flags = property(Flags)
    T = property(lambda self: self._view(self._a.T))

    @property
    def data(self):
        address = self._a.ctypes.data
        MEMORY[address] = self._memory.memory
        return SimpleNamespace(ptr=address)

    def _view(self, array):
        return wrap(array, self._memory, self if self.base is None else self.base)

    # ---- Out of the device

    def get(self, stream=None, order="C", out=None, blocking=True):
        COUNT["to host"] += 1
        if out is not None and not blocking:
            mine = self._a
            LATE.append(lambda: np.copyto(out, mine))
            return out
        wait()
        return self._a.copy(order=order)

    def set(self, arr, stream=None):
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        copy_from_host(self._a, arr)

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __bool__(self):
        return bool(self.get())

    def __repr__(self):
        return repr(self.get())

    def __format__(self, format_spec):
        return format(self.get(), format_spec)

    def __reduce__(self):
        raise TypeError("pickling arrays is nothing that minisrgan does")

    # ---- NumPy's functions, given arrays of ours: CuPy's of the same name, or none

    def __array_ufunc__(self, function, method, *inputs, out=None, **named):
        ours = getattr(sys.modules["cupy"], function.__name__, None)
        if method != "__call__" or ours is None:
            return NotImplemented
        return ours(*inputs, **named, **({} if out is None else {"out": out[0]}))

    def __array_function__(self, function, types, args, kwargs):
        try:
            path = [*function.__module__.split(".")[1:], function.__name__]
            ours = functools.reduce(getattr, path, sys.modules["cupy"])
        except AttributeError:
            return NotImplemented
        return ours(*args, **kwargs) if all(each in (ndarray, np.ndarray) for each in types) else NotImplemented

    # ---- Parts

    def __len__(self):
        return len(self._a)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, slices):
        parts = slices if isinstance(slices, tuple) else (slices,)
        if any(isinstance(each, (ndarray, list)) for each in parts):
            mine, index = self._a, tuple(key(each) for each in parts)
            return own(lambda: mine[index], self, *parts)
        parts = tuple(key(each) for each in parts)
        return self._view(self._a[parts if ... in parts else (*parts, ...)])  # with ... a single number, too, is a view

    def __setitem__(self, slices, value):
        if isinstance(value, np.ndarray):
            if value.shape:
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            value = value.item()
        COUNT["elementwise"] += 1
        given = value
        parts = slices if isinstance(slices, tuple) else (slices,)
        mine, index, value = self._a, tuple(key(each) for each in parts), operand(value)
        perform(lambda: mine.__setitem__(index, value), *(each.memory for each in memories([self, *parts, given])))

    # ---- Other shapes, orders and types

    def reshape(self, *shape, order="C"):
        mine = self._a
        array = mine.reshape(*shape, order=order)
        if np.may_share_memory(array, mine) or not array.size:
            return self._view(array)
        return own(lambda: mine.reshape(*shape, order=order), self)

    def ravel(self, order="C"):
        return self.reshape(-1, order=order)

    def transpose(self, *axes):
        return self._view(self._a.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        return self._view(self._a.swapaxes(axis1, axis2))

    def squeeze(self, axis=None):
        return self._view(self._a.squeeze(axis))

    def copy(self, order="C"):
        COUNT["elementwise"] += 1
        array, memory = fresh(self.shape, self.dtype, order if order in "CF" else "C")
        mine = self._a
        perform(lambda: np.copyto(array, mine), memory.memory, self._memory.memory)
        return wrap(array, memory)

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if not copy and self.dtype == np.dtype(dtype):
            return self
        COUNT["elementwise"] += 1
        mine = self._a
        return own(lambda: mine.astype(dtype), self)

    def fill(self, value):
        self[...] = value

    # ---- Many numbers to one

    def _reduced(self, name, axis, keepdims, out=None, **named):
        if out is not None:
            raise NotImplementedError("the stand-in reduces into arrays of its own only")
        return by_numpy(lambda a: getattr(a, name)(axis=axis, keepdims=keepdims, **named), self)

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return self._reduced("sum", axis, keepdims, out, dtype=dtype)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        return self._reduced("mean", axis, keepdims, out, dtype=dtype)

    def max(self, axis=None, out=None, keepdims=False):
        return self._reduced("max", axis, keepdims, out)

    def min(self, axis=None, out=None, keepdims=False):
        return self._reduced("min", axis, keepdims, out)

    def all(self, axis=None, out=None, keepdims=False):
        return self._reduced("all", axis, keepdims, out)

    def any(self, axis=None, out=None, keepdims=False):
        return self._reduced("any", axis, keepdims, out)

    def argmax(self, axis=None, out=None, dtype=None, keepdims=False):
        return self._reduced("argmax", axis, keepdims, out)

    def clip(self, min=None, max=None, out=None):
        return by_numpy(lambda a: a.clip(min, max), self) if all(map(is_number, (min, max))) else self._refuse(min, max)

    def _refuse(self, *others):
        raise TypeError(f"Unsupported type among {[type(each) for each in others]}")

    # ---- Operators

    def __neg__(self):
        return by_numpy(np.negative, self)

    def __abs__(self):
        return by_numpy(np.absolute, self)

    def __invert__(self):
        return by_numpy(np.invert, self)

    def __matmul__(self, other):
        return NotImplemented if leaves_to(other) else sys.modules["cupy"].matmul(self, other)

    def __rmatmul__(self, other):
        return sys.modules["cupy"].matmul(other, self)


def is_number(x):
    return x is None or isinstance(x, (int, float, np.generic))


def key(part):
    """A part of an index, as NumPy's."""
    if isinstance(part, np.ndarray) and part.shape:
        raise IndexError("a NumPy array is no index of CuPy's")
    return part._a if isinstance(part, ndarray) else part


def leaves_to(other):
    """Whether an operator is left to the other operand, such as a Tensor."""
    return getattr(type(other), "__array_ufunc__", 0) is None


def add_operators():
    names = {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "pow": "power",
        "and": "bitwise_and", "or": "bitwise_or",
    }  # fmt: skip
    comparisons = {
        "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    }  # fmt: skip
    for name, function in (names | comparisons).items():
        call = ufunc(function)

        def forwards(x, y, call=call):
            return NotImplemented if leaves_to(y) else call(x, y)

        setattr(ndarray, f"__{name}__", forwards)
        if name in names:
            setattr(ndarray, f"__r{name}__", lambda x, y, call=call: call(y, x))
            setattr(ndarray, f"__i{name}__", lambda x, y, call=call: call(x, y, out=x))


add_operators()
