"""How a device tells the formulas what it can compute in its own way.

    @kernel(MaxPool)
    def max_pool(x, size=2): ...

From then on `MaxPool(x)` runs this function where the arrays' device runs kernels. MaxPool's own `forward`, its
definition, is left for the cases for which the function returns NotImplemented. The formulas import nothing from here.
"""

from collections.abc import Callable
from functools import wraps
from types import NotImplementedType
from typing import Any, TypeAlias, TypeVar

from ..arrays import Array
from .choice import uses_kernels

F = TypeVar("F", bound=Callable)
Computed: TypeAlias = Array | NotImplementedType  # NotImplemented: the definition computes this case


def register(target: Any, where: Callable[[Any], bool]) -> Callable[[F], F]:
    """A decorator: the decorated function computes `target` wherever `where(first input)` is true.

    target   an Op, or a function that is a `definition` (tensor.py)
    """

    def add(function: F) -> F:
        @wraps(function)
        def implementation(*inputs, **params):
            return function(*inputs, **params) if inputs and where(inputs[0]) else NotImplemented

        target.implementations = (*vars(target).get("implementations", ()), implementation)
        return function

    return add


def kernel(target: Any) -> Callable[[F], F]:
    """A decorator: the decorated function, which launches a kernel, computes `target` on devices that run kernels."""
    return register(target, uses_kernels)


def blas(target: Any) -> Callable[[F], F]:
    """A decorator: the decorated function, which uses NumPy's matrix products well, computes it on the others."""
    return register(target, lambda array: not uses_kernels(array))
