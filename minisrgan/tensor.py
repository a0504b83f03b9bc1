"""The engine: a Tensor remembers the Op that made it, and `grad` walks back along these memories.

The cotangent of a tensor y is g = ∂L/∂y. Each op knows its vector-Jacobian product: it turns the cotangent of its
output into the cotangents of its inputs. The walk visits the graph in reverse topological order: a tensor comes after
everything that used it, so that its cotangent is complete. For b = a + a, c = b + b: b must have both its parts before
a gets any.

A vjp is itself written in Tensor operations. With `create_graph=True` they are recorded like any others, so that the
gradient can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import wraps
from numbers import Number, Real
from typing import Any, TypeAlias, Union

import numpy as np

from .arrays import Array, array_module
from .errors import GraphError, ShapeError
from .in_place import Snapshot, mark_changed

FLOATS = np.dtype("float32"), np.dtype("float64")  # to train with, and to check gradients

Operand: TypeAlias = Union["Tensor", Array, float]  # what an op takes beside a Tensor
Axes: TypeAlias = int | tuple[int, ...] | None  # of a reduction; None means all

_recording = ContextVar("recording", default=True)


def recording() -> bool:
    """Whether operations are recorded for a backward walk."""
    return _recording.get()


@contextmanager
def record(on: bool) -> Generator[None, None, None]:
    """Within the block, operations are recorded for a backward walk only if `on` is true."""
    token = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(token)


def no_grad() -> AbstractContextManager[None]:
    """Within the block nothing is recorded, and so no memory is held."""
    return record(False)


class Tensor:
    """An array, and how it came to be.

    data           a float32 or float64 array, NumPy's or CuPy's. If it is changed after an op has read it, the gradient
                   through that op is refused. After a change by hand, say `mark_changed(tensor.data, by)` (in_place.py)
    grad           a Tensor of the same shape, to which `backward` adds; None at first
    requires_grad  whether gradients flow to it or through it
    op, inputs, params   the Op that made it, the op's input Tensors and its keyword parameters
    snapshot       what these inputs were when the op read them; None for a linear op of one input, whose derivative
                   is the same everywhere
    """

    __slots__ = ("_data", "grad", "requires_grad", "op", "inputs", "params", "snapshot", "__weakref__")

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if not hasattr(data, "dtype"):
            raise ShapeError(f"a Tensor holds a NumPy or CuPy array, not a {type(data).__name__}")
        self._data: Array = data
        self.grad: Tensor | None = None
        self.requires_grad = requires_grad
        self.op: type[Op] | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.params: dict[str, Any] = {}
        self.snapshot: Snapshot | None = None

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    def data(self, array: Array) -> None:
        if array is self._data:  # as by x.data -= y, which changes it and then assigns it
            mark_changed(array, "an assignment like `x.data -= y`")
        self._data = array

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)

    # Written as the mathematics is. Numbers count as tensors of one element, and shapes broadcast by NumPy's rules.

    def __add__(self, other: Operand) -> Tensor:
        return ops.Add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Tensor:
        return ops.Sub(self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return ops.Sub(other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return ops.Mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Tensor:
        return ops.Div(self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return ops.Div(other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return ops.MatMul(self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return ops.MatMul(other, self)

    def __pow__(self, exponent: float) -> Tensor:
        return ops.Pow(self, exponent=exponent)

    def __neg__(self) -> Tensor:
        return ops.Neg(self)

    def __abs__(self) -> Tensor:
        return ops.Abs(self)

    def __getitem__(self, key: Any) -> Tensor:
        return ops.Slice(self, key=key)

    __iter__ = None  # without it Python would try x[0], x[1], ... until something fails
    __array_ufunc__ = None  # so that array * tensor asks the Tensor, not NumPy

    def exp(self) -> Tensor:
        return ops.Exp(self)

    def log(self) -> Tensor:
        return ops.Log(self)

    def clip(self, low: float, high: float) -> Tensor:
        return ops.Clip(self, low=low, high=high)

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return ops.Sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def sum_to(self, shape: Sequence[int]) -> Tensor:
        return ops.SumTo(self, shape=tuple(shape))

    def broadcast_to(self, shape: Sequence[int]) -> Tensor:
        return ops.BroadcastTo(self, shape=tuple(shape))

    def reshape(self, shape: tuple[int, ...]) -> Tensor:
        return ops.Reshape(self, shape=shape)

    def transpose(self, axes: tuple[int, ...]) -> Tensor:
        return ops.Transpose(self, axes=axes)

    def __repr__(self) -> str:
        made = f", op={self.op.__name__}" if self.op else ""
        return f"Tensor({self.data!r}{made})"

    def item(self) -> float:
        """Its one number."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same data, without the memory of how it was made. Gradients stop here."""
        return Tensor(self.data)

    def backward(self, cotangent: Tensor | None = None, retain_graph: bool = False) -> None:
        """Add ∂self/∂leaf to the `grad` of every leaf that requires one. Releases the graph, unless `retain_graph`."""
        order = topological_order([self])
        leaves = [tensor for tensor in order if tensor.op is None]
        del order
        for leaf, gradient in zip(leaves, grad([self], leaves, cotangent, retain_graph=retain_graph)):
            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient


class Op:
    """One differentiable operation: two plain functions without `self`. An op has no state and is never instantiated.

    forward(*arrays, **params)        the output array
    vjp(g, out, *inputs, **params)    from the output's cotangent g: for each input a function of no arguments that
                                      computes the input's cotangent, and is called only if it is needed; or None,
                                      where the derivative is zero everywhere

    Everything that `vjp` gets and returns is a Tensor. Calling the class applies the op: `Mul(x, y)`.
    """

    forward: Callable[..., Any]
    vjp: Callable[..., Any]
    linear = False  # linear in each input: the gradient check then tests the adjoint identity too
    broadcasts = False  # by NumPy's rules: a cotangent is summed back to its input's shape
    implementations: tuple = ()  # other ways to compute `forward`, which a device registers (device/register.py)

    def __new__(cls, *inputs: Operand, **params: Any) -> Any:
        inputs = as_tensors(cls, inputs)
        # a NumPy number among the parameters would impose its dtype on the result; a Python number does not
        params = {name: value.item() if isinstance(value, np.generic) else value for name, value in params.items()}
        arrays = [tensor.data for tensor in inputs]
        try:
            out = Tensor(dispatch(cls, cls.forward, arrays, params))
        except (ValueError, IndexError, TypeError, ArithmeticError) as error:
            raise ShapeError(f"{signature(cls, inputs)}: {error}") from error
        if _recording.get() and any(tensor.requires_grad for tensor in inputs):
            out.requires_grad = True
            out.op, out.inputs, out.params = cls, inputs, params
            if len(inputs) > 1 or not cls.linear:
                out.snapshot = Snapshot(inputs, arrays)
        return out


def dispatch(target: Any, definition: Callable, inputs: Sequence, params: dict[str, Any]) -> Any:
    """The result of the first of `target.implementations` that covers these inputs, else of the definition.

    A device registers implementations (device/register.py). An implementation that does not cover the inputs returns
    NotImplemented.
    """
    for implementation in vars(target).get("implementations", ()):  # not a base class's: its formula differs
        out = implementation(*inputs, **params)
        if out is not NotImplemented:
            return out
    return definition(*inputs, **params)


def definition(function: Callable) -> Any:
    """Mark a function as a definition, which reads like its formula. A device may compute the same in its own way."""

    @wraps(function)
    def compute(*inputs, **params):
        return dispatch(compute, function, inputs, params)

    vars(compute)["implementations"] = ()
    return compute


class Released(Op):
    """In place of a tensor's op, once its graph has been walked and released."""


def signature(op: type[Op] | None, inputs: Sequence) -> str:
    """How the op was called, for error messages: `MatMul((2, 3) float32, (4, 5) float32)`."""
    shown = (str(t) if isinstance(t, Number) else f"{t.shape} {t.dtype}" for t in inputs)
    return f"{op.__name__ if op else op}({', '.join(shown)})"


def as_tensors(op: type[Op], values: Sequence) -> tuple[Tensor, ...]:
    """The inputs of an op as Tensors of one dtype. Python numbers take the dtype of the others."""
    values = [value if isinstance(value, (Real, Tensor)) else Tensor(value) for value in values]
    dtypes = {value.dtype for value in values if not isinstance(value, Real)}
    if len(dtypes) != 1 or (dtype := dtypes.pop()) not in FLOATS:
        raise ShapeError(
            f"{signature(op, values)}: the inputs must be Tensors of one floating-point type, float32 or float64"
        )
    return tuple(value if isinstance(value, Tensor) else Tensor(dtype.type(value)) for value in values)


def topological_order(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Every tensor that gradients can reach from the outputs, each after all of its inputs.

    It is a depth-first walk with a stack of its own, since a graph may be deeper than Python's recursion limit.
    """
    order, seen = [], set()
    stack = [(output, False) for output in outputs if output.requires_grad]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif tensor not in seen:
            if tensor.op is Released:
                raise GraphError(
                    f"the graph behind a tensor of shape {tensor.shape} was released by an earlier backward walk; "
                    "give that one retain_graph=True, or compute the tensor again"
                )
            seen.add(tensor)
            stack.append((tensor, True))
            stack.extend((each, False) for each in tensor.inputs if each.requires_grad)
    return order


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Iterable[Tensor],
    cotangents: Tensor | Sequence[Tensor | None] | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> list[Tensor]:
    """Σ over outputs of cotangentᵀ · ∂output/∂input: one Tensor for each input, zeros where no output depends on it.

    outputs, inputs   a Tensor or several; the inputs may be inside the graph
    cotangents        one for each output; by default 1, if the output is a single number
    create_graph      record the walk itself, so that its results can be differentiated
    retain_graph      keep the graph for another walk; by default only with create_graph

    The results may share memory with each other: read them, but do not change them in place.
    Raises GraphError if the outputs have no graph, if it was released, if an array that the graph has read was changed
    in place since, and for an input without requires_grad.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    cotangents = [cotangents] if isinstance(cotangents, Tensor) else cotangents
    order = topological_order(outputs)
    if not order:
        raise GraphError("nothing to differentiate: no output depends on a tensor that requires a gradient")
    if not all(each.requires_grad for each in inputs):
        raise GraphError("an input was not made with requires_grad=True, so what used it was not remembered")
    with record(create_graph):
        cotangent_of = {}
        for output, g in zip(outputs, cotangents or [None] * len(outputs), strict=True):
            accumulate(cotangent_of, output, start_cotangent(output, g))
        walk(order, cotangent_of, set(inputs), create_graph if retain_graph is None else retain_graph)
    return [cotangent_of.get(each) or zeros_like(each) for each in inputs]


def walk(order: list[Tensor], cotangent_of: dict[Tensor, Tensor], targets: set[Tensor], retain_graph: bool) -> None:
    """Pass cotangents back along `order` until every target's is complete. Empties `order`, which frees memory."""
    wanted = set(targets)  # the tensors on a path from an output to a target: no other tensor gets a cotangent
    for tensor in order:
        if not wanted.isdisjoint(tensor.inputs):
            wanted.add(tensor)
    while order:
        tensor = order.pop()
        if tensor.op is None or wanted.isdisjoint(tensor.inputs):
            continue
        wanted.discard(tensor)
        g = cotangent_of.get(tensor) if tensor in targets else cotangent_of.pop(tensor, None)
        if g is not None:
            for source, vjp in zip(tensor.inputs, vjps(tensor, g), strict=True):
                if source in wanted and vjp is not None:
                    accumulate(cotangent_of, source, match(vjp(), source, tensor.op))
        if not retain_graph:
            tensor.op, tensor.inputs, tensor.params, tensor.snapshot = Released, (), {}, None


def vjps(tensor: Tensor, g: Tensor) -> tuple:
    """The op's vjp for each of the tensor's inputs. Raises GraphError if one is no longer what the op has read."""
    if tensor.snapshot and (found := tensor.snapshot.difference(tensor.inputs)):
        i, difference = found
        raise GraphError(
            f"{signature(tensor.op, tensor.inputs)}: input {i + 1} {difference}, so this gradient would be wrong: "
            "take it before the change, or compute the output again"
        )
    assert tensor.op is not None
    functions = tensor.op.vjp(g, tensor, *tensor.inputs, **tensor.params)
    return functions if isinstance(functions, tuple) else (functions,)


def nhwc(array: Any) -> tuple[int, int, int, int]:
    """The lengths (N, H, W, C) of a batch of images. Raises ShapeError for an array that has not four axes."""
    if array.ndim != 4:
        raise ShapeError("images are (N, H, W, C)")
    return array.shape


def accumulate(cotangent_of: dict[Tensor, Tensor], tensor: Tensor, g: Tensor) -> None:
    cotangent_of[tensor] = cotangent_of[tensor] + g if tensor in cotangent_of else g


def match(g: Tensor, tensor: Tensor, op: type[Op]) -> Tensor:
    """g in the shape of the op's input `tensor`: summed over the axes that broadcasting repeated."""
    if op.broadcasts and g.shape != tensor.shape:
        g = g.sum_to(tensor.shape)
    if g.shape != tensor.shape or g.dtype != tensor.dtype:
        raise ShapeError(
            f"the vjp of {op.__name__} gave a cotangent {g.shape} {g.dtype} for an input {tensor.shape} {tensor.dtype}"
        )
    return g


def start_cotangent(output: Tensor, g: Tensor | None) -> Tensor:
    if g is None:
        if output.size != 1:
            raise GraphError(
                f"an output of shape {output.shape} needs a cotangent; only a single number has one by itself"
            )
        g = Tensor(array_module(output.data).ones(output.shape, output.dtype))
    if g.shape != output.shape or g.dtype != output.dtype:
        raise ShapeError(f"the cotangent is {g.shape} {g.dtype} where the output is {output.shape} {output.dtype}")
    return g


def zeros_like(tensor: Tensor) -> Tensor:
    """A Tensor of zeros with the tensor's shape, dtype and device."""
    return Tensor(array_module(tensor.data).zeros(tensor.shape, tensor.dtype))


from . import ops  # noqa: E402  at the end, since the ops import this file
