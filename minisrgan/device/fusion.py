"""A chain of modules in one pass over memory.

A convolution and a ReLU or LeakyReLU are one at any time: the derivative needs only the output. Batch norm, an
activation and a residual are one too: the derivative computes what lies between once more. More become one only
where nothing is recorded, since a derivative needs what lies between. There a convolution, batch norm with frozen
statistics, PReLU and a residual become one convolution with an epilogue. Batch norm goes into the weights,

    (x ⋆ w + b)·s + t = x ⋆ (w·s) + (b·s + t)

and PReLU and the residual into the convolution's epilogue (conv.py).
"""

from collections.abc import Iterable
from types import NotImplementedType
from typing import Any

from .. import ops
from ..nn import BatchNorm, Conv, LeakyReLU, Module, PReLU, ReLU, Sequential, chain
from ..tensor import Tensor, recording
from .choice import uses_kernels
from .conv import Epilogue, can_shuffle, convolve
from .norm_activation import NormActivation
from .register import register

ACTIVATED = [[ReLU], [LeakyReLU]]  # what may follow a convolution in one pass, recorded or not
NORMED = [[BatchNorm], [BatchNorm, PReLU], [BatchNorm, LeakyReLU]]  # what is one pass where batch norm trains
FUSIBLE = [[], [BatchNorm], [PReLU], [BatchNorm, PReLU]]  # what may where nothing is recorded


def layers_of(modules: Iterable[Module]) -> list[Any]:
    """The layers of the modules, some of which are Sequential."""
    return [layer for module in modules for layer in getattr(module, "layers", [module])]


@register(chain, lambda x: isinstance(x, Tensor))
def fused_chain(x: Tensor, *modules: Module, residual: Tensor | None = None) -> Tensor | NotImplementedType:
    layers = layers_of(modules)
    if not layers or not isinstance(layers[0], Conv):
        return NotImplemented
    conv, *rest = layers
    if [type(layer) for layer in rest] in ACTIVATED and residual is None and uses_kernels(x.data):
        slope = getattr(rest[0], "slope", 0.0)
        at = {"stride": conv.stride, "padding": conv.padding, "shuffle": conv.shuffle}
        return ops.Conv2dBias(x, conv.weight, conv.bias, **at, slope=slope) if slope >= 0 else NotImplemented
    if not fusible(rest) and not follows_norm(x, rest):
        return NotImplemented
    return convolution_chain(x, conv, rest, residual, conv.padding)


def fusible(rest: list[Any]) -> bool:
    """Whether a convolution with these layers after it can be one pass now."""
    kinds = [type(layer) for layer in rest]
    return not recording() and kinds in FUSIBLE and not (BatchNorm in kinds and rest[0].training)


def follows_norm(x: Tensor, rest: list[Any]) -> bool:
    """Whether batch norm by the batch's statistics and what follows it can be one pass."""
    return [type(layer) for layer in rest] in NORMED and rest[0].training and uses_kernels(x.data)


def normalise(x: Tensor, norm: BatchNorm, *activation: PReLU | LeakyReLU, residual: Tensor | None) -> Tensor:
    """Batch norm by the statistics of x, perhaps an activation, perhaps a residual, in one pass."""
    learned = [each.slope for each in activation if isinstance(each, PReLU)]
    more = learned + ([] if residual is None else [residual])
    leak = activation[0].slope if activation and not learned else 1.0
    return NormActivation(x, norm.gamma, norm.beta, *more, statistics=norm.statistics(x), eps=norm.eps, leak=leak,
                          learned=bool(learned), added=residual is not None)  # fmt: skip


def convolution_chain(
    x: Tensor, conv: Conv, rest: list[Any], residual: Tensor | None, padding: int | tuple[int, int]
) -> Tensor:
    """The convolution with this padding, then the layers `rest`, then the residual added. In one pass if fusible."""
    if follows_norm(x, rest):
        return normalise(conv.forward(x, padding=padding), *rest, residual=residual)
    if not fusible(rest):
        y = Sequential(*rest)(conv.forward(x, padding=padding))
        return y if residual is None else y + residual
    weight, bias, kinds = conv.weight, conv.bias, [type(layer) for layer in rest]
    if BatchNorm in kinds:
        scale, shift = rest[0].running_affine()
        weight, bias = weight * scale, bias * scale + shift
    negative_slope = rest[-1].slope if PReLU in kinds else None
    if uses_kernels(x.data) and can_shuffle(weight, conv.shuffle):
        arrays = (None if each is None else each.data for each in (bias, negative_slope, residual))
        epilogue = Epilogue(*arrays, shuffle=conv.shuffle)
        return Tensor(convolve(x.data, weight.data, conv.stride, padding, epilogue))
    y = ops.Conv2dBias(x, weight, bias, stride=conv.stride, padding=padding, shuffle=conv.shuffle)
    y = y if negative_slope is None else ops.PReLU(y, negative_slope)
    return y if residual is None else y + residual
