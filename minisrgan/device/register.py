"""How a device tells the formulas what it can compute in its own way.

    @kernel(MaxPool)
    def max_pool(x, size=2): ...

From then on `MaxPool(x)` runs this function where the arrays' device runs kernels. MaxPool's own `forward`, its
definition, is left for the cases for which the function returns NotImplemented. The formulas import nothing from here.
"""

from functools import wraps

from .choice import uses_kernels


def register(target, where):
    """A decorator: compute `target` by the decorated function on arrays of which `where(first array)` holds.

    target   an Op, or a function that is a `definition` (tensor.py)
    """

    def add(function):
        @wraps(function)
        def implementation(first, *others, **params):
            return function(first, *others, **params) if where(first) else NotImplemented

        target.implementations = (*target.implementations, implementation)
        return function

    return add


def kernel(target):
    """Compute `target` by the decorated function, which launches a kernel, on devices that run kernels."""
    return register(target, uses_kernels)


def blas(target):
    """Compute `target` by the decorated function, which uses NumPy's matrix products well, on the others."""
    return register(target, lambda array: not uses_kernels(array))
