"""The kernels of adam.cu and ema.cu: a step of Adam for all parameters in few launches, and averages of weights."""

from ..arrays import Array
from ..errors import KernelError
from ..optim import adam_step, fill_settings, move_towards
from .choice import uses_kernels
from .cuts import contiguous
from .launch import launch
from .pieces import launches
from .register import kernel, register

Arrays = list[Array]


def first_uses_kernels(arrays: Arrays) -> bool:
    return bool(arrays) and uses_kernels(arrays[0])


@kernel(fill_settings)
def fill(settings: Array, *numbers: float) -> None:
    launch("adam.cu", "fill_settings", 1, 1, settings, *numbers)


@register(adam_step, first_uses_kernels)
def adam(
    thetas: Arrays, gradients: Arrays, ms: Arrays, vs: Arrays, settings: Array, fault: Array | None = None
) -> None:
    gradients = [contiguous(g) for g in gradients]
    if not all(theta.flags.c_contiguous for theta in thetas):
        raise KernelError("adam: a parameter is not contiguous")  # which the kernel cannot see: it gets addresses
    for each in launches("adam.cu", "adam", "arrays", thetas, ms, vs, gradients):
        launch("adam.cu", "adam", each.grid, None, each.arrays, settings, fault, each.count, each.pieces)


@register(move_towards, first_uses_kernels)
def ema(averages: Arrays, ws: Arrays, part: float) -> None:
    if not all(average.flags.c_contiguous for average in averages):
        raise KernelError("ema: an average is not contiguous")
    for each in launches("ema.cu", "ema", "arrays", averages, [contiguous(w) for w in ws]):
        launch("ema.cu", "ema", each.grid, None, each.arrays, averages[0], part, each.count, each.pieces)
