"""A chain of modules in one pass over memory.

A convolution and a ReLU or LeakyReLU are one at any time: the derivative needs only the output. On tensor cores, a
convolution also makes the moments for a batch norm that follows in training. More become one only where nothing is
recorded, since a derivative needs what lies between. There a convolution, batch norm with frozen statistics, PReLU and
a residual become one convolution with an epilogue. Batch norm goes into the weights,

    (x ⋆ w + b)·s + t = x ⋆ (w·s) + (b·s + t)

and PReLU and the residual into the convolution's epilogue (conv.py).
"""

from collections.abc import Iterable
from types import NotImplementedType
from typing import Any

from .. import ops
from ..nn import BatchNorm, Conv, LeakyReLU, Module, PReLU, ReLU, Sequential, SubpixelConv, chain
from ..tensor import Tensor, recording
from .channels import merged_moments
from .choice import uses_kernels
from .conv import Epilogue, can_shuffle, convolve
from .conv_mma import moments_wanted
from .precision import tensor_cores
from .register import register

CONVOLUTIONS = (Conv, SubpixelConv)  # and no subclass of somebody's, which may compute something else
FUSIBLE = [[], [BatchNorm], [PReLU], [BatchNorm, PReLU]]  # what may follow where nothing is recorded


def layers_of(modules: Iterable[Module]) -> list[Any]:
    """The layers of the modules, some of which are Sequential."""
    return [layer for module in modules for layer in getattr(module, "layers", [module])]


@register(chain, lambda x: isinstance(x, Tensor))
def fused_chain(x: Tensor, *modules: Module, residual: Tensor | None = None) -> Tensor | NotImplementedType:
    layers = layers_of(modules)
    convs = [i for i, layer in enumerate(layers) if type(layer) in CONVOLUTIONS]
    if not convs:
        return NotImplemented
    if convs != [0]:  # one part up to a convolution, and the rest
        end = convs[0] or convs[1]
        return chain(chain(x, *layers[:end]), *layers[end:], residual=residual)
    conv, *rest = layers
    if (slope := slope_of(rest)) is not None and uses_kernels(x.data):
        at = {"stride": conv.stride, "padding": conv.padding, "shuffle": conv.shuffle}
        y = ops.Conv2dBias(x, conv.weight, conv.bias, **at, slope=slope)
        return chain(y, *rest[1:], residual=residual)
    if rest and type(rest[0]) is BatchNorm and rest[0].training and tensor_cores(x.data):
        y = with_moments(x, conv, rest[0])
        return chain(y, *rest[1:], residual=residual)
    if not fusible(rest):
        return NotImplemented
    return convolution_chain(x, conv, rest, residual, conv.padding)


def slope_of(layers: list[Any]) -> float | None:
    """The negative slope of the first layer, if it is a ReLU or a LeakyReLU whose input has its output's sign."""
    if not layers or type(layers[0]) not in (ReLU, LeakyReLU):
        return None
    slope = getattr(layers[0], "slope", 0.0)
    return slope if slope >= 0 else None


def with_moments(x: Tensor, conv: Conv, norm: BatchNorm) -> Tensor:
    """norm(conv(x)) in training. The convolution's kernel makes the moments that batch norm needs, if it can."""
    with moments_wanted() as found:
        y = conv(x)
    if (parts := found.get(id(y.data))) is None:
        return norm(y)
    return norm.normalise(y, merged_moments(y.data, parts, norm.running()))


def fusible(rest: list[Any]) -> bool:
    """Whether a convolution with these layers after it can be one pass now."""
    kinds = [type(layer) for layer in rest]
    return not recording() and kinds in FUSIBLE and not (BatchNorm in kinds and rest[0].training)


def convolution_chain(
    x: Tensor, conv: Conv, rest: list[Any], residual: Tensor | None, padding: int | tuple[int, int]
) -> Tensor:
    """The convolution with this padding, then the layers `rest`, then the residual added. In one pass if fusible."""
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
