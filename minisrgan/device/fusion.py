"""A chain of modules in one pass over memory, where nothing is recorded: a derivative would need what lies between.

A convolution, batch norm with frozen statistics, PReLU and a residual become one convolution with an epilogue. Batch
norm goes into the weights,

    (x ⋆ w + b)·s + t = x ⋆ (w·s) + (b·s + t)

and PReLU and the residual into the convolution's epilogue (conv.py).
"""

from .. import ops
from ..nn import BatchNorm, PReLU, chain
from ..tensor import Tensor, recording
from .choice import uses_kernels
from .conv import Epilogue, can_shuffle, convolve
from .register import register

FUSIBLE = [[], [BatchNorm], [PReLU], [BatchNorm, PReLU]]  # what may follow a convolution in one pass


def layers_of(modules):
    """The layers that the modules, some of them Sequential, are made of."""
    return [layer for module in modules for layer in getattr(module, "layers", [module])]


@register(chain, lambda x: isinstance(x, Tensor))
def fused_chain(x, *modules, residual=None):
    conv, *rest = layers_of(modules)
    return convolution_chain(x, conv, rest, residual, conv.padding) if fusible(rest) else NotImplemented


def fusible(rest):
    """Whether a convolution and these layers after it can be one pass now."""
    kinds = [type(layer) for layer in rest]
    return not recording() and kinds in FUSIBLE and not (BatchNorm in kinds and rest[0].training)


def convolution_chain(x, conv, rest, residual, padding):
    """The convolution with that padding, the layers `rest` after it, and the residual added: in one pass if fusible."""
    if not fusible(rest):
        return chain(conv.forward(x, padding=padding), *rest, residual=residual)
    weight, bias, kinds = conv.weight, conv.bias, [type(layer) for layer in rest]
    if BatchNorm in kinds:
        scale, shift = rest[0].running_affine()
        weight, bias = weight * scale, bias * scale + shift
    slope = rest[-1].slope if PReLU in kinds else None
    if uses_kernels(x.data) and can_shuffle(weight, conv.shuffle):
        arrays = [None if each is None else each.data for each in (bias, slope, residual)]
        return Tensor(convolve(x.data, weight.data, conv.stride, padding, Epilogue(*arrays, conv.shuffle)))
    y = ops.Conv2dBias(x, weight, bias, stride=conv.stride, padding=padding, shuffle=conv.shuffle)
    y = y if slope is None else ops.PReLU(y, slope)
    return y if residual is None else y + residual
